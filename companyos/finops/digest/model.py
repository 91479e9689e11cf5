"""What a digest says, as values; a part for which there are no data says so, and is never a zero."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from companyos.finops.money import plain
from companyos.finops.rows import stamp

if TYPE_CHECKING:
    from datetime import date, datetime

    from companyos.decision import Decision
    from companyos.finops.anomalies import Anomalies
    from companyos.finops.forecast import Period
    from companyos.finops.interface import CostLine
    from companyos.finops.usage import UnitCost

__all__ = ("BudgetLine", "Digest", "Move", "NotSupplied", "Releases", "WeekTotal", "percent")

FORMAT = "companyos.finops-digest/1"
"""Name of the machine form, with its version."""


@dataclass(frozen=True, slots=True)
class NotSupplied:
    """There are no data for a part of the digest."""

    why: str
    """What is missing, in words."""

    def to_dict(self) -> dict[str, Any]:
        """The part as a JSON object."""
        return {"supplied": False, "why": self.why}


@dataclass(frozen=True, slots=True)
class WeekTotal:
    """What the reported days of the week cost in one currency, against the same days of the week before."""

    currency: str
    """ISO 4217 code."""
    amount: Decimal
    """Cost of the reported days, exact."""
    before: Decimal
    """Cost of the same days of the week before."""
    before_whole: Decimal
    """Cost of the whole week before."""

    def to_dict(self) -> dict[str, Any]:
        """The total as a JSON object."""
        return {
            "currency": self.currency,
            "amount": plain(self.amount),
            "before": plain(self.before),
            "before_whole": plain(self.before_whole),
            "change": plain(self.amount - self.before),
            "change_percent": percent(self.amount, self.before),
        }


@dataclass(frozen=True, slots=True)
class Move:
    """A service, team or feature that costs more or less than in the week before."""

    by: str
    """`service`, `team` or `feature`."""
    key: str
    """Which one."""
    currency: str
    """ISO 4217 code."""
    amount: Decimal
    """Cost of the reported days of the week."""
    before: Decimal
    """Cost of the same days of the week before."""

    @property
    def change(self) -> Decimal:
        """How much more it costs; below zero if less."""
        return self.amount - self.before

    def to_dict(self) -> dict[str, Any]:
        """The move as a JSON object."""
        return {
            "by": self.by,
            "key": self.key,
            "currency": self.currency,
            "amount": plain(self.amount),
            "before": plain(self.before),
            "change": plain(self.change),
            "change_percent": percent(self.amount, self.before),
        }


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One cap of `finops.yaml` in the window that ran at the digest's moment, as the ledger tells it."""

    level: str
    """The level: a path, or a phase."""
    unit: str
    """`tokens` or a currency."""
    window: str
    """Its kind and first local date."""
    spent: str
    """What was settled; exact."""
    reserved: str
    """What was still reserved."""
    limit: str
    """The cap, by which the last reservation was judged."""
    used_percent: int
    """Spent and reserved of the cap, rounded down."""
    days_left: Decimal
    """Days until the window ends, to one place."""

    def to_dict(self) -> dict[str, Any]:
        """The line as a JSON object."""
        return {
            "level": self.level,
            "unit": self.unit,
            "window": self.window,
            "spent": self.spent,
            "reserved": self.reserved,
            "limit": self.limit,
            "used_percent": self.used_percent,
            "days_left": str(self.days_left),
        }


@dataclass(frozen=True, slots=True)
class Releases:
    """The DORA figures that release markers on the ledger give, for one environment."""

    environment: str
    """Where to."""
    deployments: int
    """Services deployed or upgraded in the week."""
    rollbacks: int
    """Services that went back to an earlier version."""

    @property
    def change_failure_percent(self) -> str | None:
        """Rollbacks in percent of deployments; None without deployments."""
        return str(_one_place(Decimal(self.rollbacks) * 100 / self.deployments)) if self.deployments else None

    def to_dict(self) -> dict[str, Any]:
        """The figures as a JSON object; what markers do not tell is null, not zero."""
        return {
            "environment": self.environment,
            "deployments": self.deployments,
            "deployments_per_day": str(_one_place(Decimal(self.deployments) / 7)),
            "rollbacks": self.rollbacks,
            "change_failure_percent": self.change_failure_percent,
            "lead_time": None,
            "time_to_restore": None,
        }


@dataclass(frozen=True, slots=True)
class Digest:
    """One week, for people (`to_markdown`, `to_html`) and machines (`to_dict`)."""

    week: Period
    """Monday to Sunday, UTC days."""
    as_of: datetime
    """The moment it speaks of: aware, UTC; at most the end of the week."""
    through: date
    """The first day of the week that is not wholly reported; costs are compared up to it."""
    extract: str | None
    """Digest of the cost data, as in `Coverage.digest`."""
    totals: tuple[WeekTotal, ...] | NotSupplied
    """What the week cost, by currency."""
    budgets: tuple[Decision, ...]
    """The verdict on each target and ceiling, with its forecast."""
    days: tuple[CostLine, ...]
    """Costs of each reported day of this week and the one before."""
    moves: tuple[Move, ...]
    """What moved most, by service, team and feature."""
    levels: tuple[BudgetLine, ...] | NotSupplied
    """The caps of `finops.yaml`."""
    units: tuple[UnitCost, ...] | NotSupplied
    """Unit costs of language models and GPUs by feature."""
    anomalies: Anomalies | NotSupplied
    """Days of the week on which a service cost what its history did not let expect."""
    releases: tuple[Releases, ...] | NotSupplied
    """What was released."""

    @property
    def label(self) -> str:
        """The week as ISO 8601 has it, `2026-W48`."""
        year, week, _ = self.week.start.isocalendar()
        return f"{year}-W{week:02}"

    def to_dict(self) -> dict[str, Any]:
        """The digest as a JSON object."""
        return {
            "format": FORMAT,
            "week": self.label,
            "week_start": self.week.start.isoformat(),
            "week_end": self.week.end.isoformat(),
            "as_of": stamp(self.as_of),
            "through": self.through.isoformat(),
            "extract": self.extract,
            "totals": _part(self.totals),
            "budgets": [decision.to_dict() for decision in self.budgets],
            "days": [line.to_dict() for line in self.days],
            "moves": [move.to_dict() for move in self.moves],
            "levels": _part(self.levels),
            "units": _part(self.units),
            "anomalies": self.anomalies.to_dict()
            if isinstance(self.anomalies, NotSupplied)
            else {"supplied": True} | self.anomalies.to_dict(),
            "dora": _part(self.releases),
        }


def percent(amount: Decimal, before: Decimal) -> str | None:
    """How much more than before, in percent to one place; None if there was nothing before."""
    return None if before <= 0 else f"{_one_place((amount - before) * 100 / before):+}"


def _one_place(number: Decimal) -> Decimal:
    return number.quantize(Decimal("0.1"), ROUND_HALF_EVEN)


def _part(part: tuple[Any, ...] | NotSupplied) -> dict[str, Any]:
    if isinstance(part, NotSupplied):
        return part.to_dict()
    return {"supplied": True, "items": [one.to_dict() for one in part]}
