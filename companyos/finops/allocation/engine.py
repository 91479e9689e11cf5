"""Allocating what a store holds: each cent to one receiver, or to a line that says why not."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from companyos.errors import UserError
from companyos.finops.allocation.rules import DIMENSIONS, POOL
from companyos.finops.allocation.split import split_exactly
from companyos.finops.interface import CostLine
from companyos.finops.money import EXACT, exact_sum, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date

    from companyos.finops.allocation.rules import AllocationRules, Pool, Rule
    from companyos.finops.interface import Measure
    from companyos.finops.slices import Slice, Sliceable

    Measured = Callable[[Pool], dict[str, Decimal]]

__all__ = ("UNALLOCATED", "Allocation", "AllocationLine", "allocate")

UNALLOCATED = "(unallocated)"
"""The line of costs that no rule is for."""
UNITS = {"ConsumedQuantity": "column:ConsumedUnit", "PricingQuantity": "column:PricingUnit"}
"""The column that says what a quantity counts: what counts different things is not added up."""


@dataclass(frozen=True, slots=True)
class AllocationLine:
    """What one receiver answers for in one currency."""

    key: str
    """The receiver; `(unallocated)`; or `(unsplit POOL)` for what a pool could not share out."""
    currency: str
    """ISO 4217 code."""
    direct: Decimal
    """The sum of its own charges."""
    shared: Decimal
    """Its part of the pools."""
    rows: int
    """How many charges are its own."""
    share_percent: Decimal | None
    """Its part of all costs in the currency, to two digits; None where they sum to zero."""
    pools: tuple[tuple[str, Decimal], ...] = ()
    """What it got from each pool."""

    @property
    def amount(self) -> Decimal:
        """All of it, exact."""
        return EXACT.add(self.direct, self.shared)

    def to_dict(self) -> dict[str, Any]:
        """The line as a JSON object, amounts as text."""
        return {
            "key": self.key,
            "currency": self.currency,
            "amount": plain(self.amount),
            "direct": plain(self.direct),
            "shared": plain(self.shared),
            "share_percent": None if self.share_percent is None else str(self.share_percent),
            "rows": self.rows,
            "pools": {name: plain(amount) for name, amount in self.pools},
        }


@dataclass(frozen=True, slots=True)
class Allocation:
    """Every cost of a range of days, allocated; the lines of a currency sum to its costs to the last digit."""

    by: str
    """The dimension."""
    lines: tuple[AllocationLine, ...]
    """The dearest first."""
    unused: tuple[str, ...]
    """Rules that no charge fitted, each with its line."""
    unsplit: tuple[str, ...]
    """Why a pool could not be shared out, wholly or in part."""
    rules: str
    """Digest of the rules."""

    def cost_lines(self) -> tuple[CostLine, ...]:
        """The same in the shape of a report."""
        return tuple(CostLine(line.key, line.currency, line.amount, line.rows) for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """The allocation as a JSON object."""
        return {
            "by": self.by,
            "lines": [line.to_dict() for line in self.lines],
            "unused": list(self.unused),
            "unsplit": list(self.unsplit),
            "rules": self.rules,
        }


def allocate(
    store: Sliceable,
    rules: AllocationRules,
    by: str = "team",
    start: date | None = None,
    end: date | None = None,
    *,
    measure: Measure = "billed",
) -> Allocation:
    """Allocate the costs of the UTC days `[start, end)` to teams, features or cost centres (`by`).

    For each charge the first rule that fits and names the dimension, or a pool of it, decides. Pools are then shared
    out, each before those that it gives to. A weight below zero (more credits than costs) counts as zero.

    Raises:
        UserError: `by` is no dimension, or a metric cannot be added up.
        StoreError: the store does not work.
    """
    if by not in DIMENSIONS:
        raise UserError("costs are not allocated by this", got=by, expected=", ".join(DIMENSIONS))

    def measured(pool: Pool) -> dict[str, Decimal]:
        unit = UNITS.get(str(pool.metric))
        keys = tuple(sorted({*rules.keys, *pool.where.keys, *([unit] if unit else [])}))
        return run.measured(pool, keys, unit, store.slices(keys, start, end, metric=pool.metric))

    run = _Run(rules, by)
    run.take(store.slices(rules.keys, start, end, measure=measure))
    for pool in rules.pools:
        if pool.is_for(by):
            run.share_out(pool, measured)
    return run.result()


@dataclass(slots=True)
class _Sums:
    direct: Decimal = Decimal(0)
    rows: int = 0
    pools: dict[str, Decimal] = field(default_factory=dict)


class _Run:
    """One allocation in the making."""

    def __init__(self, rules: AllocationRules, by: str) -> None:
        self._rules, self._by = rules, by
        self._sums: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
        self._pooled: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self._fitted: set[str] = set()
        self._unsplit: list[str] = []
        self._pools = {pool.name: pool for pool in rules.pools}

    def take(self, slices: Iterable[Slice]) -> None:
        for one in slices:
            values = dict(zip(self._rules.keys, one.keys, strict=True))
            self._fitted.update(rule.name for rule in self._rules.rules if rule.match.fits(values))
            rule, receiver = _decided(self._rules.rules, self._pools, self._by, values)
            if rule is not None and rule.pool is not None:
                key = rule.pool, one.currency
                self._pooled[key] = EXACT.add(self._pooled[key], one.amount)
                continue
            sums = self._sums[receiver or UNALLOCATED, one.currency]
            sums.direct = EXACT.add(sums.direct, one.amount)
            sums.rows += one.rows

    def share_out(self, pool: Pool, measured: Measured) -> None:
        for (name, currency), amount in sorted(self._pooled.items()):
            if name != pool.name:
                continue
            weights = self._weights(pool, currency, measured)
            if not any(weights.values()):
                self._unsplit.append(f"pool {pool.name}, {currency}: {_WHY[pool.split]}")
                weights = {f"(unsplit {pool.name})": Decimal(1)}
            for receiver, part in split_exactly(amount, weights).items():
                self._give(pool.name, receiver, currency, part)

    def measured(
        self, pool: Pool, keys: Sequence[str], unit: str | None, slices: Iterable[Slice]
    ) -> dict[str, Decimal]:
        """The metric of the pool by receiver of its own charges."""
        found: dict[str, Decimal] = defaultdict(Decimal)
        units = set()
        for one in slices:
            values = dict(zip(keys, one.keys, strict=True))
            _, receiver = _decided(self._rules.rules, self._pools, self._by, values)
            if one.quantity is not None and receiver is not None and pool.where.fits(values):
                units.add(values[unit] if unit else "")
                found[receiver] = EXACT.add(found[receiver], one.quantity)
        if len(units) > 1:
            raise UserError(
                f"pool {pool.name}: {pool.metric} counts different things",
                got=", ".join(sorted(units)),
                expected="one unit",
                hint="where: {service: …} takes those of one kind",
            )
        return {name: max(Decimal(0), quantity) for name, quantity in found.items()}

    def result(self) -> Allocation:
        totals: dict[str, Decimal] = defaultdict(Decimal)
        shared = {key: exact_sum(sums.pools.values()) for key, sums in self._sums.items()}
        for (_, currency), sums in self._sums.items():
            totals[currency] = EXACT.add(totals[currency], sums.direct)
        for (_, currency), amount in shared.items():
            totals[currency] = EXACT.add(totals[currency], amount)
        lines = [
            AllocationLine(
                key,
                currency,
                sums.direct,
                shared[key, currency],
                sums.rows,
                _percent(EXACT.add(sums.direct, shared[key, currency]), totals[currency]),
                tuple(sorted(sums.pools.items())),
            )
            for (key, currency), sums in self._sums.items()
        ]
        unused = [f"{rule.name} (line {rule.line})" for rule in self._rules.rules if rule.name not in self._fitted]
        ordered = sorted(lines, key=lambda line: (line.currency, -line.amount, line.key))
        return Allocation(self._by, tuple(ordered), tuple(unused), tuple(self._unsplit), self._rules.digest)

    def _give(self, pool: str, receiver: str, currency: str, part: Decimal) -> None:
        if receiver.startswith(POOL):
            key = receiver.removeprefix(POOL), currency
            self._pooled[key] = EXACT.add(self._pooled[key], part)
            return
        sums = self._sums[receiver, currency]
        sums.pools[pool] = EXACT.add(sums.pools.get(pool, Decimal(0)), part)

    def _weights(self, pool: Pool, currency: str, measured: Measured) -> dict[str, Decimal]:
        direct = {
            name: max(Decimal(0), sums.direct)
            for (name, known), sums in self._sums.items()
            if known == currency and sums.rows and name != UNALLOCATED
        }
        among = pool.among or tuple(direct)
        if pool.split == "even":
            return dict.fromkeys(among, Decimal(1))
        if pool.split == "proportional":
            return {name: direct.get(name, Decimal(0)) for name in among}
        if pool.split == "fixed":
            rest = Decimal(100) - exact_sum(share for _, share in pool.shares)
            return dict(pool.shares) | ({f"(unsplit {pool.name})": rest} if rest else {})
        found = measured(pool)
        return {name: found[name] for name in (pool.among or sorted(found)) if name in found}


_WHY = {
    "even": "nobody has direct costs",
    "proportional": "nobody has direct costs above zero",
    "fixed": "no shares",
    "metric": "the metric is zero or missing for everybody",
}


def _decided(
    rules: Sequence[Rule], pools: Mapping[str, Pool], by: str, values: Mapping[str, str]
) -> tuple[Rule | None, str | None]:
    """The rule that decides, and the receiver unless it is a pool."""
    for rule in rules:
        if rule.pool is not None:
            if pools[rule.pool].is_for(by) and rule.match.fits(values):
                return rule, None
            continue
        receiver = rule.receiver(by, values)
        if receiver is not None:
            return rule, receiver
    return None, None


def _percent(amount: Decimal, total: Decimal) -> Decimal | None:
    if not total:
        return None
    return (amount * 100 / total).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
