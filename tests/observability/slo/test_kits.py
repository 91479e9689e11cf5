"""The kits: what the playbook promises, in files to begin with."""

from __future__ import annotations

from decimal import Decimal

import pytest

from companyos.observability.slo import KitError, compile_rules, read
from companyos.observability.slo.kits import KINDS, render
from companyos.observability.slo.rules import objectives

PROMISED = {
    ("api", "availability"): ("0.9995", "30d"),
    ("api", "latency"): ("0.99", "30d"),
    ("frontend", "availability"): ("0.999", "30d"),
    ("frontend", "latency"): ("0.99", "30d"),
    ("worker", "job-success"): ("0.99", "7d"),
    ("worker", "job-duration"): ("0.99", "7d"),
}


def documents(kind):
    """A kit, read."""
    return read({f"{kind}.yaml": render(kind, "orders").encode()})


def test_targets_and_periods_are_those_of_the_playbook():
    """API 99.95 % and 99 % under 300 ms over 30 days; jobs 99 % over 7 days."""
    found = {
        (kind, item.slo.metadata.name): (item.objective.target, item.slo.window.shorthand)
        for kind in KINDS
        for item in objectives(documents(kind))
    }
    assert found == {key: (Decimal(target), period) for key, (target, period) in PROMISED.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_kits_have_no_warnings_and_the_playbooks_pages(kind):
    """Every kit compiles without a word, and pages on two burn rates."""
    rules = compile_rules(documents(kind))
    assert rules.warnings == ()
    for item in objectives(documents(kind)):
        assert (item.alerts[0].severity, len(item.alerts[0].windows)) == ("page", 2)


def test_api_availability_pages_at_two_percent_an_hour_and_five_in_six():
    """Factor x window / period is the share of the budget: 2 % in 1 h, 5 % in 6 h."""
    availability = objectives(documents("api"))[0]
    shares = [window.factor * window.long_seconds / (30 * 86_400) for window in availability.alerts[0].windows]
    assert [float(share) for share in shares] == [0.02, 0.05]


@pytest.mark.service("promtool")
@pytest.mark.parametrize("kind", KINDS)
def test_promtool_takes_every_kit(kind, bench):
    """What is compiled from a kit is a rule file."""
    assert not bench.check(compile_rules(documents(kind)).to_yaml())


def test_kits_of_several_services_compile_together():
    """Names of objectives are those of the service's own: two services may have the same."""
    rules = compile_rules(read({name: render("api", name).encode() for name in ("orders", "users")}))
    assert rules.slo_ids == ("orders-availability", "orders-latency", "users-availability", "users-latency")


@pytest.mark.service("promtool")
def test_the_duration_of_jobs_is_measured_whatever_the_spelling_of_the_bound(bench):
    """The bound of ten seconds is `10` in the old text format and `10.0` in OpenMetrics."""
    rules = compile_rules(documents("worker")).to_yaml()
    for bound in ("10", "10.0"):
        name = f'messaging_process_duration_seconds_bucket{{service_name="orders",le="{bound}"}}'
        series = {name: "0+90x30", 'messaging_process_duration_seconds_count{service_name="orders"}': "0+100x30"}
        ratio = 'round(sum(slo:sli_error:ratio_rate5m{slo_id="orders-job-duration"}), 0.0001)'
        assert bench.complaint([rules], series, [(20, ratio, 0.1)]) == ""


@pytest.mark.parametrize("name", ["null", "true", "off", "on", "no", "123", "1e5", "0x10", "2026-01-31"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_yaml_would_take_for_something_else_stays_a_name(kind, name):
    """A service called `null` or `off` has a kit whose objectives are that service's."""
    rules = compile_rules(read({"slo.yaml": render(kind, name).encode()}))

    assert rules.warnings == ()
    assert all(slo_id.startswith(f"{name}-") for slo_id in rules.slo_ids)


@pytest.mark.parametrize(
    ("kind", "service"), [("batch", "orders"), ("api", ""), ("api", "a b"), ("api", 'x"}'), ("api", "-a")]
)
def test_what_is_no_kit_is_refused(kind, service):
    """An unknown kind, and names that would not be names."""
    with pytest.raises(KitError):
        render(kind, service)
