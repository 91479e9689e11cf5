"""What residency must refuse, and let through: files as companies write them, and requests that somebody makes."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - a field of a dataclass names it
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - a field of a dataclass names it
from typing import TYPE_CHECKING, Any

from companyos.controls import Specimen
from companyos.decision import combine
from companyos.llm.residency.guard import ResidencyGuard
from companyos.llm.residency.judging import judge_flags
from companyos.llm.residency.policy import ResidencyPolicy

if TYPE_CHECKING:
    from companyos.controls import Build
    from companyos.decision import Decision

__all__ = ("SPECIMENS", "ResidencyCase", "check_residency")

NOW = 1_772_452_800.0
"""2 March 2026, noon UTC."""
_URL = "https://api.eu.mistral.ai/v1"
_WORD = {"document": "DPA 7", "issued": "2026-01-01", "expires": "2026-12-31"}
_PAST = {"document": "DPA 6", "issued": "2025-01-01", "expires": "2026-03-01"}
_VENDOR: dict[str, Any] = {
    "region": "eu",
    "endpoint": _URL,
    "data_retention": False,
    "training_data_opt_out": True,
    "logging_enabled": False,
    "compliance": ["GDPR", "EU AI Act"],
    "attestations": [_WORD],
}
_LOCAL = _VENDOR | {"region": "on-premise", "endpoint": "http://localhost:8080", "data_retention": True}


@dataclass(frozen=True, slots=True)
class ResidencyCase:
    """A residency file, and a request by it."""

    file: Path
    """The file."""
    request: Mapping[str, Any]
    """`provider`, `endpoint` and `data_class` of the request."""
    redirect: str | None = None
    """Where the endpoint sends the request on to."""
    now: float = NOW
    """The moment, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a case differs from one in which all is well."""

    vendor: Mapping[str, Any] = field(default_factory=dict)
    enforcement: Mapping[str, Any] = field(default_factory=dict)
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    redirect: str | None = None
    base: Mapping[str, Any] = field(default_factory=lambda: _VENDOR)

    def build(self, scratch: Path) -> ResidencyCase:
        """Write the file; YAML is a superset of JSON."""
        vendor = {**self.base, **self.vendor}
        values = {"vendors": {"one": vendor}, "endpoints": self.endpoints, "enforcement": self.enforcement}
        file = scratch / "vendor_residency.yaml"
        file.write_text(json.dumps(values), encoding="utf-8")
        asked = {"provider": "one", "endpoint": vendor["endpoint"], "data_class": "pii", **self.request}
        return ResidencyCase(file, asked, self.redirect)


def check_residency(case: ResidencyCase) -> Decision:
    """Judge the flags of the file, the request, and where it is redirected to."""
    policy = ResidencyPolicy.load(case.file)
    guard = ResidencyGuard(policy, clock=lambda: case.now)
    parts = [judge_flags(policy), guard.check(**case.request)]
    if case.redirect is not None:
        asked = {key: case.request[key] for key in ("provider", "endpoint")}
        parts.append(guard.check_redirect(**asked, location=case.redirect))
    return combine(parts, reason=parts[1].reason)


def _bad(name: str, rule: str, **plan: Any) -> Specimen:
    return Specimen(name, _Plan(**plan).build, f"LLM-RESIDENCY.{rule}")


def _clean(name: str, **plan: Any) -> Specimen:
    build: Build = _Plan(**plan).build
    return Specimen(name, build)


def _at(url: str, region: str = "eu-central-1", **more: Any) -> dict[str, Any]:
    return {"endpoint": url, "region": region, **more}


_NOWHERE = _at("https://llm.acme.example/v1", "de")
_OWN = {"llm.acme.example": {"region": "de", "source": "contract 4711", "checked": "2026-02-01"}}

SPECIMENS = (
    _bad("a vendor nobody listed", "vendor-unknown", request={"provider": "two"}),
    _bad("a host like a listed one", "endpoint-lookalike", vendor=_at("https://api-eu.mistral.ai/v1")),
    _bad("a listed host before another domain", "endpoint-lookalike", vendor=_at("https://api.eu.mistral.ai.co/v1")),
    _bad("an own name in a domain of nobody's", "endpoint-unlisted", vendor=_NOWHERE),
    _bad("a Cyrillic letter in the host", "endpoint-invalid", request={"endpoint": "https://\u0430pi.eu.mistral.ai/v1"}),
    _bad("a host hidden behind a user", "endpoint-invalid", request={"endpoint": "https://api.eu.mistral.ai@evil.test"}),
    _bad("http over the network", "endpoint-invalid", request={"endpoint": "http://api.eu.mistral.ai/v1"}),
    _bad("a failover to another host of the vendor", "endpoint-mismatch", request={"endpoint": "https://api.us.mistral.ai"}),
    _bad("another port of the host", "endpoint-mismatch", request={"endpoint": "https://api.eu.mistral.ai:8443/v1"}),
    _bad("declared as Ireland, may be anywhere", "place-unknown", vendor=_at("https://api.openai.com/v1", "eu-west-1")),
    _bad("declared as Frankfurt, is in Virginia", "region-contradicted",
         vendor=_at("https://bedrock-runtime.us-east-1.amazonaws.com")),
    _bad("a vendor's host declared as the company's own", "region-contradicted", base=_LOCAL,
         vendor={"endpoint": _URL, "country": "de"}),
    _bad("declared and is in London", "outside",
         vendor=_at("https://bedrock-runtime.eu-west-2.amazonaws.com", "eu-west-2")),
    _bad("may process in Switzerland, which nobody allowed", "outside",
         vendor=_at("https://eu.api.openai.com/v1", "eu")),
    _bad("personal data to the US, where leaving is let through", "outside",
         vendor=_at("https://api.us.mistral.ai/v1", "us"), enforcement={"block_non_eu_requests": False}),
    _bad("the vendor keeps prompts", "retention", vendor={"data_retention": True}),
    _bad("the vendor may train", "training", vendor={"training_data_opt_out": False}),
    _bad("the vendor logs", "vendor-logging", vendor={"logging_enabled": True}),
    _bad("a contract without the GDPR", "compliance", vendor={"compliance": ["EU AI Act"]}),
    _bad("an attestation that ended yesterday", "attestation-expired", vendor={"attestations": [_PAST]}),
    _bad("one of four claims no longer attested", "attestation-expired",
         vendor={"attestations": [_PAST, _WORD | {"covers": ["region", "data_retention", "training_data_opt_out"]}]}),
    _bad("restricted data to a vendor", "data-class", request={"data_class": "restricted"}),
    _bad("a class of data that does not exist", "data-class", request={"data_class": "public-ish"}),
    _bad("a redirect to another host", "redirect", redirect="https://api.us.mistral.ai/v1"),
    _bad("a redirect to http", "redirect", redirect="http://api.eu.mistral.ai/v1"),
    _bad("blocking turned off", "not-enforced", enforcement={"block_non_eu_requests": False}),
    _bad("requests not recorded", "not-enforced", enforcement={"log_all_requests": False}),
    _clean("personal data to the vendor's European endpoint"),
    _clean("the same host, written otherwise", request={"endpoint": "https://API.eu.mistral.ai.:443/v1/chat"}),
    _clean("a redirect within the host", redirect="https://api.eu.mistral.ai/v2"),
    _clean("a region in the host's name", vendor=_at("https://bedrock-runtime.eu-central-1.amazonaws.com")),
    _clean("Switzerland allowed", vendor=_at("https://eu.api.openai.com/v1", "eu"),
           enforcement={"jurisdictions": ["eu", "eea", "ch"]}),
    _clean("an own endpoint with a source", vendor=_NOWHERE, endpoints=_OWN),
    _clean("restricted data to a model on this machine", base=_LOCAL, request={"data_class": "restricted"}),
    _clean("an expired attestation beside a new one", vendor={"attestations": [_PAST, _WORD]}),
)  # fmt: skip
