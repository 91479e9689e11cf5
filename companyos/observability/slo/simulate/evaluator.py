"""The evaluator: an expression, a store of series, and evaluation times; out comes a vector for all the times.

It answers as Prometheus 2.42 does for each of the times alone: lookback of five minutes, stale markers, ranges that
are closed on both sides, subqueries aligned to their step. The tests hold it to `promtool test rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.errors import ReplayError, UnsupportedRuleError, place_in
from companyos.observability.slo.simulate.histograms import histogram_quantile
from companyos.observability.slo.simulate.nodes import (
    Aggregate,
    Binary,
    Call,
    Negated,
    Node,
    Number,
    Selector,
    Subquery,
    walk,
)
from companyos.observability.slo.simulate.parser import SET_OPERATORS, kind_of
from companyos.observability.slo.simulate.series import NAME, Row, labels_of, without
from companyos.observability.slo.simulate.vectors import (
    MatchingError,
    aggregate,
    combined,
    scalars,
    sets,
    unique,
    with_scalar,
)
from companyos.observability.slo.simulate.windows import OVER_TIME, Windows, increase

if TYPE_CHECKING:
    from companyos.observability.slo.simulate.series import Series, Store, Times, Values

__all__ = ("DEFAULT_STEP_MS", "LOOKBACK_MS", "Evaluator")

LOOKBACK_MS = 300_000
"""How old the latest sample of an instant vector may be (`--query.lookback-delta`)."""
DEFAULT_STEP_MS = 60_000
"""Step of a subquery without one: the default of the global evaluation interval."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates one rule's expression."""

    store: Store
    """What is read."""
    text: str = ""
    """The expression as written, for errors."""
    place: str = "expression"
    """Where it comes from, for errors."""
    order: int | None = None
    """The rule's place among all: at one tick it does not see what later rules write at that tick. None sees all."""

    def vector(self, node: Node, ticks: Times) -> list[Row]:
        """The rows of an expression at the ticks; a scalar is one row without labels, as for a rule.

        Raises:
            ReplayError: label sets do not match as the expression needs.
            UnsupportedRuleError: the order of the rules makes it something that is not simulated.
        """
        if kind_of(node) == "scalar":
            return [Row((), self._scalar(node, ticks), np.ones(len(ticks), dtype=np.bool_))]
        return [row for row in self._vector(node, ticks) if row.present.any()]

    def _vector(self, node: Node, ticks: Times) -> list[Row]:
        try:
            if isinstance(node, Selector):
                return self._instant(node, ticks)
            if isinstance(node, Aggregate):
                return aggregate(node, self._vector(node.expr, ticks))
            if isinstance(node, Negated):
                rows = self._vector(node.expr, ticks)
                return unique(Row(without(row.labels, (NAME,)), -row.values, row.present) for row in rows)
            if isinstance(node, Binary):
                return self._binary(node, ticks)
            if isinstance(node, Call):
                return self._call(node, ticks)
        except MatchingError as error:
            raise ReplayError(
                f"{self.place}: {place_in(self.text, node.at)}: {error}",
                got=self.text,
                hint="Prometheus would refuse this evaluation: match on more labels, or aggregate first",
            ) from error
        raise AssertionError(node)

    def _scalar(self, node: Node, ticks: Times) -> Values:
        if isinstance(node, Number):
            return np.full(len(ticks), node.value)
        if isinstance(node, Negated):
            return -self._scalar(node.expr, ticks)
        if isinstance(node, Binary):
            return scalars(node.op, self._scalar(node.left, ticks), self._scalar(node.right, ticks))
        if isinstance(node, Call) and node.name == "time":
            return ticks / 1000.0
        if isinstance(node, Call):
            rows = self._vector(node.args[0], ticks)
            number = np.sum([row.present for row in rows], axis=0) if rows else np.zeros(len(ticks))
            value = np.sum([np.where(row.present, row.values, 0.0) for row in rows], axis=0) if rows else 0.0
            return np.where(number == 1, value, np.nan)
        raise AssertionError(node)

    def _binary(self, node: Binary, ticks: Times) -> list[Row]:
        left_scalar = kind_of(node.left) == "scalar"
        if left_scalar or kind_of(node.right) == "scalar":
            scalar = self._scalar(node.left if left_scalar else node.right, ticks)
            rows = self._vector(node.right if left_scalar else node.left, ticks)
            return with_scalar(node, rows, scalar, scalar_first=left_scalar)
        left, right = self._vector(node.left, ticks), self._vector(node.right, ticks)
        return sets(node, left, right) if node.op in SET_OPERATORS else combined(node, left, right)

    def _call(self, node: Call, ticks: Times) -> list[Row]:
        if node.name in OVER_TIME or node.name in {"rate", "increase"}:
            return unique(self._ranged(node, windows) for windows in self._windows(node.args[0], ticks))
        if node.name == "absent_over_time":
            present = [windows.count > 0 for windows in self._windows(node.args[0], ticks)]
            return _absent(node.args[0], present, ticks)
        if node.name == "absent":
            return _absent(node.args[0], [row.present for row in self._vector(node.args[0], ticks)], ticks)
        if node.name == "vector":
            return [Row((), self._scalar(node.args[0], ticks), np.ones(len(ticks), dtype=np.bool_))]
        if node.name == "histogram_quantile":
            return histogram_quantile(self._scalar(node.args[0], ticks), self._vector(node.args[1], ticks))
        limits = [self._scalar(arg, ticks) for arg in node.args[1:]]
        return unique(_each(node.name, row, limits) for row in self._vector(node.args[0], ticks))

    def _ranged(self, node: Call, windows: Windows) -> Row:
        nameless = without(windows.labels, (NAME,))
        if node.name == "last_over_time":
            return Row(windows.labels, OVER_TIME[node.name](windows), windows.count > 0)
        if node.name in OVER_TIME:
            return Row(nameless, OVER_TIME[node.name](windows), windows.count > 0)
        values, present = increase(windows)
        if node.name == "rate":
            values = values / ((windows.end - windows.start) / 1000.0)
        return Row(nameless, values, present)

    def _instant(self, node: Selector, ticks: Times) -> list[Row]:
        rows = []
        for series in self.store.select(node.name, node.matchers):
            asked = ticks - node.offset_ms
            last = self._visible(series, series.times, asked, ticks) - 1
            at = np.maximum(last, 0)
            if not len(series.times):
                continue
            present = (last >= 0) & (series.times[at] >= asked - LOOKBACK_MS)
            if series.stale is not None:
                present &= ~series.stale[at]
            rows.append(Row(series.labels, series.values[at], present))
        return rows

    def _visible(self, series: Series, times: Times, asked: Times, ticks: Times) -> np.typing.NDArray[np.intp]:
        """How many of the samples there are up to the time asked; what a later rule writes at the tick is not there."""
        number = np.searchsorted(times, asked, side="right")
        if self.order is not None and series.order >= self.order:
            number = np.minimum(number, np.searchsorted(times, ticks, side="left"))
        return number

    def _windows(self, node: Node, ticks: Times) -> list[Windows]:
        if isinstance(node, Subquery):
            return self._subquery(node, ticks)
        if not isinstance(node, Selector) or node.range_ms is None:
            raise AssertionError(node)
        found = []
        for series in self.store.select(node.name, node.matchers):
            times, values = series.live
            end = ticks - node.offset_ms
            start = end - node.range_ms
            low = np.searchsorted(times, start, side="left")
            high = self._visible(series, times, end, ticks)
            found.append(Windows(series.labels, times, values, low, high, start, end))
        return found

    def _subquery(self, node: Subquery, ticks: Times) -> list[Windows]:
        self._refuse_later(node)
        step = node.step_ms or DEFAULT_STEP_MS
        end = ticks - node.offset_ms
        start = end - node.range_ms
        first = -(-int(start.min()) // step) * step
        grid = np.arange(first, int(end.max()) + 1, step, dtype=np.int64)
        found = []
        for row in self._vector(node.expr, grid) if len(grid) else ():
            times, values = grid[row.present], row.values[row.present]
            low, high = np.searchsorted(times, start, side="left"), np.searchsorted(times, end, side="right")
            found.append(Windows(row.labels, times, values, low, high, start, end))
        return found

    def _refuse_later(self, node: Subquery) -> None:
        """Inside a subquery one and the same sample would be there for one tick and not for another."""
        for below in walk(node.expr):
            if not isinstance(below, Selector) or self.order is None:
                continue
            if any(series.order >= self.order for series in self.store.select(below.name, below.matchers)):
                raise UnsupportedRuleError(
                    f"{self.place}: {place_in(self.text, below.at)}: a subquery of a later rule is not simulated",
                    got=below.name,
                    hint="put the rule that records it before this one",
                )


def _absent(node: Node, present: list[np.typing.NDArray[np.bool_]], ticks: Times) -> list[Row]:
    """One row of value 1 where nothing is; its labels are what the selector's equalities say."""
    there = np.any(present, axis=0) if present else np.zeros(len(ticks), dtype=np.bool_)
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in node.matchers if isinstance(node, Selector) else ():
        if matcher.op == "=" and matcher.name not in seen:
            labels[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            labels.pop(matcher.name, None)
    return [Row(labels_of(labels), np.ones(len(ticks)), ~there)]


def _each(name: str, row: Row, limits: list[Values]) -> Row:
    """A function of each value alone."""
    labels, values, present = without(row.labels, (NAME,)), row.values, row.present
    with np.errstate(all="ignore"):
        if name == "clamp":
            low, high = limits
            return Row(labels, np.maximum(low, np.minimum(high, values)), present & ~(high < low))
        if name == "round":
            inverse = 1.0 / (limits[0] if limits else np.ones(len(values)))
            return Row(labels, np.floor(values * inverse + 0.5) / inverse, present)
        if name in {"clamp_min", "clamp_max"}:
            limit = np.maximum if name == "clamp_min" else np.minimum
            return Row(labels, limit(values, limits[0]), present)
        if name == "abs":
            return Row(labels, np.abs(values), present)
        return Row(labels, np.ceil(values) if name == "ceil" else np.floor(values), present)
