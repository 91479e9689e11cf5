"""The same question asked of the bill: what was charged without a required tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.decision import Decision, Finding, Severity
from companyos.finops.money import plain
from companyos.finops.slices import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from companyos.finops.slices import Sliceable

__all__ = ("TAGLESS", "check_spending_tags")

TAGLESS = frozenset({"Adjustment", "Credit", "Tax"})
"""Categories of charges that nobody can tag."""


def check_spending_tags(
    store: Sliceable, required: Sequence[str] = ("CostCenter",), start: date | None = None, end: date | None = None
) -> Decision:
    """Judge the charges of the UTC days `[start, end)`: usage and purchases without a required tag are findings.

    Undetermined when there are no charges at all. Taxes, credits and adjustments need no tag.

    Raises:
        StoreError: the store does not work.
    """
    keys = [f"tag:{key}" for key in required]
    slices = store.slices([*keys, "service", "column:ChargeCategory"], start, end)
    if not slices:
        return Decision.undetermined("finops.no_costs", "no charges in these days")
    findings = []
    for at, key in enumerate(required):
        for one in slices:
            if one.keys[at] == NONE and one.keys[-1] not in TAGLESS:
                what = f"{one.rows} charges of {one.keys[-2]} have no {key}: {plain(one.amount)} {one.currency}"
                hint = f"the first is row {one.first.rpartition('#')[2]} of {one.first[:19]}…"
                findings.append(Finding("FINOPS-TAGS.missing", what, Severity.HIGH, hint=hint))
    if findings:
        return Decision.denied("FINOPS-TAGS.missing", f"{len(findings)} findings in the bill", findings=findings)
    return Decision.allowed("finops.spending_tagged", f"{sum(one.rows for one in slices)} charges")
