"""What comes of an SLO: windows, factors, alerts, names and labels."""

from __future__ import annotations

import itertools
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from companyos.observability.slo import SloError, compile_rules, read
from companyos.observability.slo.burn import of_playbook
from tests.observability.slo.texts import (
    BAD,
    GOOD,
    TOTAL,
    alerts,
    events,
    metric,
    policy,
    recorded,
    rules_of,
    slo,
    text,
    thing,
)

DAY = 86_400


def burns(rules):
    """Burn rates by severity, as people read them."""
    found = {}
    for key, rule in alerts(rules).items():
        if key.startswith("burn-"):
            found[rule.labels["severity"]] = rule.annotations["description"].split("above ")[1].split("; objective")[0]
    return found


@pytest.mark.parametrize(
    ("duration", "page", "ticket"),
    [
        ("30d", "14.4 over 1h; or 6 over 6h", "3 over 1d; or 1 over 3d"),
        ("28d", "13.44 over 1h; or 5.6 over 6h", "2.8 over 1d; or 1 over 3d"),
        ("90d", "43.2 over 1h; or 18 over 6h", "9 over 1d; or 3 over 3d"),
        ("7d", "3.36 over 1h; or 1.4 over 6h", "1 over 3d"),
        ("1d", "5.76 over 5m; or 6 over 12m", "3 over 48m; or 1 over 144m"),
    ],
)
def test_burn_factors_follow_from_budget_share_period_and_window(duration, page, ticket):
    """Factor = share of the budget x period / window, and never below 1."""
    assert burns(rules_of(slo(duration=duration, target=0.999))) == {"page": page, "ticket": ticket}


@given(st.integers(3600, 3650 * DAY), st.sampled_from([0, 60, 300, 3600]))
def test_no_period_has_an_alert_that_makes_no_sense(period, slice_seconds):
    """For any period: windows shorter than it, short before long, slices fit, factors from 1 up."""
    for alert in of_playbook(period, slice_seconds):
        for window in alert.windows:
            assert slice_seconds <= window.short_seconds < window.long_seconds < period
            assert window.factor >= 1


def test_the_usual_windows_and_the_period_are_recorded():
    """Names that dashboards rely on are there for every SLO."""
    names = set(recorded(rules_of(slo(duration="4w"))))
    windows = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "28d")
    assert {f"slo:sli_error:ratio_rate{window}" for window in windows} <= names
    assert {
        "slo:objective:ratio",
        "slo:error_budget:ratio",
        "slo:time_period:days",
        "slo:current_burn_rate:ratio",
        "slo:period_burn_rate:ratio",
        "slo:period_error_budget_remaining:ratio",
        "companyos_slo_info",
    } <= names


def test_every_series_and_alert_says_whose_it_is():
    """The three labels of identity are everywhere; windows are labelled where they differ."""
    for group in rules_of(slo()).groups:
        for rule in group.rules:
            assert (rule.labels["slo_id"], rule.labels["slo_service"], rule.labels["slo_name"]) == (
                "shop-up",
                "shop",
                "up",
            )
            assert rule.name.startswith("slo:sli_error:ratio_rate") == ("slo_window" in rule.labels)


def test_the_same_input_gives_the_same_bytes_in_any_order_of_files():
    """Output is sorted, and its digest does not depend on the order of the files."""
    other = slo()
    other["metadata"]["name"] = "b"
    third = slo()
    third["metadata"]["name"] = "a"
    files = {"1": text(slo()), "2": text(other), "3": text(third)}
    written = {
        compile_rules(read({name: files[name] for name in order})).to_yaml() for order in itertools.permutations(files)
    }
    assert len(written) == 1
    assert compile_rules(read({"1": text(slo(target=0.99))})).digest not in written.pop()


def test_the_text_is_the_rules():
    """What is written by hand reads back as exactly what was compiled, quotes, line ends and all."""
    awkward = slo(
        events(
            bad='sum(rate(e{a="x\\"y",b=~"\\\\d+: #"}[5m])) # why\n  or\tsum(rate(f[5m]))', total="sum(rate(t[5m]))"
        ),
        description="100 % 'sure' \"yes\" {{ $value }} \\ é",
    )
    awkward["metadata"]["displayName"] = '"{{ evil }}"\nsecond: line'
    rules = rules_of(awkward)
    assert yaml.safe_load(rules.to_yaml()) == rules.to_dict()


def test_templates_in_names_are_not_expanded(bench):
    """Prometheus expands templates in labels and annotations of alerts; what a file says stays text."""
    evil = slo()
    evil["metadata"] |= {"displayName": "{{ fail }}", "labels": {"team": "{{ .Nope }}"}}
    rules = rules_of(evil)
    assert not bench.check(rules.to_yaml())
    assert alerts(rules)["burn-page"].labels["team"] == '{{"{{"}} .Nope }}'


def test_several_objectives_are_told_apart():
    """Each gets an identity of its own, by its name or its number."""
    rules = rules_of(slo(objectives=[{"target": 0.99, "displayName": "Good Enough"}, {"target": 0.999}]))
    assert rules.slo_ids == ("shop-up-1", "shop-up-good-enough")


