"""Daily variance: what was settled against what was planned, by day and phase, out of the ledger.

The plan of a day is the phase's `daily_eur_target` where the policy has one; else it is what its settled reservations
had reserved, by which everybody who spends says beforehand what it will cost.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any, Literal

from companyos.decision import Decision, Finding, Severity
from companyos.finops.budgets.spending import settlements
from companyos.finops.budgets.units import QUANTUM
from companyos.finops.budgets.windows import window_at
from companyos.finops.money import exact_sum, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from companyos.finops.budgets.history import History
    from companyos.finops.budgets.policy import BudgetPolicy
    from companyos.finops.budgets.spending import Settlement

__all__ = ("DayVariance", "assess_variance", "report_csv", "runs_csv", "variances")

TOLERANCE_PERCENT = Decimal(5)
"""How far a day may be from its plan."""
_REPORT = ("date", "phase", "daily_spend_eur", "daily_cap_eur", "monthly_spend_eur", "monthly_cap_eur")
_RUNS = ("date", "phase", "reservation", "reserved_at", "task", "provider", "model", "currency", "planned", "settled")


@dataclass(frozen=True, slots=True)
class DayVariance:
    """One day of one phase in one currency."""

    day: str
    """The local date in the policy's zone, `YYYY-MM-DD`."""
    phase: int | None
    """The phase in force; None where the policy had none."""
    currency: str
    """ISO 4217 code of all amounts."""
    planned: Decimal
    """What the day should have cost."""
    plan: Literal["target", "reserved"]
    """What the plan is: the phase's target, or what was reserved for what was settled."""
    settled: Decimal
    """What it did cost; exact."""
    daily_cap: Decimal | None
    """The phase's cap of the day, as it was when last spent under."""
    month: Decimal
    """Settled in this month up to and including the day."""
    monthly_cap: Decimal | None
    """The phase's cap of the month."""
    running: bool
    """The day is not over, so a target cannot be held against it yet."""

    @property
    def percent(self) -> Decimal | None:
        """How far settled is from planned, in percent of planned, to two places; None if nothing was planned."""
        if not self.planned:
            return None
        return ((self.settled - self.planned) * 100 / self.planned).quantize(Decimal("0.01"), ROUND_HALF_EVEN)

    @property
    def judged(self) -> bool:
        """Whether it counts already."""
        return not (self.running and self.plan == "target")

    def to_dict(self) -> dict[str, Any]:
        """The day as a JSON object, amounts as text."""
        return {
            "date": self.day,
            "phase": self.phase,
            "currency": self.currency,
            "planned": plain(self.planned),
            "plan": self.plan,
            "settled": plain(self.settled),
            "variance_percent": None if self.percent is None else str(self.percent),
            "daily_cap": _text(self.daily_cap),
            "month_settled": plain(self.month),
            "monthly_cap": _text(self.monthly_cap),
            "running": self.running,
        }


def variances(
    policy: BudgetPolicy, history: History, now: float, *, start: date | None = None, end: date | None = None
) -> tuple[DayVariance, ...]:
    """Every day on which money was settled, by phase and currency, in the order of days.

    `start` and `end` (exclusive) are local dates and choose what is shown; what a month had cost before counts.
    """
    groups: dict[tuple[str, int | None, str], list[Settlement]] = {}
    for one in settlements(history):
        if one.currency is not None:
            groups.setdefault((_day(one, policy), one.phase, one.currency), []).append(one)
    today = window_at(now, "day", policy.zone).label
    months: dict[tuple[str, int | None, str], Decimal] = {}
    found = []
    for (day, phase, currency), own in sorted(groups.items(), key=lambda item: (item[0][0], str(item[0][1:]))):
        month = day[:7], phase, currency
        months[month] = exact_sum((months.get(month, Decimal(0)), *(one.amount for one in own)))
        if (start is None or day >= start.isoformat()) and (end is None or day < end.isoformat()):
            found.append(_variance(policy, (day, phase, currency), own, months[month], running=day == today))
    return tuple(found)


def assess_variance(days: Sequence[DayVariance], tolerance_percent: Decimal = TOLERANCE_PERCENT) -> Decision:
    """Whether every day is near enough to its plan; undetermined when there is no day to judge."""
    judged = [one for one in days if one.judged]
    if not judged:
        return Decision.undetermined("variance.no_data", "no day with settlements that is over, so nothing is judged")
    facts = {"tolerance_percent": str(tolerance_percent), "days": [one.to_dict() for one in days]}
    off = [one for one in judged if one.percent is None or abs(one.percent) > tolerance_percent]
    findings = [
        Finding(
            "BUDGET-NOTICE.variance",
            f"{one.day}{'' if one.phase is None else f', phase {one.phase}'}: settled {plain(one.settled)}"
            f" {one.currency}, planned {plain(one.planned)} ({one.plan}):"
            f" {'nothing was planned' if one.percent is None else f'{one.percent:+} %'}",
            Severity.MEDIUM,
            hint="plan closer to what it costs, or find out what cost more",
        )
        for one in off
    ]
    if off:
        message = f"{len(off)} of {len(judged)} days are more than {tolerance_percent} % from their plan"
        return Decision.denied("variance.exceeded", message, findings=findings, facts=facts)
    return Decision.allowed("variance.within", f"{len(judged)} days within {tolerance_percent} %", facts=facts)


def report_csv(days: Iterable[DayVariance]) -> str:
    """The budget report: a line for each day and phase in EUR, with what was spent and the caps."""
    return _csv(
        _REPORT,
        (
            (
                one.day,
                "" if one.phase is None else one.phase,
                plain(one.settled),
                _text(one.daily_cap) or "",
                plain(one.month),
                _text(one.monthly_cap) or "",
            )
            for one in days
            if one.currency == "EUR"
        ),
    )


def runs_csv(policy: BudgetPolicy, history: History) -> str:
    """The settlements that the budget report adds up, one a line, from which it can be worked out again."""
    return _csv(
        _RUNS,
        (
            (
                _day(one, policy),
                "" if one.phase is None else one.phase,
                one.id,
                f"{one.at:%Y-%m-%dT%H:%M:%S.%fZ}",
                one.task,
                one.provider or "",
                one.model or "",
                one.currency,
                plain(one.planned),
                plain(one.amount),
            )
            for one in settlements(history)
            if one.currency is not None
        ),
    )


def _variance(
    policy: BudgetPolicy,
    name: tuple[str, int | None, str],
    own: Sequence[Settlement],
    month: Decimal,
    *,
    running: bool,
) -> DayVariance:
    day, phase, currency = name
    rules = policy.phases.get(phase) if phase is not None and currency == "EUR" else None
    target = None if rules is None else rules.daily_eur_target
    return DayVariance(
        day=day,
        phase=phase,
        currency=currency,
        planned=exact_sum(one.planned for one in own) if target is None else target,
        plan="reserved" if target is None else "target",
        settled=exact_sum(one.amount for one in own),
        daily_cap=_cap(own, f"phase-{phase}:{currency}:day:"),
        month=month,
        monthly_cap=_cap(own, f"phase-{phase}:{currency}:month:"),
        running=running,
    )


def _cap(own: Sequence[Settlement], beginning: str) -> Decimal | None:
    """The limit of the newest settlement under the cap whose keys begin so."""
    found = [units for one in own for key, units in one.limits.items() if key.startswith(beginning)]
    return found[-1] * QUANTUM if found else None


def _day(one: Settlement, policy: BudgetPolicy) -> str:
    return window_at(one.at.timestamp(), "day", policy.zone).label


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
