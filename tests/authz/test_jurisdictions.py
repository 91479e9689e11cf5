from __future__ import annotations

import pytest

from companyos.jurisdictions import EEA, country_of, is_within_eea, jurisdiction_of, table_digest

PLACES = {
    "eu": (None, "eu"),
    "EU": (None, "eu"),
    "us": ("us", "us"),
    "uk": (None, "gb"),
    "de": ("de", "eu"),
    "ch": ("ch", "ch"),
    "eu-west-1": ("ie", "eu"),
    "eu-central-1": ("de", "eu"),
    "eu-central-1a": ("de", "eu"),
    "eusc-de-east-1": ("de", "eu"),
    "eu-west-2": ("gb", "gb"),
    "eu-central-2": ("ch", "ch"),
    "us-east-1": ("us", "us"),
    "us-gov-west-1": ("us", "us"),
    "cn-north-1": ("cn", "cn"),
    "europe-west3": ("de", "eu"),
    "europe-west3-b": ("de", "eu"),
    "europe-west2": ("gb", "gb"),
    "europe-west6": ("ch", "ch"),
    "us-central1": ("us", "us"),
    "westeurope": ("nl", "eu"),
    "West Europe": ("nl", "eu"),
    "northeurope": ("ie", "eu"),
    "norwayeast": ("no", "eea"),
    "uksouth": ("gb", "gb"),
    "switzerlandnorth": ("ch", "ch"),
    "eastus2": ("us", "us"),
}


@pytest.mark.parametrize("region", PLACES)
def test_known_places(region):
    """A region's name leads to its country and jurisdiction, whatever the name promises."""
    assert PLACES[region] == (country_of(region), jurisdiction_of(region))
    assert is_within_eea(region) == (PLACES[region][1] in EEA)


@pytest.mark.parametrize(
    "region",
    ["", " ", "on-premise", "global", "eu-moon-1", "eu-west", "eu-west-9", "europe", "EU-1", "eu-west-1; us", "é"],
)
def test_unknown_places(region):
    """What the table does not know has no jurisdiction, and is never taken for the EU."""
    assert jurisdiction_of(region) is None
    assert not is_within_eea(region)


def test_the_table_has_a_digest():
    """Decisions can name the table that they rest on."""
    assert table_digest().startswith("sha256:")
