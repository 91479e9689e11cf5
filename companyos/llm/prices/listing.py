"""The list that the router asks: the company's own prices before the shipped ones, none of them too old."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from companyos.llm.errors import UnknownModelError
from companyos.llm.prices.errors import PriceFileError, StalePriceError
from companyos.llm.prices.table import PriceTable, shipped_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from companyos.llm.interface import Price, PriceList
    from companyos.llm.prices.price import ModelPrice

__all__ = ("MAX_AGE_DAYS", "Chained", "ListedPrices")

MAX_AGE_DAYS = 180
"""How old a list may be before it is no longer believed."""


def _today() -> date:
    return datetime.now(UTC).date()


class ListedPrices:
    """Prices by provider and model; a `companyos.llm.interface.PriceList`.

    A list that was read from its sources more than `max_age_days` before the day that is asked for is not used: what a
    call costs is then unknown, and the call refused.

    Raises:
        PriceFileError: the company's own table names a provider, by `same_as`, that nobody has.
    """

    def __init__(
        self,
        own: PriceTable | None = None,
        shipped: PriceTable | None = None,
        *,
        max_age_days: int = MAX_AGE_DAYS,
        today: Callable[[], date] = _today,
    ) -> None:
        self._tables = _combined(own, shipped or shipped_table())
        self._max_age = timedelta(days=max_age_days)
        self._today = today
        self._remembered: dict[tuple[str, str, date, bool], ModelPrice] = {}

    @classmethod
    def load(cls, own: Path | None, *, max_age_days: int = MAX_AGE_DAYS) -> ListedPrices:
        """The shipped list, and before it the company's own in that file.

        Raises:
            PriceFileError: the file cannot be read or does not validate.
        """
        return cls(None if own is None else PriceTable.load(own), max_age_days=max_age_days)

    def find(self, provider: str, model: str, *, at: date | None = None, batch: bool = False) -> ModelPrice:
        """The price in force on a day (UTC; today if not said), of a batch if that is asked for.

        Raises:
            StalePriceError: the list is too old to be used.
            UnknownModelError: there is none.
        """
        day = at or self._today()
        key = (provider, model, day, batch)
        found = self._remembered.get(key)
        if found is None:
            found = self._remembered[key] = self._looked_up(provider, model, day, batch=batch)
        return found

    def models(self, at: date | None = None) -> Iterator[ModelPrice]:
        """Every price on a day, of lists that are not too old."""
        day = at or self._today()
        seen = set()
        for table in self._tables:
            for provider, prices in table.providers.items():
                for model in prices.models:
                    price = table.price(provider, model, day, batch=False)
                    if price is not None and (provider, model) not in seen and not self._is_stale(table, day):
                        seen.add((provider, model))
                        yield price

    def _looked_up(self, provider: str, model: str, day: date, *, batch: bool) -> ModelPrice:
        for table in self._tables:
            price = table.price(provider, model, day, batch=batch)
            if price is None:
                continue
            if self._is_stale(table, day):
                raise StalePriceError(
                    f"the price of {model} at {provider} is too old to be used",
                    got=f"read on {table.checked}, {(day - table.checked).days} days before",
                    expected=f"at most {self._max_age.days} days",
                    hint="read it again from its source and state it in the file of llm.prices, or update companyos",
                )
            return price
        raise UnknownModelError(
            f"nobody knows what {model} costs at {provider}{' in a batch' if batch else ''}",
            got=f"day {day}",
            expected="an entry in the list of prices; `companyos llm prices` shows it",
            hint="state it in the file of llm.prices, also where it is free",
        )

    def _is_stale(self, table: PriceTable, day: date) -> bool:
        return day - table.checked > self._max_age


class Chained:
    """Two lists of prices as one: the second is asked where the first has no entry, not where that is too old."""

    def __init__(self, first: ListedPrices, second: PriceList) -> None:
        self._first = first
        self._second = second

    def find(self, provider: str, model: str) -> Price:
        """The price that is in force now.

        Raises:
            StalePriceError: the first list has one, which is too old.
            UnknownModelError: neither has one.
        """
        try:
            return self._first.find(provider, model)
        except StalePriceError:
            raise
        except UnknownModelError:
            return self._second.find(provider, model)


def _combined(own: PriceTable | None, shipped: PriceTable) -> tuple[PriceTable, ...]:
    """The company's table first, its borrowed providers completed from where they borrow."""
    if own is None:
        return (shipped,)
    borrowed = shipped
    for name, prices in own.providers.items():
        if prices.same_as is None:
            continue
        like = shipped.providers.get(prices.same_as)
        if like is None:
            known = ", ".join(sorted(shipped.providers))
            raise PriceFileError(f"{name} is the same as nobody", got=prices.same_as, expected=known)
        borrowed = borrowed.named(name, like, prices.model_copy(update={"models": {}}))
    return (own, borrowed)
