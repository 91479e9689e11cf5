"""Bills with planted anomalies of different shapes, and seasonal ones without any, ingested for real."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.controls import Specimen
from companyos.finops.anomalies import find_anomalies, judge_anomalies
from companyos.finops.engines.sqlite import SqliteCostStore
from companyos.finops.samples.workloads import FIRST_DAY, made_up_costs

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.controls import Build
    from companyos.decision import Decision

__all__ = ("SPECIMENS", "AnomalyCase", "bill", "check_bill")

DAYS = 150
Change = Callable[[int, Decimal], Decimal]
"""What a planted day costs, of its number and what it would have cost."""


@dataclass(frozen=True, slots=True)
class AnomalyCase:
    """A bill to look for anomalies in."""

    extract: Path
    """A FOCUS CSV file."""
    store: Path
    """A directory for the cost store."""
    days: int = DAYS
    """How many days it spans from the first."""


def check_bill(case: AnomalyCase) -> Decision:
    """Ingest the bill and judge the last four weeks, service by service."""
    end = FIRST_DAY + timedelta(days=case.days)
    with SqliteCostStore(case.store) as store:
        store.ingest(case.extract)
        moment = datetime(end.year, end.month, end.day, tzinfo=UTC)
        return judge_anomalies(find_anomalies(store, as_of=moment))


def bill(path: Path, services: dict[str, dict[date, Decimal]]) -> Path:
    """Write a FOCUS file with one charge a day and service."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(_row("", FIRST_DAY, Decimal(0))), lineterminator="\n")
        writer.writeheader()
        for service, costs in services.items():
            writer.writerows(_row(service, day, cost) for day, cost in costs.items())
    return path


def _row(service: str, day: date, cost: Decimal) -> dict[str, str]:
    month = day.replace(day=1)
    moments = {
        "BillingPeriodStart": month,
        "BillingPeriodEnd": (month + timedelta(days=32)).replace(day=1),
        "ChargePeriodStart": day,
        "ChargePeriodEnd": day + timedelta(days=1),
    }
    amounts = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), str(cost))
    names = dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName"), "Cloud")
    return (
        {name: f"{moment}T00:00:00Z" for name, moment in moments.items()}
        | amounts
        | names
        | {"BillingAccountId": "acc-1", "BillingAccountName": "Acme", "BillingCurrency": "USD"}
        | {"ChargeCategory": "Usage", "ChargeClass": "", "ChargeDescription": "an hour"}
        | {"PricingQuantity": "1", "PricingUnit": "Hours", "ServiceCategory": "Compute", "ServiceName": service}
    )


def _planted(change: Change, *, days: int = DAYS, workload: str = "weekend", first: int = 0) -> Build:
    """A steady service beside one that `change` is made to; days for which it answers NaN have no charge."""

    def build(scratch: Path) -> AnomalyCase:
        made = made_up_costs(workload, days)
        changed = {day: change(at, cost) for at, (day, cost) in enumerate(made.items()) if at >= first}
        kept = {day: cost for day, cost in changed.items() if not cost.is_nan()}
        services = {"Storage": made_up_costs("steady", days, seed=2), "Compute": kept}
        return AnomalyCase(bill(scratch / "bill.csv", services), scratch / "store", days)

    return build


def _after(start: int, change: Callable[[Decimal], Decimal], end: int = DAYS) -> Change:
    return lambda at, cost: change(cost) if start <= at < end else cost


def _same(_at: int, cost: Decimal) -> Decimal:
    return cost


SPECIMENS = (
    Specimen("one dear day", _planted(_after(140, lambda cost: cost + 80, 141)), "FINOPS-ANOMALY.spike"),
    Specimen("the last day twice as dear", _planted(_after(149, lambda cost: 2 * cost)), "FINOPS-ANOMALY.spike"),
    Specimen("three dear days", _planted(_after(130, lambda cost: 3 * cost, 133)), "FINOPS-ANOMALY.spike"),
    Specimen(
        "a second spike after an earlier one",
        _planted(lambda at, cost: cost + 90 if at in {100, 110, 140} else cost),
        "FINOPS-ANOMALY.spike",
    ),
    Specimen(
        "a purchase on an odd day of a month with purchases",
        _planted(_after(140, lambda cost: cost + 400, 141), workload="month_start"),
        "FINOPS-ANOMALY.spike",
    ),
    Specimen("half the cost for two days", _planted(_after(135, lambda cost: cost / 2, 137)), "FINOPS-ANOMALY.drop"),
    Specimen("a new level", _planted(_after(130, lambda cost: 2 * cost)), "FINOPS-ANOMALY.level-shift"),
    Specimen("a service that starts", _planted(_same, first=135), "FINOPS-ANOMALY.new"),
    Specimen("a service that stops", _planted(_after(138, lambda _: Decimal("NaN"))), "FINOPS-ANOMALY.vanished"),
    Specimen("weekends", _planted(_same)),
    Specimen("steady growth", _planted(_same, workload="trend")),
    Specimen("purchases on the first", _planted(_same, workload="month_start", days=170)),
    Specimen("dear last days of months", _planted(_same, workload="month_end", days=170)),
    Specimen("an old spike, and calm since", _planted(_after(100, lambda cost: cost + 300, 101))),
    Specimen("a new level months ago", _planted(_after(60, lambda cost: 2 * cost))),
)
