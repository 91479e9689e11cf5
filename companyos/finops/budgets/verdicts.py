"""What is to be said of a budget: no room, a model not allowed, an alert, a cap that will be reached too soon."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from companyos.decision import Decision, Finding, Obligation, Severity
from companyos.finops.budgets.units import shown
from companyos.finops.budgets.windows import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.finops.budgets.interface import Charge, Level
    from companyos.finops.budgets.policy import BudgetPolicy

__all__ = (
    "RULES",
    "WARNED_SECONDS",
    "assess",
    "crossed",
    "foreseen",
    "model_refusal",
    "no_room",
    "percent_of",
    "warnings",
)

RULES = {
    "BUDGET-CAP.no-room": "A reservation would take spent and reserved together over a cap.",
    "BUDGET-CAP.model": "The phase in force does not allow the provider or the model.",
    "BUDGET-CAP.exhausted": "A cap is used up, so pipelines that are not critical are blocked.",
    "BUDGET-CAP.settled-twice": "A reservation is settled again otherwise, refunded after it, or used when over.",
    "BUDGET-CAP.store-lost": "The store was deleted, emptied, or put back from an older copy.",
}
"""What is refused. Notices (`BUDGET-NOTICE.alert`, `BUDGET-NOTICE.projected`) come with what is allowed."""
_LEAST_HISTORY = 6 * 3600
"""Seconds of a window from which on its pace means something."""
_SOON = 48 * 3600
_DAY = 24 * 3600
WARNED_SECONDS = 72 * 3600
"""So long before a cap of a week or month is reached it is warned of: a pace that triples leaves a day."""


def no_room(charges: Sequence[Charge], levels: Sequence[tuple[int, int]]) -> Decision:
    """The refusal of a reservation, with every cap that stands in its way."""
    findings, facts = [], []
    for one, (spent, reserved) in zip(charges, levels, strict=True):
        left = max(0, one.limit - spent - reserved)
        facts.append({"key": one.key, "spent": spent, "reserved": reserved, "limit": one.limit, "asked": one.amount})
        if one.amount > left:
            told = f"{one.key}: {shown(left, one.unit)} left of {shown(one.limit, one.unit)}"
            findings.append(
                Finding(
                    "BUDGET-CAP.no-room",
                    f"{told}, {shown(one.amount, one.unit)} asked for",
                    Severity.HIGH,
                    hint=f"ask for less, or wait until {_moment(one.end)}",
                )
            )
    message = "; ".join(found.message for found in findings)
    change = Obligation("scope_or_capacity_change", properties={"keys": [one.key for one in charges]})
    return Decision.denied("budget.exceeded", message, obligations=[change], findings=findings, facts={"levels": facts})


def model_refusal(policy: BudgetPolicy, provider: str | None, model: str | None) -> Decision | None:
    """Why the phase in force does not allow a provider or model; None if it does."""
    phase = policy.in_force
    if phase is None:
        return None
    allowed = {name: None if rules.models is None else list(rules.models) for name, rules in phase.providers.items()}
    rules = None if provider is None else phase.providers.get(provider)
    if rules is None:
        why = f"phase {policy.phase} does not allow the provider {provider or '(none said)'}"
    elif rules.models is not None and model not in rules.models:
        why = f"phase {policy.phase} does not allow the model {model or '(none said)'} of {provider}"
    else:
        return None
    finding = Finding("BUDGET-CAP.model", why, Severity.HIGH, hint="use a provider and a model of the phase in force")
    return Decision.denied("budget.model_not_allowed", why, findings=[finding], facts={"allowed": allowed})


def crossed(
    charges: Sequence[Charge], levels: Sequence[tuple[int, int]], threshold: int
) -> Iterator[tuple[Finding, str, int]]:
    """Levels that are at the threshold or full, with their key and the percentage they are told of under."""
    for one, (spent, reserved) in zip(charges, levels, strict=False):
        used = spent + reserved
        for percent in (100, threshold):
            if used * 100 >= one.limit * percent:
                yield _alert(one.key, used, one.limit, one.unit, percent), one.key, percent
                break


def foreseen(charges: Sequence[Charge], levels: Sequence[tuple[int, int]], now: float) -> Iterator[tuple[Finding, str]]:
    """Caps of weeks and months that will be reached before their window is over, and within 72 hours, with their key.

    What is known of a level's day, if days are counted too, is what was charged today.
    """
    for one, (spent, reserved) in zip(charges, levels, strict=False):
        used = spent + reserved
        if not 2 * _DAY < one.end - one.start < FOREVER - one.start or used >= one.limit:
            continue
        # No pace that counts is faster than all of it in this time; most calls end here, and every spender makes one.
        shortest = min(max(now - one.start, _LEAST_HISTORY), _DAY)
        if (one.limit - used) * shortest > used * WARNED_SECONDS:
            continue
        beginning = f"{one.key.partition(f':{one.unit}:')[0]}:{one.unit}:day:"
        today = [
            sum(held) / max(now - other.start, _DAY)
            for other, held in zip(charges, levels, strict=False)
            if other.key.startswith(beginning)
        ]
        pace = max(_pace(used, now - one.start), *today, 0.0)
        at = now + (one.limit - used) / pace if pace else one.end
        if at < one.end and at - now <= WARNED_SECONDS:
            yield _projected(one.key, at, now), one.key


def warnings(levels: Sequence[Level], now: float) -> Iterator[tuple[Finding, str]]:
    """The same as `foreseen` of all levels that run, by what was charged yesterday and today."""
    for one in levels:
        if one.start <= now < one.end < FOREVER and one.end - one.start > 2 * _DAY:
            at = _reached_at(one, levels, now) if one.spent + one.reserved < one.limit else None
            if at is not None and at - now <= WARNED_SECONDS:
                yield _projected(one.key, at, now), one.key


def assess(policy: BudgetPolicy, levels: Sequence[Level], now: float, *, critical: bool = False) -> Decision:
    """May a pipeline run? Not when a cap of a running window is used up, unless the pipeline is critical.

    Findings also tell of caps beyond the alert threshold, and of those that will be reached before their window is
    over. Without any level nothing was spent, which is allowed.
    """
    running = [one for one in levels if one.start <= now < one.end and one.end != FOREVER]
    findings = [found for one in running for found in _found(one, levels, policy, now)]
    full = [found for found in findings if found.rule == "BUDGET-CAP.exhausted"]
    facts = {
        "timezone": policy.timezone,
        "critical": critical,
        "levels": {one.key: f"{percent_of(one)} %" for one in running},
    }
    if full and not critical:
        return Decision.denied(
            "budget.exhausted", "; ".join(found.message for found in full), findings=findings, facts=facts
        )
    message = "; ".join(found.message for found in findings) or "every cap has room"
    return Decision.allowed("budget.critical" if full else "budget.room", message, findings=findings, facts=facts)


def percent_of(level: Level) -> int:
    """How much of the limit is spent or reserved, in whole percent, rounded down."""
    return (level.spent + level.reserved) * 100 // level.limit


def _found(level: Level, levels: Sequence[Level], policy: BudgetPolicy, now: float) -> Iterator[Finding]:
    used, threshold = level.spent + level.reserved, policy.alerts.threshold_percent
    if used >= level.limit:
        told = f"{level.key} is used up: {shown(used, level.unit)} of {shown(level.limit, level.unit)}"
        yield Finding("BUDGET-CAP.exhausted", told, Severity.CRITICAL, hint=f"it opens at {_moment(level.end)}")
        return
    if used * 100 >= level.limit * threshold:
        yield _alert(level.key, used, level.limit, level.unit, threshold)
    reached = _reached_at(level, levels, now)
    if reached is not None:
        yield _projected(level.key, reached, now)


def _projected(key: str, reached: float, now: float) -> Finding:
    severity = Severity.HIGH if reached - now <= _SOON else Severity.MEDIUM
    told = f"{key}: at this pace its cap is reached at {_moment(reached)}, in {int((reached - now) // 3600)} hours"
    return Finding("BUDGET-NOTICE.projected", told, severity, hint="spend less, or have the cap changed in time")


def _reached_at(level: Level, levels: Sequence[Level], now: float) -> float | None:
    """When a level will be full if it goes on like this; None if its window ends before.

    The pace is that of the window so far or, where days are counted too, that of yesterday and today, if it is faster.
    """
    name, _, window = level.key.partition(f":{level.unit}:")
    days = (
        []
        if window.startswith("day")
        else [
            one
            for one in levels
            if one.key.startswith(f"{name}:{level.unit}:day:") and one.start <= now and one.end > now - _DAY
        ]
    )
    paces = [_pace(level.spent + level.reserved, now - level.start)]
    if days:
        # At least a day: a morning in which much is spent is not yet a pace.
        elapsed = max(now - min(one.start for one in days), _DAY)
        paces.append(_pace(sum(one.spent + one.reserved for one in days), elapsed))
    pace = max(paces)
    if pace == 0:
        return None
    at = now + (level.limit - level.spent - level.reserved) / pace
    return at if at < level.end else None


def _pace(used: int, seconds: float) -> float:
    """Units a second; nothing as long as there is too little to tell."""
    return 0.0 if seconds < _LEAST_HISTORY else used / seconds


def _alert(key: str, used: int, limit: int, unit: str, percent: int) -> Finding:
    told = f"{key}: {shown(used, unit)} of {shown(limit, unit)}, {percent} % or more"
    severity = Severity.HIGH if percent >= 100 else Severity.MEDIUM
    return Finding("BUDGET-NOTICE.alert", told, severity, hint="companyos budget show has the figures")


def _moment(seconds: float) -> str:
    if seconds >= FOREVER:
        return "another run"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
