"""What compiled rules record and when they alert, by promtool over planted series: silence, outages, slices, values."""

from __future__ import annotations

import pytest

from tests.observability.slo.texts import BAD, GOOD, SELECTOR, TOTAL, events, metric, policy, rules_of, slo

pytestmark = pytest.mark.service("promtool")

FINE, FAILED = 'requests_total{job="a",code="200"}', 'requests_total{job="a",code="500"}'
NOW = f"slo:sli_error:ratio_rate5m{SELECTOR}"
PERIOD = f"slo:sli_error:ratio_rate30d{SELECTOR}"
SLICE = f"slo:sli_slice_error:ratio{SELECTOR}"


def firing(alert):
    """How many alerts of that `slo_alert` fire."""
    return f'count(ALERTS{{slo_alert="{alert}",alertstate="firing"}}) or vector(0)'


def value(series):
    """The value of a series without its labels."""
    return f"round(sum({series}), 0.000001)"


def judge(bench, things, series, expected):
    """Nothing differs from what is expected."""
    assert bench.complaint([rules_of(*things).to_yaml()], series, expected) == ""


def test_no_traffic_is_neither_good_nor_bad(bench):
    """Counters that stand still: no ratio at all, no NaN that would spoil the period, and no alert."""
    series = {FINE: "0+60x30 1800x90 1800+60x60", FAILED: "0+0x180"}
    expected = [(60, NOW, None), (60, firing("burn-page"), 0), (60, firing("no-data"), 0), (179, value(PERIOD), 0)]
    judge(bench, [slo()], series, expected)


def test_no_data_is_an_alert_and_no_success(bench):
    """Series that are not there at all: no ratio, and after a quarter of an hour somebody is told."""
    expected = [(10, NOW, None), (10, firing("no-data"), 0), (20, firing("no-data"), 1), (20, PERIOD, None)]
    judge(bench, [slo()], {"unrelated": "0x30"}, expected)


RAW = {"ratioMetric": {"raw": metric("share"), "rawType": "success"}}
MANY = events(good="sum(rate(answers_total[{{.window}}]))", total=TOTAL)


@pytest.mark.parametrize(
    ("things", "series", "fires"),
    [
        ([slo(RAW)], {"share": "99.5x60"}, 1),
        ([slo(RAW)], {"share": "-0.5x60"}, 1),
        ([slo(RAW)], {"share": "0.995x60"}, 0),
        ([slo(RAW)], {"share": "1x60"}, 0),
        ([slo(RAW)], {"share": "0x60"}, 0),
        ([slo(MANY)], {FINE: "0+60x60", "answers_total": "0+90x60"}, 1),
        ([slo(MANY)], {FINE: "0+60x60", "answers_total": "0+60x60"}, 0),
        ([slo(MANY)], {FINE: "0+60x60", "answers_total": "0x60"}, 0),
        ([slo(MANY, method="Timeslices", objective={"timeSliceWindow": "5m", "timeSliceTarget": 0.9})],
         {FINE: "0+60x60", "answers_total": "0+90x60"}, 1),
    ],
    ids=["percent", "negative", "a share", "all good", "all bad", "more good than all", "as many", "none", "slices"],
)  # fmt: skip
def test_a_ratio_outside_of_zero_to_one_is_an_alert(things, series, fires, bench):
    """It looks kept, or spent, whatever happens: after a quarter of an hour somebody is told."""
    judge(bench, things, series, [(14, firing("nonsense"), 0), (40, firing("nonsense"), fires)])


OWN = slo(events(bad="sum(rate(errors_total[{{.window}}]))", total=TOTAL))


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        ({FINE: "0+60x90"}, 1),
        ({FINE: "0+60x90", "error_total": "0x90"}, 1),
        ({FINE: "0+60x90", "errors_total": "0x90"}, 0),
        ({FINE: "0+60x90", "errors_total": "0+1x90"}, 0),
        ({FINE: "7x90"}, 0),
        ({"unrelated": "0x90"}, 0),
    ],
    ids=["missing", "misspelt", "never failed", "fails", "no events", "no data"],
)
def test_a_missing_counter_of_errors_is_an_alert(series, fires, bench):
    """While there are events, and after an hour, so that a service which exports zeros is left in peace."""
    judge(bench, [OWN], series, [(59, firing("no-errors-seen"), 0), (80, firing("no-errors-seen"), fires)])


