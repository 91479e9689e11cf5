"""The control `AUTHZ-PLAYBOOK`: requests that each policy must deny or oblige, and requests that none may touch.

Every rule of the built-in policies has a specimen that only this rule catches, so that a rule that is lost is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz.authorizer import evaluate
from companyos.authz.interface import RequestError
from companyos.authz.request import request_from_dict
from companyos.authz.specimens._case import case
from companyos.authz.specimens.tables import table_specimens
from companyos.controls import Control
from companyos.decision import Decision, Finding, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.controls import Specimen
    from companyos.ports import DecisionEngine

__all__ = ("ID", "playbook_control")

ID = "AUTHZ-PLAYBOOK"
RULES = {
    "request.invalid": "A request in a spelling that no policy would match is refused before any is asked.",
    "policy.default_deny": "What no policy allows is denied.",
    "policy.inactive_subject": "A subject that is not active may do nothing.",
    "policy.tenant": "A resource of another organisation is out of reach.",
    "policy.eu_residency": "Personal data neither lies in nor goes to a place outside the EU, or one nobody can name.",
    "policy.export_approval": "An export needs an approval ticket.",
    "policy.dlp_redaction": "Below the required clearance nothing but a masked read is allowed.",
    "lacks.require_approval": "A refused export says that an approval is what it lacks.",
    "obligation.log_event+require_approval.ticket": "An export is logged, and its ticket is passed on to be verified.",
    "obligation.require_mfa": "Deletion, transfer and highly sensitive resources ask for more than one factor.",
    "obligation.mask_fields": "Below the required clearance a read is masked.",
    "obligation.mask_fields.fields": "The fields a resource names are those that are masked.",
}


def playbook_control(engine: DecisionEngine | None = None) -> Control:
    """The proof of the playbook's policies, or of the policies of `engine` where these extend the playbook."""
    from companyos.authz.engines.rego import RegoEngine

    judged = engine or RegoEngine()

    def check(request: Mapping[str, Any]) -> Decision:
        return _check(judged, request)

    return Control(
        id=ID,
        title="Access that the playbook's policies must deny or oblige",
        check=check,
        rules=RULES,
        specimens=_specimens(),
        docs="authz.md",
        subject="access-request",
    )


def _check(engine: DecisionEngine, request: Mapping[str, Any]) -> Decision:
    """Denied with what the policies object to; allowed if that is nothing."""
    try:
        decision = evaluate(engine, request_from_dict(request))
    except RequestError as error:
        return Decision.denied(ID, error.what, findings=[_finding("request.invalid", error.what)])
    if decision.verdict is Verdict.UNDETERMINED:
        return decision
    findings = _obliged(decision) if decision.allow else _refused(decision)
    if not findings:
        return Decision.allowed(ID, "no policy objects")
    return Decision.denied(ID, "; ".join(finding.message for finding in findings), findings=findings)


def _refused(decision: Decision) -> list[Finding]:
    lacking = [_finding(f"lacks.{item.id}", f"{item.id} was not there") for item in decision.obligations]
    return [_finding(decision.reason, decision.message), *lacking]


def _obliged(decision: Decision) -> list[Finding]:
    """One finding for the whole set of obligations, so that one too many is noticed like one too few."""
    if not decision.obligations:
        return []
    named = any(item.properties.get("fields", ["*"]) != ["*"] for item in decision.obligations)
    ticket = any(item.properties.get("approval_ticket") == _TICKET["approval_ticket"] for item in decision.obligations)
    rule = "+".join(item.id for item in decision.obligations)
    rule += (".fields" if named else "") + (".ticket" if ticket else "")
    return [_finding(f"obligation.{rule}", f"{rule} must be carried out")]


def _finding(rule: str, message: str) -> Finding:
    return Finding(rule, message, Severity.HIGH)


_TICKET = {"approval_ticket": "CHG-7"}
_EXPORTED = "obligation.log_event+require_approval.ticket"
_MFA = {"auth_strength": "mfa"}


