"""The residency file, `vendor_residency.yaml`: which vendors there are, where they process, what they promised."""

from __future__ import annotations

from datetime import date  # noqa: TC003 - pydantic needs it at run time
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from companyos.jurisdictions import jurisdiction_of
from companyos.llm.residency.endpoints import BadEndpointError, Place, find_place, parse_endpoint, shipped_places
from companyos.llm.residency.errors import ResidencyFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("CLAIMS", "ON_PREMISE", "Attestation", "DataClass", "Enforcement", "ResidencyPolicy", "Vendor")

_EXPECTED = "vendor_residency.yaml as docs/residency.md has it: vendors, endpoints, enforcement"
ON_PREMISE = "on-premise"
"""The region of one's own machines; where they stand is said by `country`."""

DataClass = Literal["non-sensitive", "telemetry", "pii", "sensitive", "restricted", "secret"]
"""The company's classes of data, as in `companyos.observability`."""
Claim = Literal["region", "data_retention", "training_data_opt_out", "logging_enabled"]
CLAIMS: tuple[Claim, ...] = get_args(Claim)
"""What a vendor has to attest: it cannot be seen from outside."""
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Attestation(_Part):
    """What a vendor confirmed in writing, and until when that counts."""

    document: str = Field(min_length=1)
    """Name of the contract, report or letter."""
    issued: date
    """When it was given."""
    expires: date
    """The last day on which it counts."""
    covers: tuple[Claim, ...] = Field(CLAIMS, min_length=1)
    """What of the vendor's entry it confirms."""

    @model_validator(mode="after")
    def _in_order(self) -> Attestation:
        if self.expires < self.issued:
            raise ValueError("it expires before it was issued")
        return self


class Vendor(_Part):
    """One vendor of models, as the company's contract with it stands."""

    region: str = Field(min_length=1)
    """Where it processes: a cloud region, a country, `eu`, or `on-premise`."""
    endpoint: str
    """Base URL of its API."""
    data_retention: bool
    """Whether it keeps prompts or answers."""
    training_data_opt_out: bool
    """Whether it may not train on them."""
    logging_enabled: bool
    """Whether it logs them."""
    compliance: tuple[str, ...] = ()
    """Rules that the contract names."""
    country: str | None = None
    """ISO 3166 code of the country of an `on-premise` vendor; not needed on this very machine."""
    attestations: tuple[Attestation, ...] = ()
    """What it confirmed."""

    @field_validator("country")
    @classmethod
    def _known(cls, country: str | None) -> str | None:
        if country is not None and jurisdiction_of(country) is None:
            raise ValueError(f"{country!r} is no country of the table")
        return country

    @property
    def is_on_premise(self) -> bool:
        """Whether it runs on the company's own machines."""
        return self.region.strip().lower() == ON_PREMISE


class OwnEndpoint(_Part):
    """Where a host processes that the shipped list does not have, and how the company knows."""

    region: str = Field(min_length=1)
    source: str = Field(min_length=1)
    checked: date


class Enforcement(_Part):
    """How violations are answered."""

    block_non_eu_requests: bool = True
    """Whether a request that would leave is refused; without it one is let through with a finding, but not with
    personal data."""
    alert_on_violation: bool = True
    """Whether somebody is told."""
    log_all_requests: bool = True
    """Whether allowed requests are on our own ledger too, not refusals alone."""
    jurisdictions: tuple[str, ...] = Field(("eea", "eu"), min_length=1)
    """Where data may be processed; `ch` for example, on the ground of an adequacy decision, is the company's choice."""
    compliance: tuple[str, ...] = ("GDPR",)
    """What every vendor's contract has to name."""

    @field_validator("jurisdictions")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if jurisdiction_of(name) != name]
        if unknown:
            raise ValueError(f"no jurisdictions of the table: {', '.join(unknown)}")
        return names


class ResidencyPolicy(_Part):
    """Everything that `vendor_residency.yaml` says, checked.

    Raises:
        ResidencyFileError: (by `load` and `parse`) it does not say enough, or has unknown keys.
    """

    vendors: dict[_Name, Vendor] = Field(min_length=1)
    """Vendors by the name that the router knows them by."""
    endpoints: dict[str, OwnEndpoint] = Field(default_factory=dict)
    """Hosts beside those of the shipped list, which may not contradict it; where that knows no region, this counts."""
    enforcement: Enforcement = Enforcement()
    """How violations are answered."""

    @field_validator("endpoints")
    @classmethod
    def _hosts(cls, hosts: dict[str, OwnEndpoint]) -> dict[str, OwnEndpoint]:
        for host, own in hosts.items():
            try:
                fine = parse_endpoint(f"https://{host}").host == host
            except BadEndpointError:
                fine = False
            if not fine:
                raise ValueError(f"{host!r} is no host name in lower case")
            known = find_place(host, shipped_places())
            if known is not None and known.region_of(host) not in {None, own.region}:
                raise ValueError(f"{host} is in {known.region_of(host)}, says {known.source}")
        return hosts

    @classmethod
    def load(cls, path: Path) -> ResidencyPolicy:
        """Read a residency file; raises as said above, also if it cannot be read."""
        from companyos.config import parse_yaml

        try:
            values = parse_yaml(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise ResidencyFileError(
                f"cannot read the residency file {path.name}",
                got=error,
                expected=_EXPECTED,
                hint="docs/residency.md has one to begin with",
            ) from error
        return cls.parse(values)

    @classmethod
    def parse(cls, values: Any) -> ResidencyPolicy:
        """The policy in a parsed YAML value."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            found = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors()[:5]
            )
            raise ResidencyFileError("the residency file does not validate", got=found, expected=_EXPECTED) from error

    @property
    def places(self) -> tuple[Place, ...]:
        """Every endpoint whose place is known, the company's own ones first."""
        own = tuple(Place(host, it.region, (), it.source, it.checked) for host, it in self.endpoints.items())
        return (*own, *(place for place in shipped_places() if place.host not in self.endpoints))

    def current_claims(self, vendor: str, day: date) -> dict[Claim, date]:
        """What a vendor has attested as of a day, each with the last day on which that counts."""
        found: dict[Claim, date] = {}
        for one in self.vendors[vendor].attestations:
            if one.issued <= day <= one.expires:
                found |= {claim: max(one.expires, found.get(claim, one.expires)) for claim in one.covers}
        return found
