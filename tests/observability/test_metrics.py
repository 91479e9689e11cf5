"""Metrics: what is recorded can be read back, under its own name and the playbook's."""

from __future__ import annotations

import time

import pytest

from companyos.observability import MetricError, metrics


def read(service, name):
    """Kind, unit, tags and value of every series of a metric."""
    return [(p.kind, p.unit, dict(p.attributes), p.value) for p in service.observability.metrics(name)]


def test_counters_add_up(service):
    """Increments of the same series add up, others stand apart."""
    metrics.increment("jobs", {"queue": "mail"})
    metrics.increment("jobs", {"queue": "mail"}, by=2)
    metrics.increment("jobs", {"queue": "bills"})
    assert sorted(read(service, "jobs"), key=str) == [
        ("counter", "1", {"queue": "bills"}, 1),
        ("counter", "1", {"queue": "mail"}, 3),
    ]


def test_levels_rise_and_fall(service):
    """What rises and falls reads as its present level."""
    metrics.change("jobs.active", 3)
    metrics.change("jobs.active", -1)
    assert read(service, "jobs.active") == [("updown", "1", {}, 2)]


@pytest.mark.parametrize(
    ("name", "unit"), [("wait_ms", "ms"), ("wait_seconds", "s"), ("size_bytes", "By"), ("cpu_percent", "%"), ("n", "1")]
)
def test_units_follow_names(service, name, unit):
    """The end of a name is its unit."""
    metrics.record(name, 2.5)
    assert read(service, name) == [("histogram", unit, {}, 2.5)]


@pytest.mark.parametrize("name", ["request_duration_ms", "http_request_latency_ms"])
def test_playbook_durations_are_the_conventional_histogram(service, name):
    """Milliseconds under the playbook's name are seconds under the convention's, tags included."""
    metrics.record(name, 250, {"route": "/orders", "method": "GET", "status": 200, "tenant": "t"})
    tags = {"http.route": "/orders", "http.request.method": "GET", "http.response.status_code": 200, "tenant": "t"}
    assert read(service, "http.server.request.duration") == [("histogram", "s", tags, 0.25)]
    assert read(service, name) == [("histogram", "ms", tags, 250)]
    assert [point.value for point in service.observability.metrics("requests_total")] == [1]
    assert read(service, "errors_total") == []


def test_playbook_counters(service):
    """Requests counted by hand and requests measured are both among the playbook's totals."""
    metrics.increment("requests_total", {"route": "/jobs"})
    metrics.record("http.server.request.duration", 0.1, {"error.type": "500"})
    assert [point.value for point in service.observability.metrics("requests_total")] == [1, 1]
    assert read(service, "errors_total") == [("counter", "{error}", {"error.type": "500"}, 1)]


def test_timers_record_once(service):
    """A timer records when stopped, once; in a `with` it also says what went wrong."""
    timer = metrics.timer("step_ms", {"step": "a"})
    assert timer.stop() == timer.stop()
    with pytest.raises(KeyError), metrics.timer("step_ms", {"step": "b"}):
        raise KeyError
    points = {point.attributes["step"]: point for point in service.observability.metrics("step_ms")}
    assert points["a"].count == points["b"].count == 1
    assert points["b"].attributes["error.type"] == "KeyError"


@pytest.mark.parametrize("name", ["wait_seconds", "request_duration_ms"])
def test_timers_know_their_unit(service, name, monkeypatch):
    """A timer of seconds records seconds, and the playbook's milliseconds arrive as such."""
    clock = iter([10.0, 10.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert metrics.timer(name).stop() == 500
    (point,) = service.observability.metrics(name)
    assert point.value == {"wait_seconds": 0.5, "request_duration_ms": 500}[name]


def test_tags_are_masked(service):
    """Secrets and addresses do not become series."""
    metrics.increment("logins", {"user": "ann@example.org", "token": "t", "none": None, "list": [1]})
    assert read(service, "logins") == [("counter", "1", {"user": "[email]", "token": "[secret]", "list": "[1]"}, 1)]


BAD = {
    "shrinking counter": lambda: metrics.increment("a", by=-1),
    "nan": lambda: metrics.record("a", float("nan")),
    "infinity": lambda: metrics.increment("a", by=float("inf")),
    "empty name": lambda: metrics.record("", 1),
    "name with spaces": lambda: metrics.record("a b", 1),
    "name with digit first": lambda: metrics.record("1a", 1),
    "long name": lambda: metrics.record("a" * 256, 1),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_measurements_are_refused(service, case):
    """What cannot be recorded is an error, not a gap; nothing of it is kept."""
    with pytest.raises(MetricError):
        BAD[case]()
    assert service.observability.metrics() == []


def test_a_name_is_of_one_kind(service):
    """A counter cannot be used as a histogram."""
    metrics.increment("jobs")
    with pytest.raises(MetricError, match="jobs is a counter"):
        metrics.record("jobs", 1)
