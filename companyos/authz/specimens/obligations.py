"""The control `AUTHZ-OBLIGATIONS`: handlers and enforcement are put on trial, and must keep every promise.

A handler says itself that it has done its duty. The control does not take its word: it plants a secret and looks at
what leaves, breaks the ledger, offers one factor where two are due, and uses a decision twice.
"""

from __future__ import annotations

import enum
import json
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, computed_field, field_serializer

from companyos.authz.derived import MULTI_FACTOR_ACR
from companyos.authz.obligations.mask_lines import JsonLines
from companyos.authz.obligations.mask_text import JsonText
from companyos.authz.specimens._trial import CALLED, Outcome, Wiring, allowed, attempt
from companyos.controls import Control
from companyos.decision import Decision, Finding, Obligation, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("ID", "RULES", "Wiring", "check", "obligations_control")

ID = "AUTHZ-OBLIGATIONS"
RULES = {
    "obligation.missing": "Each obligation of the playbook has somebody who carries it out.",
    "obligation.unhandled": "What nobody can carry out refuses the call.",
    "obligation.type": "An obligation of a type that its handler does not take refuses the call.",
    "obligation.masked": "A field to be masked never leaves, whatever shape the result has.",
    "obligation.kept": "What is not to be masked leaves as it was.",
    "obligation.step_up": "Fewer factors than are demanded are refused, and enough of them are not.",
    "obligation.approval": "An approval that cannot be read, or is not the one decided on, is refused.",
    "obligation.logged": "What is to be logged is on record, with its decision, before it happens.",
    "obligation.order": "Nothing is called before what comes first, and nothing leaves before what comes last.",
    "obligation.receipt": "Whatever is carried out, refused or in vain is on record; without a record nothing leaves.",
    "obligation.denied": "Without an allow on record nothing is called, and what can be carried out still is.",
    "obligation.once": "An allow is for one call, now.",
}
SECRET = "DE02-S3CRET-0300"  # noqa: S105 - what no answer may hold
LOG = Obligation("log_event", "notification", {"to": "audit-log", "body": "a trial"})
MFA = Obligation("require_mfa", "step-up", {"acr_value": MULTI_FACTOR_ACR})
MASK = Obligation("mask_fields", "custom", {"fields": ["iban"]})
TICKET = Obligation("require_approval", "custom", {"approval_ticket": "CHG-7"})
_STRONG = {"auth_strength": "mfa"}
_REST = '"id":7,"ibanity":"kept","n":[1e400,-0.0,12345678901234567890123,1.10]'


