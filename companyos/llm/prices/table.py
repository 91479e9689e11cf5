"""A file of prices: what it may say, and what stands in it of a model on a day."""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003 - pydantic needs it at run time
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from companyos.config import parse_yaml
from companyos.finops.money import ISO_4217
from companyos.llm.prices.errors import PriceFileError
from companyos.llm.prices.price import ModelPrice, Rates

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("PriceTable", "shipped_table")

_EXPECTED = "prices.yaml as docs/llm-policies.md has it: checked, currency, providers"
_SNAPSHOT = re.compile(r"-(?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}|latest)$", re.ASCII)
"""What vendors append to the name of a model for one state of it."""
_Amount = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
_Factor = Annotated[Decimal, Field(gt=0, le=10, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Amounts(_Part):
    input: _Amount
    output: _Amount
    cache_read: _Amount | None = None
    cache_write: _Amount | None = None
    reasoning: _Amount | None = None

    def rates(self, above: int) -> Rates:
        return Rates(
            above,
            self.input,
            self.output,
            self.input if self.cache_read is None else self.cache_read,
            self.input if self.cache_write is None else self.cache_write,
            self.output if self.reasoning is None else self.reasoning,
        )


class Tier(_Amounts):
    """Prices of a request whose prompt is longer than so many tokens."""

    input_tokens: int = Field(gt=0)


class Period(_Amounts):
    """Prices from a day on."""

    since: date | None = Field(None, alias="from")
    """The first day; None for as long as anybody remembers."""
    above: tuple[Tier, ...] = ()
    """Dearer (or cheaper) for longer prompts."""

    @field_validator("above")
    @classmethod
    def _rising(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        lengths = [tier.input_tokens for tier in tiers]
        if lengths != sorted(set(lengths)):
            raise ValueError("tiers come by rising input_tokens, each once")
        return tiers

    def all_rates(self) -> tuple[Rates, ...]:
        """From the first token on, then by tier."""
        return (self.rates(0), *(tier.rates(tier.input_tokens) for tier in self.above))


class Model(_Part):
    """One model."""

    context_tokens: int | None = Field(None, gt=0)
    prices: tuple[Period, ...] = Field(min_length=1)
    regional: _Factor | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Model:
        days = [period.since for period in self.prices[1:]]
        if any(day is None for day in days) or days != sorted({day for day in days if day is not None}):
            raise ValueError("prices come by rising `from`, which only the first may leave out")
        first = self.prices[0].since
        if first is not None and days and days[0] is not None and days[0] <= first:
            raise ValueError("prices come by rising `from`")
        return self

    def on(self, day: date) -> Period | None:
        """The prices in force on a day."""
        begun = [period for period in self.prices if period.since is None or period.since <= day]
        return begun[-1] if begun else None


class ProviderPrices(_Part):
    """The models of one provider; or those of another one, under this name."""

    source: str | None = None
    """Where the prices are published."""
    same_as: str | None = None
    """The provider whose prices hold here, too."""
    is_regional: bool = False
    """Whether this endpoint processes in one region, and costs what that costs."""
    batch: _Factor | None = None
    """Factor for batches."""
    regional: _Factor | None = None
    """Factor for regional endpoints, where a model has none of its own."""
    models: dict[str, Model] = Field(default_factory=dict)


class PriceTable(_Part):
    """A file of prices.

    Raises:
        PriceFileError: (by `load` and `parse`) it does not validate, or cannot be read.
    """

    checked: date
    """When the prices were read from their sources."""
    currency: str
    """ISO 4217 code of all of them."""
    providers: dict[str, ProviderPrices]
    """By provider."""

    @field_validator("currency")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in ISO_4217:
            raise ValueError(f"{code!r} is no currency")
        return code

    @classmethod
    def load(cls, path: Path) -> PriceTable:
        """Read a file; raises as said above."""
        try:
            values = parse_yaml(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise PriceFileError(f"cannot read the prices {path.name}", got=error, expected=_EXPECTED) from error
        return cls.parse(values, path.name)

    @classmethod
    def parse(cls, values: Any, name: str = "prices") -> PriceTable:
        """The table in a parsed YAML value."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
            raise PriceFileError(f"{name} does not validate", got=found, expected=_EXPECTED) from error

    def price(self, provider: str, model: str, day: date, *, batch: bool) -> ModelPrice | None:
        """The price of a model on a day, None if this table has none; of a snapshot, that of its model."""
        prices = self.providers.get(provider)
        if prices is None:
            return None
        found = self._found(prices, model)
        period = None if found is None else found[1].on(day)
        if found is None or period is None:
            return None
        name, entry = found
        factor = Decimal(1)
        if prices.is_regional:
            regional = entry.regional if entry.regional is not None else prices.regional
            if regional is None:
                return None
            factor *= regional
        if batch:
            if prices.batch is None:
                return None
            factor *= prices.batch
        source = prices.source or "the company's own list"
        listed = period.all_rates()
        price = ModelPrice(provider, name, self.currency, entry.context_tokens, listed, source, self.checked)
        return price if factor == 1 else price.times(factor)

    def named(self, name: str, like: ProviderPrices, own: ProviderPrices) -> PriceTable:
        """This table with one provider more: `own` under `name`, completed by `like`."""
        merged = own.model_copy(
            update={
                "source": own.source or like.source,
                "batch": own.batch if own.batch is not None else like.batch,
                "regional": own.regional if own.regional is not None else like.regional,
                "models": {**like.models, **own.models},
            }
        )
        return self.model_copy(update={"providers": {**self.providers, name: merged}})

    @staticmethod
    def _found(prices: ProviderPrices, model: str) -> tuple[str, Model] | None:
        base = _SNAPSHOT.sub("", model)
        for name in (model, base, f"{base}-latest"):
            if name in prices.models:
                return name, prices.models[name]
        return None


@cache
def shipped_table() -> PriceTable:
    """The prices that are shipped."""
    text = files("companyos.llm.prices").joinpath("prices.yaml").read_text(encoding="utf-8")
    return PriceTable.parse(parse_yaml(text, "prices.yaml"))
