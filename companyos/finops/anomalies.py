"""Days that cost what nobody expected, each judged by a forecast from the days before it alone.

The model is that of `companyos.finops.forecasting`, a day ahead, for each group (a service, an account, a tag's
value) in each currency. A day is out of the ordinary when it lies `FENCE` times as far from what was expected as the
end of the 90 % interval does, and by more than a tenth of it, unless that day of the month is known for it. A group
without charges on a day on which others have some did cost nothing. An odd day is remembered as if it had ended at
the interval, so that it does not hide the next one; after seven in a row on one side the change is taken for the new
level.

Nothing is judged before its group has a history of about five weeks: such groups are named, never counted as ordinary.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from companyos.decision import Decision, Finding, Severity
from companyos.finops.forecasting.conformal import Forecaster
from companyos.finops.forecasting.predictors import Predictors
from companyos.finops.money import plain
from companyos.finops.rows import require_zone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.finops.forecasting.conformal import Interval
    from companyos.finops.interface import CostStore, DayCost

__all__ = ("RULES", "Anomalies", "Anomaly", "find_anomalies", "judge_anomalies")

Kind = Literal["spike", "drop", "level-shift", "new", "vanished"]

LEVEL = Decimal("0.9")
"""Of the interval that a day is held against."""
FENCE = Decimal("2.5")
"""So many times its half-width a day must be off."""
LEAST_SHARE = Decimal("0.1")
"""And more than this share of what was expected."""
LEAST_AMOUNT = Decimal(1)
"""And more than this, in units of the currency."""
HISTORY_DAYS = 400
SETTLING_DAYS = 7
"""After so many such days in a row on one side the change is the new level."""
NEW_DAYS = 14
"""A group that starts so many days after the data do is new."""
SEVERITIES = ((Decimal(20), Severity.CRITICAL), (Decimal(8), Severity.HIGH), (Decimal(4), Severity.MEDIUM))
"""By how many half-widths the worst day is off."""
MICRO = Decimal("0.000001")
ZERO = Decimal(0)

RULES = {
    "FINOPS-ANOMALY.spike": "A group cost more on some days than its history let expect.",
    "FINOPS-ANOMALY.drop": "A group cost less on some days than its history let expect: perhaps charges are missing.",
    "FINOPS-ANOMALY.level-shift": "A group's costs moved to another level and stayed there.",
    "FINOPS-ANOMALY.new": "A group has costs that had none before.",
    "FINOPS-ANOMALY.vanished": "A group that used to cost has stopped.",
}
"""What can be found."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A row of days on which a group was out of the ordinary, on one side."""

    kind: Kind
    """Spike, drop, level-shift (seven days and more), new, or vanished (nothing up to the end)."""
    key: str
    """The group."""
    currency: str
    """ISO 4217 code of all amounts."""
    first_day: date
    """The first of the days, UTC."""
    days: int
    """How many."""
    cost: Decimal
    """What they did cost."""
    expected: Decimal
    """What was expected of them."""
    severity: Severity
    """How far off the worst of them was."""
    share: Decimal
    """What is above or below expectation, over the whole bill of those days; 0 to 1 unless there are credits."""
    driver: str | None = None
    """What, cut the other way, moved most in the same direction: an account for services, else a service."""
    driver_amount: Decimal = ZERO
    """By how much, against the same weekdays of the four weeks before."""

    @property
    def excess(self) -> Decimal:
        """Cost above expectation; below zero when less was spent."""
        return self.cost - self.expected

    def to_dict(self) -> dict[str, Any]:
        """The anomaly as a JSON object, amounts as text."""
        return {
            "kind": self.kind,
            "key": self.key,
            "currency": self.currency,
            "first_day": self.first_day.isoformat(),
            "days": self.days,
            "cost": plain(self.cost),
            "expected": plain(self.expected),
            "excess": plain(self.excess),
            "severity": self.severity.label,
            "share": plain(self.share),
            "driver": self.driver,
            "driver_amount": plain(self.driver_amount),
        }


