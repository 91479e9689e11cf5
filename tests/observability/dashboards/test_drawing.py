"""The plotter: pictures that say what the Prometheus said, and that everybody can read."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.observability.dashboards import KINDS
from companyos.observability.dashboards.drawing.chart import Box, Chart, Line
from companyos.observability.dashboards.drawing.colours import DASHES, THEMES, contrast
from companyos.observability.dashboards.drawing.picture import CAPTION, draw
from companyos.observability.dashboards.drawing.scales import round_ticks, time_ticks, unit_of
from companyos.observability.dashboards.reading import TimeRange, read

ROOT = Path(__file__).resolve().parents[3]
SVG = "{http://www.w3.org/2000/svg}"
FRAME = Box(0, 0, 600, 240)
HOUR = TimeRange(0, 3600)
real = pytest.mark.service("prometheus")


def words_of(picture):
    """All text that stands in the picture."""
    return [node.text for node in ET.fromstring(picture).iter(f"{SVG}text")]


def paths_of(parts):
    """The data of the lines that are series."""
    nodes = [ET.fromstring(part) for part in parts]
    return [node.get("d") for node in nodes if node.get("class", "").startswith("s s") and "L" in node.get("d")]


@real
@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_of_a_pack_is_drawn(kind, pack, remembering):
    """The picture has a group for each panel, none of them empty, the caption, and stays small."""
    memory, board = remembering(kind), pack(kind)

    picture = draw(board, memory.client, memory.time)

    groups = list(ET.fromstring(picture).iter(f"{SVG}g"))
    assert [group.find(f"{SVG}title").text for group in groups] == [panel.title for panel in board.panels]
    assert "no data" not in words_of(picture)
    assert any(text.startswith(CAPTION) for text in words_of(picture))
    assert len(picture) < 200_000


@real
def test_the_legend_says_what_the_prometheus_says(dashboard_of, remembering):
    """The last figure of a line is the figure that the server itself gives for that moment."""
    memory = remembering()
    expr = 'sum(http_server_request_duration_seconds_count{service_name="orders"})'
    time = memory.time
    (series,) = memory.client.at(expr, time=time.end)

    picture = draw(dashboard_of({"expr": expr, "legendFormat": "requests"}), memory.client, time)

    expected = unit_of("short", series.points[0][1]).written(series.points[0][1])
    assert any(text.startswith(f"requests: last {expected}") for text in words_of(picture))


@real
def test_what_has_no_data_says_so(dashboard_of, remembering):
    """An empty panel is not a flat line."""
    memory = remembering()

    assert "no data" in words_of(draw(dashboard_of({"expr": "nobody"}), memory.client, memory.time))


@real
def test_a_refused_query_is_shown_in_its_place(dashboard_of, remembering):
    """The picture is drawn all the same, with the reason in the panel."""
    memory = remembering()

    assert any(
        "query was refused" in text and "parse error" in text
        for text in words_of(draw(dashboard_of({"expr": "sum("}), memory.client, memory.time))
    )


@real
def test_a_new_version_is_marked(pack, remembering):
    """Where the canary's version appeared, its name stands on every panel of lines."""
    memory, board = remembering(), pack()
    lines = sum(1 for panel in board.panels if panel.kind == "timeseries")

    assert words_of(draw(board, memory.client, memory.time)).count("1.5.0") == lines


@real
def test_pictures_are_for_those_who_do_not_see_them_too(pack, remembering):
    """The picture and each panel are images with a title and a description that holds the figures; ids are unique."""
    memory = remembering()
    root = ET.fromstring(draw(pack(), memory.client, memory.time))
    ids = [node.get("id") for node in root.iter() if node.get("id")]

    assert len(ids) == len(set(ids))
    for node in (root, *root.iter(f"{SVG}g")):
        named = node.get("aria-labelledby").split()
        assert node.get("role") == "img"
        assert [child.get("id") for child in node if child.tag in {f"{SVG}title", f"{SVG}desc"}] == named
    spoken = [group.find(f"{SVG}desc").text for group in root.iter(f"{SVG}g")]
    assert all(any(character.isdigit() for character in text) for text in spoken)


@real
def test_hostile_names_stay_text(remembering):
    """Markup and control characters in titles and legends are shown, not obeyed."""
    memory = remembering()
    hostile = '</text><script>alert(1)</script>&"\x1b[31m\u202e'
    panel = {"type": "timeseries", "title": hostile, "targets": [{"expr": "target_info", "legendFormat": hostile}]}
    board = read(json.dumps({"title": hostile, "panels": [panel]}))

    root = ET.fromstring(draw(board, memory.client, memory.time))

    assert list(root.iter(f"{SVG}script")) == []
    assert any("<script>" in (node.text or "") for node in root.iter(f"{SVG}text"))


