"""Up to when costs are known, when several providers and accounts report each at their own pace."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

__all__ = ("WINDOW_DAYS", "Source", "reported_through")

WINDOW_DAYS = 28
"""A source that has reported nothing for so long before the latest one is taken for given up."""
SILENT_AFTER_DAYS = 3
"""A source that ends so much before the latest one has stopped; providers deliver a day or two late."""
MIN_DAYS = 3
"""With fewer days a source has not shown that it reports daily: a one-off purchase is no stream."""


@dataclass(frozen=True, slots=True)
class Source:
    """One provider's billing account, by its charges of at most one day."""

    name: str
    """Provider and account."""
    through: datetime
    """End of its latest charge period: aware, UTC."""
    first: date
    """Its first day with a charge."""
    last: date
    """Its latest day with a charge."""
    days: int
    """Days with a charge among the `WINDOW_DAYS` that end with `last`."""

    @property
    def steady(self) -> bool:
        """Whether it has reported on at least half of its days, so that a day without a charge means something."""
        span = min(WINDOW_DAYS, (self.last - self.first).days + 1)
        return self.days >= MIN_DAYS and self.days * 2 >= span


def reported_through(sources: Sequence[Source]) -> tuple[datetime | None, tuple[str, ...]]:
    """Up to when all of them have reported, and the names of those that have stopped.

    The slowest steady source decides. Only where none is steady does the latest charge of any.
    """
    if not sources:
        return None, ()
    latest = max(source.through for source in sources)
    current = [s for s in sources if s.steady and latest - s.through < timedelta(days=WINDOW_DAYS)]
    late = timedelta(days=SILENT_AFTER_DAYS)
    silent = tuple(sorted(source.name for source in current if latest - source.through > late))
    return min((source.through for source in current), default=latest), silent
