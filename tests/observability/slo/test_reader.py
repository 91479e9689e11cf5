"""Reading OpenSLO files: what is understood, and that what is wrong is named with file, line and field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.observability.slo import SloError, compile_rules, read
from companyos.observability.slo.openslo import EventRatio, RawRatio, ThresholdMetric
from tests.observability.slo.texts import BAD, TOTAL, events, metric, policy, slo, text, thing

WHOLE = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: up
spec:
  service: shop
  indicator:
    metadata:
      name: sli
    spec:
      ratioMetric:
        counter: true
        bad:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(errors_total[5m]))
        total:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(requests_total[5m]))
  timeWindow:
    - duration: 30d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.999
"""
BAD_METRIC = WHOLE[WHOLE.index("        bad:\n") : WHOLE.index("        total:\n")]
RATIO = WHOLE[WHOLE.index("      ratioMetric:\n") : WHOLE.index("  timeWindow:\n")]
INDICATOR = WHOLE[WHOLE.index("  indicator:\n") : WHOLE.index("  timeWindow:\n")]


def problems(content):
    """What is wrong with a file, as texts."""
    with pytest.raises(SloError) as caught:
        compile_rules(read({"slo.yaml": content if isinstance(content, bytes) else content.encode()}))
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: SLO", "kind: SOL", "slo.yaml:2: kind: got 'SOL', expected DataSource or SLO"),
        ("openslo/v1\n", "openslo/v2\n", "slo.yaml:1: apiVersion: got 'openslo/v2'"),
        ("kind: SLO\n", "", "slo.yaml:1: kind: is missing"),
        ("  name: up\n", "  nam: up\n", "slo.yaml:4: metadata.nam: unknown key; did you mean 'name'?"),
        ("  name: up\n", "  name: 'a b'\n", "slo.yaml:4: metadata.name: got 'a b', expected"),
        (INDICATOR, "", "slo.yaml:6: spec.indicator: expected an SLI"),
        (INDICATOR, "  indicatorRef: gone\n", "slo.yaml:7: spec.indicatorRef: no SLI 'gone' is defined"),
        (RATIO, "      description: none\n", "slo.yaml:11: spec.indicator.spec: expected exactly one of"),
        (
            BAD_METRIC,
            BAD_METRIC + BAD_METRIC.replace("bad", "good"),
            "ratioMetric: got bad, good, total; expected good",
        ),
        (BAD_METRIC, "", "slo.yaml:12: spec.indicator.spec.ratioMetric: got total; expected"),
        ("duration: 30d", "duration: 0d", "slo.yaml:24: spec.timeWindow[0].duration: got '0d', expected a duration"),
        ("duration: 30d", "duration: 30", "slo.yaml:24: spec.timeWindow[0].duration: got 30, expected a number and"),
        ("duration: 30d", "duration: 30 days", "slo.yaml:24: spec.timeWindow[0].duration: got '30 days'"),
        ("duration: 30d", "duration: 11Y", "slo.yaml:24: spec.timeWindow[0].duration: got '11Y'"),
        ("duration: 30d", "duration: 5m", "slo.yaml:24: spec.timeWindow[0].duration: got '5m', expected at least 1h"),
        ("isRolling: true", "isRolling: yes", "slo.yaml:25: spec.timeWindow[0].isRolling: got 'yes', expected true"),
        ("isRolling: true", "isRolling: false", "slo.yaml:24: spec.timeWindow[0].calendar: is missing"),
        ("target: 0.999", "target: 1", "slo.yaml:28: spec.objectives[0].target: got 1: without an error budget"),
        ("target: 0.999", "targetPercent: 100", "slo.yaml:28: spec.objectives[0].targetPercent: got 100: without"),
        ("target: 0.999", "targetPercent: 101", "targetPercent: got 101, expected more than 0 and less than 100"),
        ("target: 0.999", "target: 99.9", "target: got 99.9, expected more than 0 and less than 1; did you mean"),
        ("target: 0.999", "target: 0", "slo.yaml:28: spec.objectives[0].target: got 0, expected more than 0"),
        ("target: 0.999", "target: -0.5", "slo.yaml:28: spec.objectives[0].target: got -0.5, expected more than 0"),
        ("target: 0.999", "target: '0.999'", "slo.yaml:28: spec.objectives[0].target: got '0.999', expected a number"),
        ("target: 0.999", "target: .nan", "slo.yaml:28: spec.objectives[0].target: got '.nan', expected a number"),
        (
            "target: 0.999",
            "tarjet: 0.999",
            "slo.yaml:28: spec.objectives[0].tarjet: unknown key; did you mean 'target'",
        ),
        ("target: 0.999", "displayName: x", "slo.yaml:28: spec.objectives[0].target: expected exactly one of target"),
        ("    - target: 0.999\n", "    []\n", "slo.yaml:28: spec.objectives: is empty"),
        ("Occurrences", "Occurences", "slo.yaml:26: spec.budgetingMethod: got 'Occurences', expected Occurrences or"),
        ("Occurrences", "Timeslices", "slo.yaml:28: spec.objectives[0].timeSliceWindow: is missing"),
        (
            "type: Prometheus",
            "type: Datadog",
            "metricSource.type: got 'Datadog'; rules can only be made for Prometheus",
        ),
        ("            type: Prometheus\n", "", "metricSource.type: is missing, and there is no metricSourceRef"),
        (
            "errors_total[5m]",
            "errors_total[5m",
            "slo.yaml:17: spec.indicator.spec.ratioMetric.bad.metricSource.spec.query",
        ),
        ("errors_total[5m]))", "errors_total[5m])", "query: the query leaves a '(' open"),
        ("errors_total[5m]))", "errors_total[5m]) + )", "query: is not PromQL: "),
        ("rate(errors_total", "rat(errors_total", "query: line 1, column 5: there is no rat"),
        ("errors_total[5m]))", "errors_total[5m])))", "query: the query closes a ')' that was not opened"),
        ("rate(errors_total[5m])", "errors_total + 1", "query: has no place for the window; write [{{.window}}]"),
        ("sum(rate(errors_total[5m]))", "a[5m] / b[1h]", "query: the query has the ranges [1h], [5m]; write"),
        (
            "errors_total[5m]",
            "errors_total[$__rate_interval]",
            "query: the placeholder '$__rate_interval' is not known",
        ),
        ("errors_total[5m]", "errors_total[{{.windw}}]", "query: the placeholder '{{.windw}}' is not known"),
        ("service: shop", "service: 7", "slo.yaml:6: spec.service: got 7, expected a text: put it into quotes"),
        ("service: shop", "service: &a shop", "slo.yaml:6: anchors and aliases are not read"),
        ("service: shop", "service: !!python/name:os.system x", "slo.yaml:6: the tag"),
        ("  service: shop\n", "  service: shop\n  service: b\n", "slo.yaml:7: the key 'service' occurs a second time"),
        ("  service: shop\n", "  service: [\n", "slo.yaml:8: not YAML: "),
        ("  service: shop\n", '  service: "a\\x07"\n', "slo.yaml:6: spec.service: a text with control characters"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(old, new, expected):
    """One mistake in an otherwise good file: the problem says where it is, what was got and what was expected."""
    assert old in WHOLE
    found = problems(WHOLE.replace(old, new, 1))
    assert any(expected in problem for problem in found), found


def test_many_mistakes_are_told_at_once():
    """Reading goes on after a mistake: three files, four mistakes, one error."""
    sources = {
        "a.yaml": WHOLE.replace("0.999", "1.0").replace("30d", "0d").encode(),
        "b.yaml": WHOLE.replace("kind: SLO", "kind: Nothing").encode(),
        "c.yaml": b"\xff",
    }
    with pytest.raises(SloError) as caught:
        read(sources)
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [
        ("a.yaml", 24),
        ("a.yaml", 28),
        ("b.yaml", 2),
        ("c.yaml", 1),
    ]
    assert "4 problems" in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ([slo(alertPolicies=["gone"])], "spec.alertPolicies: no AlertPolicy 'gone' is defined"),
        ([slo(alertPolicies=[{"alertPolicyRef": "gone"}])], "spec.alertPolicies: no AlertPolicy 'gone' is defined"),
        (
            [slo(), thing("AlertPolicy", "p", {"conditions": [{"conditionRef": "gone"}]})],
            "spec.conditions[0].conditionRef: no AlertCondition 'gone' is defined",
        ),
        (
            [slo(), policy(notificationTargets=[{"targetRef": "gone"}])],
            "targetRef: no AlertNotificationTarget 'gone' is defined",
        ),
        ([slo(), policy(conditions=[])], "spec.conditions: is empty"),
        ([slo(), policy(threshold=0)], "threshold: got 0, expected a burn rate above 0"),
        ([slo(), policy(lookback="0m")], "lookbackWindow: got '0m', expected a duration above zero"),
        ([slo(), slo()], "metadata.name: 'shop-up' is also the identity of the objective at slo.yaml"),
        ([slo(), policy(), policy()], "metadata.name: there is another AlertPolicy 'fast' at slo.yaml"),
        ([policy()], "there is no object of kind SLO"),
        ([slo({"thresholdMetric": metric("x")})], "objectives[0].op: is missing"),
        (
            [slo({"thresholdMetric": metric("x")}, objectives=[{"target": 0.9, "op": "lt", "value": 1}] * 2)],
            "spec.objectives: got 2; the specification allows one with a thresholdMetric",
        ),
        ([slo({"ratioMetric": {"raw": metric("x")}})], "ratioMetric.rawType: is missing"),
        ([slo(objective={"op": "lt"})], "objectives[0].op: got lt: of good events there cannot be too many"),
        (
            [slo(events(bad=BAD, total="requests_total") | {"ratioMetric": {
                "bad": metric(BAD), "total": metric("requests_total")}})],
            "total.metricSource.spec.query: counts, by the end of its name; write counter: true",
        ),
        (
            [slo(method="Timeslices", objective={"timeSliceTarget": 1.5, "timeSliceWindow": "1m"})],
            "timeSliceTarget: got 1.5, expected a share above 0 and up to 1",
        ),
        (
            [slo(method="Timeslices", objective={"timeSliceTarget": 0.9, "timeSliceWindow": "20d"})],
            "a time slice longer than half of the time window",
        ),
        ([slo(timeWindow=[{"duration": "30d", "isRolling": True}] * 2)], "expected a list of exactly one time window"),
        (
            [slo(timeWindow=[{"duration": "1M", "calendar": {"startTime": "2026-13-01", "timeZone": "Mars/North"}}])],
            "calendar.timeZone: got 'Mars/North', expected a name of the IANA database",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(things, expected):
    """References that lead nowhere, twins, and fields that contradict each other."""
    found = problems(text(*things))
    assert any(expected in problem for problem in found), found


def test_references_lead_across_files():
    """SLI, policy, condition, target and data source may stand in files of their own, in any order."""
    condition = {"kind": "burnrate", "threshold": 2, "lookbackWindow": "1h", "alertAfter": "5m"}
    source = {"metricSourceRef": "main", "spec": {"query": TOTAL}}
    sli = {"ratioMetric": {"counter": True, "bad": metric(BAD), "total": {"metricSource": source}}}
    spec = {"conditions": [{"conditionRef": "c"}], "notificationTargets": [{"targetRef": "t"}]}
    documents = read(
        {
            "1.yaml": text(slo(indicator=None, indicatorRef="i", alertPolicies=[{"alertPolicyRef": "p"}])),
            "2.yaml": text(thing("AlertPolicy", "p", spec), thing("SLI", "i", sli)),
            "3.yaml": text(thing("AlertCondition", "c", {"severity": "page", "condition": condition})),
            "4.yaml": text(thing("AlertNotificationTarget", "t", {"target": "slack"})),
            "5.yaml": text(thing("DataSource", "main", {"type": "Prometheus", "connectionDetails": {"a": [1]}})),
            "6.yaml": text(thing("Service", "shop", {"description": "It sells."})),
        }
    )
    (found,) = documents.slos
    assert isinstance(found.indicator.metric, EventRatio)
    assert found.policies[0].condition.after_seconds == 300
    assert found.policies[0].targets[0].target == "slack"
    assert documents.warnings == ()


def test_documents_may_be_items_of_a_list():
    """A file may be one list of objects, as the specification's own collections are."""
    listed = json.dumps([slo(), policy()]).encode()
    assert len(read({"list.json": listed}).slos) == 1


@pytest.mark.parametrize(
    ("sli", "kind"),
    [
        ({"ratioMetric": {"raw": metric("x"), "rawType": "failure"}}, RawRatio),
        (events(bad=BAD, total=TOTAL), EventRatio),
    ],
)
def test_kinds_of_metrics(sli, kind):
    """Each of the specification's ratios becomes what it is."""
    assert isinstance(read({"a": text(slo(sli))}).slos[0].indicator.metric, kind)


def test_a_threshold_metric_has_its_comparison():
    """`op` and `value` of the objective are kept exactly."""
    objective = {"op": "lte", "value": 0.25}
    (found,) = read({"a": text(slo({"thresholdMetric": metric("latency")}, objective=objective))}).slos
    assert isinstance(found.indicator.metric, ThresholdMetric)
    assert (found.objectives[0].op, found.objectives[0].value) == ("lte", 0.25)


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        (
            [slo(timeWindow=[{"duration": "1M", "calendar": {"startTime": "2026-01-01 00:00:00", "timeZone": "UTC"}}])],
            "cannot begin at a date: they watch the last 30d, rolling",
        ),
        ([slo(timeWindow=None)], "no time window is given: 30d, rolling, is taken"),
        ([slo(), thing("Service", "other", {})], "no Service 'shop' is defined; there are other"),
        ([slo(events(bad=BAD, total=f"{TOTAL} or vector(0)"))], "makes missing data look like a measured value"),
    ],
)
def test_what_is_not_as_it_may_seem_is_a_warning(things, expected):
    """Approximations and traps are said, and do not stop the work."""
    found = [str(warning) for warning in read({"slo.yaml": text(*things)}).warnings]
    assert any(expected in warning for warning in found), found


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(
    ["30d", "0m", "Occurrences", "Timeslices", "openslo/v1", "SLO", "page", TOTAL, "{{", "[5m]", "a" * 300, 0.99]
)  # fmt: skip
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)


