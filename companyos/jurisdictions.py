"""Where a region is: the one table from region names to countries, and from countries to jurisdictions.

A region's name is not its law: `eu-west-2` is London and `europe-west6` is Zurich, and neither is in the EU. The
facts are the providers' published region lists (AWS, Google Cloud, Azure; read in 2025) and the membership of the
European Union and the European Economic Area. What is not in the table has no jurisdiction, and whoever asks must
refuse it.
"""

from __future__ import annotations

import re

from companyos.canonical import digest

__all__ = ("EEA", "country_of", "is_within_eea", "jurisdiction_of", "table_digest")

EEA = frozenset({"eu", "eea"})
"""Jurisdictions between which the GDPR lets personal data move freely (EEA Agreement, annex XI)."""

_EU = "at be bg cy cz de dk ee es fi fr gr hr hu ie it lt lu lv mt nl pl pt ro se si sk"
_EEA = "is li no"
_OTHER = "ae au bh br ca ch cl cn gb hk id il in jp kr kw mx my nz ph qa sa sg th tr tw us vn za"

_AWS = {
    "ae": "me-central-1",
    "au": "ap-southeast-2 ap-southeast-4",
    "bh": "me-south-1",
    "br": "sa-east-1",
    "ca": "ca-central-1 ca-west-1",
    "ch": "eu-central-2",
    "cn": "cn-north-1 cn-northwest-1",
    "de": "eu-central-1 eusc-de-east-1",
    "es": "eu-south-2",
    "fr": "eu-west-3",
    "gb": "eu-west-2",
    "hk": "ap-east-1",
    "id": "ap-southeast-3",
    "ie": "eu-west-1",
    "il": "il-central-1",
    "in": "ap-south-1 ap-south-2",
    "it": "eu-south-1",
    "jp": "ap-northeast-1 ap-northeast-3",
    "kr": "ap-northeast-2",
    "mx": "mx-central-1",
    "my": "ap-southeast-5",
    "nz": "ap-southeast-6",
    "se": "eu-north-1",
    "sg": "ap-southeast-1",
    "th": "ap-southeast-7",
    "tw": "ap-east-2",
    "us": "us-east-1 us-east-2 us-west-1 us-west-2 us-gov-east-1 us-gov-west-1",
    "za": "af-south-1",
}
_GOOGLE = {
    "au": "australia-southeast1 australia-southeast2",
    "be": "europe-west1",
    "br": "southamerica-east1",
    "ca": "northamerica-northeast1 northamerica-northeast2",
    "ch": "europe-west6",
    "cl": "southamerica-west1",
    "de": "europe-west3 europe-west10",
    "es": "europe-southwest1",
    "fi": "europe-north1",
    "fr": "europe-west9",
    "gb": "europe-west2",
    "hk": "asia-east2",
    "id": "asia-southeast2",
    "il": "me-west1",
    "in": "asia-south1 asia-south2",
    "it": "europe-west8 europe-west12",
    "jp": "asia-northeast1 asia-northeast2",
    "kr": "asia-northeast3",
    "mx": "northamerica-south1",
    "nl": "europe-west4",
    "pl": "europe-central2",
    "qa": "me-central1",
    "sa": "me-central2",
    "se": "europe-north2",
    "sg": "asia-southeast1",
    "tw": "asia-east1",
    "us": "us-central1 us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4",
    "za": "africa-south1",
}
_AZURE = {
    "ae": "uaenorth uaecentral",
    "at": "austriaeast",
    "au": "australiaeast australiasoutheast australiacentral australiacentral2",
    "be": "belgiumcentral",
    "br": "brazilsouth brazilsoutheast",
    "ca": "canadacentral canadaeast",
    "ch": "switzerlandnorth switzerlandwest",
    "cl": "chilecentral",
    "cn": "chinanorth chinanorth2 chinanorth3 chinaeast chinaeast2 chinaeast3",
    "de": "germanywestcentral germanynorth",
    "es": "spaincentral",
    "fr": "francecentral francesouth",
    "gb": "uksouth ukwest",
    "hk": "eastasia",
    "id": "indonesiacentral",
    "ie": "northeurope",
    "il": "israelcentral",
    "in": "centralindia southindia westindia jioindiawest jioindiacentral",
    "it": "italynorth",
    "jp": "japaneast japanwest",
    "kr": "koreacentral koreasouth",
    "mx": "mexicocentral",
    "my": "malaysiawest",
    "nl": "westeurope",
    "no": "norwayeast norwaywest",
    "nz": "newzealandnorth",
    "pl": "polandcentral",
    "qa": "qatarcentral",
    "se": "swedencentral swedensouth",
    "sg": "southeastasia",
    "us": "eastus eastus2 centralus northcentralus southcentralus westcentralus westus westus2 westus3 "
    "usgovvirginia usgovarizona usgovtexas usdodcentral usdodeast",
    "za": "southafricanorth southafricawest",
}

_AREAS = {"eu": "eu", "eea": "eea", "us": "us", "usa": "us", "uk": "gb"}
"""Names of whole jurisdictions as people and multi-region services write them."""

_JURISDICTIONS = {
    **dict.fromkeys(_EU.split(), "eu"),
    **dict.fromkeys(_EEA.split(), "eea"),
    **{code: code for code in _OTHER.split()},
}
_COUNTRIES = {
    region: country
    for table in (_AWS, _GOOGLE, _AZURE)
    for country, regions in table.items()
    for region in regions.split()
}
_ZONE = re.compile(r"(?<=\d)-?[a-f]$")
"""The zone letter of `eu-central-1a` (AWS) and `europe-west3-a` (Google)."""


def country_of(region: str) -> str | None:
    """The ISO 3166 code, in lower case, of the country a cloud region or zone lies in; None where that is not known.

    A two-letter country code of the table is taken as itself. A whole area (`eu`) and a place without a country
    (`on-premise`, `global`) have none.
    """
    name = _plain(region)
    if name in _JURISDICTIONS:
        return name
    return _COUNTRIES.get(name) or _COUNTRIES.get(_ZONE.sub("", name))


def jurisdiction_of(region: str) -> str | None:
    """The jurisdiction of a region: `eu`, `eea` (Norway, Iceland, Liechtenstein), else the country; None if unknown.

    `on-premise` says who owns the machine and not where it stands, so that it has no jurisdiction: name the country.
    """
    name = _plain(region)
    if name in _AREAS:
        return _AREAS[name]
    country = country_of(region)
    return None if country is None else _JURISDICTIONS[country]


def is_within_eea(region: str) -> bool:
    """Whether a region is known to lie where the GDPR applies; an unknown region is not."""
    return jurisdiction_of(region) in EEA


def table_digest() -> str:
    """Digest of the whole table, for decisions that rest on it."""
    return digest({"areas": _AREAS, "countries": _COUNTRIES, "jurisdictions": _JURISDICTIONS})


def _plain(region: str) -> str:
    return region.strip().lower().replace(" ", "").replace("_", "-")
