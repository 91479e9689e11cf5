"""Splitting an amount so that its parts sum to it, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.finops.money import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("split_exactly",)

CENTS = 2
"""Parts are never coarser than this; an amount with more digits after the mark is split to its own last digit."""


def split_exactly(amount: Decimal, weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The parts of `amount` by weight, whose sum is `amount`: by the method of the largest remainder (Hamilton).

    Whole units of the last digit are given out by weight; those that are left go one by one to the largest
    remainders, and among equals to the name that sorts first. A negative amount is split like its absolute value.

    Raises:
        ValueError: no weight is above zero, or one is below.
    """
    if not any(weights.values()) or min(weights.values()) < 0:
        raise ValueError("weights are zero or more, and one of them is more")
    digits = max(CENTS, -int(amount.as_tuple().exponent))
    units = int(abs(amount).scaleb(digits, EXACT))
    shares = _whole(weights)
    total = sum(shares.values())
    parts = {name: units * share // total for name, share in shares.items()}
    left = units - sum(parts.values())
    by_remainder = sorted(shares, key=lambda name: (-(units * shares[name] % total), name))
    for name in by_remainder[:left]:
        parts[name] += 1
    sign = -1 if amount < 0 else 1
    return {name: Decimal(sign * part).scaleb(-digits, EXACT) for name, part in parts.items()}


def _whole(weights: Mapping[str, Decimal]) -> dict[str, int]:
    """The weights as whole numbers in the same proportion."""
    digits = max(0, *(-int(weight.as_tuple().exponent) for weight in weights.values()))
    return {name: int(weight.scaleb(digits, EXACT)) for name, weight in weights.items()}
