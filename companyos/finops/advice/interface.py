"""Advice, and the lack of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any, Literal

from companyos.finops.money import plain

if TYPE_CHECKING:
    from datetime import date

__all__ = ("Advice", "Advised", "Confidence", "Kind", "Unadvised", "Window", "by_month")

Kind = Literal["commitment", "idle", "little-used", "nights", "untagged", "weekends"]
"""What an advice is about."""
Confidence = Literal["high", "medium", "low"]
"""By how much data it stands on."""
_DAYS_A_MONTH = Decimal(365) / 12


@dataclass(frozen=True, slots=True)
class Window:
    """The UTC days `[start, end)` that are looked at."""

    start: date
    """The first."""
    end: date
    """The day after the last."""

    @property
    def days(self) -> int:
        """How many."""
        return (self.end - self.start).days


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that could cost less."""

    kind: Kind
    """What it is about."""
    subject: str
    """The resource, service or tag."""
    currency: str
    """ISO 4217 code."""
    monthly: Decimal
    """What it would save in an average month; for `untagged`, what nobody answers for. Cents, rounded down."""
    confidence: Confidence
    """By how much data it stands on."""
    why: str
    """What was seen, in words."""
    rows: int
    """How many charges it stands on."""
    first: str
    """One of them: `sha256:<hex>#<row>`."""
    facts: dict[str, str] = field(default_factory=dict)
    """The numbers behind it, exact."""

    def to_dict(self) -> dict[str, Any]:
        """The advice as a JSON object, amounts as text."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "currency": self.currency,
            "monthly": plain(self.monthly),
            "confidence": self.confidence,
            "why": self.why,
            "rows": self.rows,
            "first": self.first,
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Unadvised:
    """A kind of advice that could not be given."""

    kind: Kind
    """Which."""
    why: str
    """What is missing, by name."""

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {"kind": self.kind, "why": self.why}


@dataclass(frozen=True, slots=True)
class Advised:
    """All advice on a window of days."""

    window: Window
    """The days."""
    advice: tuple[Advice, ...]
    """By currency, the largest amount first."""
    undetermined: tuple[Unadvised, ...]
    """What could not be told."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        return {
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
            "advice": [one.to_dict() for one in self.advice],
            "undetermined": [one.to_dict() for one in self.undetermined],
        }


def by_month(amount: Decimal, window: Window) -> Decimal:
    """An amount of the whole window as that of an average month, in cents, rounded down."""
    return (amount * _DAYS_A_MONTH / window.days).quantize(Decimal("0.01"), ROUND_DOWN)
