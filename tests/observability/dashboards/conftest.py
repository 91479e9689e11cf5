from __future__ import annotations

import time

import pytest

from companyos.observability.dashboards import starter_pack, to_json
from companyos.observability.dashboards.prometheus import PrometheusOverTime as Client
from companyos.observability.dashboards.reading import TimeRange, read
from companyos.observability.slo import compile_rules
from companyos.observability.slo import read as read_slos
from companyos.observability.slo.kits import render
from tests.observability.dashboards.history import Disturbance, Past, openmetrics
from tests.services import Prometheus, available

HOUR = 3600


def rules_of(kind, service="orders"):
    """The compiled objectives that a service of the kind begins with."""
    return compile_rules(read_slos({"slo.yaml": render(kind, service).encode()})).to_yaml()


def wait_for(client, expr, seconds=60):
    """Wait until a query has an answer."""
    limit = time.monotonic() + seconds
    while not client.at(expr, time=time.time()):
        assert time.monotonic() < limit, f"{expr} never had data"
        time.sleep(0.2)


class Remembering:
    """A Prometheus that remembers an hour of a service with a canary and an incident, and evaluates its objectives."""

    def __init__(self, kind):
        self.kind = kind
        self.now = int(time.time())
        past = Past(
            self.now - HOUR,
            self.now,
            kind=kind,
            incidents=(Disturbance(self.now - 1500, self.now - 900, 0.05, 4),),
            canary=Disturbance(self.now - 3000, self.now - 1800, 0.01, 1.4, "KeyError"),
        )
        self.server = Prometheus(available("prometheus"), rules=rules_of(kind), history=openmetrics(past))
        self.client = Client(self.server.url)
        wait_for(self.client, "slo:period_error_budget_remaining:ratio")

    @property
    def time(self):
        """The hour that is remembered, up to this moment."""
        return TimeRange(self.now - HOUR, time.time())


@pytest.fixture(scope="session")
def remembering():
    """Makes such a Prometheus for a kind of service; one a kind and test process."""
    made = {}

    def make(kind="api"):
        if kind not in made:
            made[kind] = Remembering(kind)
        return made[kind]

    yield make
    for one in made.values():
        one.server.stop()


@pytest.fixture
def pack():
    """The starter pack of a kind, as Grafana's JSON read back."""
    return lambda kind="api", service="orders", **options: read(to_json(starter_pack(kind, service, **options)))


@pytest.fixture
def dashboard_of():
    """A dashboard of one panel with the given targets."""

    def make(*targets, **panel):
        import json

        listed = [{"refId": "ABC"[place], **target} for place, target in enumerate(targets)]
        data = {"title": "one", "panels": [{"type": "timeseries", "title": "P", "targets": listed, **panel}]}
        return read(json.dumps(data))

    return make
