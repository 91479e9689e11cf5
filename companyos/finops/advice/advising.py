"""All advice on what a store holds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from companyos.errors import UserError
from companyos.finops.advice import commitments, idling
from companyos.finops.advice.interface import Advice, Advised, Unadvised, Window, by_month
from companyos.finops.errors import StoreError
from companyos.finops.infrastructure.spending import TAGLESS
from companyos.finops.money import exact_sum
from companyos.finops.slices import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date
    from decimal import Decimal

    from companyos.finops.advice.interface import Kind
    from companyos.finops.engines.sqlite import SqliteCostStore
    from companyos.finops.slices import Slice, Sliceable

__all__ = ("advise",)

DAYS = 28
"""Looked at unless other days are said: four of each weekday."""


def advise(
    store: SqliteCostStore,
    start: date | None = None,
    end: date | None = None,
    *,
    discount: Decimal | None = None,
    required: Sequence[str] = ("CostCenter",),
) -> Advised:
    """Commitments, idle and little used resources, quiet nights and weekends, and spending without required tags.

    Looks at the UTC days `[start, end)`, by default the last 28 that every source has reported. Advice for which a
    column is missing, in any file of the store, is undetermined by name. `discount` is what a commitment takes off
    on-demand prices, 0 to 1.

    Raises:
        UserError: the discount is none, or the days are not in order.
        StoreError: the store does not work, or holds no charges.
    """
    if discount is not None and not 0 < discount < 1:
        raise UserError("this is no discount", got=discount, expected="a share between 0 and 1, such as 0.3")
    window = _window(store, start, end)
    columns = store.columns()
    kinds: list[tuple[Kind, Sequence[str], Callable[[], Iterator[Advice | Unadvised]]]] = [
        ("commitment", commitments.COLUMNS, lambda: commitments.commitments(store, window, discount)),
        ("idle", idling.COLUMNS, lambda: idling.idle(store, window)),
        ("weekends", idling.COLUMNS, lambda: idling.weekends(store, window)),
        ("nights", idling.COLUMNS, lambda: idling.nights(store, window)),
        ("untagged", ("ChargeCategory", "Tags"), lambda: _untagged(store, window, required)),
    ]
    found: list[Advice | Unadvised] = []
    for kind, needed, give in kinds:
        missing = sorted(set(needed) - columns)
        found += [Unadvised(kind, f"no column {', '.join(missing)} in every file")] if missing else give()
    advice = [one for one in found if isinstance(one, Advice)]
    return Advised(
        window,
        tuple(sorted(advice, key=lambda one: (one.currency, -one.monthly, one.kind, one.subject))),
        tuple(one for one in found if isinstance(one, Unadvised)),
    )


def _window(store: SqliteCostStore, start: date | None, end: date | None) -> Window:
    if end is None:
        through = store.coverage().data_through
        if through is None:
            raise StoreError("no charges to give advice on", expected="a bill", hint="companyos finops ingest FILE")
        end = through.date()
    start = start or end - timedelta(days=DAYS)
    if start >= end:
        raise UserError("the days are not in order", got=f"{start} to {end}", expected="the first before the last")
    return Window(start, end)


def _untagged(store: Sliceable, window: Window, required: Sequence[str]) -> Iterator[Advice]:
    for key in required:
        slices = store.slices((f"tag:{key}", "column:ChargeCategory"), window.start, window.end)
        for currency in sorted({one.currency for one in slices}):
            own = [one for one in slices if one.currency == currency and one.keys[1] not in TAGLESS]
            without = [one for one in own if one.keys[0] == NONE]
            yield from _tagless(key, own, without, window)


def _tagless(key: str, own: Sequence[Slice], without: Sequence[Slice], window: Window) -> Iterator[Advice]:
    amount = exact_sum(one.amount for one in without)
    if amount <= 0:
        return
    total = exact_sum(one.amount for one in own)
    share = f"{amount * 100 / total:.1f} %" if total > 0 else "more than all"
    rows = sum(one.rows for one in without)
    yield Advice(
        "untagged",
        f"tag:{key}",
        without[0].currency,
        by_month(amount, window),
        "high",
        f"{share} of usage and purchases have no {key}",
        rows,
        without[0].first,
        {"cost_in_window": format(amount, "f")},
    )
