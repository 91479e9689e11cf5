"""The states of alerts, tick by tick as promtool has them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companyos.observability.slo.simulate.engine import placed, replay
from companyos.observability.slo.simulate.errors import ReplayError, UnsupportedRuleError
from companyos.observability.slo.simulate.rulefile import read_rules
from tests.observability.slo_simulate import cases

MINUTE = 60_000
UNTIL_MS = 40 * MINUTE
ALERTS = (
    {"alert": "Now", "expr": "g > 0", "labels": {"severity": "page"}},
    {"alert": "Held", "expr": "g > 0", "for": "3m"},
    {"alert": "Kept", "expr": "g > 0", "for": "2m", "keep_firing_for": "4m"},
    {"alert": "Named", "expr": "sum by (a) (g) >= 1", "labels": {"a": "", "b": "set"}},
    {"record": "firing", "expr": "count by (alertname, alertstate) (ALERTS)"},
    {"record": "since", "expr": "max by (alertname) (ALERTS_FOR_STATE)"},
)


@pytest.mark.service("promtool")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.sampled_from([0, 0, 1, 1, 1, 2, None]), min_size=2, max_size=80))
def test_alerts_go_through_their_states_at_the_ticks_of_promtool(promtool, values):
    """Pending, firing, kept firing and gone: alerts, and the series that Prometheus writes about them, agree."""
    inputs = [cases.series("g", {"a": "x"}, values)] if any(value is not None for value in values) else []
    text = cases.rules_of([], alerts=ALERTS)

    assert "" == cases.judged(promtool, text, inputs, until_ms=UNTIL_MS, ticks=range(0, UNTIL_MS, MINUTE))


def _replayed(*rules, inputs=()):
    return replay(placed(read_rules(cases.rules_of([], alerts=rules), name="r.yml")), inputs, until_ms=UNTIL_MS)


def test_an_alert_waits_for_its_time_and_is_kept():
    """Active from 5 to 14 min, `for: 2m`, `keep_firing_for: 4m`: it fires from 7 to 19 min."""
    active = [1 if 10 <= number < 30 else 0 for number in range(80)]

    done = _replayed(ALERTS[2], inputs=[cases.series("g", {}, active)])

    assert [((7 * MINUTE, 19 * MINUTE),)] == [trace.spans_ms for _, trace in done.alerts]


REFUSED = {
    "two series of one label set": ({"record": "a", "expr": "vector(1)"}, {"record": "a", "expr": "vector(2)"}),
    "many to many": ({"record": "a", "expr": "g + on () g"},),
    "same labels after those of the rule": ({"record": "a", "expr": "g", "labels": {"n": "1"}},),
    "grouping labels not unique": ({"record": "a", "expr": "g * on () group_left (n) g"},),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_prometheus_would_refuse_to_evaluate_is_refused(name):
    """Ambiguous matching and doubled series are errors that name the rule, not something arbitrary."""
    inputs = [cases.series("g", {"n": label}, [1] * 80) for label in "12"]

    with pytest.raises(ReplayError, match="group g, record a"):
        _replayed(*REFUSED[name], inputs=inputs)


@pytest.mark.service("promtool")
@pytest.mark.parametrize("name", ["many to many", "same labels after those of the rule", "grouping labels not unique"])
def test_promtool_refuses_the_same(promtool, tmp_path, name):
    """Over these rules promtool fails, too."""
    (tmp_path / "rules.yml").write_text(cases.rules_of([], alerts=REFUSED[name]))
    inputs = "".join(f"\n  - series: 'g{{n=\"{label}\"}}'\n    values: 1x40" for label in "12")
    (tmp_path / "test.yml").write_text(
        f"rule_files: [rules.yml]\ntests:\n- interval: 1m\n  input_series:{inputs}\n"
        "  promql_expr_test:\n  - {expr: vector(1), eval_time: 5m, exp_samples: [{labels: '{}', value: 1}]}\n"
    )

    assert promtool.complaint(tmp_path / "test.yml")


def test_rules_in_a_circle_are_not_simulated():
    """Rules that read each other would need the evaluation of each tick after the other."""
    with pytest.raises(UnsupportedRuleError, match="circle"):
        _replayed({"record": "a", "expr": "b"}, {"record": "b", "expr": "a + 1"})


@pytest.mark.service("promtool")
def test_a_rule_sees_what_later_rules_wrote_one_tick_ago(promtool):
    """Rules run in their order: of one that comes later, a rule sees the value of the evaluation before."""
    text = cases.rules_of(
        ["time() - later", "sum_over_time(later[3m])", "later offset 1m"],
        alerts=[{"record": "later", "expr": "time()"}],
    )

    assert "" == cases.judged(promtool, text, [], until_ms=UNTIL_MS, ticks=range(0, UNTIL_MS, MINUTE))
