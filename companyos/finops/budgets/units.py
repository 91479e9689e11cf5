"""Amounts as the stores keep them: whole numbers, of tokens or of hundred-millionths of a currency."""

from __future__ import annotations

import decimal
from decimal import Decimal

from companyos.finops.budgets.errors import BudgetRequestError
from companyos.finops.money import ISO_4217, plain

__all__ = ("MOST", "TOKENS", "number", "shown", "to_units")

TOKENS = "tokens"
"""The unit of token ceilings; every other unit is a currency."""
QUANTUM = Decimal("0.00000001")
"""The least amount of money that is told apart; finer amounts are rounded up, so that no cap is passed unseen."""
MOST = 2**53 - 1
"""The largest number of units: beyond it, a store that counts in floating point (Redis scripts) would be inexact."""
_PER_MONEY = 10**8
_UP = decimal.Context(prec=400, rounding=decimal.ROUND_CEILING)
"""Holds 16 digits before the mark and more behind it than a caller can mean."""


def to_units(amount: Decimal | int, unit: str, *, what: str = "amount") -> int:
    """The amount as a whole number of units, rounded up to 10^-8 of the currency.

    Raises:
        BudgetRequestError: negative, not finite, too large, a float, or a fraction of a token.
    """
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
        raise BudgetRequestError(f"the {what} is not exact", got=repr(amount), expected="a Decimal or an int")
    if unit == TOKENS:
        if not isinstance(amount, int):
            raise BudgetRequestError(f"the {what} of tokens is not a whole number", got=amount, expected="an int")
        units = amount
    else:
        if unit not in ISO_4217:
            raise BudgetRequestError(f"the {what} is in no currency", got=unit, expected="an ISO 4217 code")
        if isinstance(amount, Decimal) and not amount.is_finite():
            raise BudgetRequestError(f"the {what} is not a finite number", got=amount)
        units = _rounded_up(Decimal(amount), what)
    if not 0 <= units <= MOST:
        most = f"0 to {shown(MOST, unit)}"
        raise BudgetRequestError(f"the {what} is out of range", got=amount, expected=most)
    return units


def shown(units: int, unit: str) -> str:
    """The amount for people and for JSON, exact."""
    return f"{number(units, unit)} {unit}"


def number(units: int, unit: str) -> str:
    """The same without the unit."""
    return str(units) if unit == TOKENS else plain(Decimal(units) * QUANTUM)


def _rounded_up(amount: Decimal, what: str) -> int:
    if abs(amount) > MOST:
        raise BudgetRequestError(f"the {what} is out of range", got=amount, expected=f"at most {MOST // _PER_MONEY}")
    return int(_UP.to_integral_value(_UP.multiply(amount, _PER_MONEY)))
