"""Series and what is asked of them: label sets, samples in time, and the store that rules read and write."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from companyos.observability.slo.simulate.nodes import Matcher

    Times = NDArray[np.int64]
    """Milliseconds since the beginning, rising."""
    Values = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ("INPUT", "NAME", "Labels", "Row", "Series", "Store", "escaped", "keep", "labels_of", "shown", "without")

Labels = tuple[tuple[str, str], ...]
"""Pairs of name and value, sorted, none empty."""
NAME = "__name__"
INPUT = -1
"""The order of what no rule writes."""


def labels_of(pairs: Mapping[str, str]) -> Labels:
    """A label set; an empty value is the same as no label."""
    return tuple(sorted((name, value) for name, value in pairs.items() if value))


def without(labels: Labels, names: Iterable[str]) -> Labels:
    """The label set without some labels."""
    names = frozenset(names)
    return tuple(pair for pair in labels if pair[0] not in names)


def keep(labels: Labels, names: Iterable[str]) -> Labels:
    """Only these of a label set."""
    names = frozenset(names)
    return tuple(pair for pair in labels if pair[0] in names)


def shown(labels: Labels) -> str:
    """A label set as Prometheus writes it."""
    pairs = dict(labels)
    name = pairs.pop(NAME, "")
    quoted = ", ".join(f'{key}="{escaped(value)}"' for key, value in pairs.items())
    return f"{name}{{{quoted}}}"


def escaped(value: str) -> str:
    """A value as it stands between double quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@dataclass(frozen=True, slots=True)
class Row:
    """One element of a vector at each of many times; where it is not `present`, its value means nothing."""

    labels: Labels
    """With the name of the metric, where there still is one."""
    values: Values
    """One for each time."""
    present: Mask
    """Whether it is there at each time."""


@dataclass(frozen=True, eq=False)
class Series:
    """Samples of one label set, a stale marker where it ended."""

    labels: Labels
    """With the name of the metric."""
    times: Times
    """Of samples and markers."""
    values: Values
    """NaN at a marker."""
    stale: Mask | None = None
    """Which samples are stale markers; None if none is."""
    order: int = INPUT
    """The place of the rule that writes it among all; what comes later is not yet there for those before."""

    @cached_property
    def live(self) -> tuple[Times, Values]:
        """The samples without the stale markers, as range vectors see them."""
        if self.stale is None:
            return self.times, self.values
        return self.times[~self.stale], self.values[~self.stale]

    @classmethod
    def recorded(cls, row: Row, ticks: Times, order: int) -> Series:
        """What a rule writes: a sample where it gave one, a stale marker at the first evaluation without.

        Source: Prometheus `rules/manager.go`, `Group.Eval`.
        """
        ended = np.zeros_like(row.present)
        ended[1:] = row.present[:-1] & ~row.present[1:]
        kept = row.present | ended
        values = np.where(row.present, row.values, np.nan)[kept]
        return cls(row.labels, ticks[kept], values, ended[kept] if ended.any() else None, order)


@dataclass(slots=True)
class Store:
    """All series, by metric."""

    _by_name: dict[str, dict[Labels, Series]] = field(default_factory=dict)

    def add(self, series: Series) -> bool:
        """Keep a series; false if there is one with these labels already."""
        of_name = self._by_name.setdefault(dict(series.labels)[NAME], {})
        if series.labels in of_name:
            return False
        of_name[series.labels] = series
        return True

    def select(self, name: str, matchers: tuple[Matcher, ...]) -> list[Series]:
        """The series of a metric that satisfy all conditions."""
        found = []
        for labels, series in self._by_name.get(name, {}).items():
            pairs = dict(labels)
            if all(matcher.matches(pairs.get(matcher.name, "")) for matcher in matchers):
                found.append(series)
        return found
