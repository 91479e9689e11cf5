"""`companyos slo simulate` at the command line."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from companyos.cli.app import run
from companyos.observability.slo import compile_rules, kits, read


@pytest.fixture
def rules(tmp_path):
    """A file with the compiled rules of the worker's kit."""
    text = compile_rules(read({"slo.yaml": kits.render("worker", "mailer").encode()})).to_yaml()
    path = tmp_path / "rules.yml"
    path.write_text(text)
    return path


def test_an_openslo_file_is_compiled_and_simulated(tmp_path, capsys):
    """For each alert the table says when it fires and ends, by measure and by mathematics; all well is exit 0."""
    file = tmp_path / "slo.yaml"
    file.write_text(kits.render("api", "orders"))

    status = run(["slo", "simulate", str(file), "--incident", "outage"])

    shown = capsys.readouterr().out
    assert 0 == status
    assert "orders-latency: 99 % over 30 d, 10 requests/s" in shown
    assert any("page burn-page" in line and "9m" in line and "8m 38s" in line for line in shown.splitlines())


def test_json_holds_every_figure(rules, capsys):
    """`--json` gives times in seconds and shares as numbers."""
    assert 0 == run(["slo", "simulate", str(rules), "--json", "--incident", "slow-burn", "--incident", "healthy"])

    found = json.loads(capsys.readouterr().out)
    page = found["objectives"][0]["incidents"][0]["alerts"][0]
    assert ("page", 14_400) == (page["severity"], pytest.approx(page["expected_detection_seconds"]))
    assert 0 == found["objectives"][0]["healthy"]["false_pages"]
    assert [] == found["findings"]


def test_an_alert_that_cannot_fire_is_a_finding(rules, capsys):
    """A threshold that is never reached: the outage does not page, and that is exit 1."""
    rules.write_text(rules.read_text().replace("> (3.36 * 0.01)", "> 1").replace("> (1.4 * 0.01)", "> 1"))

    assert 1 == run(["slo", "simulate", str(rules), "--incident", "outage"])

    assert "outage (every request fails) must page, and does not" in capsys.readouterr().out


def test_an_alert_that_cries_wolf_is_a_finding(rules, capsys):
    """A threshold below what a healthy service does pages in a healthy month, and that is exit 1."""
    rules.write_text(rules.read_text().replace("> (1.4 * 0.01)", "> 0.0001"))

    assert 1 == run(["slo", "simulate", str(rules), "--incident", "healthy"])

    assert "pages in 30 healthy days" in capsys.readouterr().out


def test_too_little_traffic_is_warned_of(rules, capsys):
    """The warning says how many requests it takes."""
    run(["slo", "simulate", str(rules), "--incident", "outage", "--traffic", "0.001"])

    assert "at 3.6 requests/h a single failed request pages" in capsys.readouterr().err


def test_what_cannot_be_simulated_is_not_good(rules, capsys):
    """A rule outside of the subset is exit 3 and named with file, line and column; a wrong one is exit 2."""
    text = rules.read_text()
    rules.write_text(text.replace('expr: "vector(1)"', 'expr: "vector(1) > quantile(0.5, x)"', 1))
    assert 3 == run(["slo", "simulate", str(rules)])
    shown = capsys.readouterr().err
    assert "rules.yml:" in shown
    assert "line 1, column 13: quantile(…) is not simulated" in shown

    rules.write_text(text.replace('expr: "vector(1)"', 'expr: "vector(1"', 1))
    assert 2 == run(["slo", "simulate", str(rules)])
    rules.write_text("groups: []")
    assert 3 == run(["slo", "simulate", str(rules)])
    assert 2 == run(["slo", "simulate", str(rules.with_name("missing.yml"))])


def test_the_web_page_needs_nothing_besides_itself(rules, tmp_path, capsys):
    """It is well-formed, has a timeline for each incident, and loads nothing; labels are escaped."""
    rules.write_text(rules.read_text().replace('severity: "page"', 'severity: "page<&"'))
    page = tmp_path / "page.html"

    run(["slo", "simulate", str(rules), "--incident", "leak", "--html", str(page)])

    text = page.read_text()
    tree = ET.fromstring(text.removeprefix("<!DOCTYPE html>\n").replace('<meta charset="utf-8">', ""))
    assert 2 == len(list(tree.iter("svg")))
    assert not any(word in text for word in ("http:", "https:", "<script", "url("))
    assert "page&lt;&amp;" in text


@pytest.mark.service("promtool")
def test_promtool_can_be_asked_by_anybody(rules, tmp_path, promtool):
    """`--promtool` writes tests that promtool passes; windows are cut short to keep it quick."""
    rules.write_text(rules.read_text().replace("[3d]", "[3h]").replace("[1d]", "[2h]").replace("[6h]", "[2h]"))

    assert 0 == run(["slo", "simulate", str(rules), "--incident", "low-traffic", "--promtool", str(tmp_path / "out")])

    tests = sorted((tmp_path / "out").glob("*/low-traffic/test.yml"))
    assert 2 == len(tests)
    assert "" == promtool.complaint(tests[0])
