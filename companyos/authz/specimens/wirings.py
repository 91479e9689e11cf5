"""Handlers and enforcement with planted faults, and look-alikes without one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.authz.enforcement import with_obligations
from companyos.authz.interface import Phase, StaleDecisionError
from companyos.authz.obligations import (
    JsonLines,
    JsonText,
    LogEvent,
    MaskFields,
    Notification,
    RequireApproval,
    RequireMfa,
    SessionTermination,
    StepUp,
    mask,
)
from companyos.authz.specimens._trial import Wiring
from companyos.authz.uses import Uses
from companyos.controls import Specimen
from companyos.decision import Decision, Obligation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from companyos.ports import ObligationHandler

__all__ = ("wirings",)

_BUILT_IN: tuple[ObligationHandler, ...] = (LogEvent(), MaskFields(), RequireApproval(), RequireMfa())


@dataclass(frozen=True, slots=True)
class _Handler:
    """A handler made of a function."""

    obligation: str
    work: Callable[[Obligation, Any, Mapping[str, Any]], Any]
    phase: Phase = Phase.BEFORE
    types: tuple[str, ...] = ("step-up", "notification", "session_termination", "custom")

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """Do what the function does."""
        return self.work(obligation, value, context)


def wirings() -> tuple[Specimen, ...]:
    """The specimens of the control."""
    return (*_clean(), *_missing(), *_maskers(), *_gates(), *_loggers(), *_enforcers())


def _with(*handlers: ObligationHandler) -> tuple[ObligationHandler, ...]:
    """The built-in handlers, with others in the place of those of the same obligation."""
    taken = {handler.obligation for handler in handlers}
    return (*(handler for handler in _BUILT_IN if handler.obligation not in taken), *handlers)


def _specimen(
    name: str, rule: str | None, *handlers: ObligationHandler, enforce: Callable[..., Any] = with_obligations
) -> Specimen:
    wiring = Wiring(_with(*handlers), enforce)

    def build(_: Path) -> Wiring:
        return wiring

    return Specimen(name, build, rule)


def _clean() -> tuple[Specimen, ...]:
    inner, log = MaskFields(), LogEvent()
    masks = _Handler("mask_fields", inner.discharge, Phase.AFTER, ("custom",))
    logs = _Handler("log_event", log.discharge, types=("notification", "custom"))
    more = (StepUp(), SessionTermination(lambda subject, _: bool(subject)))
    uses = Uses(30)

    def enforce(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
        return with_obligations(guarded, decision, uses=uses, **options)

    return (
        _specimen("the built-in handlers", None),
        _specimen("a handler that leaves its work to the built-in one", None, masks, logs),
        _specimen("more handlers than the playbook needs", None, *more),
        _specimen("an approval that is verified", None, RequireApproval(lambda ticket, _: ticket == "CHG-7")),
        _specimen("a challenge that nobody answers", None, RequireMfa(lambda _: False)),
        _specimen("a memory of uses of its own", None, enforce=enforce),
    )


def _missing() -> tuple[Specimen, ...]:
    def without(name: str) -> Specimen:
        wiring = Wiring(tuple(handler for handler in _BUILT_IN if handler.obligation != name))
        return Specimen(f"no handler for {name}", lambda _: wiring, "obligation.missing")

    misspelt = Wiring((*_BUILT_IN[:1], *_BUILT_IN[2:], _Handler("mask-fields", MaskFields().discharge, Phase.AFTER)))
    return (
        *(without(handler.obligation) for handler in _BUILT_IN),
        Specimen("a handler for mask-fields", lambda _: misspelt, "obligation.missing"),
        _specimen(
            "notifications that go wherever they are told to",
            "obligation.unhandled",
            _Handler("notification", lambda _, value, __: value),
        ),
        _specimen(
            "a watermark that is only said to be there",
            "obligation.unhandled",
            _Handler("watermark", lambda _, value, __: value),
        ),
        _specimen(
            "a notification to a destination that was never declared",
            "obligation.unhandled",
            Notification(lambda *_: True, destinations=["x"]),
        ),
        *(
            _specimen(f"{handler.obligation} of any type", "obligation.type", _untyped(handler))
            for handler in _BUILT_IN
        ),
    )


def _untyped(handler: ObligationHandler) -> _Handler:
    return _Handler(handler.obligation, handler.discharge, getattr(handler, "phase", Phase.AFTER))


def _mask_by(name: str, rule: str, work: Callable[[Any], Any]) -> Specimen:
    def discharge(obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        MaskFields().discharge(obligation, {}, context)  # what cannot be read is refused as ever
        return work(value)

    return _specimen(name, rule, _Handler("mask_fields", discharge, Phase.AFTER, ("custom",)))


def _right(value: Any) -> Any:
    return MaskFields().discharge(Obligation("mask_fields", properties={"fields": ["iban"]}), value, {})


def _maskers() -> tuple[Specimen, ...]:
    out, kept = "obligation.masked", "obligation.kept"
    first = re.compile(r'("iban"\s*:\s*)"[^"]*"')

    def sub(count: int) -> Callable[[Any], Any]:
        return lambda it: JsonText(first.sub(r'\1"***"', it.text, count=count)) if _is(it, JsonText) else _right(it)

    def anew(text: str) -> str:
        return json.dumps(mask(json.loads(text), ["iban"]), separators=(",", ":"))

    def by_line(it: Any) -> Any:
        return JsonLines([first.sub(r'\1"***"', _text(chunk)) for chunk in it]) if _is(it, JsonLines) else _right(it)

    return (
        _mask_by("a mask that only says so", out, lambda it: it),
        _mask_by("a mask of the top level", out, lambda it: it | {"iban": 0} if _is(it, dict) and "iban" in it else it),
        _mask_by("a mask that passes lists by", out, lambda it: it if _is(it, list) else _right(it)),
        _mask_by("a mask that passes tuples by", out, lambda it: it if _is(it, tuple) else _right(it)),
        _mask_by("a mask of one letter case", out, lambda it: it if _is(it, dict) and "IBAN" in it else _right(it)),
        _mask_by("a mask that passes models by", out, lambda it: it if hasattr(it, "iban") else _right(it)),
        _mask_by("a mask that forgets an alias", out, _alias_forgotten),
        _mask_by("a mask that keeps what a property remembers", out, lambda it: _with_memory(it, "__dict__")),
        _mask_by("a mask that keeps private attributes", out, lambda it: _with_memory(it, "__pydantic_private__")),
        _mask_by("a mask that lets a model tell", out, lambda it: it if hasattr(it, "tell") else _right(it)),
        _mask_by("a mask that passes members by", out, lambda it: it if "_Member" in repr(it) else _right(it)),
        _mask_by("a mask that passes keys by", out, lambda it: it if "[{<_Member" in repr(it) else _right(it)),
        _mask_by("a mask that passes JSON text by", out, lambda it: it if _is(it, JsonText) else _right(it)),
        _mask_by("a mask of one of two equal keys", out, sub(1)),
        _mask_by("a mask that reads no escaped key", out, sub(0)),
        _mask_by("a mask that passes streams by", out, lambda it: it if _is(it, JsonLines) else _right(it)),
        _mask_by("a mask of pieces, not of lines", out, by_line),
        _mask_by("a mask that hides everything", kept, lambda _: None),
        _mask_by("a mask of names that begin so", kept, lambda it: _renamed(it, "ibanity")),
        _mask_by("a mask that drops the rest", kept, lambda it: {} if _is(it, dict) else _right(it)),
        _mask_by(
            "a mask that rounds numbers", kept, lambda it: JsonText(anew(it.text)) if _is(it, JsonText) else _right(it)
        ),
        _mask_by("a mask that ends streams", kept, lambda it: JsonLines([]) if _is(it, JsonLines) else _right(it)),
    )


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind)


def _text(chunk: Any) -> str:
    return chunk if isinstance(chunk, str) else bytes(chunk).decode()


def _alias_forgotten(value: Any) -> Any:
    masked = _right(value)
    return masked.model_copy(update={"account": value.account}) if hasattr(value, "account") else masked


def _with_memory(value: Any, place: str) -> Any:
    """The masked model, with what the model itself holds beside its fields."""
    masked = _right(value)
    if hasattr(value, "title"):
        memory = getattr(value, place)
        kept = {name: item for name, item in memory.items() if name not in type(value).model_fields}
        object.__setattr__(masked, place, {**getattr(masked, place), **kept})
    return masked


def _renamed(value: Any, name: str) -> Any:
    return mask(value, ["iban", name]) if isinstance(value, dict) else _right(value)


def _gates() -> tuple[Specimen, ...]:
    factor, ticket, order = "obligation.step_up", "obligation.approval", "obligation.order"
    strength: Callable[[Mapping[str, Any]], Any] = lambda context: context.get("auth_strength")  # noqa: E731
    mfa = {
        "always enough": lambda _: True,
        "never enough": lambda _: False,
        "any strength at all": lambda context: bool(strength(context)),
        "anything that names it": lambda context: "mfa" in str(strength(context)),
        "a password": lambda context: strength(context) in {"password", "mfa", "aal2", "phr"},
        "a number that is high enough": lambda context: strength(context) in (2, "mfa", "aal2", "phr"),
    }
    tickets: dict[str, Callable[[Any, Any], bool]] = {
        "none at all": lambda _judged, _stated: True,
        "anything that is there": lambda judged, _stated: judged is not None,
        "blanks": lambda judged, stated: isinstance(judged, str) and stated in {None, judged},
        "a number": lambda judged, stated: bool(judged) and judged != " " and stated in {None, judged},
        "another one than was decided on": lambda judged, _stated: isinstance(judged, str) and judged.isprintable(),
    }
    return (
        *(_specimen(f"a second factor is {name}", factor, _gate("require_mfa", test)) for name, test in mfa.items()),
        *(_specimen(f"a ticket may be {name}", ticket, _ticket(test)) for name, test in tickets.items()),
        _specimen("a second factor after the call", order, _late(RequireMfa())),
        _specimen("an approval after the call", order, _late(RequireApproval())),
        _specimen("an event after the call", order, _late(LogEvent())),
    )


def _gate(name: str, passes: Callable[[Mapping[str, Any]], bool]) -> _Handler:
    def discharge(_: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        if not passes(context):
            raise PermissionError("not enough")
        return value

    return _Handler(name, discharge, types=("step-up", "custom"))


def _ticket(passes: Callable[[Any, Any], bool]) -> _Handler:
    def discharge(obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        if not passes(obligation.properties.get("approval_ticket"), context.get("approval_ticket")):
            raise PermissionError("no ticket")
        return value

    return _Handler("require_approval", discharge, types=("custom",))


def _late(handler: ObligationHandler) -> _Handler:
    return replace(_untyped(handler), phase=Phase.AFTER)


def _loggers() -> tuple[Specimen, ...]:
    def entry(data: Callable[[Obligation, Mapping[str, Any]], Mapping[str, Any]]) -> _Handler:
        def discharge(obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
            context["ledger"].append("companyos.authz.event", data(obligation, context))
            return value

        return _Handler("log_event", discharge, types=("notification", "custom"))

    def elsewhere(obligation: Obligation, value: Any, _: Mapping[str, Any]) -> Any:
        json.dumps(dict(obligation.properties))  # made, and thrown away
        return value

    rule = "obligation.logged"
    events = {
        "without what happened": lambda _, context: {"decision_id": context["decision"].audit_id},
        "without its decision": lambda obligation, _: dict(obligation.properties),
        "of another decision": lambda obligation, _: {"decision_id": "another", **obligation.properties},
    }
    return (
        _specimen("an event that is only said to be logged", rule, _Handler("log_event", lambda _, value, __: value)),
        _specimen("an event that is written nowhere", rule, _Handler("log_event", elsewhere)),
        *(_specimen(f"an event {name}", rule, entry(data)) for name, data in events.items()),
        _specimen("an event that comes late", rule, _late(LogEvent())),
    )


class _Deaf:
    """A ledger that takes nothing, or not everything, and says it did."""

    def __init__(self, ledger: Any, keeps: Callable[[str, Mapping[str, Any]], bool]) -> None:
        self._ledger = ledger
        self._keeps = keeps

    def append(self, kind: str, data: Mapping[str, Any], **options: Any) -> Any:
        """Pass on what is kept."""
        return self._ledger.append(kind, data, **options) if self._keeps(kind, data) else None


def _recording(keeps: Callable[[str, Mapping[str, Any]], bool]) -> Callable[..., Any]:
    def enforce(guarded: Callable[[], Any], decision: Decision, *, ledger: Any, **options: Any) -> Any:
        deaf: Any = _Deaf(ledger, keeps)
        return with_obligations(guarded, decision, ledger=deaf, **options)

    return enforce


def _judging(change: Callable[[Decision], Decision]) -> Callable[..., Any]:
    """An enforcement that takes a decision for another one."""

    def enforce(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
        return with_obligations(guarded, change(decision), **options)

    return enforce


def _tolerant(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
    """Makes the call whatever the enforcement says."""
    try:
        return with_obligations(guarded, decision, **options)
    except Exception:  # noqa: BLE001 - the planted fault
        return guarded()


def _eager(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
    """Makes the call first, and asks then."""
    result = guarded()
    return with_obligations(lambda: result, decision, **options)


def _raw(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
    """Carries everything out, on a copy, and gives back the result as it was."""
    kept: list[Any] = []

    def keep() -> Any:
        kept.append(guarded())
        return kept[0]

    try:
        with_obligations(keep, decision, **options)
    except Exception:
        if not kept:
            raise
    return kept[0]


def _deny_only(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
    """Carries nothing out where the decision denies."""
    return with_obligations(guarded, decision if decision.allow else replace(decision, obligations=()), **options)


def _first_only(guarded: Callable[[], Any], decision: Decision, *, handlers: Any, **options: Any) -> Any:
    """Stops at the first obligation that nobody carries out."""
    known = {handler.obligation for handler in handlers}
    strangers = [item for item in decision.obligations if item.id not in known]
    kept = strangers[:1] or decision.obligations
    return with_obligations(guarded, replace(decision, obligations=tuple(kept)), handlers=handlers, **options)


def _known_only(guarded: Callable[[], Any], decision: Decision, *, handlers: Any, **options: Any) -> Any:
    """Leaves out what nobody carries out."""
    known = {handler.obligation for handler in handlers}
    kept = tuple(item for item in decision.obligations if item.id in known)
    return with_obligations(guarded, replace(decision, obligations=kept), handlers=handlers, **options)


def _retyped(decision: Decision) -> Decision:
    kinds = {"log_event": "notification", "require_mfa": "step-up"}
    items = (replace(item, type=kinds.get(item.id, "custom")) for item in decision.obligations)
    return replace(decision, obligations=tuple(items))


def _enforcers() -> tuple[Specimen, ...]:
    def now(decision: Decision) -> Decision:
        return replace(decision, decided_at=datetime.now(UTC))

    def renamed(decision: Decision) -> Decision:
        return replace(now(decision), audit_id=f"{decision.audit_id}+{id(decision)}+{datetime.now(UTC).timestamp()}")

    planted: tuple[tuple[str, str, Callable[..., Any]], ...] = (
        ("a call made whatever comes of it", "obligation.unhandled", _tolerant),
        ("a call under what nobody carries out", "obligation.unhandled", _known_only),
        ("a call made before it is asked about", "obligation.order", _eager),
        ("a result that leaves as it was", "obligation.order", _raw),
        ("a result that leaves unmasked", "obligation.masked", _raw),
        ("a type that is set right", "obligation.type", _judging(_retyped)),
        ("no receipts", "obligation.receipt", _recording(lambda *_: False)),
        ("receipts of successes only", "obligation.receipt", _recording(lambda _, it: it.get("outcome") != "refused")),
        ("no word of calls that fail", "obligation.receipt", _recording(lambda _, it: it.get("outcome") != "failed")),
        ("events without receipts", "obligation.receipt", _recording(lambda _, it: "obligation" not in it)),
        ("receipts of masks only", "obligation.receipt", _recording(lambda _, it: "event" not in str(it))),
        ("a call whatever is decided", "obligation.denied", _tolerant),
        ("a denial taken for an allow", "obligation.denied", _judging(_allowing)),
        ("a decision that is not on record", "obligation.denied", _judging(_recorded)),
        ("a denial that obliges to nothing", "obligation.denied", _deny_only),
        ("a stop at what nobody carries out", "obligation.denied", _first_only),
        ("no memory of uses", "obligation.once", _forgetful),
        ("an age that is never too high", "obligation.once", _judging(now)),
        ("a memory of names that change", "obligation.once", _judging(renamed)),
        ("a second try after a failure", "obligation.once", _retrying()),
        ("an age of a week", "obligation.once", _aged(Uses(7 * 86_400))),
    )
    return tuple(_specimen(name, rule, enforce=enforce) for name, rule, enforce in planted)


def _allowing(decision: Decision) -> Decision:
    return decision if decision.allow else replace(Decision.allowed(decision.reason), audit_id=decision.audit_id)


def _recorded(decision: Decision) -> Decision:
    return decision if decision.audit_id else decision.recorded(f"made-up-{id(decision)}-{datetime.now(UTC)}")


def _forgetful(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
    return with_obligations(guarded, decision, uses=Uses(), **options)


def _aged(uses: Uses) -> Callable[..., Any]:
    def enforce(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
        return with_obligations(guarded, decision, uses=uses, **options)

    return enforce


def _retrying() -> Callable[..., Any]:
    """Remembers a decision only where its call did not fail."""
    done: set[str | None] = set()

    def enforce(guarded: Callable[[], Any], decision: Decision, **options: Any) -> Any:
        if decision.audit_id in done:
            raise StaleDecisionError("the decision was used before")
        result = with_obligations(guarded, decision, uses=Uses(), **options)
        done.add(decision.audit_id)
        return result

    return enforce
