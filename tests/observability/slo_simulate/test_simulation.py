"""Incidents: their alerts at the ticks of promtool, and when the mathematics says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from companyos.observability.slo import compile_rules, kits, read
from companyos.observability.slo.simulate import INCIDENTS, Options, UnsupportedRuleError, read_rules, simulate
from companyos.observability.slo.simulate.promtool import write_test
from companyos.observability.slo.simulate.simulation import incident_run
from companyos.observability.slo.simulate.sources import source_of
from companyos.observability.slo.simulate.subjects import subjects

INTERVAL_SECONDS = 60
LONG = {"blips", "leak"}
"""Incidents of days, which are evaluated less often where promtool goes through all of it."""


def compiled(kind="api", *, change=("", "")):
    """The rules of a kit, its text changed first."""
    text = kits.render(kind, "orders").replace(*change) if change[0] else kits.render(kind, "orders")
    return read_rules(compile_rules(read({"slo.yaml": text.encode()})).to_yaml(), name="rules.yml")


def complaint(promtool, directory, subject, incident):
    """What promtool says against the replay of an incident."""
    run = incident_run(subject, source_of(subject), incident, traffic_rps=10)
    ticks = [run.begin_ms + number * subject.interval_ms for number in (0, 1, 7, 60, 121)]
    test = write_test(directory, subject.rules, run.inputs, run.done, step_ms=run.step_ms, value_ticks_ms=ticks)
    return promtool.complaint(test)


@pytest.mark.service("promtool")
@pytest.mark.parametrize("name", INCIDENTS)
def test_every_incident_fires_at_the_tick_of_promtool(promtool, tmp_path, name):
    """Each alert fires and ends at the tick at which it does in promtool; a period of two days keeps it quick."""
    groups = compiled(change=("duration: 30d", "duration: 2d"))
    if name in LONG:
        groups = [replace(group, interval_ms=5 * 60_000) for group in groups]
    (subject, *_) = subjects(groups)

    assert "" == complaint(promtool, tmp_path, subject, INCIDENTS[name])


@pytest.mark.service("promtool")
@pytest.mark.parametrize("name", ["outage", "recovery"])
def test_latency_incidents_fire_at_the_tick_of_promtool(promtool, tmp_path, name):
    """The same for an objective of buckets, which another series counts the total of."""
    (_, subject) = subjects(compiled(change=("duration: 30d", "duration: 2d")))

    assert "latency" in subject.slo_id
    assert "" == complaint(promtool, tmp_path, subject, INCIDENTS[name])


@pytest.mark.soak
@pytest.mark.service("promtool")
@pytest.mark.parametrize("name", INCIDENTS)
def test_every_incident_of_a_whole_month_fires_at_the_tick_of_promtool(promtool, tmp_path, name):
    """The same at the full size of the windows."""
    (subject, *_) = subjects(compiled())

    assert "" == complaint(promtool, tmp_path, subject, INCIDENTS[name])


@pytest.mark.parametrize("kind", ["api", "worker", "frontend"])
def test_measured_times_match_the_mathematics_within_one_interval(kind):
    """Every burn-rate alert of a kit fires, and ends, within one evaluation of when it must."""
    compared = 0
    for outcome in simulate(compiled(kind), Options(healthy=False)):
        for incident in outcome.incidents:
            for alert in incident.alerts:
                if not alert.computable:
                    continue
                assert (alert.expected_detection_seconds is None) == (alert.detection_seconds is None), incident
                if alert.detection_seconds is None:
                    continue
                late = alert.detection_seconds - alert.expected_detection_seconds
                later = alert.reset_seconds - alert.expected_reset_seconds
                assert -1e-6 <= late <= INTERVAL_SECONDS + 1e-6, (incident.name, alert)
                assert -1e-6 <= later <= INTERVAL_SECONDS + 1e-6, (incident.name, alert)
                compared += 1

    assert compared >= 10


def test_the_kits_page_when_they_must_and_not_when_they_must_not():
    """Planted incidents page, the mild ones and a healthy month do not."""
    for outcome in simulate(compiled(), Options()):
        assert () == outcome.findings
        assert 0 == outcome.healthy.false_pages
        assert outcome.healthy.failures > 0


def test_an_outage_spends_what_the_mathematics_says_until_it_is_noticed():
    """At 99 % an outage crosses 14.4 % of an hour after 8 min 38 s: noticed at 9 min, 2.1 % of the budget gone."""
    outcome = simulate(compiled(), Options((INCIDENTS["outage"],), healthy=False))[1]
    page = outcome.incidents[0].alerts[0]

    assert (540, 518.4) == (page.detection_seconds, pytest.approx(page.expected_detection_seconds))
    assert page.budget_spent == pytest.approx(540 / (0.01 * 30 * 86_400))


def test_the_same_seed_gives_the_same_month():
    """Chance is seeded: equal for one seed, and another for another."""
    months = [simulate(compiled("worker"), Options((), traffic_rps=0.05, seed=seed))[0].healthy for seed in (1, 1, 2)]

    assert months[0] == months[1]
    assert months[0].failures != months[2].failures or months[0].requests != months[2].requests


@pytest.mark.parametrize(("per_hour", "pages"), [(120, True), (150, False)])
def test_the_traffic_that_a_warning_asks_for_is_enough(per_hour, pages):
    """One of 139 requests is below 14.4 times a budget of 0.05 %: with fewer an hour it pages, with more not."""
    lonely = replace(INCIDENTS["low-traffic"], single_failure_per_hour=per_hour)

    (outcome, _) = simulate(compiled(), Options((lonely,), healthy=False))

    assert pages == outcome.incidents[0].paged
    assert [f"{per_hour} requests/h" in text and "139 requests in 1 h" in text for text in outcome.warnings] == [
        True
    ] * pages


SLICED = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: minutes}
spec:
  service: orders
  indicator:
    metadata: {name: good-minutes}
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec: {query: 'sum(rate(jobs_total{outcome=~"ok|late",kind!="probe"}[{{.window}}]))'}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(jobs_total{kind!="probe"}[{{.window}}]))'}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Timeslices
  objectives: [{displayName: minutes, target: 0.99, timeSliceTarget: 0.9, timeSliceWindow: 5m}]
"""


