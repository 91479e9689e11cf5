"""Working out the digest of a week, from the cost store and the ledger: same data, same digest, byte for byte."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from companyos.errors import UserError
from companyos.finops.anomalies import find_anomalies
from companyos.finops.budgets import percent_of
from companyos.finops.budgets.units import number
from companyos.finops.budgets.windows import FOREVER
from companyos.finops.digest.model import BudgetLine, Digest, Move, NotSupplied, WeekTotal
from companyos.finops.forecast import SETTING, Period, forecast_in, period_at
from companyos.finops.gate import gate
from companyos.finops.rows import require_zone
from companyos.finops.usage import costs_of_bills, costs_of_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.config import Budget, ForecastSetting
    from companyos.decision import Decision
    from companyos.finops.anomalies import Anomalies
    from companyos.finops.budgets import Level
    from companyos.finops.digest.ledger_view import LedgerView
    from companyos.finops.digest.model import Releases
    from companyos.finops.interface import CostLine, CostStore, Coverage
    from companyos.finops.plan import RemediationPlan
    from companyos.finops.usage import UnitCost

__all__ = ("build_digest", "week_of")

MOVES = {"service": "service", "team": "tag:team", "feature": "tag:feature"}
"""What moves are looked for by, and how the store calls it."""
SHOWN_MOVES = 5
"""So many of each."""
_WEEK = timedelta(days=7)
_MOMENT = timedelta(microseconds=1)
_ISO_WEEK = re.compile(r"([0-9]{4})-W([0-9]{2})")


def week_of(text: str | None, as_of: datetime) -> Period:
    """The week that `2026-W48` names (ISO 8601), or without it the last one that was over at `as_of`.

    Raises:
        UserError: no such week, or one that begins after `as_of`.
    """
    running = period_at("week", as_of)
    if text is None:
        return Period("week", running.start - _WEEK, running.start)
    found = _ISO_WEEK.fullmatch(text)
    try:
        monday = date.fromisocalendar(int(found[1]), int(found[2]), 1) if found else None
    except ValueError:
        monday = None
    if monday is None or monday > running.start:
        raise UserError("no week that has begun", got=text, expected="a week of ISO 8601, such as 2026-W48")
    return Period("week", monday, monday + _WEEK)


def build_digest(
    store: CostStore,
    budgets: Sequence[Budget],
    *,
    week: Period,
    as_of: datetime,
    ledger: LedgerView | None = None,
    plan: RemediationPlan | None = None,
    setting: ForecastSetting = SETTING,
) -> Digest:
    """The digest of `week` as it could be told at `as_of`, or at the week's end if that is earlier.

    Costs are compared over the days that are wholly reported, with the same days of the week before. `ledger` is to
    be read until the same moment; without it budgets, unit costs of the ledger and releases are not supplied.
    """
    moment = min(require_zone(as_of, "as_of").astimezone(UTC), _midnight(week.end))
    coverage = store.coverage(until=moment)
    through = _through(coverage, week, moment)
    totals = _totals(store, week, through)
    return Digest(
        week=week,
        as_of=moment,
        through=through,
        extract=coverage.digest,
        totals=totals or NotSupplied("no day of the week is wholly reported, or none has costs"),
        budgets=tuple(_judged(store, budget, moment, plan, setting) for budget in budgets),
        days=store.total(week.start - _WEEK, through, by="day"),
        moves=_moves(store, week, through),
        levels=_levels(ledger, moment),
        units=_units(store, week, through, ledger),
        anomalies=_anomalies(store, week, moment, setting),
        releases=_releases(ledger, week),
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _through(coverage: Coverage, week: Period, moment: datetime) -> date:
    """The day up to which costs are compared: never beyond what every source has reported."""
    if coverage.data_through is None:
        return week.start
    return max(week.start, min(week.end, coverage.data_through.astimezone(UTC).date(), moment.date()))


def _judged(
    store: CostStore, budget: Budget, moment: datetime, plan: RemediationPlan | None, setting: ForecastSetting
) -> Decision:
    period = period_at(budget.period, moment - _MOMENT)
    return gate(budget, forecast_in(store, period, budget.currency, moment, setting=setting), remediation_plan=plan)


def _totals(store: CostStore, week: Period, through: date) -> tuple[WeekTotal, ...]:
    spans = ((week.start, through), (week.start - _WEEK, through - _WEEK), (week.start - _WEEK, week.start))
    now, before, whole = ({one.currency: one.amount for one in store.total(*span)} for span in spans)
    return tuple(
        WeekTotal(name, now.get(name, Decimal(0)), before.get(name, Decimal(0)), whole.get(name, Decimal(0)))
        for name in sorted(now.keys() | before.keys())
    )


def _moves(store: CostStore, week: Period, through: date) -> tuple[Move, ...]:
    found: list[Move] = []
    for name, by in MOVES.items():
        now = _by_key(store.total(week.start, through, by=by))
        before = _by_key(store.total(week.start - _WEEK, through - _WEEK, by=by))
        moves = [
            Move(name, *key, now.get(key, Decimal(0)), before.get(key, Decimal(0)))
            for key in now.keys() | before.keys()
        ]
        moved = [move for move in moves if move.change]
        if {move.key for move in moves} != {"(none)"}:  # nothing carries the tag, so there is nothing to tell apart
            found += sorted(moved, key=lambda move: (-abs(move.change), move.key, move.currency))[:SHOWN_MOVES]
    return tuple(found)


def _anomalies(store: CostStore, week: Period, moment: datetime, setting: ForecastSetting) -> Anomalies | NotSupplied:
    report = find_anomalies(store, as_of=moment, since=week.start, late_days=setting.late_days)
    return report if report.judged else NotSupplied("no service has enough history to judge any day of the week")


def _by_key(lines: Sequence[CostLine]) -> dict[tuple[str, str], Decimal]:
    return {(line.key, line.currency): line.amount for line in lines}


def _levels(ledger: LedgerView | None, moment: datetime) -> tuple[BudgetLine, ...] | NotSupplied:
    if ledger is None:
        return NotSupplied("no ledger was read")
    if not ledger.history.epochs:
        return NotSupplied("the ledger tells of no budget that is reserved from")
    seconds = (moment - _MOMENT).timestamp()
    running = [one for one in ledger.history.snapshot().levels if one.start <= seconds < one.end < FOREVER]
    return tuple(_line(one, moment) for one in running)


def _line(level: Level, moment: datetime) -> BudgetLine:
    name, _, window = level.key.partition(f":{level.unit}:")
    left = Decimal(level.end - int(moment.timestamp())) / 86_400
    return BudgetLine(
        level=name,
        unit=level.unit,
        window=window.replace(":", " "),
        spent=number(level.spent, level.unit),
        reserved=number(level.reserved, level.unit),
        limit=number(level.limit, level.unit),
        used_percent=percent_of(level),
        days_left=max(Decimal(0), left).quantize(Decimal("0.1"), ROUND_HALF_EVEN),
    )


def _units(
    store: CostStore, week: Period, through: date, ledger: LedgerView | None
) -> tuple[UnitCost, ...] | NotSupplied:
    told = costs_of_ledger(ledger.settled(week)) if ledger is not None else ()
    units = (*costs_of_bills(store.consumed(week.start, through)), *told)
    return units or NotSupplied("neither bills nor the ledger tell of tokens, requests or hours of GPUs")


def _releases(ledger: LedgerView | None, week: Period) -> tuple[Releases, ...] | NotSupplied:
    if ledger is None:
        return NotSupplied("no ledger was read")
    if not ledger.markers:
        return NotSupplied("there are no release markers on the ledger (companyos marker add)")
    return ledger.releases(week)