@pytest.mark.parametrize("sli", [events(good=GOOD, total=TOTAL), events(bad=BAD, total=TOTAL)], ids=["good", "bad"])
def test_a_total_outage_pages_even_where_no_good_series_was_ever_seen(sli, bench):
    """A service that only ever failed has no series of good events: the error ratio is 1, and it pages."""
    expected = [(10, value(NOW), 1), (10, firing("burn-page"), 1)]
    judge(bench, [slo(sli)], {FAILED: "0+60x30"}, expected)


@pytest.mark.parametrize("sli", [events(good=GOOD, total=TOTAL), events(bad=BAD, total=TOTAL)], ids=["good", "bad"])
def test_a_service_that_never_failed_has_an_error_ratio_of_zero(sli, bench):
    """No series of bad events is no error, as long as there are events."""
    judge(bench, [slo(sli)], {FINE: "0+60x30"}, [(10, value(NOW), 0), (10, value(PERIOD), 0)])


def test_the_period_weighs_every_event_the_same(bench):
    """A busy good hour and a quiet bad one: Occurrences counts events, not minutes."""
    series = {FINE: "0+600x60 36000x60", FAILED: "0x60 0+60x60"}
    share = f"sum({PERIOD})"
    judge(bench, [slo()], series, [(119, f"({share} > bool 0.08) * ({share} < bool 0.11)", 1)])


def test_the_budget_and_the_burn_rate_follow_from_the_error_ratio(bench):
    """1 % of errors at 99.9 %: the burn rate is 10, and nine budgets are overdrawn."""
    series = {FINE: "0+99x60", FAILED: "0+1x60"}
    expected = [
        (60, value(f"slo:current_burn_rate:ratio{SELECTOR}"), 10),
        (60, value(f"slo:period_burn_rate:ratio{SELECTOR}"), 10),
        (60, value(f"slo:period_error_budget_remaining:ratio{SELECTOR}"), -9),
        (60, value(f"slo:error_budget:ratio{SELECTOR}"), 0.001),
        (60, value(f"slo:time_period:days{SELECTOR}"), 30),
    ]
    judge(bench, [slo()], series, expected)


def test_a_page_ends_soon_after_the_errors(bench):
    """The short window resets the alert while the long one is still above its limit."""
    series = {FINE: "0+0x20 0+100x100", FAILED: "0+100x20 2000x100"}
    expected = [
        (18, firing("burn-page"), 1),
        (29, f"sum(slo:sli_error:ratio_rate1h{SELECTOR}) > bool 0.0144", 1),
        (80, firing("burn-page"), 0),
    ]
    judge(bench, [slo()], series, expected)


def test_an_alert_of_a_policy_waits_for_alert_after(bench):
    """`alertAfter: 5m` is five minutes of pending before it fires."""
    things = [slo(alertPolicies=["fast"]), policy(2, "10m", after="5m")]
    series = {FINE: "0+50x60", FAILED: "0+50x60"}
    pending = 'count(ALERTS{slo_alert="fast",alertstate="pending"}) or vector(0)'
    judge(bench, things, series, [(4, pending, 1), (4, firing("fast"), 0), (7, firing("fast"), 1)])


def slices(goal=0.99, window="1m", method="Timeslices", sli=None, **objective):
    """An SLO of slices."""
    held = {"timeSliceWindow": window} | ({} if goal is None else {"timeSliceTarget": goal}) | objective
    return slo(sli, target=0.9, method=method, objective=held)


def test_a_slice_exactly_on_its_target_is_good(bench):
    """99 of 100 is not below 0.99."""
    judge(bench, [slices()], {FINE: "0+99x60", FAILED: "0+1x60"}, [(30, value(SLICE), 0)])


def test_slices_count_the_same_whatever_their_traffic(bench):
    """Ten minutes of one failing request a minute after fifty of a thousand good ones: a sixth of the slices is bad."""
    series = {FINE: "0+1000x50 50000x10", FAILED: "0x50 0+1x10"}
    hour = f"sum(slo:sli_error:ratio_rate1h{SELECTOR})"
    judge(bench, [slices()], series, [(60, f"({hour} > bool 0.13) * ({hour} < bool 0.2)", 1)])