def test_time_slices_are_simulated_and_not_compared():
    """Where time is counted instead of events, alerts are replayed and the missing mathematics is said."""
    rules = read_rules(compile_rules(read({"slo.yaml": SLICED.encode()})).to_yaml(), name="rules.yml")

    (outcome,) = simulate(rules, Options((INCIDENTS["outage"],), healthy=False))

    assert outcome.incidents[0].paged
    assert not any(alert.computable for alert in outcome.incidents[0].alerts)
    assert "time slices" in outcome.warnings[0]


def test_evaluations_without_number_are_refused():
    """A group that is evaluated every millisecond would fill the memory; it is refused instead."""
    hasty = [replace(group, interval_ms=1) for group in compiled()]

    with pytest.raises(UnsupportedRuleError, match="more than 3000000 samples"):
        simulate(hasty, Options())


@pytest.mark.outside
def test_rules_made_by_sloth_are_simulated():
    """The rule file of Sloth's getting-started example pages in an outage, and its twin without alerts is refused."""
    from pathlib import Path

    shared = Path(__file__).resolve().parents[4] / "shared" / "conformance" / "sloth"
    text = (shared / "getting-started.rules.yml").read_text()

    (outcome,) = simulate(read_rules(text, name="r.yml"), Options((INCIDENTS["outage"],), healthy=False))

    assert outcome.incidents[0].paged
    silent = (shared / "openslo-getting-started.rules.yml").read_text()
    with pytest.raises(UnsupportedRuleError, match="no alert reads"):
        simulate(read_rules(silent, name="r.yml"), Options())


def test_a_ratio_that_no_counter_moves_is_not_simulated():
    """Where no series give the error ratios 0 and 1 nothing is said, rather than something invented."""
    text = kits.render("api", "orders").replace('le="0.3"', 'le="0.3",le="0.4"')
    rules = read_rules(compile_rules(read({"slo.yaml": text.encode()})).to_yaml(), name="rules.yml")

    with pytest.raises(UnsupportedRuleError, match="found no series"):
        simulate(rules, Options())
