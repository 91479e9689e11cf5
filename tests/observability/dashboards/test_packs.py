"""Starter packs: what every service's dashboard shows, in JSON that Grafana's own models accept."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from companyos.errors import MissingExtraError
from companyos.observability.dashboards import KINDS, DashboardError, objectives, starter_pack, to_json

EVERYWHERE = (
    ("p50, p95, p99", "histogram_quantile(0.99"),
    ("Error rate", 'error_type!=""'),
    ("Traffic by", "_count{"),
    ("Saturation", "active"),
    ("Dependencies: p95 of calls", "http_client_request_duration_seconds_bucket"),
    ("Dependencies: failing share", "db_client_operation_duration_seconds_count"),
    ("Error budget left", "slo:period_error_budget_remaining:ratio"),
    ("Burn rate", "slo:current_burn_rate:ratio"),
    ("Top 5 error types", "topk(5"),
    ("p95: canary and production", '=~"canary|prod"'),
    ("SLO compliance", "slo:objective:ratio"),
)
"""What each kind of service has: a word of the panel's title, and of its query."""


def panels_of(text):
    """The panels that are no headings."""
    return [panel for panel in json.loads(text)["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("title", "part"), EVERYWHERE)
def test_every_kind_shows_what_matters(kind, title, part):
    """Golden signals, dependencies, budget, errors, canary and compliance are in the dashboard of every kind."""
    found = [panel for panel in panels_of(to_json(starter_pack(kind, "orders"))) if title in panel["title"]]

    assert len(found) == 1
    assert any(part in target["expr"] for target in found[0]["targets"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_latency_panel_asks_for_exemplars(kind):
    """Single measurements with their trace ids are asked for exactly once, where durations are drawn."""
    panels = panels_of(to_json(starter_pack(kind, "orders")))
    asking = [panel["title"] for panel in panels for target in panel["targets"] if target.get("exemplar")]

    assert len(asking) == 1
    assert "p50, p95, p99" in asking[0]


@pytest.mark.parametrize("kind", KINDS)
def test_grafanas_own_models_lose_nothing(kind):
    """Read by the models that are generated from Grafana's schema and written again, the dashboard is the same."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    data = json.loads(to_json(starter_pack(kind, "orders")))

    again = json.loads(json.dumps(Dashboard.from_json(data), cls=JSONEncoder))

    assert again == data


def test_the_same_dashboard_gives_the_same_bytes():
    """Neither the time nor the process nor the seed of hashes shows in the file."""
    code = "from companyos.observability.dashboards import *; print(to_json(starter_pack('api', 'orders')), end='')"
    written = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert written == {to_json(starter_pack("api", "orders"))}


@pytest.mark.parametrize("kind", KINDS)
def test_panels_share_the_grid_without_overlap(kind):
    """Every panel has a number of its own and a place within the 24 columns that no other panel covers."""
    panels = json.loads(to_json(starter_pack(kind, "orders")))["panels"]
    covered = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]

    assert len(covered) == len(set(covered))
    assert max(x for x, _ in covered) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_panel_says_what_it_shows():
    """No panel is without a description, a unit and letters of its own for its queries."""
    for panel in panels_of(to_json(starter_pack("api", "orders"))):
        letters = [target["refId"] for target in panel["targets"]]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert sorted(set(letters)) == letters


def test_a_service_without_dependencies_has_no_panel_for_them():
    """What the service does not measure is not asked for."""
    text = to_json(starter_pack("api", "orders", dependencies=()))

    assert "_client_request" not in text
    assert "Dependencies" not in text


def test_other_environments_are_compared_by_their_names():
    """Canary and production are called what the caller calls them."""
    text = to_json(starter_pack("api", "orders", canary="blue", production="live"))

    assert '=~\\"blue|live\\"' in text


@pytest.mark.parametrize("service", ["", 'x"} or vector(1)', "a b", "x" * 129, "$service", "-x", "x\n"])
def test_a_name_that_does_not_fit_into_a_query_is_refused(service):
    """Nothing that would end a string of PromQL or stand for a variable becomes part of a query."""
    with pytest.raises(DashboardError, match="not a name of a service"):
        starter_pack("api", service)


@pytest.mark.parametrize("call", [{"kind": "robot"}, {"kind": "api", "dependencies": ["fax"]}])
def test_what_there_is_no_pack_for_is_said(call):
    """An unknown kind of service or dependency is refused with those that there are."""
    with pytest.raises(DashboardError, match="expected: .*(api|http)"):
        starter_pack(service="orders", **call)


@pytest.mark.parametrize("name", ["x" * 40, "x" * 41, "a/b", "x" * 128])
def test_the_uid_is_one_that_grafana_takes(name):
    """However long the service's name, the uid has at most 40 characters and no slash."""
    uid = starter_pack("api", name).uid

    assert 1 <= len(uid) <= 40
    assert "/" not in uid


def test_two_long_names_have_two_uids():
    """Names that differ only at their end do not share a dashboard."""
    assert starter_pack("api", "x" * 60 + "a").uid != starter_pack("api", "x" * 60 + "b").uid


def test_objectives_of_several_services_are_one_dashboard():
    """A dashboard of objectives alone asks for all its services, whatever their order."""
    text = to_json(objectives(["b.c", "a"]))

    assert 'slo_service=~\\"a|b[.]c\\"' in text
    assert text == to_json(objectives(["a", "b.c", "a"]))


def test_objectives_of_no_service_are_refused():
    """There is no dashboard of nothing."""
    with pytest.raises(DashboardError, match="needs a service"):
        objectives([])


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    """The extra that is missing is named with the command that adds it."""
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk", None)

    with pytest.raises(MissingExtraError, match=r"companyos\[dashboards\]"):
        to_json(starter_pack("api", "orders"))
