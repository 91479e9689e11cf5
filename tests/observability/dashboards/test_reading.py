"""Reading dashboards: any that Grafana exports, with its variables filled in, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.observability.dashboards import DashboardError
from companyos.observability.dashboards.reading import ReadDashboard, TimeRange, read

HOUR = TimeRange(0, 3600)
KEYS = (
    *("panels", "targets", "type", "gridPos", "fieldConfig", "defaults", "templating", "list", "current", "value"),
    *("name", "expr", "annotations", "thresholds", "steps", "min", "transformations", "row"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_or_refused(value):
    """Whatever stands in the file, the answer is a dashboard or the one error for it."""
    text = json.dumps({"panels": [value], "templating": value, "annotations": value})
    try:
        board = read(text)
    except DashboardError:
        return

    assert isinstance(board, ReadDashboard)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"panels": 3}', '{"panels": [], "panels": []}', "NaN", "[" * 9999]
)
def test_what_is_no_dashboard_is_refused_by_name(text):
    """The message names the file."""
    with pytest.raises(DashboardError, match=r"board\.json is no Grafana dashboard"):
        read(text, name="board.json")


def test_a_flood_is_refused():
    """A file beyond all measure is not parsed."""
    with pytest.raises(DashboardError, match="too long"):
        read(" " * (4 * 1024 * 1024 + 1))


def test_panels_in_collapsed_rows_are_read_too():
    """A row that is folded keeps its panels inside; they are asked like the others."""
    panel = {"type": "timeseries", "title": "inner", "targets": [{"expr": "up"}]}
    board = read(json.dumps({"panels": [{"type": "row", "title": "R", "panels": [panel]}]}))

    assert [one.title for one in board.panels] == ["inner"]


def test_the_wrapping_of_the_api_is_taken_off():
    """What `GET /api/dashboards/uid/...` answers is read as well."""
    board = read(json.dumps({"meta": {}, "dashboard": {"title": "wrapped", "panels": []}}))

    assert board.title == "wrapped"


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ({"current": {"value": "prod"}}, "prod"),
        ({"current": {"value": ["prod", "canary"]}}, "(prod|canary)"),
        ({"current": {"value": "$__all"}, "allValue": "p.*"}, "p.*"),
        ({"current": {"value": ["$__all"]}}, ".*"),
        ({"current": {"value": "$__rate_interval"}}, "60s"),
        ({"type": "constant", "query": "fixed"}, "fixed"),
    ],
)
@pytest.mark.parametrize("written", ["$env", "${env}", "${env:regex}", "[[env]]"])
def test_variables_stand_for_their_saved_value(variable, expected, written):
    """In each of Grafana's notations: one value, several, all, and one that holds another variable."""
    board = read(json.dumps({"panels": [], "templating": {"list": [{"name": "env", **variable}]}}))

    assert board.filled_in(f'x{{e=~"{written}"}}', HOUR) == f'x{{e=~"{expected}"}}'


def test_an_unknown_variable_stays():
    """It is not taken for empty: the Prometheus will refuse it, and the check will say so."""
    assert read('{"panels": []}').filled_in("up[$nobody]", HOUR) == "up[$nobody]"


@pytest.mark.parametrize(
    ("time", "step", "window"),
    [
        (TimeRange(0, 3600), 15, "60s"),
        (TimeRange(0, 6 * 3600), 120, "135s"),
        (TimeRange(0, 30 * 86400), 10800, "10815s"),
        (TimeRange(0, 120, scrape_seconds=1), 1, "4s"),
    ],
)
def test_the_rate_interval_is_grafanas(time, step, window):
    """A step and one scrape, and never less than four scrapes."""
    assert (time.step_seconds, time.variables()["__rate_interval"]) == (step, window)


@pytest.mark.parametrize("bounds", [(5, 5), (6, 5), (0, float("inf")), (float("nan"), 1)])
def test_a_range_that_is_none_is_refused(bounds):
    """The end comes after the beginning, and both are moments."""
    with pytest.raises(DashboardError, match="not a range of time"):
        TimeRange(*bounds)
