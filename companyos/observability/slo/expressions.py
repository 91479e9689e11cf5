"""The PromQL of one objective: how its error ratio over any window is had, by method and metric.

Where there were no events there is no ratio: no sample, rather than 0, 1 or NaN, so that nothing is concluded from
silence. Where there were events but none of them was good (or bad) Prometheus has no series for the good (or bad)
ones: they count as 0 then.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.observability.slo.durations import notation
from companyos.observability.slo.openslo import BudgetingMethod
from companyos.observability.slo.promql import number

if TYPE_CHECKING:
    from companyos.observability.slo.openslo import Objective, Ratio, Slo
    from companyos.observability.slo.promql import Query

__all__ = ("BAD", "POINT", "RATIO", "SLICE", "TOTAL", "Measure")

RATIO = "slo:sli_error:ratio_rate"
"""Followed by a window: the error ratio over it."""
BAD, TOTAL = "slo:sli_bad:rate5m", "slo:sli_total:rate5m"
"""Events a second, over five minutes; their sums over the period weigh each event the same."""
POINT = "slo:sli_point_error:ratio"
"""The error ratio at one moment, of metrics that have no window."""
SLICE = "slo:sli_slice_error:ratio"
"""The error ratio of one time slice: 0 or 1 for Timeslices."""
_OPPOSITE = {"lt": ">=", "lte": ">", "gt": "<=", "gte": "<"}


class Measure:
    """The expressions of one objective; `selector` picks its recorded series."""

    def __init__(self, slo: Slo, objective: Objective, selector: str) -> None:
        self._ratio: Ratio | None = slo.indicator.ratio
        self._threshold: Query | None = slo.indicator.threshold
        self._objective = objective
        self._selector = selector
        self._sliced = slo.method is not BudgetingMethod.OCCURRENCES
        self._judged = slo.method is BudgetingMethod.TIMESLICES
        self.counts_events = self._ratio is not None and self._ratio.total is not None
        """Whether there are good or bad events, and all events."""
        self.slice_seconds: int = (objective.slice_seconds or 0) if self._sliced else 0
        """Length of a slice; 0 where nothing is sliced."""
        raw = self._ratio.raw if self._ratio is not None else None
        self._pointwise = self._threshold is not None or (raw is not None and not raw.has_window)
        self.watched: str = TOTAL if self.counts_events else POINT if self._pointwise else f"{RATIO}5m"
        """The record that is absent when nothing can be measured."""

    def records(self) -> list[tuple[str, str]]:
        """Names and expressions of what is recorded besides the ratios."""
        if self.counts_events:
            return [(BAD, self._bad("5m")), (TOTAL, self._total("5m"))]
        return [(POINT, self._point())] if self._pointwise else []

    def slice_record(self) -> tuple[str, str] | None:
        """Name and expression of what is recorded once a slice."""
        if not self._sliced:
            return None
        window = notation(self.slice_seconds)
        if not self._judged:
            return SLICE, self._error(window)
        goal = self._objective.slice_target or Decimal(1)
        if self.counts_events:
            # The success ratio itself is compared: 1 - 0.99 is a little more than 0.01 in binary.
            return SLICE, f"{self._success(window)}\n< bool {number(goal)}"
        return SLICE, f"({self._error(window)})\n> bool {number(1 - goal)}"

    def error_ratio(self, window: str) -> str:
        """The error ratio over a window of an alert."""
        if self._sliced:
            return f"avg_over_time({SLICE}{self._selector}[{window}])"
        return self._error(window)

    def period_error_ratio(self, period: str) -> str:
        """The error ratio over the whole period, from what was recorded."""
        if self._sliced:
            return self.error_ratio(period)
        if self.counts_events:
            bad, total = (f"sum_over_time({name}{self._selector}[{period}])" for name in (BAD, TOTAL))
            return f"{bad}\n/\n({total} > 0)"
        return f"avg_over_time({POINT if self._pointwise else f'{RATIO}5m'}{self._selector}[{period}])"

    def _error(self, window: str) -> str:
        ratio = self._ratio
        if self._pointwise or ratio is None:
            return f"avg_over_time({POINT}{self._selector}[{window}])"
        if ratio.raw is not None:
            return self._raw(ratio.raw.over(window))
        if ratio.bad is not None:
            return f"{self._some(ratio.bad, window)}\n/\n({self._total(window)} > 0)"
        return f"1 - (\n  {_indented(self._success(window))}\n)"

    def _success(self, window: str) -> str:
        ratio = self._ratio
        assert ratio is not None
        total = self._total(window)
        good = self._some(ratio.good, window) if ratio.good is not None else f"({self._good(window)})"
        return f"{good}\n/\n({total} > 0)"

    def _bad(self, window: str) -> str:
        assert self._ratio is not None
        if self._ratio.bad is not None:
            return self._some(self._ratio.bad, window)
        assert self._ratio.good is not None
        return f"{self._total(window)}\n-\n{self._some(self._ratio.good, window)}"

    def _good(self, window: str) -> str:
        assert self._ratio is not None
        assert self._ratio.bad is not None
        return f"{self._total(window)} - {self._some(self._ratio.bad, window)}"

    def _some(self, query: Query, window: str) -> str:
        return f"({query.over(window)} or {self._total(window)} * 0)"

    def _total(self, window: str) -> str:
        assert self._ratio is not None
        assert self._ratio.total is not None
        return self._ratio.total.over(window)

    def _point(self) -> str:
        if self._threshold is not None:
            # The inner comparison drops NaN, which would pass for good.
            query = self._threshold.over("5m")
            return f"avg((({query}) >= -Inf) {_OPPOSITE[self._objective.op or 'lt']} bool {number(self._objective.value or 0)})"
        assert self._ratio is not None
        assert self._ratio.raw is not None
        return self._raw(self._ratio.raw.over("5m"))

    def _raw(self, query: str) -> str:
        assert self._ratio is not None
        held = f"avg(({query}) >= -Inf)"
        return held if self._ratio.raw_is_failure else f"1 - {held}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
