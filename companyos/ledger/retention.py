"""How long detached payloads are kept, by class, and dropping those whose time is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from companyos.ledger.entry import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.ledger.stores.interface import Store

__all__ = ("DEFAULT_DAYS", "Retained", "drop", "expired")

DEFAULT_DAYS: Mapping[str, int] = MappingProxyType(
    {"audit": 2557, "pii": 1096, "general": 731, "sensitive": 365, "restricted": 183, "telemetry": 90}
)
"""Days for which the payloads of each class are kept, unless the log is opened with others: seven years, three, two,
one, half a year, ninety days."""
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Retained:
    """What has outlived its class."""

    payloads: Mapping[str, int]
    """How many payloads, by class; classes with none are left out."""
    before: Mapping[str, datetime]
    """For each of these classes, the time before which a payload was appended that is not kept any longer."""

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object, by class."""
        return {
            name: {"payloads": count, "before": timestamp(self.before[name])} for name, count in self.payloads.items()
        }


def expired(store: Store, days: Mapping[str, int], now: datetime | None = None) -> Retained:
    """What has outlived its class at `now`; nothing is dropped."""
    at = datetime.now(UTC) if now is None else now
    before = {name: at - timedelta(days=kept) for name, kept in days.items()}
    counts = {name: sum(1 for _ in store.payloads(name, time.timestamp())) for name, time in before.items()}
    found = {name: count for name, count in sorted(counts.items()) if count}
    return Retained(found, {name: before[name] for name in found})


def drop(store: Store, retained: Retained) -> None:
    """Delete these payloads and their salts, beyond recovery from the store's own files.

    Raises:
        StoreUnreadableError: it could not be done wholly; doing it again does the rest.
    """
    for name, time in retained.before.items():
        while commits := list(islice(store.payloads(name, time.timestamp()), _CHUNK)):
            with store.batch() as batch:
                batch.drop_payloads(commits)
    store.scrub()