class _Account(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: int = 7
    iban: str = SECRET
    account: str = Field(default=SECRET, serialization_alias="IBAN")
    ibanity: str = "kept"


class _Remembering(BaseModel):
    """A model that holds its secret twice more: as what a property remembers, and as a private attribute."""

    id: int = 7
    iban: str = SECRET
    ibanity: str = "kept"
    _first: str = PrivateAttr("")

    @computed_field  # type: ignore[prop-decorator] # as pydantic documents it
    @cached_property
    def title(self) -> str:
        """What is computed from the secret, once."""
        return f"account {self.iban}"

    def model_post_init(self, _: object) -> None:
        """Keep the secret in both places."""
        self._first = self.title


class _Telling(BaseModel):
    """A model that says itself what is shown of a field."""

    id: str = "7"
    iban: str = SECRET

    @field_serializer("id")
    def tell(self, _: str) -> str:
        """Another field than the one asked about."""
        return SECRET


class _Member(enum.Enum):
    ACCOUNT = {"iban": SECRET}  # noqa: RUF012 - a value with an inside is what is planted


def obligations_control() -> Control:
    """The proof that obligations are really carried out; what it checks is a `Wiring`."""
    from companyos.authz.specimens.wirings import wirings

    return Control(
        id=ID,
        title="Obligations that are forgotten, half done or only said to be done",
        check=check,
        rules=RULES,
        specimens=wirings(),
        docs="enforcement.md",
        subject="obligations",
    )


def check(wiring: Wiring) -> Decision:
    """Denied with every promise that handlers or enforcement do not keep."""
    found = {rule: message for probe in _PROBES for rule, message in probe(wiring)}
    if not found:
        return Decision.allowed(ID, "every obligation is carried out")
    findings = [Finding(rule, message, Severity.HIGH) for rule, message in sorted(found.items())]
    return Decision.denied(ID, "; ".join(finding.message for finding in findings), findings=findings)


def _probe_handlers(wiring: Wiring) -> Iterator[tuple[str, str]]:
    known = {handler.obligation for handler in wiring.handlers}
    for obligation in (LOG, MFA, MASK, TICKET):
        if obligation.id not in known:
            yield "obligation.missing", f"nobody carries out {obligation.id}"
    for stranger in (
        Obligation("watermark"),
        Obligation("obl-1", "notification", {"to": "x", "body": "x"}),
        Obligation("", "custom"),
    ):
        for together in ((stranger,), (LOG, stranger), (stranger, MASK)):
            if not attempt(wiring, allowed(*together)).refused:
                yield "obligation.unhandled", f"a call was made although nobody carries out {stranger.id!r}"
    for obligation, kind in ((MASK, "notification"), (LOG, "step-up"), (TICKET, "step-up"), (MFA, "notification")):
        for wrong in (kind, "teleport", "", obligation.type.upper()):
            if not attempt(wiring, allowed(replace(obligation, type=wrong)), context=_STRONG).refused:
                yield "obligation.type", f"{obligation.id} of the type {wrong!r} was accepted"


def _results() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Results that hold the secret, each in another place; the rest of each is to stay."""
    rest = {"id": 7, "ibanity": "kept"}
    yield "an object", lambda: {"iban": SECRET, **rest}
    yield "a nested object", lambda: {"a": {"b": {"iban": SECRET}}, **rest}
    yield "a list", lambda: [{"iban": SECRET, **rest}]
    yield "a list in an object", lambda: {"rows": [[{"iban": [SECRET]}]], **rest}
    yield "a tuple", lambda: ({"iban": {"is": SECRET}}, rest)
    yield "another letter case", lambda: {"IBAN": SECRET, **rest}
    yield "a dotted key", lambda: {"bank.iban": SECRET, **rest}
    yield "a wide spelling", lambda: {"\uff49\uff42\uff41\uff4e": SECRET, **rest}
    yield "a model", _Account
    yield "models in an object", lambda: {"rows": [_Account()], **rest}
    yield "an extra field of a model", lambda: _Account.model_validate({"more": {"iban": SECRET}})
    yield "a model that remembers", _Remembering
    for name, line in _lines():
        yield f"JSON text with {name}", partial(JsonText, line)
        yield f"streamed JSON with {name}", partial(JsonLines, [f"{line}\n", line])
    whole = f'{{"iban":"{SECRET}",{_REST}}}\n'.encode()
    yield "a stream cut in the secret", lambda: JsonLines([whole[:14], whole[14:], b'{"x":{"iban":"', f'{SECRET}"}}}}'])


def _insides() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Results that hold the secret where no mask can reach it; to be refused, or left without it."""
    yield "a model that says itself what is shown", _Telling
    yield "a member of an enumeration", lambda: {"kind": _Member.ACCOUNT}
    yield "a key of a mapping", lambda: [{_Member.ACCOUNT: 1}]


def _lines() -> Iterator[tuple[str, str]]:
    yield "one field", f'{{"iban":"{SECRET}",{_REST}}}'
    yield "the field twice", f'{{"iban":"x","iban":"{SECRET}",{_REST}}}'
    yield "the field twice, the other way round", f'{{"iban":"{SECRET}","iban":"x",{_REST}}}'
    yield "an escaped key", f'{{"ib\\u0061n":"{SECRET}",{_REST}}}'
    yield "the field within", f'{{"a":[{{"iban":{{"is":"{SECRET}"}}}}],{_REST}}}'
    yield "spaces", f'{{ "iban"\t: "{SECRET}" ,{_REST}}}'


def _probe_masks(wiring: Wiring) -> Iterator[tuple[str, str]]:
    for name, give in _results():
        outcome = attempt(wiring, allowed(MASK), give)
        shown = _shown(outcome.left)
        if SECRET in shown:
            yield "obligation.masked", f"the field left unmasked in {name}"
        if outcome.error is not None or "ibanity" not in shown or "kept" not in shown:
            yield "obligation.kept", f"what was not to be masked did not leave in {name}"
        elif "JSON" in name and _REST not in shown:
            yield "obligation.kept", f"what was not to be masked left changed in {name}"
    for name, give in _insides():
        if SECRET in _shown(attempt(wiring, allowed(MASK), give).left):
            yield "obligation.masked", f"the field left inside {name}"
    for fields in (None, [], "iban", [7], [" "]):
        outcome = attempt(wiring, allowed(replace(MASK, properties={"fields": fields})), lambda: {"iban": SECRET})
        if SECRET in _shown(outcome.left):
            yield "obligation.masked", "a result left under an obligation that cannot be read"


def _shown(left: Any) -> str:
    """All that a reader could see of what left."""
    if isinstance(left, JsonText):
        return left.text
    if isinstance(left, str):
        return left
    return json.dumps(left, default=_plain, ensure_ascii=False, skipkeys=True) + repr(left)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return [{**vars(value), **(value.model_extra or {})}, value.__pydantic_private__, value.model_dump()]
    return repr(value)


def _probe_step_up(wiring: Wiring) -> Iterator[tuple[str, str]]:
    for strength in (None, "", "password", "mfa-soon", "otp", "aal1", True, 2, ["mfa"]):
        if not attempt(wiring, allowed(MFA), context={"auth_strength": strength}).refused:
            yield "obligation.step_up", f"a strength of {strength!r} was enough"
    for strength in ("mfa", "aal2", "phr"):
        if attempt(wiring, allowed(MFA), context={"auth_strength": strength}).error is not None:
            yield "obligation.step_up", f"a strength of {strength!r} was not enough"


def _probe_approval(wiring: Wiring) -> Iterator[tuple[str, str]]:
    for judged, stated in (
        (None, None),
        ("", None),
        (" ", None),
        (7, None),
        (True, None),
        ("\u200b", None),
        ("CHG\u3164-7", None),
        ("CHG-7", "CHG-8"),
    ):
        obligation = replace(TICKET, properties={} if judged is None else {"approval_ticket": judged})
        if not attempt(wiring, allowed(obligation), context={"approval_ticket": stated}).refused:
            yield "obligation.approval", f"the ticket {judged!r} passed where {stated!r} was stated"


def _probe_log(wiring: Wiring) -> Iterator[tuple[str, str]]:
    decision = allowed(LOG)
    outcome = attempt(wiring, decision)
    before = outcome.entries[: _place_of_call(outcome)]
    events = [data for _, data in before if "obligation" not in data and data.get("decision_id") == decision.audit_id]
    if not any("trial" in json.dumps(event, default=repr) for event in events):
        yield "obligation.logged", "a call was made before its event was on record"


def _place_of_call(outcome: Outcome) -> int:
    places = [place for place, (kind, _) in enumerate(outcome.entries) if kind == CALLED]
    return places[0] if places else len(outcome.entries)


def _probe_order(wiring: Wiring) -> Iterator[tuple[str, str]]:
    for strength in ("password", None):
        if attempt(wiring, allowed(MASK, MFA), context={"auth_strength": strength}).calls:
            yield "obligation.order", "a call was made before a second factor was shown"
    if attempt(wiring, allowed(replace(TICKET, properties={}))).calls:
        yield "obligation.order", "a call was made before its approval was looked at"
    decision = allowed(LOG, MASK)
    outcome = attempt(wiring, decision, lambda: {"iban": SECRET})
    before = outcome.entries[: _place_of_call(outcome)]
    if not any(data.get("obligation", {}).get("id") == "log_event" for _, data in before):
        yield "obligation.order", "a call was made before its receipts were there"
    if attempt(wiring, allowed(MASK), object).left is not None:
        yield "obligation.order", "a result left although it could not be masked"


def _probe_receipts(wiring: Wiring) -> Iterator[tuple[str, str]]:
    done, refused = allowed(LOG, MASK), allowed(LOG, MFA)
    outcome = attempt(wiring, done, lambda: {"iban": SECRET})
    if sorted(outcome.receipts(done)) != [("log_event", "discharged"), ("mask_fields", "discharged")]:
        yield "obligation.receipt", "what was carried out is not on record"
    if ("require_mfa", "refused") not in attempt(wiring, refused).receipts(refused):
        yield "obligation.receipt", "what was refused is not on record"
    for obligations in ((MASK,), (LOG,), (LOG, MASK)):
        outcome = attempt(wiring, allowed(*obligations), lambda: {"iban": SECRET}, broken=True)
        if outcome.left is not None or (LOG in obligations and outcome.calls):
            yield "obligation.receipt", "something was called, or left, although nothing could be recorded"
    failing = allowed(LOG)
    outcome = attempt(wiring, failing, lambda: 1 // 0)
    after = outcome.entries[_place_of_call(outcome) + 1 :]
    if not any(data.get("outcome") == "failed" and data.get("decision_id") == failing.audit_id for _, data in after):
        yield "obligation.receipt", "a call that failed after something was carried out for it is not on record"


def _probe_denied(wiring: Wiring) -> Iterator[tuple[str, str]]:
    allow = allowed(LOG)
    for decision in (
        Decision.denied("policy.no", obligations=[LOG]).recorded("denied"),
        Decision.denied("policy.no"),
        Decision.undetermined("policy.unavailable").recorded("undetermined"),
        replace(allow, audit_id=None),
        replace(allow, audit_id=""),
    ):
        if not attempt(wiring, decision).refused:
            yield (
                "obligation.denied",
                f"a call was made under a decision that is {decision.verdict.value}, or unrecorded",
            )
    denied = Decision.denied("policy.no", obligations=[MFA, LOG]).recorded("denied-too")
    if ("log_event", "discharged") not in attempt(wiring, denied).receipts(denied):
        yield "obligation.denied", "what a denial obliges to was not carried out"
    for lacking in (MFA, Obligation("watermark"), replace(LOG, id="log_event ", type="custom")):
        decision = allowed(lacking, LOG)
        if ("log_event", "discharged") not in attempt(wiring, decision).receipts(decision):
            yield "obligation.denied", "where one obligation could not be carried out, another was forgotten"


def _probe_once(wiring: Wiring) -> Iterator[tuple[str, str]]:
    used = allowed()
    attempt(wiring, used)
    old = allowed()
    for name, decision in (
        ("used before", used),
        ("a copy of one used before", replace(used, message="a copy")),
        ("of yesterday", replace(old, decided_at=old.decided_at - timedelta(days=1))),
        ("of tomorrow", replace(old, decided_at=old.decided_at + timedelta(days=1))),
    ):
        if not attempt(wiring, decision).refused:
            yield "obligation.once", f"a call was made under a decision that is {name}"
    failed = allowed(LOG)
    attempt(wiring, failed, lambda: 1 // 0)
    if not attempt(wiring, failed).refused:
        yield "obligation.once", "a call was made twice, because the first one failed"


_PROBES = (
    _probe_handlers,
    _probe_masks,
    _probe_step_up,
    _probe_approval,
    _probe_log,
    _probe_order,
    _probe_receipts,
    _probe_denied,
    _probe_once,
)
