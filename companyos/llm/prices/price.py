"""What one model costs, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

    from companyos.llm.interface import Usage

__all__ = ("ModelPrice", "Rates")

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of a million tokens, in force where the prompt has more than `above` tokens."""

    above: int
    """0 for the prices that hold from the first token."""
    input: Decimal
    """Of the prompt, as far as it has nothing to do with the cache."""
    output: Decimal
    """Of the answer."""
    cache_read: Decimal
    """Of the prompt, read from the cache; the price of input where the vendor has none of its own."""
    cache_write: Decimal
    """Of the prompt, written to the cache; the same."""
    reasoning: Decimal
    """Of the answer, spent on reasoning; the price of output where the vendor has none of its own."""

    def times(self, factor: Decimal) -> Rates:
        """All of them, multiplied."""
        return Rates(
            self.above,
            self.input * factor,
            self.output * factor,
            self.cache_read * factor,
            self.cache_write * factor,
            self.reasoning * factor,
        )


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What one model costs at one provider on one day; a `companyos.llm.interface.Price`."""

    provider: str
    """Name of the provider in the list."""
    model: str
    """Name of the model in the list."""
    currency: str
    """ISO 4217 code."""
    context_tokens: int | None
    """The most tokens of prompt and answer together; None if nobody knows."""
    rates: tuple[Rates, ...]
    """By rising `above`; the first one has 0."""
    source: str
    """Where the price is published."""
    checked: date
    """When it was read there."""

    def cost(self, usage: Usage) -> Decimal:
        """What this usage costs, exactly; of counts that contradict each other, the dearer reading."""
        rates = [one for one in self.rates if usage.input_tokens > one.above or one.above == 0][-1]
        plain = max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
        said = max(0, usage.output_tokens - usage.reasoning_tokens)
        total = (
            rates.input * plain
            + rates.cache_read * usage.cache_read_tokens
            + rates.cache_write * usage.cache_write_tokens
            + rates.output * said
            + rates.reasoning * usage.reasoning_tokens
        )
        return total / _MILLION

    def worst(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The most that a call with at most so many tokens can cost, whatever is cached, thought or tiered."""
        reached = [one for one in self.rates if one.above < max(input_tokens, 1)]
        dearest_in = max(max(one.input, one.cache_read, one.cache_write) for one in reached)
        dearest_out = max(max(one.output, one.reasoning) for one in reached)
        return (dearest_in * input_tokens + dearest_out * output_tokens) / _MILLION

    def times(self, factor: Decimal, currency: str | None = None) -> ModelPrice:
        """The same multiplied: for a batch, a region, or another currency."""
        return ModelPrice(
            self.provider,
            self.model,
            currency or self.currency,
            self.context_tokens,
            tuple(one.times(factor) for one in self.rates),
            self.source,
            self.checked,
        )
