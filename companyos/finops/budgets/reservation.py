"""A reservation: room that is held for one task until it is settled, refunded, or its lease is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from companyos.finops.budgets.units import shown

if TYPE_CHECKING:
    from decimal import Decimal
    from types import TracebackType

    from companyos.finops.budgets.budget import Budget
    from companyos.finops.budgets.interface import Charge

__all__ = ("Reservation", "moment")


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room held in every level that applies.

    As a context manager it is refunded when the block is left without a settlement. Whoever spends and dies before
    settling is told of by an entry `expired`; settle such a reservation late rather than never: it is counted.
    """

    id: str
    """Unique in the budget; the same id again is the same reservation."""
    task: str
    """The path it is for."""
    charges: tuple[Charge, ...]
    """What it holds, by level."""
    lease_until: datetime
    """When it expires by the store's clock; aware, UTC."""
    provider: str | None
    """Whom it is spent on."""
    model: str | None
    """Which model it is for."""
    _budget: Budget = field(repr=False, compare=False)

    def settle(self, amount: Decimal | int | None = None, *, tokens: int | None = None) -> None:
        """Put what was really spent in the place of what was reserved; less frees room, more is counted all the same.

        A unit that is not said is taken as spent in full. Again with the same amounts changes nothing.

        Raises:
            BudgetRequestError: an amount that is none, or in a unit that was not reserved.
            BudgetConflictError: it was settled with another amount before.
            BudgetStoreLostError: the store was lost; once it is rebuilt, settle again.
        """
        self._budget.settle(self, amount, tokens=tokens)

    def refund(self) -> None:
        """Give all of it back: nothing was spent. Again, or after the lease, changes nothing.

        Raises:
            BudgetConflictError: it was settled before.
            BudgetStoreLostError: the store was lost.
        """
        self._budget.refund(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found = self._budget.find(self.id)
        if found is not None and found.status == "open":
            self.refund()

    def to_dict(self) -> dict[str, Any]:
        """The reservation as a JSON object."""
        return {
            "id": self.id,
            "task": self.task,
            "provider": self.provider,
            "model": self.model,
            "lease_until": self.lease_until.isoformat(),
            "charges": [{"key": one.key, "reserved": shown(one.amount, one.unit)} for one in self.charges],
        }


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as an aware UTC time."""
    return datetime.fromtimestamp(seconds, UTC)