def _specimens() -> tuple[Specimen, ...]:
    return (*_spellings(), *_baseline(), *_residency(), *_exports(), *_step_up(), *_redaction(), *table_specimens())


def _spellings() -> tuple[Specimen, ...]:
    admin = {"roles": ["admin"]}
    actions = {"a capital": "Delete", "capitals": "EXPORT", "wide letters": "\uff44elete", "a filler": "delete\u3164"}
    ids = {"a zero-width space": "u\u200b-1", "a filler": "u\u3164-1", "wide letters": "\uff55-1"}
    rule = "request.invalid"
    names = {"a Cyrillic letter": "\u0430dmin", "a Greek letter": "r\u03bfot", "a small capital": "\u1d00dmin"}
    resources: dict[str, dict[str, Any]] = {
        "an id in wide letters": {"id": "\uff44-1"},
        "an id with a subscript": {"id": "d-\u2081"},
        "a type with a Cyrillic letter": {"type": "d\u043ecument"},
        "an owner with a Cyrillic letter": {"owner": "\u0430nn"},
        "a domain with a Cyrillic letter": {"domain": "specim\u0435ns"},
        "a look-alike of contains_pii": {"cont\u0430ins_pii": True, "region": "us-east-1"},
        "contains_pii with another hyphen": {"contains\u2010pii": True, "region": "us-east-1"},
        "required_clearance with a digit": {"required_c1earance": "high"},
    }
    one_script = {
        "Cyrillic": "\u0438\u0432\u0430\u043d",
        "Han": "\u5c71\u7530\u592a\u90ce",
        "Arabic": "\u0645\u062d\u0645\u062f",
        "Latin with an accent": "j\u00fcrgen",
        "Cyrillic before a Latin domain": "\u0438\u0432\u0430\u043d@example.com",
    }
    return (
        *(case(f"a subject's id with {it}", "read", subject={"id": name}, violates=rule) for it, name in names.items()),
        *(case(f"a resource with {it}", "read", resource=held, violates=rule) for it, held in resources.items()),
        case("a look-alike of status", "read", subject={"st\u03b1tus": "suspended"}, violates=rule),
        case("an action with a Cyrillic letter", "d\u0435lete", attributes=admin, violates=rule),
        *(case(f"names in {it}", "read", subject={"id": its}, resource={"id": its}) for it, its in one_script.items()),
        *(case(f"an action with {it}", action, attributes=admin, violates=rule) for it, action in actions.items()),
        *(case(f"a subject's id with {it}", "read", subject={"id": name}, violates=rule) for it, name in ids.items()),
    )


def _baseline() -> tuple[Specimen, ...]:
    deny, inactive, tenant = "policy.default_deny", "policy.inactive_subject", "policy.tenant"
    acme, other = {"org_id": "acme"}, {"org_id": "other"}
    return (
        case("an action nobody knows", "launch", violates=deny),
        case("a write to what somebody else owns", "write", resource={"owner": "u-2"}, violates=deny),
        case("an owner doing what nobody knows", "launch", resource={"owner": "u-1"}, violates=deny),
        case("a role that does not grant the action", "transfer", attributes={"roles": ["editor"]}, violates=deny),
        case("a suspended subject", "read", subject={"status": "suspended"}, violates=inactive),
        case("a resource of another organisation", "read", subject=other, resource=acme, violates=tenant),
        case("a subject without an organisation", "read", resource=acme, violates=tenant),
        case("an organisation attribute that differs", "read", attributes=other, resource=acme, violates=tenant),
        case(
            "an attribute against the subject's own organisation",
            "read",
            subject=other,
            attributes=acme,
            resource=acme,
            violates=tenant,
        ),
        case("a read without anything special", "read"),
        case("an active subject", "read", subject={"status": "active"}),
        case("the same organisation", "read", subject=acme, resource=acme),
        case("the same organisation as an attribute", "read", attributes=acme, resource=acme),
        case("the owner writes", "write", resource={"owner": "u-1"}),
        case("an editor writes", "write", attributes={"roles": ["editor"]}),
        case("an administrator does something special", "archive", attributes={"roles": ["admin"]}),
    )


