"""Series and rules that hypothesis makes up, and the two judges of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from companyos.observability.slo.simulate.engine import placed, replay
from companyos.observability.slo.simulate.promtool import write_test
from companyos.observability.slo.simulate.rulefile import read_rules
from companyos.observability.slo.simulate.series import NAME, Series, labels_of

STEP_MS = 30_000
INTERVAL_MS = 60_000
LENGTH = 60
"""Samples of an input series, half a minute apart."""


def series(name, labels, values):
    """An input series from a list of values; None is no sample, "stale" a stale marker."""
    at = [number for number, value in enumerate(values) if value is not None]
    stale = np.array([values[number] == "stale" for number in at])
    kept = np.array([np.nan if values[number] == "stale" else values[number] for number in at], dtype=np.float64)
    times = np.array(at, dtype=np.int64) * STEP_MS
    return Series(labels_of({NAME: name, **labels}), times, kept, stale if stale.any() else None)


def rules_of(expressions, *, alerts=()):
    """The text of a rule file with one group: recording rules `r0`, `r1`, ..., then alerts given as mappings."""
    import yaml

    rules = [{"record": f"r{number}", "expr": text} for number, text in enumerate(expressions)]
    return yaml.safe_dump({"groups": [{"name": "g", "interval": "1m", "rules": [*rules, *alerts]}]}, sort_keys=False)


def replayed(text, inputs, *, until_ms):
    """Our replay of a rule file."""
    return replay(placed(read_rules(text, name="rules.yml")), inputs, until_ms=until_ms)


def judged(promtool, text, inputs, *, until_ms, ticks=None):
    """What promtool says against our replay of a rule file; empty if it agrees."""
    groups = read_rules(text, name="rules.yml")
    rules = placed(groups)
    done = replay(rules, inputs, until_ms=until_ms)
    ticks = range(0, until_ms + 1, 7 * INTERVAL_MS) if ticks is None else ticks
    with tempfile.TemporaryDirectory() as directory:
        return promtool.complaint(
            write_test(Path(directory), rules, inputs, done, step_ms=STEP_MS, value_ticks_ms=list(ticks))
        )


def _counter(draw_steps):
    total, values = 0.0, []
    for step in draw_steps:
        if step in {None, "stale"}:
            values.append(step)
            continue
        total = 0.0 if step == "reset" else total + step
        values.append(total)
    return values


_STEPS = st.one_of(st.integers(0, 9), st.floats(0, 3, allow_nan=False), st.sampled_from([None, None, "stale", "reset"]))
counters = st.lists(_STEPS, min_size=1, max_size=LENGTH).map(_counter)
gauges = st.lists(
    st.one_of(st.integers(-5, 5), st.sampled_from([None, "stale", float("nan"), float("inf"), 0.1, -2.5])),
    min_size=1,
    max_size=LENGTH,
)
LABELS = [{"a": "x", "b": "1"}, {"a": "y", "b": "1"}, {"a": "x", "b": "2"}, {"a": "z"}]
BUCKETS = ["0.1", "0.3", "1", "+Inf"]


@st.composite
def inputs(draw):
    """Some series of a counter `c`, of a gauge `g`, and of a histogram `h_bucket`."""
    found = [series("c", labels, draw(counters)) for labels in LABELS]
    found += [series("g", labels, draw(gauges)) for labels in LABELS[:3]]
    steps = draw(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=3, max_size=LENGTH))
    total = np.cumsum(np.cumsum(np.array(steps, dtype=np.float64), axis=1), axis=0)
    found += [series("h_bucket", {"le": bound}, total[:, number].tolist()) for number, bound in enumerate(BUCKETS)]
    return [one for one in found if len(one.times)]


_selectors = st.sampled_from(["", '{a="x"}', '{a!="x"}', '{a=~"x|y",b="1"}', '{b!~"1|2"}', '{a=~".+"}', '{b=""}'])
_ranges = st.sampled_from(["1m", "90s", "2m", "5m", "7m", "13m"])
_offsets = st.sampled_from(["", "", "", " offset 1m", " offset 4m"])
_over = st.sampled_from(
    [f"{name}_over_time" for name in ("sum", "avg", "min", "max", "count", "last", "present", "absent")]
)
_grouping = st.sampled_from(["", " by (a)", " by (b)", " without (a)", " by ()", " without ()"])
_MATCHED = [
    *[
        "+",
        "/",
        "and",
        "or",
        "unless",
        ">",
        "> bool",
        "- on (a)",
        "* ignoring (b)",
        "and on (a)",
        "or on (b)",
        "* on ()",
    ],
    *["/ on (a) group_left", "/ on (b) group_right (a)", "unless ignoring (a)", "<= ignoring (a)", "== on (a, b)"],
]


def _vectors(inner):
    """Expressions of instant vectors, from smaller ones."""
    aggregated = st.builds(
        "{}({}){}".format, st.sampled_from(["sum", "avg", "min", "max", "count", "group"]), inner, _grouping
    )
    with_scalar = st.builds(
        "({} {} {})".format,
        inner,
        st.sampled_from(["+", "-", "*", "/", "%", ">", "<=", "== bool", "!=", "< bool"]),
        st.sampled_from(["2", "0", "-1.5", "(3 * 0.1)", "scalar(g)", "Inf"]),
    )
    matched = st.builds(
        "({} {} {})".format,
        inner,
        st.sampled_from(_MATCHED),
        inner,
    )
    called = st.builds(
        "{}({})".format, st.sampled_from(["abs", "ceil", "floor", "round", "-", "absent", "vector(1) or "]), inner
    )
    clamped = st.builds(
        "clamp{}".format, st.builds("_min({}, 1)".format, inner) | st.builds("({}, 0, 2)".format, inner)
    )
    subqueries = st.builds(
        "{}(({})[{}:{}]{})".format, _over, inner, _ranges, st.sampled_from(["", "1m", "45s"]), _offsets
    )
    return aggregated | with_scalar | matched | called | clamped | subqueries


_leaves = (
    st.builds("g{}{}".format, _selectors, _offsets)
    | st.builds("{}(c{}[{}]{})".format, st.sampled_from(["rate", "increase"]), _selectors, _ranges, _offsets)
    | st.builds("{}(g{}[{}]{})".format, _over, _selectors, _ranges, _offsets)
    | st.builds(
        "histogram_quantile({}, {})".format,
        st.sampled_from(["0.9", "0.5", "0", "1", "2"]),
        st.sampled_from(["h_bucket", "rate(h_bucket[5m])", "sum by (le) (rate(h_bucket[2m]))"]),
    )
    | st.sampled_from(["vector(3)", "vector(time())", "absent(nothing{a='q',b=~'z'})"])
)
expressions = st.recursive(_leaves, _vectors, max_leaves=4)
