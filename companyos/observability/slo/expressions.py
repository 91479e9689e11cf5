"""The PromQL of one objective: how its error ratio over any window is had, by method and metric.

Where there were no events there is no ratio: no sample, rather than 0, 1 or NaN, so that nothing is concluded from
silence. Where there were events but none of them was good (or bad) Prometheus has no series for the good (or bad)
ones: they count as 0 then.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.observability.slo.durations import notation
from companyos.observability.slo.names import names_of
from companyos.observability.slo.openslo import BudgetingMethod, EventRatio, RawRatio
from companyos.observability.slo.promql import number

if TYPE_CHECKING:
    from companyos.observability.slo.openslo import Objective, Slo, ThresholdMetric
    from companyos.observability.slo.promql import Query

__all__ = ("BAD", "BEYOND", "POINT", "RATIO", "SLICE", "TOTAL", "Measure")

RATIO = "slo:sli_error:ratio_rate"
"""Followed by a window: the error ratio over it."""
BAD, TOTAL = "slo:sli_bad:rate5m", "slo:sli_total:rate5m"
"""Events a second, over five minutes; their sums over the period weigh each event the same."""
POINT = "slo:sli_point_error:ratio"
"""The error ratio at one moment, of metrics that have no window."""
SLICE = "slo:sli_slice_error:ratio"
"""The error ratio of one time slice: 0 or 1 for Timeslices."""
BEYOND = Decimal("0.01")
"""By so much a share may be below 0 or above 1, as good events and all events are not scraped at the same moment."""
_OPPOSITE = {"lt": ">=", "lte": ">", "gt": "<=", "gte": "<"}


@dataclass(frozen=True, slots=True)
class _Events:
    """Good or bad events among all events."""

    metric: EventRatio
    selector: str
    watched: str = TOTAL

    def records(self) -> list[tuple[str, str]]:
        some, total = self._some("5m"), self.metric.total.over("5m")
        return [(BAD, some if self.metric.are_bad else f"{total}\n-\n{some}"), (TOTAL, total)]

    def error(self, window: str) -> str:
        share = self._share(self._some(window), window)
        return share if self.metric.are_bad else f"1 - (\n  {_indented(share)}\n)"

    def missed(self, window: str, goal: Decimal) -> str:
        # The success ratio itself is compared: 1 - 0.99 is a little more than 0.01 in binary.
        some = self._some(window)
        good = f"({self.metric.total.over(window)} - {some})" if self.metric.are_bad else some
        return f"{self._share(good, window)}\n< bool {number(goal)}"

    def measured(self) -> str:
        return f"{BAD}{self.selector}\n/\n({TOTAL}{self.selector} > 0)"

    def unseen(self) -> frozenset[str]:
        return names_of(self.metric.counted.over("5m")) - names_of(self.metric.total.over("5m"))

    def period_error(self, period: str) -> str:
        bad, total = (f"sum_over_time({name}{self.selector}[{period}])" for name in (BAD, TOTAL))
        return f"{bad}\n/\n({total} > 0)"

    def _share(self, counted: str, window: str) -> str:
        return f"{counted}\n/\n({self.metric.total.over(window)} > 0)"

    def _some(self, window: str) -> str:
        return f"({self.metric.counted.over(window)} or {self.metric.total.over(window)} * 0)"


@dataclass(frozen=True, slots=True)
class _Points:
    """Errors that are had moment by moment."""

    expression: str
    selector: str
    watched: str = POINT

    def records(self) -> list[tuple[str, str]]:
        return [(POINT, self.expression)]

    def measured(self) -> str:
        return f"{POINT}{self.selector}"

    def error(self, window: str) -> str:
        return f"avg_over_time({POINT}{self.selector}[{window}])"

    def missed(self, window: str, goal: Decimal) -> str:
        return f"{self.error(window)}\n> bool {number(1 - goal)}"

    def period_error(self, period: str) -> str:
        return self.error(period)


@dataclass(frozen=True, slots=True)
class _Windowed:
    """A ratio that somebody else computes, over whatever window is asked for."""

    metric: RawRatio
    selector: str
    watched: str = f"{RATIO}5m"

    def records(self) -> list[tuple[str, str]]:
        return []

    def measured(self) -> str:
        return self.error("5m")

    def error(self, window: str) -> str:
        return _raw(self.metric, self.metric.query.over(window))

    def missed(self, window: str, goal: Decimal) -> str:
        return f"({self.error(window)})\n> bool {number(1 - goal)}"

    def period_error(self, period: str) -> str:
        return f"avg_over_time({self.watched}{self.selector}[{period}])"


class Measure:
    """The expressions of one objective; `selector` picks its recorded series."""

    def __init__(self, slo: Slo, objective: Objective, selector: str) -> None:
        self._source = _source(slo, objective, selector)
        self._selector = selector
        self._method = slo.method
        self._goal = objective.slice_target or Decimal(1)
        self.slice_seconds: int = 0 if slo.method is BudgetingMethod.OCCURRENCES else objective.slice_seconds or 0
        """Length of a slice; 0 where nothing is sliced."""
        self.counts_events: bool = isinstance(self._source, _Events)
        """Whether there are good or bad events, and all events."""
        self.watched: str = SLICE if self.slice_seconds and not self._source.records() else self._source.watched
        """The record that is absent when nothing can be measured."""
        self.measured: str = self._source.measured()
        """The error ratio as its metrics have it, before anything is cut into slices."""
        self.bad_names: tuple[str, ...] = _bad_names(self._source)
        """Metrics that count bad events and nothing else: a service that never failed may not have them."""

    def records(self) -> list[tuple[str, str]]:
        """Names and expressions of what is recorded besides the ratios."""
        return self._source.records()

    def slice_record(self) -> tuple[str, str] | None:
        """Name and expression of what is recorded once a slice."""
        if not self.slice_seconds:
            return None
        window = notation(self.slice_seconds)
        if self._method is BudgetingMethod.TIMESLICES:
            return SLICE, self._source.missed(window, self._goal)
        return SLICE, self._source.error(window)

    def error_ratio(self, window: str) -> str:
        """The error ratio over a window of an alert."""
        if self.slice_seconds:
            return f"avg_over_time({SLICE}{self._selector}[{window}])"
        return self._source.error(window)

    def period_error_ratio(self, period: str) -> str:
        """The error ratio over the whole period, from what was recorded."""
        return self.error_ratio(period) if self.slice_seconds else self._source.period_error(period)


def _bad_names(source: _Events | _Points | _Windowed) -> tuple[str, ...]:
    return tuple(sorted(source.unseen())) if isinstance(source, _Events) and source.metric.are_bad else ()


def _source(slo: Slo, objective: Objective, selector: str) -> _Events | _Points | _Windowed:
    metric = slo.indicator.metric
    if isinstance(metric, EventRatio):
        return _Events(metric, selector)
    if not isinstance(metric, RawRatio):
        return _Points(_beyond(metric, objective), selector)
    if metric.query.has_window:
        return _Windowed(metric, selector)
    return _Points(_raw(metric, _text(metric.query)), selector)


def _beyond(metric: ThresholdMetric, objective: Objective) -> str:
    # The inner comparison drops NaN, which would pass for good.
    sign = _OPPOSITE[objective.op or "lt"]
    return f"avg((({_text(metric.query)}) >= -Inf) {sign} bool {number(objective.value or 0)})"


def _raw(metric: RawRatio, query: str) -> str:
    held = f"avg(({query}) >= -Inf)"
    return held if metric.is_failure else f"1 - {held}"


def _text(query: Query) -> str:
    return query.over("5m")


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