def _places(value, path=()):
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from _places(inner, (*path, key))


def _sample():
    return [slo(alertPolicies=["fast"]), policy(), thing("Service", "shop", {})]


@given(st.sampled_from(list(_places(_sample()))), _ANYTHING)
def test_any_value_in_any_place_is_read_or_refused(place, value):
    """Whatever stands in a field, the only error is ours, and what is compiled can be read back."""
    whole = _sample()
    held = whole
    for key in place[:-1]:
        held = held[key]
    held[place[-1]] = value
    try:
        known = compile_rules(read({"any": json.dumps(whole).encode()})).slo_ids
    except SloError as error:
        known = error.problems
    assert known


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda value: value.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(data):
    """Whatever the file holds, the only error is ours."""
    with pytest.raises(SloError):
        read({"any": data})


@given(st.integers(0, len(WHOLE)), st.integers(0, 12), st.text(max_size=6) | st.sampled_from(["- ", "{", ": ", "\t"]))
def test_any_slip_of_the_pen_is_read_or_refused(place, length, inserted):
    """A few characters lost or added anywhere: compiled, or refused by our own error, with lines inside of the file."""
    content = f"{WHOLE[:place]}{inserted}{WHOLE[place + length :]}"
    try:
        known = compile_rules(read({"any": content.encode("utf-8", "surrogatepass")})).slo_ids
    except SloError as error:
        known = error.problems
        assert all(0 <= problem.line <= content.count("\n") + 2 for problem in known)
    assert known


