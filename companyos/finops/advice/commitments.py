"""Steady usage at on-demand prices: what a commitment would have saved on the very days that are looked at."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.finops.advice.interface import Advice, Unadvised, by_month
from companyos.finops.money import EXACT, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from companyos.finops.advice.interface import Confidence, Window
    from companyos.finops.slices import Slice, Sliceable

__all__ = ("COLUMNS", "commitments")

COLUMNS = ("ChargeCategory", "ListCost", "PricingCategory")
LEAST_DAYS, MANY_DAYS = 14, 56
"""With fewer days nothing is said; with many the confidence may be high."""
_KEYS = ("day", "service", "region", "column:PricingCategory", "column:ChargeCategory")


def commitments(store: Sliceable, window: Window, discount: Decimal | None) -> Iterator[Advice | Unadvised]:
    """For each service and region the commitment that would have saved most, if any had.

    `discount` is the share taken off on-demand prices, 0 to 1; None takes what the same service's committed charges
    show, and where there are none, nothing is said.
    """
    if window.days < LEAST_DAYS:
        yield Unadvised("commitment", f"{window.days} days are too few: {LEAST_DAYS} are needed")
        return
    slices = store.slices(_KEYS, window.start, window.end, measure="effective", metric="ListCost")
    usage = [one for one in slices if one.keys[4] == "Usage"]
    seen = _discounts(one for one in usage if one.keys[3] == "Committed")
    groups: dict[tuple[str, str, str], list[Slice]] = defaultdict(list)
    for one in usage:
        if one.keys[3] == "Standard":
            groups[one.keys[1], one.keys[2], one.currency].append(one)
    unknown = set()
    for (service, region, currency), found in sorted(groups.items()):
        off = seen.get((service, currency)) if discount is None else discount
        if off is None:
            unknown.add(service)
        else:
            yield from _advice(f"{service}, {region}", found, off, window)
    if unknown:
        names = ", ".join(sorted(unknown)[:5]) + (", …" if len(unknown) > 5 else "")
        yield Unadvised("commitment", f"no committed charges show the discount for {names}; state one")


def _advice(subject: str, found: Sequence[Slice], off: Decimal, window: Window) -> Iterator[Advice]:
    days = sorted(one.amount for one in found)
    days = [Decimal(0)] * (window.days - len(days)) + days
    best = max(days, key=lambda level: (_saving(days, level, off), -level))
    saving = _saving(days, best, off)
    if saving <= 0:
        return
    covered = sum(min(day, best) for day in days) / (best * len(days))
    reached = sum(1 for day in days if day >= best)
    yield Advice(
        "commitment",
        subject,
        found[0].currency,
        by_month(saving, window),
        _confidence(reached, window),
        f"on-demand usage reached {best:.2f} a day on {reached} of {window.days} days",
        sum(one.rows for one in found),
        found[0].first,
        {
            "commitment_per_day_at_on_demand_price": plain(best),
            "cost_of_commitment_per_day": plain(best * (1 - off)),
            "discount_percent": f"{off * 100:.2f}",
            "break_even_utilisation_percent": f"{(1 - off) * 100:.2f}",
            "utilisation_percent": f"{covered * 100:.2f}",
        },
    )


def _saving(days: Sequence[Decimal], level: Decimal, off: Decimal) -> Decimal:
    """What committing to `level` a day had saved: what it covers, less what it costs on every day."""
    return Decimal(sum(min(max(day, Decimal(0)), level) for day in days)) - level * (1 - off) * len(days)


def _discounts(committed: Iterable[Slice]) -> Mapping[tuple[str, str], Decimal]:
    """What committed charges cost below their list price, by service and currency."""
    sums: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for one in committed:
        pair = sums[one.keys[1], one.currency]
        pair[0], pair[1] = EXACT.add(pair[0], one.amount), EXACT.add(pair[1], one.quantity or Decimal(0))
    found = {key: 1 - cost / price for key, (cost, price) in sums.items() if price > 0}
    return {key: off for key, off in found.items() if 0 < off < 1}


def _confidence(reached: int, window: Window) -> Confidence:
    if window.days >= MANY_DAYS and reached * 10 >= window.days * 9:
        return "high"
    return "medium" if window.days * 2 >= MANY_DAYS else "low"
