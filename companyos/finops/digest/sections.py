"""The tables of a digest, once for every form in which they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from companyos.finops.digest.model import NotSupplied, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.decision import Decision
    from companyos.finops.anomalies import Anomalies, Anomaly
    from companyos.finops.digest.model import BudgetLine, Digest, Releases
    from companyos.finops.usage import UnitCost

__all__ = ("Section", "sections")

_T = TypeVar("_T")
_NAMES = {"tokens": "1,000 tokens", "requests": "request", "gpu_hours": "GPU hour"}


@dataclass(frozen=True, slots=True)
class Section:
    """One part: a table, or a sentence why there is none."""

    title: str
    """What it is about."""
    headings: tuple[str, ...] = ()
    """Of the columns."""
    rows: tuple[tuple[str, ...], ...] = ()
    """Cells as text."""
    numbers: frozenset[int] = frozenset()
    """Columns of numbers, counted from 0."""
    note: str = ""
    """A sentence above the table."""


def sections(digest: Digest) -> Iterator[Section]:
    """Every part, in the order in which they are shown."""
    yield _totals(digest)
    yield Section(
        "Target, ceiling and forecast",
        ("Budget", "Period", "Spent", "Forecast", "Upper bound", "Target", "Ceiling", "Verdict"),
        tuple(_budget(one) for one in digest.budgets),
        frozenset(range(2, 7)),
    )
    yield _moves(digest)
    yield _part("Budgets of finops.yaml", digest.levels, _LEVELS, _level, frozenset(range(3, 8)))
    yield _part("Unit costs", digest.units, _UNITS, _unit, frozenset({3, 4, 5}))
    yield _anomalies(digest.anomalies)
    note = "Lead time and time to restore: not supplied; release markers do not tell them."
    empty = "No release in the week."
    yield _part("DORA", digest.releases, _RELEASES, _release, frozenset(range(1, 5)), empty=empty, note=note)


_LEVELS = ("Level", "Unit", "Window", "Spent", "Reserved", "Cap", "Used", "Days left")
_UNITS = ("Feature", "Unit", "Source", "Cost", "Quantity", "Cost of one unit")
_ODD = "Anomalies"
_ANOMALIES = ("Severity", "What", "Service", "First day", "Days", "Cost", "Expected")
_RELEASES = ("Environment", "Deployments", "A day", "Rollbacks", "Change failure")


def _totals(digest: Digest) -> Section:
    if isinstance(digest.totals, NotSupplied):
        return Section("Costs", note=f"Not supplied: {digest.totals.why}.")
    days = (digest.through - digest.week.start).days
    rows = tuple(
        (
            one.currency,
            f"{one.amount:,.2f}",
            f"{one.before:,.2f}",
            _percent(percent(one.amount, one.before)),
            f"{one.before_whole:,.2f}",
        )
        for one in digest.totals
    )
    headings = ("Currency", "This week", "Same days before", "Change", "Whole week before")
    note = f"{days} of 7 days are wholly reported, and compared with the same days of the week before."
    return Section("Costs", headings, rows, frozenset(range(1, 5)), note)


def _moves(digest: Digest) -> Section:
    rows = tuple(
        (
            one.by,
            one.key,
            one.currency,
            f"{one.amount:,.2f}",
            f"{one.before:,.2f}",
            f"{one.change:+,.2f}",
            _percent(percent(one.amount, one.before)),
        )
        for one in digest.moves
    )
    headings = ("By", "Which", "Currency", "This week", "Before", "Change", "Percent")
    if not rows:
        return Section("What moved most", note="Nothing moved.")
    return Section("What moved most", headings, rows, frozenset(range(3, 7)))


def _part(
    title: str,
    part: tuple[_T, ...] | NotSupplied,
    headings: tuple[str, ...],
    cells: Callable[[_T], tuple[str, ...]],
    numbers: frozenset[int],
    *,
    empty: str = "Nothing.",
    note: str = "",
) -> Section:
    if isinstance(part, NotSupplied):
        return Section(title, note=f"Not supplied: {part.why}.")
    if not part:
        return Section(title, note=empty)
    return Section(title, headings, tuple(cells(one) for one in part), numbers, note)


def _anomalies(part: Anomalies | NotSupplied) -> Section:
    if isinstance(part, NotSupplied):
        return Section(_ODD, note=f"Not supplied: {part.why}.")
    unjudged = f"Too little history to judge: {', '.join(part.undetermined)}." if part.undetermined else ""
    if not part.found:
        return Section(_ODD, note=f"None among {part.judged} services. {unjudged}".strip())
    return Section(_ODD, _ANOMALIES, tuple(_anomaly(one) for one in part.found), frozenset({4, 5, 6}), unjudged)


def _budget(decision: Decision) -> tuple[str, ...]:
    facts = decision.facts
    names = ("spent", "forecast", "upper_bound", "target", "ceiling")
    return (
        facts["budget"],
        f"{facts['period']} from {facts['period_start']}",
        *(_amount(facts["currency"], facts[name]) for name in names),
        f"{decision.verdict.value} ({decision.reason})",
    )


def _level(one: BudgetLine) -> tuple[str, ...]:
    used = f"{one.used_percent} %"
    return (one.level, one.unit, one.window, one.spent, one.reserved, one.limit, used, str(one.days_left))


def _unit(one: UnitCost) -> tuple[str, ...]:
    cost = "unknown" if one.cost is None else f"{one.currency} {one.cost} a {_NAMES[one.kind]}"
    return (
        one.feature,
        one.kind,
        one.source,
        f"{one.currency} {one.amount:,.2f}",
        f"{one.quantity.normalize():,f}",
        cost,
    )


def _anomaly(one: Anomaly) -> tuple[str, ...]:
    cost, expected = (f"{one.currency} {amount:,.2f}" for amount in (one.cost, one.expected))
    return (one.severity.label, one.kind, one.key, one.first_day.isoformat(), str(one.days), cost, expected)


def _release(one: Releases) -> tuple[str, ...]:
    values = one.to_dict()
    failure = values["change_failure_percent"]
    return (
        one.environment,
        str(one.deployments),
        values["deployments_per_day"],
        str(one.rollbacks),
        "unknown" if failure is None else f"{failure} %",
    )


def _percent(text: str | None) -> str:
    return "new" if text is None else f"{text} %"


def _amount(currency: str, text: str | None) -> str:
    if text is None:
        return "unknown"
    whole, _, fraction = text.partition(".")
    return f"{currency} {whole}.{fraction[:2]}{'…' if len(fraction) > 2 else ''}"
