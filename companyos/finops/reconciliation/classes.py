"""Why invoice and ledger differ: the kinds of reason, and one difference with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from companyos.finops.money import plain

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

__all__ = ("CLASSES", "Difference", "DifferenceClass")

DifferenceClass = Literal[
    "credit", "day_shift", "not_on_ledger", "not_invoiced", "currency_rate", "price_list", "rounding", "unexplained"
]
"""The kinds, in the order in which they are looked for.

`credit`: a credit, refund or correction on the invoice. `day_shift`: the provider's days begin at another hour.
`not_on_ledger`: usage on the invoice of which the ledger knows nothing. `not_invoiced`: settled on the ledger, not on
the invoice. `currency_rate`: the ledger was kept at the rate of another day. `price_list`: both sides follow the price
list, at different entries of it. `rounding`: less than the invoice's last digit can tell. `unexplained`: the rest.
"""
CLASSES: tuple[DifferenceClass, ...] = get_args(DifferenceClass)


@dataclass(frozen=True, slots=True)
class Difference:
    """A part of the difference between invoice and ledger, with its reason."""

    kind: DifferenceClass
    """The reason."""
    day: date
    """The day that it falls on: the invoice's, or for what the invoice lacks, the ledger's."""
    model: str
    """Which model; `(none)` where the invoice names none."""
    amount: Decimal
    """Invoice minus ledger, in the ledger's currency; exact. Over all differences it adds up to the whole."""
    detail: str
    """What was found, in words."""

    def to_dict(self) -> dict[str, Any]:
        """The difference as a JSON object."""
        return {
            "class": self.kind,
            "day": self.day.isoformat(),
            "model": self.model,
            "amount": plain(self.amount),
            "detail": self.detail,
        }
