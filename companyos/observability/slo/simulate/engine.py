"""The rule engine: groups of rules over given series, every evaluation of the whole time.

Rules are not evaluated tick by tick but rule by rule, each for all its ticks at once, in an order in which what a rule
reads is there already. What a rule may see is the same as tick by tick: at one tick only what rules before it wrote.
Groups run one after the other at the same tick, as in `promtool test rules`; a server lets them run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.alerts import AlertTrace, alert_labels, trace, written_by
from companyos.observability.slo.simulate.errors import ReplayError, UnsupportedRuleError
from companyos.observability.slo.simulate.evaluator import Evaluator
from companyos.observability.slo.simulate.series import NAME, Labels, Row, Series, Store, labels_of, shown
from companyos.observability.slo.simulate.vectors import MatchingError, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from companyos.observability.slo.simulate.rulefile import Rule, RuleGroup
    from companyos.observability.slo.simulate.series import Times

__all__ = ("Placed", "Replay", "placed", "reads", "replay")


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule and where it stands among all."""

    order: int
    """Its number, from 0, over all groups."""
    rule: Rule
    """The rule."""
    interval_ms: int
    """Of its group."""


@dataclass(slots=True)
class Replay:
    """What came out."""

    store: Store
    """The given series and all that rules wrote."""
    alerts: list[tuple[Rule, AlertTrace]] = field(default_factory=list)
    """What became of each alert that was ever active, by rule in order."""


def placed(groups: Iterable[RuleGroup]) -> list[Placed]:
    """All rules in the order of evaluation."""
    rules = [(rule, group.interval_ms) for group in groups for rule in group.rules]
    return [Placed(number, rule, interval) for number, (rule, interval) in enumerate(rules)]


def reads(reader: Placed, writer: Placed) -> bool:
    """Whether a rule reads what another one writes, as far as names and fixed labels tell."""
    names = {"ALERTS", "ALERTS_FOR_STATE"} if writer.rule.alerts else {writer.rule.name}
    fixed = dict(writer.rule.labels) | ({"alertname": writer.rule.name} if writer.rule.alerts else {})
    return any(
        node.name in names
        and all(matcher.matches(fixed[matcher.name]) for matcher in node.matchers if matcher.name in fixed)
        for node in reader.rule.selectors
    )


def replay(rules: Sequence[Placed], inputs: Iterable[Series], *, until_ms: int) -> Replay:
    """Evaluate rules from time 0 up to and with `until_ms`.

    Raises:
        ReplayError: Prometheus would refuse an evaluation, or two rules write the same series.
        UnsupportedRuleError: rules read each other in a circle.
    """
    done = Replay(Store())
    for series in inputs:
        if not done.store.add(series):
            raise ReplayError(f"the series {shown(series.labels)} is given twice")
    for one in _in_order(rules):
        ticks = np.arange(0, until_ms + 1, one.interval_ms, dtype=np.int64)
        evaluator = Evaluator(done.store, one.rule.text, one.rule.place, one.order)
        rows = evaluator.vector(one.rule.node, ticks)
        if one.rule.alerts:
            _alert(one, rows, ticks, done)
        else:
            for row in _relabelled(one.rule, rows, _recorded_labels):
                _write(one, row, ticks, done.store)
    done.alerts.sort(key=lambda pair: next(one.order for one in rules if one.rule is pair[0]))
    return done


def _in_order(rules: Sequence[Placed]) -> list[Placed]:
    """The rules, each after those that it reads; otherwise as they are."""
    writers: dict[str, list[Placed]] = {}
    for one in rules:
        for name in ("ALERTS", "ALERTS_FOR_STATE") if one.rule.alerts else (one.rule.name,):
            writers.setdefault(name, []).append(one)
    ordered: list[Placed] = []
    state: dict[int, bool] = {}

    def visit(one: Placed) -> None:
        if one.order in state:
            if not state[one.order]:
                raise UnsupportedRuleError(
                    f"{one.rule.place}: rules that read each other in a circle are not simulated", got=one.rule.text
                )
            return
        state[one.order] = False
        names = {node.name for node in one.rule.selectors}
        for name in sorted(names):
            for writer in writers.get(name, ()):
                if reads(one, writer):
                    visit(writer)
        state[one.order] = True
        ordered.append(one)

    for one in rules:
        visit(one)
    return ordered


def _relabelled(rule: Rule, rows: list[Row], labels: Callable[[Rule, Row], Labels]) -> list[Row]:
    try:
        return unique(Row(labels(rule, row), row.values, row.present) for row in rows)
    except MatchingError as error:
        raise ReplayError(
            f"{rule.place}: {error}, after the labels of the rule",
            got=rule.text,
            hint="Prometheus refuses this evaluation: aggregate, or leave the label to the expression",
        ) from error


def _recorded_labels(rule: Rule, row: Row) -> Labels:
    return labels_of(dict(row.labels) | dict(rule.labels) | {NAME: rule.name})


def _alert(one: Placed, rows: list[Row], ticks: Times, done: Replay) -> None:
    for row in _relabelled(one.rule, rows, alert_labels):
        alert = trace(one.rule, row, ticks)
        done.alerts.append((one.rule, alert))
        for written in written_by(alert):
            _write(one, written, ticks, done.store)


def _write(one: Placed, row: Row, ticks: Times, store: Store) -> None:
    if not store.add(Series.recorded(row, ticks, one.order)):
        raise ReplayError(
            f"{one.rule.place}: another rule, or an input, writes the same series",
            got=shown(row.labels),
            hint="give the rules labels of their own",
        )
