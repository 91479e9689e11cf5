"""May data of this class go to that endpoint? Judged from the file and the list of endpoints, before a byte leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from companyos.decision import Decision, Finding, Severity
from companyos.jurisdictions import jurisdiction_of, table_digest
from companyos.llm.residency.endpoints import BadEndpointError, find_place, imitated, parse_endpoint, shipped_places
from companyos.llm.residency.policy import CLAIMS, DataClass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from companyos.llm.residency.endpoints import Endpoint
    from companyos.llm.residency.policy import ResidencyPolicy, Vendor

__all__ = ("RULES", "UNLABELLED", "judge_flags", "judge_redirect", "judge_request", "judge_vendor", "where")

ID = "LLM-RESIDENCY"
RULES = {
    f"{ID}.vendor-unknown": "The vendor is not in the residency file.",
    f"{ID}.endpoint-invalid": "The endpoint is no https URL of a plainly written host.",
    f"{ID}.endpoint-lookalike": "The host is not listed, and would be taken for one that is.",
    f"{ID}.endpoint-mismatch": "The call goes to another host or port than the file has for the vendor.",
    f"{ID}.endpoint-unlisted": "Nobody has said where that host processes data.",
    f"{ID}.place-unknown": "The endpoint may process data anywhere, or where it does is not known.",
    f"{ID}.region-contradicted": "The declared region is not where the endpoint is.",
    f"{ID}.outside": "The endpoint processes data outside the jurisdictions that are allowed.",
    f"{ID}.retention": "The vendor keeps prompts or answers.",
    f"{ID}.training": "The vendor may train on prompts or answers.",
    f"{ID}.vendor-logging": "The vendor logs prompts or answers.",
    f"{ID}.compliance": "The vendor's contract does not name a rule that it has to.",
    f"{ID}.attestation-expired": "What the vendor confirmed in writing no longer counts.",
    f"{ID}.data-class": "Data of that class may not go there, or its class is not known.",
    f"{ID}.redirect": "The endpoint sends the request on to another host.",
    f"{ID}.not-enforced": "The file says that violations are let through, not told of, or not recorded.",
}
UNLABELLED: DataClass = "pii"
"""What data count as of which nobody says the class: the strictest class that a vendor may be shown."""
_CLASSES: tuple[str, ...] = get_args(DataClass)
_NEVER = frozenset({"restricted", "secret"})
"""Classes that no vendor is shown."""
_PLACE = frozenset({f"{ID}.outside", f"{ID}.place-unknown"})
"""What `block_non_eu_requests: false` lets through, except for data about persons."""
_SETTINGS = (("data_retention", True, "retention"), ("training_data_opt_out", False, "training"))


def judge_request(policy: ResidencyPolicy, *, provider: str, endpoint: str, data_class: str, day: date) -> Decision:
    """Whether a request with data of `data_class` may go to `endpoint` of `provider` on that day (UTC).

    Undetermined where nothing speaks against it, but the vendor has not attested what cannot be seen from outside.
    """
    vendor = policy.vendors.get(provider)
    if vendor is None:
        known = ", ".join(sorted(policy.vendors))
        found = [_finding("vendor-unknown", f"{provider!r} is not in the residency file", f"known are: {known}")]
    else:
        found = [
            *_of_endpoint(policy, vendor, endpoint),
            *_of_vendor(policy, provider, day),
            *_of_class(vendor, endpoint, data_class),
        ]
    return _answer(policy, found, provider, day, _facts(policy, provider, endpoint, data_class))


def judge_vendor(policy: ResidencyPolicy, provider: str, day: date) -> Decision:
    """Whether a vendor of the file may be sent ordinary company data at its own endpoint."""
    vendor = policy.vendors[provider]
    return judge_request(policy, provider=provider, endpoint=vendor.endpoint, data_class="sensitive", day=day)


def judge_redirect(policy: ResidencyPolicy, *, provider: str, endpoint: str, location: str) -> Decision:
    """Whether a redirect may be followed: only one that stays at the very same scheme, host and port."""
    try:
        same = parse_endpoint(endpoint) == parse_endpoint(location)
    except BadEndpointError:
        same = False
    if same:
        return Decision.allowed(f"{ID}.held", "the redirect stays at the host")
    found = _finding(
        "redirect", f"{provider} sends the request on to another host", "ask the vendor; list the new host"
    )
    return Decision.denied(found.rule, found.message, findings=[found], facts={"vendors": sorted(policy.vendors)})


def judge_flags(policy: ResidencyPolicy) -> Decision:
    """Whether the file has violations refused, told of and recorded."""
    flags = policy.enforcement
    names = ("block_non_eu_requests", "alert_on_violation", "log_all_requests")
    findings = [
        _finding("not-enforced", f"{name} is false", "set it to true") for name in names if not getattr(flags, name)
    ]
    if not findings:
        return Decision.allowed(f"{ID}.held")
    return Decision.denied(findings[0].rule, "; ".join(one.message for one in findings), findings=findings)


def where(policy: ResidencyPolicy, endpoint: str) -> tuple[str | None, frozenset[str]]:
    """The region of an endpoint, and every jurisdiction it may process in; nothing where that is not known."""
    try:
        found = parse_endpoint(endpoint)
    except BadEndpointError:
        return None, frozenset()
    if found.stays_here:
        return "this machine", frozenset()
    place = find_place(found.host, policy.places)
    return (None, frozenset()) if place is None else (place.region_of(found.host), place.jurisdictions(found.host))


def _of_endpoint(policy: ResidencyPolicy, vendor: Vendor, url: str) -> Iterator[Finding]:
    try:
        asked = parse_endpoint(url)
        agreed = parse_endpoint(vendor.endpoint)
    except BadEndpointError as error:
        yield _finding("endpoint-invalid", str(error), "write https://host/path as the vendor documents it")
        return
    if (asked.host, asked.port) != (agreed.host, agreed.port):
        yield _finding("endpoint-mismatch", f"{asked.host}:{asked.port} is not {agreed.host}:{agreed.port}", None)
    if asked.stays_here:
        return
    if vendor.is_on_premise and find_place(asked.host, shipped_places()) is not None:
        yield _finding("region-contradicted", f"{asked.host} is a vendor's host, and not the company's own", None)
        return
    if vendor.is_on_premise and vendor.country is not None:
        yield from _outside(policy, frozenset({str(jurisdiction_of(vendor.country))}), asked)
        return
    place = find_place(asked.host, policy.places)
    if place is None:
        yield _unlisted(policy, asked)
        return
    found = place.jurisdictions(asked.host)
    if not found:
        yield _finding("place-unknown", f"where {asked.host} processes data is not known", "use a regional endpoint")
        return
    declared = jurisdiction_of(vendor.region)
    if declared not in found:
        actual = ", ".join(sorted(found))
        yield _finding("region-contradicted", f"declared is {vendor.region}, {asked.host} is in {actual}", None)
    yield from _outside(policy, found, asked)


def _unlisted(policy: ResidencyPolicy, asked: Endpoint) -> Finding:
    like = imitated(asked.host, [place.host for place in policy.places])
    if like is not None:
        return _finding("endpoint-lookalike", f"{asked.host} is not {like}", "check who owns that name")
    hint = "add it under endpoints, with the source that says where it is"
    return _finding("endpoint-unlisted", f"nobody has said where {asked.host} processes data", hint)


def _outside(policy: ResidencyPolicy, found: frozenset[str], asked: Endpoint) -> Iterator[Finding]:
    beyond = sorted(found - set(policy.enforcement.jurisdictions))
    if beyond:
        allowed = ", ".join(policy.enforcement.jurisdictions)
        yield _finding("outside", f"{asked.host} may process data in {', '.join(beyond)}; allowed are {allowed}", None)


def _of_vendor(policy: ResidencyPolicy, name: str, day: date) -> Iterator[Finding]:
    vendor = policy.vendors[name]
    missing = sorted(set(policy.enforcement.compliance) - set(vendor.compliance))
    if vendor.is_on_premise:
        return
    for field, bad, rule in _SETTINGS:
        if getattr(vendor, field) is bad:
            yield _finding(rule, f"{name}: {field} is {str(bad).lower()}", "have it changed, and attested")
    if vendor.logging_enabled:
        yield _finding("vendor-logging", f"{name}: logging_enabled is true", "have it changed, and attested")
    if missing:
        yield _finding("compliance", f"{name} does not name {', '.join(missing)}", None)
    current = policy.current_claims(name, day)
    for claim in CLAIMS:
        past = [it.expires for it in vendor.attestations if claim in it.covers and it.expires < day]
        if claim not in current and past:
            hint = "ask the vendor for a new one"
            yield _finding("attestation-expired", f"{name}: the word on {claim} expired on {max(past)}", hint)


def _of_class(vendor: Vendor, url: str, data_class: str) -> Iterator[Finding]:
    if data_class not in _CLASSES:
        known = ", ".join(_CLASSES)
        yield _finding("data-class", f"{data_class!r} is no class of data", f"known are: {known}")
        return
    try:
        stays = parse_endpoint(url).stays_here
    except BadEndpointError:
        stays = False
    if data_class in _NEVER and not (vendor.is_on_premise and stays):
        yield _finding("data-class", f"{data_class} data is shown to no vendor", "leave it out, or ask a local model")


def _facts(policy: ResidencyPolicy, provider: str, endpoint: str, data_class: str) -> dict[str, Any]:
    region, jurisdictions = where(policy, endpoint)
    return {
        "provider": provider,
        "endpoint": endpoint.partition("?")[0][:200],
        "region": region,
        "jurisdictions": sorted(jurisdictions),
        "data_class": data_class,
        "table": table_digest(),
    }


def _answer(policy: ResidencyPolicy, found: list[Finding], provider: str, day: date, facts: dict[str, Any]) -> Decision:
    data_class = facts["data_class"]
    passing = not policy.enforcement.block_non_eu_requests and data_class != "pii"
    stopping = [one for one in found if not (passing and one.rule in _PLACE)]
    if stopping:
        message = "; ".join(one.message for one in stopping)
        return Decision.denied(stopping[0].rule, message, findings=found, facts=facts)
    current = policy.current_claims(provider, day)
    lacking = [] if policy.vendors[provider].is_on_premise else [claim for claim in CLAIMS if claim not in current]
    if lacking:
        message = f"{provider} has not attested {', '.join(lacking)}; it cannot be seen from outside"
        return Decision.undetermined(f"{ID}.unattested", message, findings=found, facts=facts)
    return Decision.allowed(f"{ID}.held", "", findings=found, facts=facts)


def _finding(rule: str, message: str, hint: str | None) -> Finding:
    return Finding(f"{ID}.{rule}", message, Severity.CRITICAL, hint=hint)