def test_slices_without_traffic_do_not_count(bench):
    """Half an hour of silence between good and bad slices leaves the share as it was."""
    series = {FINE: "0+60x10 600x40", FAILED: "0x40 0+60x10"}
    hour = f"sum(slo:sli_error:ratio_rate1h{SELECTOR})"
    judge(bench, [slices()], series, [(30, SLICE, None), (50, f"({hour} > bool 0.4) * ({hour} < bool 0.6)", 1)])


def test_ratio_timeslices_take_the_mean_of_the_slices(bench):
    """A busy good slice and a quiet half-good one weigh the same."""
    series = {FINE: "0+1000x30 30000+1x30", FAILED: "0x30 0+1x30"}
    hour = f"sum(slo:sli_error:ratio_rate1h{SELECTOR})"
    things = [slices(goal=None, method="RatioTimeslices")]
    judge(bench, things, series, [(60, f"({hour} > bool 0.22) * ({hour} < bool 0.28)", 1)])


def test_slices_longer_than_the_lookback_have_ratios_all_the_time(bench):
    """Ten-minute slices are recorded every ten minutes, and the windows over them at every tick."""
    series = {FINE: "0+60x60 3600x60", FAILED: "0x60 0+60x60"}
    two_hours = f"sum(slo:sli_error:ratio_rate2h{SELECTOR})"
    things = [slices(window="10m")]
    assert [group.interval for group in rules_of(*things).groups] == [None, "10m"]
    judge(bench, things, series, [(115, f"({two_hours} > bool 0.35) * ({two_hours} < bool 0.65)", 1)])


@pytest.mark.parametrize(
    ("op", "good", "bad"), [("lt", 299, 300), ("lte", 300, 301), ("gt", 301, 300), ("gte", 300, 299)]
)
def test_values_are_compared_as_the_objective_says(op, good, bad, bench):
    """Each operator, at its very edge."""
    things = [slo({"thresholdMetric": metric("latency_ms")}, objective={"op": op, "value": 300})]
    point = f"sum(slo:sli_point_error:ratio{SELECTOR})"
    judge(bench, things, {"latency_ms": f"{good}x10 {bad}x10"}, [(5, point, 0), (15, point, 1)])


def test_a_value_that_is_not_a_number_is_not_good(bench):
    """Quantiles of nothing are NaN: that is no data."""
    things = [slo({"thresholdMetric": metric("sum_ms / jobs")}, objective={"op": "lt", "value": 300})]
    expected = [(20, f"slo:sli_point_error:ratio{SELECTOR}", None), (20, firing("no-data"), 1)]
    judge(bench, things, {"sum_ms": "0x30", "jobs": "0x30"}, expected)


@pytest.mark.parametrize(("raw_type", "error"), [("success", 0.25), ("failure", 0.75)])
def test_raw_ratios(raw_type, error, bench):
    """A ratio computed elsewhere is taken as what it says it is."""
    things = [slo({"ratioMetric": {"raw": metric("share"), "rawType": raw_type}})]
    judge(bench, things, {"share": "0.75x30"}, [(20, value(NOW), error), (20, value(PERIOD), error)])


def test_bare_counters_and_gauges(bench):
    """A metric without a function is summed over its series: rates of counters, sums of gauges."""
    counters = slo(events(bad='requests_total{code="500"}', total="requests_total"))
    judge(bench, [counters], {FINE: "0+75x30", FAILED: "0+25x30"}, [(20, value(NOW), 0.25)])
    gauges = slo({"ratioMetric": {"good": metric("good_now"), "total": metric("all_now")}})
    judge(bench, [gauges], {"good_now": "3x30", "all_now": "4x30"}, [(20, value(NOW), 0.25)])


@pytest.mark.parametrize("total", ["rate(requests_total[{{.window}}])", "sum by (code) (rate(requests_total[5m]))"])
def test_series_are_added_up_where_a_query_leaves_them_apart(total, bench):
    """Bad events of one label set are bad among all events, and not among those of the same labels."""
    things = [slo(events(bad='rate(requests_total{code="500"}[5m])', total=total))]
    judge(bench, things, {FINE: "0+75x30", FAILED: "0+25x30"}, [(20, value(NOW), 0.25), (20, f"count({NOW})", 1)])
