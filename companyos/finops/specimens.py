"""What the budget gate must refuse, and what it must let through: extracts with planted costs, ingested for real."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.config import Budget
from companyos.controls import Specimen
from companyos.finops.engines.sqlite import SqliteCostStore
from companyos.finops.gate import judge
from companyos.finops.plan import RemediationPlan
from companyos.finops.samples import AS_OF, plant_overspend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from companyos.controls import Build
    from companyos.decision import Decision

__all__ = ("SPECIMENS", "BudgetCase", "check_case")

THURSDAY = ("2024-10-03",)
WEEKLY = Budget(name="all-costs", target=Decimal(300), ceiling=Decimal(500))
PLAN = RemediationPlan("finops", ("turn off the load test",), date(2024, 10, 31))
PAST_DUE = RemediationPlan("finops", ("turn off the load test",), date(2024, 10, 1))
FAR_OFF = RemediationPlan("finops", ("turn off the load test",), date(9999, 12, 31))
WORKDAYS = ("2024-09-30", "2024-10-01", "2024-10-02", "2024-10-03")
OTHER_BUDGET = RemediationPlan("finops", ("turn off the load test",), date(2024, 10, 31), budget="llm")


@dataclass(frozen=True, slots=True)
class BudgetCase:
    """An extract, a moment and a plan to judge the budgets by."""

    extract: Path
    """A FOCUS CSV file."""
    store: Path
    """A directory for the cost store that the extract is ingested into."""
    budgets: tuple[Budget, ...] = (WEEKLY,)
    """The budgets that apply."""
    as_of: datetime = AS_OF
    """The moment of the judgement."""
    plan: RemediationPlan | None = None
    """The remediation plan, if any."""


def check_case(case: BudgetCase) -> Decision:
    """Ingest the extract and judge the budgets."""
    with SqliteCostStore(case.store) as store:
        store.ingest(case.extract)
        return judge(case.budgets, store, as_of=case.as_of, remediation_plan=case.plan)


def _overspend(amount: int, plan: RemediationPlan | None = None, *, days: Sequence[str] = THURSDAY) -> Build:
    def build(scratch: Path) -> BudgetCase:
        extract = plant_overspend(scratch / "extract.csv", Decimal(amount), days=days)
        return BudgetCase(extract, scratch / "store", plan=plan)

    return build


def _late_provider(scratch: Path) -> BudgetCase:
    """A dear sample whose dearest provider is two days behind the others."""
    days = [str(date(2024, 8, 26) + timedelta(days=n)) for n in range(41)]
    case: BudgetCase = _overspend(30, days=days)(scratch)
    with case.extract.open(encoding="utf-8", newline="") as handle:
        header, *rows = csv.reader(handle)
    provider, start = header.index("ProviderName"), header.index("ChargePeriodStart")
    with case.extract.open("w", encoding="utf-8", newline="") as handle:
        kept = [row for row in rows if row[provider] != "AWS" or row[start] < "2024-10-03"]
        csv.writer(handle, lineterminator="\n").writerows([header, *kept])
    return case


def _credited(scratch: Path) -> BudgetCase:
    """An overspend with a credit that takes its cost off the bill."""
    case: BudgetCase = _overspend(400)(scratch)
    with case.extract.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    costs = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
    credit = rows[-1] | {"ChargeCategory": "Credit"} | {name: f"-{rows[-1][name]}" for name in costs}
    with case.extract.open("a", encoding="utf-8", newline="") as handle:
        csv.DictWriter(handle, list(credit), lineterminator="\n").writerow(credit)
    return case


SPECIMENS = (
    Specimen("one charge beyond the ceiling", _overspend(400), "FINOPS-GATE.point-over-ceiling"),
    Specimen("beyond the ceiling, with a plan", _overspend(400, PLAN), "FINOPS-GATE.point-over-ceiling"),
    Specimen("expected below, bound beyond the ceiling", _overspend(170), "FINOPS-GATE.bound-over-ceiling"),
    Specimen("over the target, no plan", _overspend(30, days=WORKDAYS), "FINOPS-GATE.over-target"),
    Specimen("over the target, plan past due", _overspend(30, PAST_DUE, days=WORKDAYS), "FINOPS-GATE.over-target"),
    Specimen("over the target, plan due in 9999", _overspend(30, FAR_OFF, days=WORKDAYS), "FINOPS-GATE.over-target"),
    Specimen(
        "over the target, plan for another budget",
        _overspend(30, OTHER_BUDGET, days=WORKDAYS),
        "FINOPS-GATE.over-target",
    ),
    Specimen("over the target, the dear provider two days late", _late_provider, "FINOPS-GATE.over-target"),
    Specimen("beyond the ceiling, hidden by a credit", _credited, "FINOPS-GATE.point-over-ceiling"),
    Specimen("an ordinary week", _overspend(1)),
    Specimen("over the target by less than the tolerance", _overspend(50)),
    Specimen("over the target, with a plan", _overspend(30, PLAN, days=WORKDAYS)),
    Specimen("a dear day in another week", _overspend(250, days=("2024-09-05",))),
)