@dataclass(frozen=True, slots=True)
class Anomalies:
    """What was found, and what could not be judged."""

    by: str
    """What costs were grouped by."""
    since: date
    """The first day that was judged."""
    until: date
    """The day after the last."""
    extract: str | None
    """Digest of the data, as in `Coverage.digest`."""
    found: tuple[Anomaly, ...]
    """The gravest first, of equals the dearest."""
    judged: int
    """Groups with at least one judged day."""
    undetermined: tuple[str, ...]
    """Groups, with their currency, that have too little history to judge any of the days."""

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "by": self.by,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "extract": self.extract,
            "found": [one.to_dict() for one in self.found],
            "judged": self.judged,
            "undetermined": list(self.undetermined),
        }


@dataclass(frozen=True, slots=True)
class _Odd:
    """One day out of the ordinary."""

    day: date
    cost: Decimal
    expected: Decimal
    times: Decimal


def find_anomalies(
    store: CostStore, *, as_of: datetime, by: str = "service", since: date | None = None, late_days: int = 0
) -> Anomalies:
    """Every day since `since` (four weeks, unless said otherwise) that its group's earlier days did not let expect.

    Raises:
        UserError: `as_of` has no time zone, or costs cannot be grouped like that.
    """
    coverage = store.coverage(until=require_zone(as_of, "as_of"))
    moment = min(as_of, coverage.data_through or as_of).astimezone(UTC)
    until = moment.date() - timedelta(days=late_days)
    start = since or until - timedelta(days=28)
    lines = store.daily(start - timedelta(days=HISTORY_DAYS), until, by=by)
    found: list[Anomaly] = []
    judged, undetermined = 0, []
    for currency, days, groups in _grouped(lines):
        bill = {day: sum((costs.get(day, ZERO) for costs in groups.values()), ZERO) for day in days}
        for key, costs in sorted(groups.items()):
            odd, any_judged = _watch(costs, days, start)
            judged += any_judged
            undetermined += [] if any_judged else [f"{key} ({currency})"]
            group = _Group(key, currency, costs, days, bill)
            found += [_described(group, run) for run in _runs(odd, days)]
            found += _newcomer(group, start)
    drivers = _drivers(store, by, start, until) if found else {}
    ranked = sorted(
        (_driven(one, drivers) for one in found), key=lambda one: (-one.severity, -abs(one.excess), one.key)
    )
    return Anomalies(by, start, until, coverage.digest, tuple(ranked), judged, tuple(undetermined))


def judge_anomalies(report: Anomalies) -> Decision:
    """Deny when something was found; undetermined when nothing was, but a group, or all of it, could not be judged."""
    facts = report.to_dict()
    if report.found:
        findings = [
            Finding(f"FINOPS-ANOMALY.{one.kind}", _sentence(one), one.severity, hint="look at what drove it")
            for one in report.found
        ]
        return Decision.denied("anomaly.found", findings[0].message, findings=findings, facts=facts)
    if report.undetermined or not report.judged:
        names = ", ".join(report.undetermined) or "no group has costs"
        return Decision.undetermined("anomaly.no_data", f"too little history to judge: {names}", facts=facts)
    return Decision.allowed("anomaly.none", f"{report.judged} groups, every day as expected", facts=facts)


def _sentence(one: Anomaly) -> str:
    days = f"on {one.first_day}" if one.days == 1 else f"on {one.days} days from {one.first_day}"
    return f"{one.key}: {one.kind} {days}, {one.currency} {one.cost:,.2f} where {one.expected:,.2f} was expected"