def _residency() -> tuple[Specimen, ...]:
    rule = "policy.eu_residency"
    held: dict[str, dict[str, Any]] = {
        "in the US": {"region": "us-east-1", "contains_pii": True},
        "in London, named eu-west-2": {"region": "eu-west-2", "contains_pii": True},
        "in Zurich, named europe-west6": {"region": "europe-west6", "contains_pii": True},
        "in a region nobody knows": {"region": "eu-moon-1", "contains_pii": True},
        "on a machine of its own, somewhere": {"region": "on-premise", "contains_pii": True},
        "nobody says where": {"contains_pii": True},
        "in the US, by classification": {"region": "us-east-1", "classification": "PII"},
    }
    eu: dict[str, Any] = {"region": "eu-west-1", "contains_pii": True}
    us = {"destination_region": "us-west-2"}
    away = {"region": "eu", "contains_pii": True, "destination_region": "us-west-2"}
    only: dict[str, Any] = {"jurisdiction": "us", "contains_pii": True}
    outside: dict[str, dict[str, Any]] = {
        "one of two attributes": {"attributes": {"region": "eu", "jurisdiction": "us"}},
        "the other of two attributes": {"attributes": {"region": "us", "jurisdiction": "eu"}},
        "a region of its own": {"subject": {"region": "us"}},
        "a region beside its attributes": {"subject": {"region": "us"}, "attributes": {"region": "eu"}},
    }
    export: dict[str, Any] = {"resource": eu, "environment": _TICKET}
    planted = (
        *(case(f"personal data held {where}", "read", resource=it, violates=rule) for where, it in held.items()),
        case("personal data sent to the US", "export", resource=away, environment=_TICKET, violates=rule),
        case(
            "personal data exported by a subject in the US",
            "export",
            attributes={"region": "us"},
            resource=eu,
            environment=_TICKET,
            violates=rule,
        ),
        case("held in the EU and in the US at once", "read", resource={**eu, "jurisdiction": "us"}, violates=rule),
        case("held in the US by its jurisdiction", "read", resource=only, violates=rule),
        case("sent to the US by the environment", "export", resource=eu, environment={**_TICKET, **us}, violates=rule),
        case(
            "sent to the EU by the resource and to the US by the environment",
            "export",
            resource={**eu, "destination_region": "eu"},
            environment={**_TICKET, **us},
            violates=rule,
        ),
        case(
            "sent to the US by the resource and to the EU by the environment",
            "export",
            resource={**eu, **us},
            environment={**_TICKET, "destination_region": "eu"},
            violates=rule,
        ),
        *(
            case(f"exported by a subject in the US by {where}", "export", **who, **export, violates=rule)
            for where, who in outside.items()
        ),
    )
    return (*planted, *_residency_misnamed(eu), *_residency_kept(eu))


def _residency_misnamed(eu: dict[str, Any]) -> Iterator[Specimen]:
    """Regions outside the EU whose names begin as those within: a policy that compares beginnings lets them by."""
    parts: dict[str, Any] = {"environment": _TICKET, "violates": "policy.eu_residency"}
    for place, region in {"London": "eu-west-2", "Zurich": "europe-west6"}.items():
        sent = {**eu, "destination_region": region}
        stated = {**_TICKET, "destination_region": region}
        yield case(f"sent to {place}, named {region}", "export", resource=sent, **parts)
        yield case(f"stated to go to {place}", "export", resource=eu, **{**parts, "environment": stated})
        yield case(f"exported by a subject in {place}", "export", subject={"region": region}, resource=eu, **parts)