@pytest.mark.parametrize("theme", THEMES)
def test_colours_can_be_told_from_their_ground(theme):
    """Text has 4.5:1 and lines 3:1 to the panel they stand on, in light and dark (WCAG 2.2)."""
    colours = THEMES[theme]
    texts = [colours[name] for name in ("text", "quiet", "alarm", "mark")]

    assert all(contrast(colour, colours[ground]) >= 4.5 for colour in texts for ground in ("panel", "ground"))
    assert all(contrast(colour, colours["panel"]) >= 3 for colour in (*colours["series"], colours["edge"]))


def test_contrast_is_that_of_wcag():
    """Black on white is 21:1, a colour on itself 1:1, and the known border case of grey is 4.54:1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert contrast("#123456", "#123456") == 1


def test_lines_differ_by_more_than_colour():
    """Each line has a pattern of its own, for each colour one."""
    assert len(set(DASHES)) == len(DASHES) == len(THEMES["light"]["series"]) == len(THEMES["dark"]["series"])


def test_a_gap_is_a_gap():
    """Missing and NaN points break the line instead of being bridged."""
    step = HOUR.step_seconds
    points = tuple((place * step, math.nan if place == 5 else float(place)) for place in range(20) if place != 12)

    (path,) = paths_of(Chart("short", (Line("x", points),)).drawn(FRAME, HOUR))

    assert path.count("M") == 3


def test_points_that_change_nothing_are_left_out():
    """A flat line is two points, so that pictures stay small."""
    points = tuple((place * HOUR.step_seconds, 1.0) for place in range(200))

    (path,) = paths_of(Chart("short", (Line("x", points),)).drawn(FRAME, HOUR))

    assert len(path.split()) == 3


def test_too_many_lines_are_counted_not_hidden():
    """Nobody tells forty lines apart; the legend says how many are not drawn."""
    lines = tuple(Line(f"l{place}", ((0.0, 1.0), (15.0, 2.0))) for place in range(40))

    drawn = "".join(Chart("short", lines).drawn(Box(0, 0, 600, 400), HOUR))

    assert "(and 28 more, not drawn)" in drawn


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("s", 0.25, "250 ms"),
        ("s", 1.5, "1.5 s"),
        ("percentunit", 0.9995, "99.95 %"),
        ("percentunit", 0.99995, "99.995 %"),
        ("percentunit", 1.0, "100 %"),
        ("percentunit", -0.5, "-50 %"),
        ("percentunit", 0.0005, "0.05 %"),
        ("reqps", 12.0, "12/s"),
        ("short", 123456.0, "123k"),
        ("short", 14.4, "14.4"),
        ("short", math.nan, "n/a"),
        ("short", -0.0, "0"),
    ],
)
def test_values_are_written_as_people_write_them(name, value, written):
    """With their unit, in three figures, except where the missing part of 100 % is what matters."""
    assert unit_of(name, value).written(value) == written


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_ticks_span_the_figures(first, second):
    """Round, ascending, few, and around what they are for."""
    low, high = sorted((first, second))
    ticks = round_ticks(low, high)

    slack = 1e-6 * (ticks[1] - ticks[0])
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    assert all(left < right for left, right in itertools.pairwise(ticks))


@given(st.floats(0, 2e9), st.floats(1, 4e8))
def test_moments_at_the_axis_are_few_and_in_the_range(start, length):
    """Whatever the range, at most so many labels as there is room for."""
    moments = [moment for moment, _ in time_ticks(start, start + length)]

    assert len(moments) <= 14
    assert all(start - 1e-6 <= moment <= start + length + 1e-6 for moment in moments)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=30))
def test_any_figures_can_be_drawn(values):
    """NaN, infinities, a single point, all the same: always well-formed, never outside the panel."""
    points = tuple((place * 15.0, value) for place, value in enumerate(values))

    parts = Chart("s", (Line("x", points),), thresholds=(0.3,), minimum=0).drawn(FRAME, HOUR)

    for part in parts:
        ET.fromstring(part)
    for path in paths_of(parts):
        numbers = [float(text) for text in path.replace("M", " ").replace("L", " ").replace("h1.5", "").split()]
        assert all(-1 <= y <= 241 for y in numbers[1::2])


@pytest.mark.parametrize("name", ["dashboard-api.svg", "dashboard-worker.svg", "objectives.svg"])
def test_the_pictures_of_the_documentation_are_sound(name):
    """Well-formed, small, with data in every panel, and honest about where they are from."""
    picture = (ROOT / "docs" / "images" / name).read_text()

    said = words_of(picture)
    assert any(text.startswith(f"{CAPTION}. The past of an invented service") for text in said)
    assert [text for text in said if text == "no data" or "refused" in text] == []
    assert len(picture) < 200_000