ALPHA = """\
apiVersion: openslo/v1alpha
kind: SLO
metadata: {name: up}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindows: [{count: 30, unit: Day}]
  objectives:
    - target: 0.999
      ratioMetrics:
        good: {source: prometheus, queryType: promql, query: "sum(rate(g[{{.window}}]))"}
        total: {source: prometheus, queryType: promql, query: "sum(rate(t[{{.window}}]))"}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("count: 30", "count: 0", "slo.yaml:7: spec.timeWindows[0].count: got 0, expected a whole number above zero"),
        ("unit: Day", "unit: Days", "slo.yaml:7: spec.timeWindows[0].unit: got 'Days', expected Day or Week"),
        ("source: prometheus", "source: datadog", "slo.yaml:11: spec.objectives[0].ratioMetrics.good.source: got"),
        ("[{{.window}}]", "", "slo.yaml:11: spec.objectives[0].ratioMetrics.good.query: has no place for the window"),
        ("ratioMetrics", "ratioMetric", "slo.yaml:11: spec.objectives[0].ratioMetric: unknown key; did you mean"),
        ("kind: SLO", "kind: AlertPolicy", "slo.yaml:2: kind: got AlertPolicy of openslo/v1alpha"),
    ],
)
def test_mistakes_in_the_older_version_are_named_as_well(old, new, expected):
    """`openslo/v1alpha` has other fields, and the same care."""
    assert read({"slo.yaml": ALPHA.encode()}).slos[0].window.seconds == 30 * 86_400
    found = problems(ALPHA.replace(old, new, 1))
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize("content", [b"", b"---\n---\n", b"# nothing\n", b"[" * 5000, b"a: " * 3000, b"? [a]\n: b\n"])
def test_hostile_and_empty_files_are_refused(content):
    """Nothing in it, or too much."""
    assert problems(content)
