"""Resources that cost money and do little: never, or not at night and at weekends."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING

from companyos.finops.advice.interface import Advice, Unadvised, by_month
from companyos.finops.money import exact_sum, plain
from companyos.finops.slices import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from companyos.finops.advice.interface import Window
    from companyos.finops.slices import Slice, Sliceable

__all__ = ("COLUMNS", "idle", "nights", "weekends")

COLUMNS = ("ChargeCategory", "ConsumedQuantity", "ConsumedUnit", "ResourceId")
LEAST_DAYS = 14
"""Two weekends; with fewer days nothing is said."""
LEAST_PEERS = 5
"""Resources of the same service and unit that one is compared with."""
LITTLE = Decimal("0.05")
"""Of the median of its peers: a resource that consumes less while it costs at least half of theirs is little used."""
QUIET, STILL_PAID = Decimal("0.1"), Decimal("0.5")
"""Of what is consumed and paid at other times, a unit of time: less is quiet, and as much is still paid."""
SATURDAY, EVENING, MORNING = 5, 20, 6
_KEYS = ("column:ResourceId", "service", "column:ConsumedUnit", "column:ChargeCategory")


def idle(store: Sliceable, window: Window) -> Iterator[Advice | Unadvised]:
    """Resources with costs that consumed nothing, or little beside their peers."""
    if window.days < LEAST_DAYS:
        yield Unadvised("idle", f"{window.days} days are too few: {LEAST_DAYS} are needed")
        return
    resources: dict[tuple[str, str, str], list[Slice]] = defaultdict(list)
    for one in _usage(store, window, ()):
        resources[one.keys[0], one.keys[1], one.currency].append(one)
    silent = 0
    peers: dict[tuple[str, str, str], list[Slice]] = defaultdict(list)
    for (_, service, currency), found in sorted(resources.items()):
        cost = exact_sum(one.amount for one in found)
        if cost <= 0:
            continue
        if any(one.quantity is None for one in found):
            silent += 1
        elif not any(one.quantity for one in found):
            yield _advice("idle", found, cost, window, "it cost money and consumed nothing")
        elif len(found) == 1:
            peers[service, found[0].keys[2], currency].append(found[0])
    for group in peers.values():
        yield from _little_used(group, window)
    if silent:
        yield Unadvised("idle", f"{silent} resources have charges without ConsumedQuantity")


def weekends(store: Sliceable, window: Window) -> Iterator[Advice | Unadvised]:
    """Resources that are paid for on Saturday and Sunday (UTC) and consume hardly anything then."""
    if window.days < LEAST_DAYS:
        yield Unadvised("weekends", f"{window.days} days are too few: {LEAST_DAYS} are needed")
        return
    yield from _quiet("weekends", store, window, "day", lambda day: date.fromisoformat(day).weekday() >= SATURDAY)


def nights(store: Sliceable, window: Window) -> Iterator[Advice | Unadvised]:
    """Resources that are paid for from 20 to 6 o'clock UTC and consume hardly anything then."""
    if window.days < LEAST_DAYS:
        yield Unadvised("nights", f"{window.days} days are too few: {LEAST_DAYS} are needed")
        return
    hours = {one.keys[0][-2:] for one in store.slices(("hour",), window.start, window.end)}
    if len(hours) < EVENING - MORNING:
        yield Unadvised(
            "nights", "charge periods are not by the hour: ChargePeriodStart has no hours to tell nights by"
        )
        return
    yield from _quiet("nights", store, window, "hour", lambda hour: not MORNING <= int(hour[-2:]) < EVENING)


def _little_used(group: Sequence[Slice], window: Window) -> Iterator[Advice]:
    if len(group) < LEAST_PEERS:
        return
    typical = Decimal(median(one.quantity or Decimal(0) for one in group))
    price = Decimal(median(one.amount for one in group))
    for one in group:
        used = one.quantity or Decimal(0)
        if 0 <= used < typical * LITTLE and one.amount * 2 >= price:
            why = f"it consumed {used:f} {one.keys[2]}, {len(group)} like it {typical:f} (median)"
            yield _advice("little-used", [one], one.amount, window, why)


def _quiet(kind: str, store: Sliceable, window: Window, unit: str, is_quiet: Callable[[str], bool]) -> Iterator[Advice]:
    """Resources whose consumption falls and whose cost does not, in the quiet ones of the units of time."""
    resources: dict[tuple[str, str, str], list[Slice]] = defaultdict(list)
    for one in _usage(store, window, (unit,)):
        resources[one.keys[1], one.keys[3], one.currency].append(one)
    for _, found in sorted(resources.items()):
        if any(one.quantity is None for one in found):
            continue
        quiet = [one for one in found if is_quiet(one.keys[0])]
        busy = [one for one in found if not is_quiet(one.keys[0])]
        if not quiet or not busy:
            continue
        times = len({one.keys[0] for one in quiet}), len({one.keys[0] for one in busy})
        used = [exact_sum(one.quantity or Decimal(0) for one in some) for some in (quiet, busy)]
        paid = [exact_sum(one.amount for one in some) for some in (quiet, busy)]
        # By unit of time, and without a division: a/n < q * b/m is a * m < q * b * n.
        if (
            paid[0] > 0
            and used[0] * times[1] < QUIET * used[1] * times[0]
            and (paid[0] * times[1] >= STILL_PAID * paid[1] * times[0])
        ):
            shifted = [_without_time(one) for one in quiet]
            why = f"{kind}: {used[0]:f} consumed in {times[0]} {unit}s, {used[1]:f} in the other {times[1]}"
            yield _advice(kind, shifted, paid[0], window, why)


def _usage(store: Sliceable, window: Window, more: tuple[str, ...]) -> list[Slice]:
    slices = store.slices((*more, *_KEYS), window.start, window.end, measure="effective", metric="ConsumedQuantity")
    return [one for one in slices if one.keys[-1] == "Usage" and one.keys[len(more)] != NONE]


def _without_time(one: Slice) -> Slice:
    return type(one)(one.keys[1:], one.currency, one.amount, one.quantity, one.rows, one.first)


def _advice(kind: str, found: Sequence[Slice], cost: Decimal, window: Window, why: str) -> Advice:
    rows = sum(one.rows for one in found)
    return Advice(
        kind,  # type: ignore[arg-type] # each of them is one
        f"{found[0].keys[0]} ({found[0].keys[1]})",
        found[0].currency,
        by_month(cost, window),
        "high" if window.days >= 2 * LEAST_DAYS and rows >= LEAST_DAYS else "medium",
        why,
        rows,
        found[0].first,
        {"cost_in_window": plain(cost)},
    )
