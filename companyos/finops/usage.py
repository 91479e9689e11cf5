"""What a unit costs: tokens, requests and hours of GPUs, by feature, out of bills and out of the ledger."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any, Literal

from companyos.finops.money import EXACT, exact_sum, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.finops.budgets import Settlement

__all__ = ("Consumed", "UnitCost", "UnitKind", "costs_of_bills", "costs_of_ledger", "is_gpu")

UnitKind = Literal["tokens", "requests", "gpu_hours"]
"""What is counted."""
PER: dict[str, int] = {"tokens": 1000, "requests": 1, "gpu_hours": 1}
"""How many of each make the unit that a price is told for."""
_MICRO = Decimal("0.000001")
_SCALED = re.compile(
    r"(?P<scale>1k|1m|k|m|1000|1000000|thousand|million)?[\s_-]*(?P<unit>tokens?|requests?|calls?)", re.IGNORECASE
)
_SCALES = {"1k": 1000, "k": 1000, "1000": 1000, "thousand": 1000}
_GPU = re.compile(r"(?:^|[^A-Za-z])gpus?(?:$|[^A-Za-z])", re.IGNORECASE)
_HOURS = re.compile(r"\b(?:hours?|hrs?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Consumed:
    """What bills say of one feature in one FOCUS `ConsumedUnit`, added up."""

    feature: str
    """Value of the tag `feature`; `(none)` without."""
    unit: str
    """`ConsumedUnit`, as the bill writes it."""
    gpu: bool
    """Whether `ConsumedUnit`, `SkuMeter` or `ChargeDescription` names a GPU."""
    currency: str
    """ISO 4217 code."""
    amount: Decimal
    """BilledCost, exact."""
    quantity: Decimal
    """ConsumedQuantity, exact."""
    rows: int
    """How many charges."""


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one feature paid for a kind of unit."""

    feature: str
    """The tag of bills, or the third part of a task's path on the ledger."""
    kind: UnitKind
    """What is counted."""
    source: Literal["bills", "ledger"]
    """Where amount and quantity come from; the two are never added."""
    currency: str
    """ISO 4217 code."""
    amount: Decimal
    """What it cost, exact."""
    quantity: Decimal
    """How many: tokens, requests, hours."""

    @property
    def per(self) -> int:
        """How many units the cost is told for: 1000 tokens, one request, one hour."""
        return PER[self.kind]

    @property
    def cost(self) -> Decimal | None:
        """What that many cost, to six places; None if nothing was counted."""
        if self.quantity <= 0:
            return None
        return (self.amount * self.per / self.quantity).quantize(_MICRO, ROUND_HALF_EVEN)

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object, amounts as text."""
        return {
            "feature": self.feature,
            "kind": self.kind,
            "source": self.source,
            "currency": self.currency,
            "amount": plain(self.amount),
            "quantity": format(self.quantity.normalize(), "f"),
            "per": self.per,
            "cost": None if self.cost is None else str(self.cost),
        }


def is_gpu(*texts: str | None) -> bool:
    """Whether one of the texts names a GPU, as a word."""
    return any(text is not None and _GPU.search(text) for text in texts)


def costs_of_bills(consumed: Iterable[Consumed]) -> tuple[UnitCost, ...]:
    """The units that are told of, by feature; what is counted in another unit (GB, hours without a GPU) is left out."""
    parts: list[UnitCost] = []
    for one in consumed:
        found = _kind(one)
        if found is not None:
            kind, scale = found
            quantity = EXACT.multiply(one.quantity, Decimal(scale))
            parts.append(UnitCost(one.feature, kind, "bills", one.currency, one.amount, quantity))
    return _added(parts)


def costs_of_ledger(settlements: Iterable[Settlement]) -> tuple[UnitCost, ...]:
    """Tokens and requests of what was settled, by feature and currency."""
    parts: list[UnitCost] = []
    for one in settlements:
        if one.currency is None:
            continue
        parts.append(UnitCost(one.feature, "requests", "ledger", one.currency, one.amount, Decimal(1)))
        if one.tokens is not None:
            parts.append(UnitCost(one.feature, "tokens", "ledger", one.currency, one.amount, Decimal(one.tokens)))
    return _added(parts)


def _kind(one: Consumed) -> tuple[UnitKind, int] | None:
    scaled = _SCALED.fullmatch(one.unit.strip())
    if scaled is not None:
        scale = scaled["scale"]
        kind: UnitKind = "tokens" if scaled["unit"].lower().startswith("token") else "requests"
        return kind, 1 if scale is None else _SCALES.get(scale.lower(), 1_000_000)
    return ("gpu_hours", 1) if one.gpu and _HOURS.search(one.unit.replace("-", " ")) else None


def _added(parts: Iterable[UnitCost]) -> tuple[UnitCost, ...]:
    groups: dict[tuple[UnitKind, str, str, Literal["bills", "ledger"]], list[UnitCost]] = {}
    for one in parts:
        groups.setdefault((one.kind, one.feature, one.currency, one.source), []).append(one)
    return tuple(
        UnitCost(
            feature,
            kind,
            source,
            currency,
            exact_sum(one.amount for one in own),
            exact_sum(one.quantity for one in own),
        )
        for (kind, feature, currency, source), own in sorted(groups.items())
    )