def _residency_kept(eu: dict[str, Any]) -> tuple[Specimen, ...]:
    fine: dict[str, dict[str, Any]] = {
        "personal data sent within the EU": {"resource": {**eu, "destination_region": "westeurope"}},
        "personal data exported by a subject in the EU": {"attributes": {"region": "eu"}, "resource": eu},
        "personal data exported by a subject of no stated region": {"resource": eu},
        "other data sent to the US": {"resource": {"destination_region": "us-west-2"}},
        "other data exported by a subject in the US": {"attributes": {"region": "us"}},
    }
    return (
        case("in the EU by region and jurisdiction", "read", resource={**eu, "jurisdiction": "no"}),
        case("in the EU by its jurisdiction", "read", resource={"jurisdiction": "eu", "contains_pii": True}),
        *(case(name, "export", environment=_TICKET, violates=_EXPORTED, **parts) for name, parts in fine.items()),
        case("personal data in the EU", "read", resource=eu),
        case("personal data in Frankfurt", "read", resource={"region": "europe-west3", "contains_pii": True}),
        case("personal data in Norway", "read", resource={"region": "norwayeast", "contains_pii": True}),
        case("personal data read from abroad", "read", attributes={"region": "us"}, resource=eu),
        case("no personal data in the US", "read", resource={"region": "us-east-1", "contains_pii": False}),
    )


def _exports() -> tuple[Specimen, ...]:
    bad = "request.invalid"
    return (
        case("an export without a ticket", "export", violates="policy.export_approval"),
        case(
            "an export with a blank ticket",
            "export",
            environment={"approval_ticket": "  "},
            violates="policy.export_approval",
        ),
        *(
            case(f"an export with a ticket of {what}", "export", environment={"approval_ticket": ticket}, violates=bad)
            for what, ticket in {"a zero-width space": "\u200b", "a filler": "\u3164", "control": "\x07"}.items()
        ),
        case("an export that lacks its approval", "export", violates="lacks.require_approval"),
        case("an approved export", "export", environment=_TICKET, violates=_EXPORTED),
    )


def _step_up() -> tuple[Specimen, ...]:
    rule = "obligation.require_mfa"
    own = {"owner": "u-1"}
    sensitive = {"sensitivity": "high"}
    return (
        case("a deletion with a password only", "delete", resource=own, violates=rule),
        case("a transfer with a password only", "transfer", resource=own, violates=rule),
        case("a sensitive resource with a password only", "read", resource=sensitive, violates=rule),
        case(
            "a strength nobody knows",
            "delete",
            resource=own,
            environment={"auth_strength": "mfa-soon"},
            violates=rule,
        ),
        case("a deletion with two factors", "delete", resource=own, environment=_MFA),
        case("a sensitive resource with two factors", "read", resource=sensitive, environment=_MFA),
    )


def _redaction() -> tuple[Specimen, ...]:
    rule, named, denied = "obligation.mask_fields", "obligation.mask_fields.fields", "policy.dlp_redaction"
    medium, low = {"clearance": "medium"}, {"clearance": "low"}
    high_needed = {"required_clearance": "high", "owner": "u-1"}
    return (
        # "medium" > "high" and "low" > "high" as text: a policy that compares words lets these through.
        case("medium against high", "read", attributes=medium, resource=high_needed, violates=rule),
        case("low against high", "read", attributes=low, resource=high_needed, violates=rule),
        case("no clearance against low", "read", resource={"required_clearance": "low"}, violates=rule),
        case("a clearance nobody knows", "read", attributes={"clearance": "zz"}, resource=high_needed, violates=rule),
        case(
            "a requirement nobody knows",
            "read",
            attributes={"clearance": "top"},
            resource={"required_clearance": "ultra"},
            violates=rule,
        ),
        case(
            "the fields that the resource names",
            "read",
            attributes=low,
            resource={**high_needed, "masked_fields": ["iban"]},
            violates=named,
        ),
        case(
            "a resource that names no fields",
            "read",
            attributes=low,
            resource={**high_needed, "masked_fields": []},
            violates=rule,
        ),
        case("a write below the clearance", "write", attributes=low, resource=high_needed, violates=denied),
        case(
            "high against medium", "read", attributes={"clearance": "high"}, resource={"required_clearance": "medium"}
        ),
        case("high against high", "write", attributes={"clearance": "high"}, resource=high_needed),
        case("a rank against a word", "read", attributes={"clearance": 3}, resource=high_needed),
    )
