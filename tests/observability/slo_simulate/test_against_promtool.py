"""The evaluator does not grade itself: promtool judges the same series and rules."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companyos.observability.slo import simulate
from companyos.observability.slo.simulate.errors import ReplayError
from tests.observability.slo.texts import events, slo
from tests.observability.slo.texts import rules_of as compiled
from tests.observability.slo_simulate import cases

pytestmark = pytest.mark.service("promtool")
UNTIL_MS = 42 * cases.INTERVAL_MS
SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def _judged(promtool, texts, inputs):
    """What promtool says about all expressions that it would evaluate; those refused here are left out."""
    good = []
    for text in texts:
        try:
            cases.replayed(cases.rules_of([text]), inputs, until_ms=UNTIL_MS)
        except ReplayError:
            continue
        good.append(text)
    return cases.judged(promtool, cases.rules_of(good or ["vector(1)"]), inputs, until_ms=UNTIL_MS)


@SETTINGS
@given(inputs=cases.inputs(), texts=st.lists(cases.expressions, min_size=6, max_size=12))
def test_recorded_values_are_those_of_promtool(promtool, inputs, texts):
    """Whatever the series and the expressions, what is recorded is what promtool records."""
    assert "" == _judged(promtool, texts, inputs)


@pytest.mark.parametrize(
    ("name", "labels"), [("error_total", {}), ("errors_total", {})], ids=["errors are misspelt", "more bad than all"]
)
def test_alerts_on_what_cannot_be_right_fire_at_the_same_tick(promtool, name, labels):
    """What compiled rules say of themselves: our evaluator and promtool see the same, minute by minute."""
    bad, total = "sum(rate(errors_total[{{.window}}]))", "sum(rate(requests_total[{{.window}}]))"
    text = compiled(slo(events(bad=bad, total=total))).to_yaml()
    inputs = [
        cases.series("requests_total", {}, [30 * n for n in range(160)]),
        cases.series(name, labels, [60 * n for n in range(160)]),
    ]
    until_ms = 78 * cases.INTERVAL_MS
    every = range(0, until_ms, cases.INTERVAL_MS)
    assert "" == cases.judged(promtool, text, inputs, until_ms=until_ms, ticks=every)
    fired = {
        dict(rule.labels)["slo_alert"] for rule, alert in cases.replayed(text, inputs, until_ms=until_ms).alerts
        if alert.firing.any()
    }  # fmt: skip
    assert ("no-errors-seen" if name == "error_total" else "nonsense") in fired


def _without_extrapolation(risen, *_):
    return risen


PLANTED = {
    "extrapolation": ("windows._extrapolated", _without_extrapolation, "increase(c[5m])"),
    "lookback": ("evaluator.LOOKBACK_MS", 200_000, "g"),
    "NaN in max": ("windows.np.fmax", np.maximum, "max_over_time(g[5m])"),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_bug_is_noticed(promtool, monkeypatch, name):
    """A defect of the evaluator makes promtool disagree, so agreement means something."""
    target, replacement, text = PLANTED[name]
    values = [0, 3, 5, None, 9, float("nan"), 12, 13, *[None] * 9, 20, 24, *[None] * 20, 31, 34]
    inputs = [cases.series("c", {}, [v for v in values if v == v]), cases.series("g", {}, values)]  # noqa: PLR0124 - NaN
    rules = cases.rules_of([text])
    every = range(0, UNTIL_MS, cases.INTERVAL_MS)
    assert "" == cases.judged(promtool, rules, inputs, until_ms=UNTIL_MS, ticks=every)

    module, _, attribute = target.rpartition(".")
    owner = attrgetter(module)(simulate)
    monkeypatch.setattr(owner, attribute, replacement)

    assert "got:" in cases.judged(promtool, rules, inputs, until_ms=UNTIL_MS, ticks=every)