def _grouped(lines: Sequence[DayCost]) -> list[tuple[str, list[date], dict[str, dict[date, Decimal]]]]:
    """For each currency its reported days, and the costs of each group."""
    groups: dict[str, dict[str, dict[date, Decimal]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        groups[line.currency][line.key][line.day] = line.amount
    return [
        (currency, sorted({day for costs in own.values() for day in costs}), own)
        for currency, own in sorted(groups.items())
    ]


class _Watch:
    """Judges the days of one group, one after the other."""

    def __init__(self) -> None:
        self._frozen: dict[date, Decimal] = {}
        self._reach = (ZERO, ZERO)
        self._monthly = Predictors(("monthly",))
        self._begin()

    def _begin(self) -> None:
        self._past: list[tuple[date, Decimal]] = []
        self._run: list[_Odd] = []
        self._forecaster = Forecaster(1, LEVEL)

    def judge(self, day: date, cost: Decimal) -> tuple[bool, _Odd | None]:
        """Whether the day could be judged, and what is odd about it; then learn it."""
        counted, odd, judged = cost, None, False
        if self._past:
            made = self._expected(day)
            judged = made.lower is not None and made.upper is not None
            times = _times(cost, made)
            if abs(times) > (1 if self._goes_on(times) else FENCE):
                counted = (made.upper if times > 0 else made.lower) or cost
                odd = None if self._usual_in_a_month(day, cost, made) else _Odd(day, cost, made.point, times)
        self._follow(day, odd)
        self._learn(day, counted)
        self._monthly.learn(day, cost)
        if len(self._run) == SETTLING_DAYS:
            self._settle()
        return judged, odd

    def _expected(self, day: date) -> Interval:
        """By the days before; within a run by those before the run, since what is odd must not become usual in it."""
        made = self._forecaster.forecast([day])
        if not self._run or day not in self._frozen:
            return made
        point, (below, above) = self._frozen[day], self._reach
        return replace(made, point=point, lower=point - below, upper=point + above)

    def _usual_in_a_month(self, day: date, cost: Decimal, made: Interval) -> bool:
        """Whether such a day of the month brings such a cost, or part of it."""
        surplus = self._monthly.surplus(day)
        low, high = sorted((made.point, made.point + surplus))
        nearest = min(max(cost, low), high)
        return surplus != 0 and abs(_times(made.point + cost - nearest, made)) <= FENCE

    def _follow(self, day: date, odd: _Odd | None) -> None:
        if odd is None:
            self._run = []
        elif self._goes_on(odd.times):
            self._run.append(odd)
        else:
            self._run = [odd]
            ahead = [day + timedelta(days=at) for at in range(2 * SETTLING_DAYS)]
            made, wide = self._forecaster.forecast([day]), self._forecaster.forecast(ahead)
            self._frozen = dict(zip(ahead, wide.days, strict=True))
            self._reach = (made.point - (made.lower or made.point), (made.upper or made.point) - made.point)

    def _goes_on(self, times: Decimal) -> bool:
        """Whether a day that far off lies on the side of the run; then the end of the interval is far enough."""
        return bool(self._run) and self._run[-1].times * times > 0

    def _learn(self, day: date, seen: Decimal) -> None:
        self._past.append((day, seen))
        self._forecaster.learn(day, seen)

    def _settle(self) -> None:
        """Take the run for the new level: go on as if costs had always been on it."""
        first, expected = self._run[0].day, sum((one.expected for one in self._run), ZERO)
        cost = sum((one.cost for one in self._run), ZERO)
        ratio = cost / expected if expected > 0 else Decimal(1)
        before = [(day, seen * ratio) for day, seen in self._past if day < first]
        within = [(one.day, one.cost) for one in self._run]
        self._begin()
        for day, seen in [*before, *within]:
            self._learn(day, seen)


def _watch(costs: Mapping[date, Decimal], days: Sequence[date], since: date) -> tuple[list[_Odd], bool]:
    """The odd days of one group from `since` on, and whether any of those days could be judged."""
    watch, first = _Watch(), min(costs)
    results = [(day, *watch.judge(day, costs.get(day, ZERO))) for day in days if day >= first]
    told = [(judged, odd) for day, judged, odd in results if day >= since]
    return [odd for _, odd in told if odd], any(judged for judged, _ in told)


def _times(cost: Decimal, made: Interval) -> Decimal:
    """How many half-widths a cost is off; 0 when nothing can be said."""
    if made.lower is None or made.upper is None:
        return ZERO
    off = cost - made.point
    reach = made.upper - made.point if off > 0 else made.point - made.lower
    least = max(LEAST_AMOUNT, abs(made.point) * LEAST_SHARE) / FENCE
    return off / max(reach, least)


def _runs(odd: Sequence[_Odd], days: Sequence[date]) -> list[list[_Odd]]:
    """Odd days that follow each other among the reported ones, on the same side."""
    place = {day: at for at, day in enumerate(days)}
    runs: list[list[_Odd]] = []
    for one in odd:
        last = runs[-1][-1] if runs else None
        if last and place[one.day] == place[last.day] + 1 and one.times * last.times > 0:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


@dataclass(frozen=True, slots=True)
class _Group:
    """The costs of one group, the reported days of its currency, and what each of them did cost in all."""

    key: str
    currency: str
    costs: Mapping[date, Decimal]
    days: Sequence[date]
    bill: Mapping[date, Decimal]

    def share(self, excess: Decimal, days: Sequence[date]) -> Decimal:
        whole = sum((self.bill[day] for day in days), ZERO)
        return (abs(excess) / max(abs(whole), abs(excess))).quantize(Decimal("0.001")) if excess else ZERO


def _described(group: _Group, run: Sequence[_Odd]) -> Anomaly:
    cost, expected = sum((one.cost for one in run), ZERO), sum((one.expected for one in run), ZERO).quantize(MICRO)
    first, worst = run[0].day, max(abs(one.times) for one in run)
    kind: Kind = "level-shift" if len(run) >= SETTLING_DAYS else "spike" if cost > expected else "drop"
    if cost < expected and all(not group.costs.get(day) for day in group.days if day >= first):
        kind = "vanished"
    share = group.share(cost - expected, [one.day for one in run])
    return Anomaly(kind, group.key, group.currency, first, len(run), cost, expected, _severity(worst), share)


def _newcomer(group: _Group, since: date) -> list[Anomaly]:
    """The group, when its first charge comes long after the first of all and within what is looked at."""
    first = min(group.costs)
    if first < since or group.days.index(first) < NEW_DAYS:
        return []
    own = [day for day in group.days if first <= day < first + timedelta(days=SETTLING_DAYS)]
    cost = sum((group.costs.get(day, ZERO) for day in own), ZERO)
    if abs(cost) <= LEAST_AMOUNT:
        return []
    return [
        Anomaly("new", group.key, group.currency, first, len(own), cost, ZERO, Severity.MEDIUM, group.share(cost, own))
    ]


def _severity(times: Decimal) -> Severity:
    return next((severity for least, severity in SEVERITIES if times >= least), Severity.LOW)


def _drivers(store: CostStore, by: str, since: date, until: date) -> dict[tuple[str, str], dict[date, Decimal]]:
    """Daily costs cut the other way, by currency and key."""
    other = "account" if by == "service" else "service"
    made: dict[tuple[str, str], dict[date, Decimal]] = defaultdict(dict)
    for line in store.daily(since - timedelta(days=35), until, by=other):
        made[line.currency, line.key][line.day] = line.amount
    return made


def _driven(one: Anomaly, drivers: Mapping[tuple[str, str], Mapping[date, Decimal]]) -> Anomaly:
    """The anomaly with what moved most in its direction against the same weekdays of four weeks before."""
    sign = 1 if one.excess > 0 else -1
    moves = {
        key: sum((_move(costs, one.first_day + timedelta(days=at)) for at in range(one.days)), ZERO)
        for (currency, key), costs in drivers.items()
        if currency == one.currency
    }
    key = max(sorted(moves), key=lambda key: sign * moves[key], default=None)
    if key is None or sign * moves[key] <= 0:
        return one
    return replace(one, driver=key, driver_amount=moves[key].quantize(MICRO))


def _move(costs: Mapping[date, Decimal], day: date) -> Decimal:
    before = [costs.get(day - timedelta(days=7 * weeks), ZERO) for weeks in range(1, 5)]
    return costs.get(day, ZERO) - sum(before, ZERO) / len(before)
