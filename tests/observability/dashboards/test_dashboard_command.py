"""`companyos slo dashboard`: make, check and draw from the command line."""

from __future__ import annotations

import json
import time

import pytest

from companyos.cli import main
from companyos.cli.slo.dashboard import seconds_of
from companyos.observability.slo.kits import render

real = pytest.mark.service("prometheus")
COMMAND = ("slo", "dashboard")


@pytest.fixture
def slos(tmp_path):
    """Writes the objectives of a kind of service, and gives the file."""

    def write(kind, service="orders"):
        path = tmp_path / f"{kind}.yaml"
        path.write_text(render(kind, service))
        return str(path)

    return write


def made(capsys, *arguments):
    """The dashboard that the command prints."""
    assert main([*COMMAND, *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("kind", "tag"), [("api", "api"), ("worker", "worker")])
def test_objectives_lead_to_the_dashboard_of_their_kind(kind, tag, slos, capsys):
    """What the objectives ask for says what the service is."""
    board = made(capsys, slos(kind))

    assert (board["uid"], tag in board["tags"]) == ("orders", True)


def test_objectives_of_several_services_are_shown_alone(slos, capsys):
    """Files of two services give one dashboard of both their objectives."""
    board = made(capsys, slos("api", "orders"), slos("worker", "mail"))

    assert board["uid"] == "slo-mail-orders"
    assert {panel["title"] for panel in board["panels"]} >= {"SLO compliance", "Error budget left", "Burn rate"}


def test_a_pack_needs_no_file(capsys):
    """A kind and a name are enough; dependencies, environments and tags are as asked."""
    board = made(capsys, "--kind", "frontend", "--service", "shop", "--dependency", "none", "--tag", "web")
    text = json.dumps(board)

    assert "web" in board["tags"]
    assert "Dependencies" not in text


def test_the_file_is_written_whole(tmp_path, capsys):
    """`-o` writes the same bytes that are printed without it."""
    target = tmp_path / "board.json"

    assert main([*COMMAND, "--kind", "api", "--service", "orders", "-o", str(target)]) == 0
    capsys.readouterr()
    assert main([*COMMAND, "--kind", "api", "--service", "orders"]) == 0

    assert target.read_text() == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name OpenSLO files"),
        (("--service", "x"), "name OpenSLO files"),
        (("--kind", "api"), "name OpenSLO files"),
        (("a.json", "--kind", "api"), "taken as it is"),
        (("a.json", "b.json"), "taken as it is"),
        (("absent.json",), "cannot be read"),
        (("absent.yaml",), "cannot be read"),
        (("--kind", "api", "--service", "a b"), "not a name of a service"),
        (("--kind", "api", "--service", "x", "--check"), "need --prometheus"),
        (("--kind", "api", "--service", "x", "--check", "--prometheus", "u", "--from", "yesterday"), "neither now-6h"),
        (
            ("--kind", "api", "--service", "x", "--check", "--prometheus", "u", "--from", "now", "--to", "0"),
            "not a range of time",
        ),
    ],
)
def test_a_call_that_cannot_be_carried_out_is_usage(arguments, said, capsys, tmp_path, monkeypatch):
    """Exit 2, and the message says what is missing."""
    monkeypatch.chdir(tmp_path)

    assert main([*COMMAND, *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_kind_for_files_of_several_services_needs_a_name(slos, capsys):
    """A starter pack is of one service."""
    assert main([*COMMAND, slos("api", "orders"), slos("worker", "mail"), "--kind", "api"]) == 2
    assert "which of mail, orders" in capsys.readouterr().err


@real
def test_check_says_whether_there_is_data(slos, remembering, capsys):
    """Exit 0 for the service that is measured, 3 for one that is not, 1 for a query that is refused."""
    memory = remembering()
    asked = ("--check", "--prometheus", memory.server.url, "--from", str(memory.now - 3600))

    assert main([*COMMAND, slos("api"), *asked]) == 0
    assert main([*COMMAND, "--kind", "api", "--service", "strangers", *asked, "--json"]) == 3
    answer = capsys.readouterr().out
    assert '"decision": "undetermined"' in answer


@real
def test_a_dashboard_of_others_is_checked_too(tmp_path, remembering, capsys):
    """Any Grafana JSON: here one whose query does not parse."""
    memory = remembering()
    target = tmp_path / "other.json"
    panel = {"type": "timeseries", "title": "broken", "targets": [{"refId": "A", "expr": "sum("}]}
    target.write_text(json.dumps({"title": "t", "panels": [panel]}))

    assert main([*COMMAND, str(target), "--check", "--prometheus", memory.server.url]) == 1
    assert "broken, query A" in capsys.readouterr().out


@real
def test_draw_writes_a_picture(tmp_path, remembering, capsys):
    """The SVG is there, with the caption and the note, and nothing is printed to stdout."""
    memory = remembering()
    target = tmp_path / "board.svg"
    call = ["--kind", "api", "--service", "orders", "--draw", str(target), "--prometheus", memory.server.url]

    assert main([*COMMAND, *call, "--from", str(memory.now - 3600), "--note", "A test."]) == 0
    assert "not a Grafana screenshot. A test." in target.read_text()
    assert capsys.readouterr().out == ""


def test_a_prometheus_that_is_away_is_could_not_check(capsys, tmp_path):
    """Neither the check nor the drawing takes silence for data; no picture is left behind."""
    pack = ("--kind", "api", "--service", "orders", "--prometheus", "http://127.0.0.1:9")
    target = tmp_path / "x.svg"

    assert main([*COMMAND, *pack, "--check"]) == 3
    assert main([*COMMAND, *pack, "--draw", str(target)]) == 3
    assert not target.exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1700000000.5", 1700000000.5),
        ("2026-01-01T00:00:00", 1767225600.0),
        ("2026-01-01T01:00:00+01:00", 1767225600.0),
        ("2026-01-01", 1767225600.0),
    ],
)
def test_moments_are_read(text, seconds):
    """Unix seconds and ISO 8601, which is UTC where it names no zone."""
    assert seconds_of(None, None, text) == seconds


@pytest.mark.parametrize(("text", "ago"), [("now", 0), ("now-90s", 90), ("now-2h", 7200), ("now-1w", 604800)])
def test_moments_before_now_are_counted_from_now(text, ago):
    """As Grafana writes them."""
    assert seconds_of(None, None, text) == pytest.approx(time.time() - ago, abs=5)
