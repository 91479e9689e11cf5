"""What a digest needs of the ledger, read in one pass: budgets as they were at a moment, and release markers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.finops.budgets import History, settlements
from companyos.finops.budgets.history import is_after, is_of_budget
from companyos.finops.digest.model import Releases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.finops.budgets import Settlement
    from companyos.finops.forecast import Period
    from companyos.ports import Entry

__all__ = ("LedgerView", "ledger_view")

_MARKER = "dev.cdevents.service."
_DEPLOYED = ("deployed", "upgraded")
_ROLLED_BACK = "rolledback"


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The budget and the releases that the entries until a moment tell of."""

    history: History
    """The budget as it was then."""
    markers: tuple[tuple[datetime, str, str], ...]
    """When, what (`deployed`, `upgraded`, `rolledback`) and in which environment."""

    def settled(self, week: Period) -> tuple[Settlement, ...]:
        """What was spent on requests made in the week (UTC days)."""
        return tuple(one for one in settlements(self.history) if week.start <= one.at.date() < week.end)

    def releases(self, week: Period) -> tuple[Releases, ...]:
        """Releases in the week by environment."""
        counts: dict[str, Counter[str]] = {}
        for at, kind, environment in self.markers:
            if week.start <= at.date() < week.end:
                counts.setdefault(environment, Counter())[kind] += 1
        return tuple(
            Releases(name, sum(own[kind] for kind in _DEPLOYED), own[_ROLLED_BACK])
            for name, own in sorted(counts.items())
        )


def ledger_view(entries: Iterable[Entry], source: str, *, until: datetime) -> LedgerView:
    """The view of all entries of what happened before `until`; `source` is the budget's."""
    history, markers = History(), []
    for entry in entries:
        if entry.data is None:
            continue
        if entry.type.startswith(_MARKER):
            marker = _marker(entry.type, entry.data, entry.time)
            if marker is not None and marker[0] < until:
                markers.append(marker)
        elif is_of_budget(entry, source) and not is_after(entry, until.timestamp()):
            history.add(entry)
    return LedgerView(history, tuple(markers))


def _marker(type_: str, data: Mapping[str, Any], logged: datetime) -> tuple[datetime, str, str] | None:
    kind = type_.removeprefix(_MARKER).partition(".")[0]
    if kind not in {*_DEPLOYED, _ROLLED_BACK}:
        return None
    try:
        at = datetime.fromisoformat(data["context"]["timestamp"]).astimezone(UTC)
        environment = str(data["subject"]["content"]["environment"]["id"])
    except (KeyError, TypeError, ValueError):
        return logged, kind, "(none)"
    return at, kind, environment
