"""A tiny world of costs: FOCUS files written from what a test cares about, and an empty store."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from companyos.finops import SqliteCostStore
from companyos.finops.engines.duckdb import DuckCostStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROW = {
    "BilledCost": "1.50",
    "BillingAccountId": "acc-1",
    "BillingAccountName": "Acme",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2024-09-01T00:00:00Z",
    "BillingPeriodEnd": "2024-10-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeClass": "",
    "ChargeDescription": "an hour",
    "ChargePeriodStart": "2024-09-03T00:00:00Z",
    "ChargePeriodEnd": "2024-09-04T00:00:00Z",
    "ContractedCost": "1.50",
    "EffectiveCost": "1.25",
    "InvoiceIssuerName": "Cloud Inc.",
    "ListCost": "1.50",
    "PricingQuantity": "1",
    "PricingUnit": "Hours",
    "ProviderName": "Cloud",
    "PublisherName": "Cloud Inc.",
    "ServiceCategory": "Compute",
    "ServiceName": "Machines",
}


@pytest.fixture
def focus_text() -> Callable[..., str]:
    """Text of a FOCUS 1.0 file: the given rows over sensible defaults, further columns as they come."""

    def make(*rows: dict[str, str], drop: tuple[str, ...] = (), delimiter: str = ",") -> str:
        extra = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ROW]
        header = [name for name in (*ROW, *extra) if name not in drop]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, header, extrasaction="ignore", delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows([ROW | row for row in rows])
        return text.getvalue()

    return make


@pytest.fixture
def focus_file(tmp_path: Path, focus_text: Callable[..., str]) -> Callable[..., Path]:
    """The same, as a file."""

    def write(*rows: dict[str, str], name: str = "bill.csv", **options: object) -> Path:
        path = tmp_path / name
        path.write_text(focus_text(*rows, **options), encoding="utf-8", newline="")
        return path

    return write


@pytest.fixture(params=[SqliteCostStore, DuckCostStore], ids=["sqlite", "duckdb"])
def store_class(request: pytest.FixtureRequest) -> type[SqliteCostStore]:
    """Each of the built-in cost stores."""
    return request.param


@pytest.fixture
def store(tmp_path: Path, store_class: type[SqliteCostStore]) -> Iterator[SqliteCostStore]:
    """An empty cost store, of each kind."""
    with store_class(tmp_path / "costs") as opened:
        yield opened
