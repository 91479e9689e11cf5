"""A dated price list of models, against which a difference in price can be proven."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.finops.errors import InvoiceError
from companyos.finops.money import EXACT, parse_number

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("Price", "PriceList")

COLUMNS = ("from", "model", "per_1k_tokens")


@dataclass(frozen=True, slots=True, order=True)
class Price:
    """What 1,000 tokens of a model cost from a day on, in the invoice's currency."""

    since: date
    """The day from which it holds."""
    per_1k: Decimal
    """The price."""

    def of(self, tokens: Decimal) -> Decimal:
        """What that many tokens cost; exact."""
        return EXACT.multiply(EXACT.multiply(tokens, self.per_1k), Decimal("0.001"))


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of each model, the oldest first."""

    prices: dict[str, tuple[Price, ...]] = field(default_factory=dict)
    """By model."""

    @classmethod
    def load(cls, path: Path) -> PriceList:
        """Read a CSV file with the columns `from` (ISO 8601), `model` and `per_1k_tokens`.

        Raises:
            InvoiceError: it cannot be read, or a line is wrong.
        """
        table: dict[str, list[Price]] = {}
        try:
            with path.open(encoding="utf-8-sig", newline="") as handle:
                reader = csv.DictReader(handle, strict=True)
                for row in reader:
                    price, _ = parse_number(row["per_1k_tokens"], ".")
                    table.setdefault(row["model"], []).append(Price(date.fromisoformat(row["from"]), price))
        except (OSError, UnicodeError, ValueError, TypeError, KeyError, csv.Error) as error:
            raise InvoiceError(
                f"cannot read the price list {path.name}", got=repr(error), expected=f"a CSV with {', '.join(COLUMNS)}"
            ) from error
        return cls({model: tuple(sorted(prices)) for model, prices in table.items()})

    def of(self, model: str) -> tuple[Price, ...]:
        """Every price that the model has had."""
        return self.prices.get(model, ())
