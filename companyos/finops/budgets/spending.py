"""What was really spent, by what the ledger says: one settlement each, with what had been planned for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.finops.budgets.units import QUANTUM, TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.finops.budgets.history import History
    from companyos.finops.budgets.interface import Record

__all__ = ("Settlement", "settlements")

_PHASE = re.compile(r"phase-(\d+):")
_FEATURE = 2
"""Which part of a path (`company/team/feature/run`) is the feature."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """One reservation that was settled: what it was for, what was planned, what it did cost."""

    id: str
    """The reservation's."""
    at: datetime
    """When it was reserved, which is when the request was made; aware, UTC. When settled, if only that is known."""
    task: str
    """The path it was for."""
    provider: str | None
    """Whom it was spent on."""
    model: str | None
    """Which model."""
    phase: int | None
    """The phase that was in force; None if the policy had none."""
    currency: str | None
    """ISO 4217 code of both amounts; None if only tokens were reserved."""
    planned: Decimal
    """What was reserved for it."""
    amount: Decimal
    """What was settled; exact, to 10^-8."""
    tokens: int | None
    """Tokens that were settled; None if none were reserved."""
    limits: Mapping[str, int]
    """Units of each cap it was judged by, by key."""

    @property
    def feature(self) -> str:
        """The third part of the task's path; `(none)` if it has fewer."""
        parts = self.task.split("/")
        return parts[_FEATURE] if len(parts) > _FEATURE else "(none)"


def settlements(history: History) -> tuple[Settlement, ...]:
    """Every settled reservation of a history, the earliest first."""
    found = [
        _settlement(record, history.reserved_at.get(record.id, history.settled_at[record.id]))
        for record in history.records.values()
        if record.status == "settled"
    ]
    return tuple(sorted(found, key=lambda one: (one.at, one.id)))


def _settlement(record: Record, at: float) -> Settlement:
    charges = record.body["charges"]
    units = {charge[0]: charge[3] for charge in charges}
    # Every cap of one unit was charged the same, so any of them says how much it was.
    planned = {charge[3]: charge[1] for charge in charges}
    actual = {units[key]: amount for key, amount in record.actual or () if key in units}
    currency = next((unit for unit in sorted(planned) if unit != TOKENS), None)
    phases = [found for key in units if (found := _PHASE.match(key))]
    return Settlement(
        id=record.id,
        at=datetime.fromtimestamp(at, UTC),
        task=record.body["task"],
        provider=record.body.get("provider"),
        model=record.body.get("model"),
        phase=int(phases[0][1]) if phases else None,
        currency=currency,
        planned=Decimal(0) if currency is None else planned[currency] * QUANTUM,
        amount=Decimal(0) if currency is None else actual.get(currency, 0) * QUANTUM,
        tokens=actual.get(TOKENS),
        limits={charge[0]: charge[2] for charge in charges},
    )
