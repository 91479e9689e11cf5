"""Money for one attempt: reserved before a byte leaves, settled by what was counted, or by the worst case."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from companyos.finops.budgets.units import TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from companyos.llm.interface import Held, SpendGuard, Usage
    from companyos.llm.ranking import Ranking

__all__ = ("Hold", "Purse", "apart")

LEASE_BEYOND_SECONDS = 60.0
"""How much longer than the call a reservation holds."""
MAX_LEASE_SECONDS = 86_400.0

T = TypeVar("T")


async def apart(owner: object, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call what may wait for a disk or a server in a thread, and what says that it does not, here."""
    if getattr(owner, "is_instant", False):
        return function(*arguments, **named)
    return await asyncio.to_thread(function, *arguments, **named)


@dataclass(frozen=True, slots=True)
class Hold:
    """What one attempt holds."""

    held: Held | None
    """In the budget; None without a budget."""
    worst: Decimal
    """The most that the attempt can cost, in the policy's currency."""
    tokens: int
    """The most tokens that it can take."""
    rate: Decimal
    """What one unit of the price's currency is worth in the policy's."""


@dataclass(frozen=True, slots=True)
class Purse:
    """Reserves and settles for the attempts of one call."""

    budget: SpendGuard | None
    """Where from; None reserves nothing and counts all the same."""
    ranking: Ranking
    """Knows prices."""
    feature: str
    """Path that pays."""
    currency: str
    """Of all amounts."""

    async def hold(
        self, provider: str, model: str, tokens: tuple[int, int], at_least: Decimal, lease_seconds: float
    ) -> Hold:
        """Reserve the worst case of an attempt, but at least so much, so that another one can follow it.

        `tokens` are the most of the prompt and of the answer. Where there is no room for what may follow, the worst
        case of the attempt itself is reserved.

        Raises:
            BudgetRefusedError: there is no room, or the provider or model is not allowed.
            UserError: the price is not known any more.
        """
        price, rate = self.ranking.price(provider, model)
        worst, total = price.worst(*tokens) * rate, sum(tokens)
        if self.budget is None:
            return Hold(None, worst, total, rate)
        from companyos.finops.budgets.errors import BudgetRefusedError

        lease = min(lease_seconds + LEASE_BEYOND_SECONDS, MAX_LEASE_SECONDS)
        try:
            held = await self._reserve(max(worst, at_least), provider, model, total, lease)
        except BudgetRefusedError:
            if at_least <= worst:
                raise
            held = await self._reserve(worst, provider, model, total, lease)
        return Hold(held, worst, total, rate)

    async def _reserve(self, amount: Decimal, provider: str, model: str, tokens: int, lease: float) -> Held:
        assert self.budget is not None  # noqa: S101 - the one caller has looked
        return await apart(
            self.budget,
            self.budget.reserve,
            amount,
            task=self.feature,
            tokens=tokens,
            currency=self.currency,
            provider=provider,
            model=model,
            lease_seconds=lease,
        )

    def spent(self, provider: str, model: str, hold: Hold, usage: Usage | None) -> Decimal:
        """What an attempt costs by what was counted; the worst case if nobody says."""
        if usage is None:
            return hold.worst
        return self.ranking.price(provider, model)[0].cost(usage) * hold.rate

    async def settle(self, hold: Hold, amount: Decimal, usage: Usage | None) -> None:
        """Put what was spent in the place of what is held, in the units that are held."""
        if hold.held is None:
            return
        units = {one.unit for one in getattr(hold.held, "charges", ())} or {TOKENS, self.currency}
        tokens = hold.tokens if usage is None else usage.total
        await apart(
            self.budget,
            hold.held.settle,
            amount if self.currency in units else None,
            tokens=tokens if TOKENS in units else None,
        )

    async def refund(self, hold: Hold) -> None:
        """Give all of it back: nothing was spent."""
        if hold.held is not None:
            await apart(self.budget, hold.held.refund)
