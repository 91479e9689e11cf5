"""A budget within this process, for tests and for what needs none that lasts: a `SpendGuard`."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

from companyos.decision import Decision
from companyos.finops.budgets.errors import BudgetConflictError, BudgetRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("LocalBudget",)


class LocalBudget:
    """Caps on money and tokens that hold as long as the process does; nothing is on the ledger.

    `limit` is money in one currency, `tokens` the most of each provider. Use `companyos.finops.Budget` for what must
    outlive a crash.
    """

    is_instant = True

    def __init__(self, limit: Decimal, *, tokens: Mapping[str, int] | None = None) -> None:
        self.limit = limit
        self.spent = Decimal(0)
        self.reserved = Decimal(0)
        self.tokens_limit = dict(tokens or {})
        self.tokens = dict.fromkeys(self.tokens_limit, 0)
        self._lock = threading.Lock()

    def reserve(
        self,
        amount: Decimal | int | None = None,
        *,
        task: str,
        tokens: int | None = None,
        currency: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 - the reservation's
        lease_seconds: float | None = None,
    ) -> _Held:
        """Hold it; the names of task, currency and model, and the lease, do not matter here.

        Raises:
            BudgetRefusedError: there is no room.
        """
        del task, currency, model, lease_seconds
        money, count = Decimal(amount or 0), tokens or 0
        with self._lock:
            room = self.tokens_limit.get(provider or "")
            full = room is not None and self.tokens[provider or ""] + count > room
            if full or self.spent + self.reserved + money > self.limit:
                what = f"tokens of {provider}" if full else "money"
                raise BudgetRefusedError(Decision.denied("BUDGET-CAP.no-room", f"no room for that much {what}"))
            self.reserved += money
            if room is not None:
                self.tokens[provider or ""] += count
        return _Held(self, id or uuid4().hex, money, count, provider)

    def conclude(self, held: _Held, amount: Decimal, tokens: int) -> None:
        """Put what was spent in the place of what was held."""
        with self._lock:
            self.reserved -= held.amount
            self.spent += amount
            if held.provider in self.tokens:
                self.tokens[held.provider] += tokens - held.tokens


class _Held:
    def __init__(self, budget: LocalBudget, name: str, amount: Decimal, tokens: int, provider: str | None) -> None:
        self.id = name
        self.amount, self.tokens, self.provider = amount, tokens, provider
        self._budget, self._open = budget, True

    def settle(self, amount: Decimal | int | None = None, *, tokens: int | None = None) -> None:
        self._close()
        spent = self.amount if amount is None else Decimal(amount)
        self._budget.conclude(self, spent, self.tokens if tokens is None else tokens)

    def refund(self) -> None:
        self._close()
        self._budget.conclude(self, Decimal(0), 0)

    def _close(self) -> None:
        if not self._open:
            raise BudgetConflictError("it is settled or refunded already", got=self.id)
        self._open = False
