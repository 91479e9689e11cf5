"""Charges added up by several keys at once, with the sum of a quantity beside that of the costs.

What is allocated and advised stands on these; each of the built-in stores makes them from all of its charges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from companyos.errors import UserError
from companyos.finops.columns import NUMBERS, TIMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from decimal import Decimal

    from companyos.finops.interface import Measure

__all__ = ("NONE", "Slice", "Sliceable", "check_keys", "check_metric")

NONE = "(none)"
"""The key of charges that have no value."""
DIMENSIONS = frozenset({"account", "category", "day", "hour", "provider", "region", "service", "sub_account"})
"""Keys beside `tag:KEY` and `column:NAME`; `hour` is the UTC hour in which the charge period starts."""
TAG = re.compile(r'tag:[^"\\\x00-\x1f]{1,256}')
COLUMN = re.compile(r"column:[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, slots=True)
class Slice:
    """The charges that agree in every key and in the currency."""

    keys: tuple[str, ...]
    """Their values, in the order asked for; `(none)` where there is none."""
    currency: str
    """ISO 4217 code."""
    amount: Decimal
    """The sum of their costs, exact."""
    quantity: Decimal | None
    """The exact sum of the metric; None when no charge has one, or none was asked for."""
    rows: int
    """How many charges."""
    first: str
    """One of them: `sha256:<hex>#<row>`, the file and its data row counted from 1."""


class Sliceable(Protocol):
    """A cost store that adds up by several keys; both built-in ones do."""

    def slices(
        self,
        keys: Sequence[str],
        start: date | None = None,
        end: date | None = None,
        *,
        measure: Measure = "billed",
        metric: str | None = None,
    ) -> tuple[Slice, ...]:
        """The slices of the UTC days `[start, end)`, sorted by keys and currency.

        A key is `service`, `category`, `provider`, `account`, `sub_account`, `region`, `day`, `hour`, `tag:KEY`, or
        `column:NAME` of a text column; `metric` is a column of numbers, such as `ConsumedQuantity` or an `x_` one.

        Raises:
            UserError: a key or the metric is none, or a value of the metric is no number.
            StoreError: the charges cannot be read any more.
        """
        ...

    def columns(self) -> frozenset[str]:
        """The columns that every file with charges has."""
        ...


def check_keys(keys: Sequence[str]) -> None:
    """Raise `UserError` unless each is a key to slice by."""
    for key in keys:
        if key in DIMENSIONS or TAG.fullmatch(key):
            continue
        name = key.removeprefix("column:")
        if not COLUMN.fullmatch(key) or name in NUMBERS | TIMES:
            raise UserError(
                "unknown key of charges",
                got=key,
                expected=f"{', '.join(sorted(DIMENSIONS))}, tag:KEY, or column:NAME of a text column",
            )


def check_metric(metric: str | None) -> None:
    """Raise `UserError` unless it is a column that can hold numbers, or None."""
    if metric is not None and metric not in NUMBERS and not re.fullmatch(r"x_[A-Za-z0-9_]{1,120}", metric):
        raise UserError(
            "this column is no metric", got=metric, expected="ConsumedQuantity, PricingQuantity, or an x_ column"
        )