def test_percent_is_exact():
    """99.95 % is a budget of 0.0005, not of 0.0005000000000000004."""
    rules = rules_of(slo(objectives=[{"targetPercent": 99.95}]))
    assert recorded(rules)["slo:error_budget:ratio"] == "vector(0.0005)"
    assert recorded(rules)["slo:objective:ratio"] == "vector(0.9995)"


def test_a_policy_replaces_the_playbooks_alerts():
    """The condition is taken as the specification has it: one window, its threshold, held for alertAfter."""
    target = {"kind": "AlertNotificationTarget", "metadata": {"name": "chat"}, "spec": {"target": "slack"}}
    rules = rules_of(
        slo(alertPolicies=["fast"]), policy(5, "2h", after="5m", severity="sev1", notificationTargets=[target])
    )
    assert set(alerts(rules)) == {"fast", "no-data", "nonsense"}
    fast = alerts(rules)["fast"]
    assert fast.after == "5m"
    assert fast.labels["severity"] == "sev1"
    assert fast.labels["slo_notification_targets"] == "chat"
    assert "ratio_rate2h" in fast.expr
    assert "> (5 * 0.001)" in fast.expr
    assert fast.expr.count("ratio_rate") == 1


def test_a_policy_may_ask_for_a_short_window():
    """The annotation joins a second window, so that the alert ends soon after the errors."""
    rules = rules_of(slo(alertPolicies=["fast"]), policy(annotations={"companyos.short-window": "5m"}))
    assert {"ratio_rate5m{", "ratio_rate1h{"} == {
        f"ratio_rate{window}{{" for window in ("5m", "1h") if f"ratio_rate{window}{{" in alerts(rules)["fast"].expr
    }


def test_an_alert_of_a_policy_that_cannot_fire_is_an_error():
    """A burn rate that is not reached even when everything fails is named with its line."""
    with pytest.raises(
        SloError, match="a burn rate of 12 over 1h can never be passed: even if everything fails it is 10"
    ):
        rules_of(slo(target=0.9, alertPolicies=["fast"]), policy(12))


def test_an_alert_of_the_playbook_that_cannot_fire_is_left_out_with_a_warning():
    """At 90 % a burn rate of 14.4 is impossible: it is said, and the other window stays."""
    rules = rules_of(slo(target=0.9))
    assert burns(rules)["page"] == "6 over 6h"
    assert any("the page at 14.4 over 1h could never fire" in str(warning) for warning in rules.warnings)


@pytest.mark.parametrize(("slice_window", "missing"), [("14d", ["page", "ticket"]), ("1d", ["page"]), ("5m", [])])
def test_a_severity_without_an_alert_is_warned_of(slice_window, missing):
    """Where no window fits there is no alert, and nobody has to find that out in an outage."""
    rules = rules_of(slo(target=0.99, method="RatioTimeslices", objective={"timeSliceWindow": slice_window}))
    warned = [warning.what for warning in rules.warnings if "no window fits" in warning.what]
    assert missing == sorted(what.split(" for a ")[1].split(",")[0] for what in warned)


@pytest.mark.parametrize(
    ("settings", "there"),
    [({}, True), ({"alertWhenNoData": True}, True), ({"alertWhenNoData": False}, False)],
)
def test_silence_of_the_metrics_is_an_alert_unless_refused(settings, there):
    """Only an explicit false turns off the alert that the SLO cannot be checked."""
    rules = rules_of(slo(alertPolicies=["fast"]), policy(**settings))
    assert ("no-data" in alerts(rules)) == there


def test_a_policy_may_only_watch_for_missing_data():
    """alertWhenBreaching: false leaves the alert on missing data, with the condition's severity."""
    rules = rules_of(slo(alertPolicies=["fast"]), policy(alertWhenBreaching=False, alertWhenNoData=True))
    found = {key: rule.labels["severity"] for key, rule in alerts(rules).items()}
    assert found == {"no-data": "page", "nonsense": "ticket"}


@pytest.mark.parametrize(("severity", "expected"), [("page", "page"), ("ticket", "ticket")])
def test_silence_pages_where_errors_do(severity, expected):
    """A service that is gone counts no errors, so that no burn rate would wake anybody."""
    assert alerts(rules_of(slo()))["no-data"].labels["severity"] == "page"
    rules = rules_of(slo(alertPolicies=["fast"]), policy(severity=severity))
    assert alerts(rules)["no-data"].labels["severity"] == expected


ERRORS = "sum(rate(errors_total[{{.window}}]))"
ALL = 'sum(rate(requests_total{job="a"}[{{.window}}]))'


