"""The same replay as a test of `promtool test rules`, so that the evaluator here does not grade itself.

Source: https://prometheus.io/docs/prometheus/2.42/configuration/unit_testing_rules/. promtool evaluates all
groups at one interval, one after the other, so one group stands for all; annotations are left out, because it would
compare their templates, which are not evaluated here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import yaml

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.errors import UnsupportedRuleError
from companyos.observability.slo.simulate.series import NAME, escaped, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from companyos.observability.slo.simulate.engine import Placed, Replay
    from companyos.observability.slo.simulate.rulefile import Rule
    from companyos.observability.slo.simulate.series import Labels, Series

__all__ = ("write_test",)

TOLERANCE = 1e-9
"""Relative; sums of floats may be added up in another order."""


def write_test(
    directory: Path,
    rules: Sequence[Placed],
    inputs: Sequence[Series],
    done: Replay,
    *,
    step_ms: int,
    value_ticks_ms: Sequence[int] = (),
) -> Path:
    """Write `rules.yml` and `test.yml` to a directory, and return the path of the latter.

    `inputs` have a sample at multiples of `step_ms`, or none there. The test expects each alert to fire at its tick and
    not at the one before, likewise to stop, and at `value_ticks_ms` the recorded values.

    Raises:
        UnsupportedRuleError: the groups of the rules have different intervals.
    """
    intervals = {one.interval_ms for one in rules}
    if len(intervals) != 1:
        raise UnsupportedRuleError(
            "promtool evaluates all groups at one interval",
            got=f"intervals of {', '.join(f'{each} ms' for each in sorted(intervals))}",
            hint="give all groups one interval to have the simulation judged by promtool",
        )
    interval = f"{intervals.pop()}ms"
    group = {"name": "slo", "interval": interval, "rules": [_plain_rule(one.rule) for one in rules]}
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": interval,
        "tests": [
            {
                "interval": f"{step_ms}ms",
                "input_series": [{"series": shown(one.labels), "values": _values(one, step_ms)} for one in inputs],
                "alert_rule_test": list(_alert_tests(rules, done)),
                "promql_expr_test": list(_value_tests(rules, done, value_ticks_ms)),
            }
        ],
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (("rules.yml", {"groups": [group]}), ("test.yml", tests)):
        text = yaml.safe_dump(content, sort_keys=False, width=10**9, allow_unicode=True)
        (directory / name).write_text(text, encoding="utf-8")
    return directory / "test.yml"


def _plain_rule(rule: Rule) -> dict[str, Any]:
    plain: dict[str, Any] = {"alert" if rule.alerts else "record": rule.name, "expr": rule.text}
    if rule.for_ms:
        plain["for"] = f"{rule.for_ms}ms"
    if rule.keep_firing_ms:
        plain["keep_firing_for"] = f"{rule.keep_firing_ms}ms"
    return plain | ({"labels": dict(rule.labels)} if rule.labels else {})


def _values(series: Series, step_ms: int) -> str:
    at = dict(zip((series.times // step_ms).tolist(), series.values.tolist(), strict=True))
    stale = set() if series.stale is None else set((series.times[series.stale] // step_ms).tolist())
    last = max(at, default=-1)
    return " ".join("stale" if n in stale else _number(at[n]) if n in at else "_" for n in range(last + 1))


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return repr(value)


def _alert_tests(rules: Iterable[Placed], done: Replay) -> Iterable[dict[str, Any]]:
    """Every alert at the edges of its firing; one that never fired, at the end."""
    for name in sorted({one.rule.name for one in rules if one.rule.alerts}):
        traces = [alert for rule, alert in done.alerts if rule.name == name]
        edges: set[int] = set()
        for alert in traces:
            step = int(alert.ticks[1] - alert.ticks[0]) if len(alert.ticks) > 1 else 0
            for span in alert.spans_ms:
                edges |= {tick - before for tick in span if tick is not None for before in (0, step)}
            edges.add(int(alert.ticks[-1]))
        for tick in sorted(edges or {0}):
            if tick < 0:
                continue
            firing = [alert.labels for alert in traces if bool(alert.firing[np.searchsorted(alert.ticks, tick)])]
            expected = [{"exp_labels": dict(_nameless(labels, "alertname"))} for labels in firing]
            yield {"eval_time": f"{tick}ms", "alertname": name, "exp_alerts": expected}


def _nameless(labels: Labels, *names: str) -> Labels:
    return tuple(pair for pair in labels if pair[0] not in names)


def _value_tests(rules: Iterable[Placed], done: Replay, ticks: Sequence[int]) -> Iterable[dict[str, Any]]:
    records = sorted({one.rule.name for one in rules if not one.rule.alerts})
    for name in records:
        recorded = done.store.select(name, ())
        labels = sorted({label for series in recorded for label, _ in series.labels if label != NAME})
        for tick in ticks:
            present = [(series, value) for series in recorded if (value := _at(series, tick)) is not None]
            yield {
                "expr": f"count({name})",
                "eval_time": f"{tick}ms",
                "exp_samples": [{"labels": "{}", "value": len(present)}] if present else [],
            }
            for series, value in present:
                yield _value_test(name, labels, series.labels, tick, value)


def _at(series: Series, tick: int) -> float | None:
    """The value written at a tick."""
    at = int(np.searchsorted(series.times, tick))
    if at == len(series.times) or series.times[at] != tick or (series.stale is not None and series.stale[at]):
        return None
    return float(series.values[at])


def _value_test(name: str, labels: Sequence[str], own: Labels, tick: int, value: float) -> dict[str, Any]:
    pairs = dict(own)
    exact = ",".join(f'{label}="{escaped(pairs.get(label, ""))}"' for label in labels)
    metric = f"{name}{{{exact}}}"
    if math.isnan(value):
        condition = f"{metric} != bool {metric}"
    elif value == 0 or math.isinf(value):
        condition = f"{metric} == bool {_number(value)}"
    else:
        condition = f"abs({metric} / {_number(value)} - 1) < bool {TOLERANCE}"
    return {
        "expr": condition,
        "eval_time": f"{tick}ms",
        "exp_samples": [{"labels": shown(_nameless(own, NAME)), "value": 1}],
    }