@pytest.mark.parametrize(
    ("sli", "watched"),
    [
        (events(bad=ERRORS, total=ALL), ["errors_total"]),
        (events(bad='sum(rate({__name__="errors_total"}[5m])) + sum(rate(lost_total[5m]))', total=ALL),
         ["errors_total", "lost_total"]),
        (events(bad='sum(rate(requests_total{code="500"}[{{.window}}]))', total=ALL), []),
        (events(good="sum(rate(answers_total[{{.window}}]))", total=ALL), []),
        (events(bad='sum(rate({__name__=~"errors.*"}[5m]))', total=ALL), []),
        ({"ratioMetric": {"raw": metric("share"), "rawType": "success"}}, []),
    ],
    ids=["a metric of its own", "two", "the same metric", "good events", "a pattern", "a ratio"],
)  # fmt: skip
def test_bad_events_that_cannot_be_seen_are_watched_for(sli, watched):
    """Only where a counter of its own says so: one series of many looks the same misspelt and never needed."""
    rule = alerts(rules_of(slo(sli))).get("no-errors-seen")
    assert watched == ([] if rule is None else re.findall(r"absent\((\w+)\)", rule.expr))


def test_bad_events_may_have_no_series_where_their_author_says_so():
    """The annotation takes the alert away, and nothing but true does."""
    for value, there in (("true", False), ("false", True), ("yes", True)):
        written = slo(events(bad=ERRORS, total=ALL))
        written["metadata"]["annotations"] = {"companyos.bad-events-may-be-absent": value}
        assert ("no-errors-seen" in alerts(rules_of(written))) == there


def test_what_is_compared_with_a_threshold_is_always_a_share():
    """0 or 1, whatever was measured: there is nothing to watch for."""
    rules = rules_of(slo({"thresholdMetric": metric("latency_ms")}, objective={"op": "lt", "value": 300}))
    assert "nonsense" not in alerts(rules)


@pytest.mark.parametrize("label", ["slo_id", "severity", "alertname", "__name__"])
def test_labels_that_are_taken_are_refused(label):
    """A label of the SLO may not take the place of one that rules depend on."""
    taken = slo()
    taken["metadata"]["labels"] = {label: "x"}
    with pytest.raises(SloError, match="which is taken"):
        rules_of(taken)


def test_labels_reach_alerts_and_info():
    """Labels of the SLO are there to route by, with names that Prometheus allows."""
    labelled = slo()
    labelled["metadata"]["labels"] = {"cost.centre": "7", "team": ["a", "b"]}
    rules = rules_of(labelled)
    for rule in (
        alerts(rules)["burn-page"],
        next(r for g in rules.groups for r in g.rules if r.name == "companyos_slo_info"),
    ):
        assert (rule.labels["cost_centre"], rule.labels["team"]) == ("7", "a,b")


KINDS = {
    "good": slo(events(good=GOOD, total=TOTAL)),
    "bad": slo(events(bad=BAD, total=TOTAL)),
    "bare counters": slo(events(bad='errors_total{a="b"}', total="sum(requests_total)")),
    "bare gauges": slo({"ratioMetric": {"good": metric("good_now"), "total": metric("all_now")}}),
    "raw": slo({"ratioMetric": {"raw": metric("ratio"), "rawType": "success"}}),
    "raw over a window": slo({"ratioMetric": {"raw": metric("avg_over_time(r[{{ .window }}])"), "rawType": "failure"}}),
    "threshold": slo({"thresholdMetric": metric("latency")}, objective={"op": "lt", "value": 0.3}),
    "timeslices": slo(method="Timeslices", objective={"timeSliceTarget": 0.95, "timeSliceWindow": "1m"}),
    "long timeslices": slo(method="Timeslices", objective={"timeSliceTarget": 0.95, "timeSliceWindow": 10}),
    "timeslices of a threshold": slo(
        {"thresholdMetric": metric("latency")},
        method="Timeslices",
        objective={"op": "gte", "value": 1, "timeSliceTarget": 1, "timeSliceWindow": "5m"},
    ),
    "ratio timeslices": slo(method="RatioTimeslices", objective={"timeSliceWindow": "1m"}),
    "ratio timeslices, raw": slo(
        {"ratioMetric": {"raw": metric("ratio"), "rawType": "success"}},
        method="RatioTimeslices",
        objective={"timeSliceWindow": "1m"},
    ),
}  # fmt: skip


@pytest.mark.service("promtool")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duration", ["1h", "1d", "7d", "30d", "1Q"])
def test_promtool_takes_every_compiled_file(kind, duration, bench):
    """Every method and metric, at periods of an hour to a quarter."""
    whole = KINDS[kind] | {"spec": KINDS[kind]["spec"] | {"timeWindow": [{"duration": duration, "isRolling": True}]}}
    assert not bench.check(rules_of(whole).to_yaml())


def test_names_with_every_sign_that_is_allowed(bench):
    """Names reach rules as they are, escaped where need be."""
    odd = thing("SLO", "A.b_c|d/e\\f-9", slo()["spec"] | {"service": "S|\\x"})
    rules = rules_of(odd)
    assert rules.slo_ids == ("S|\\x-A.b_c|d/e\\f-9",)
    assert not bench.check(rules.to_yaml())
