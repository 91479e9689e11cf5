"""Checking a log that a service wrote: `companyos observability check-logs`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.cli import app
from companyos.decision import Verdict
from companyos.observability import get_logger
from companyos.observability.logfile import check_log

TOKEN = "gh" + "p_" + "q8Zt3LmV0xYw7RbN5cKd2HsJ9fGa4PeUXy12"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Checks these lines: exit status and report."""
    monkeypatch.chdir(tmp_path)

    def call(text, *arguments):
        (tmp_path / "service.log").write_text(text)
        status = app.run(["observability", "check-logs", "service.log", "--json", *arguments])
        return status, json.loads(capsys.readouterr().out)

    return call


def test_what_the_logger_wrote(run, service):
    """A log of the real logger is clean, also where something in it was masked."""
    log = get_logger("orders")
    log.info("orders.created", order="o-7", password="x", note=f"we got {TOKEN}, sent to ann@example.org")
    log.error("orders.failed", latency_ms=2)

    assert 0 == run(service.stream.getvalue())[0]


def test_a_token(run, service):
    """A token that was written past the logger is found, its field named and its value not shown."""
    get_logger("orders").info("orders.created")
    status, report = run(json.dumps(service.event | {"note": f"x {TOKEN}"}) + "\n")

    assert (1, "OBS-REDACTION.unmasked", 1) == (status, report["findings"][0]["rule"], report["findings"][0]["line"])
    assert TOKEN not in json.dumps(report)
    assert "note" in report["findings"][0]["message"]


def test_a_line_of_plain_text(run, service):
    """Whoever writes past the logger writes no JSON: the line is named, as unreadable and for what is in it."""
    get_logger("orders").info("orders.created")
    status, report = run(f"{service.stream.getvalue()}{'x ' * 5_000}using {TOKEN}\n")

    assert (1, {("OBS-FIELDS.json", 2), ("OBS-REDACTION.unmasked", 2)}) == (
        status, {(finding["rule"], finding["line"]) for finding in report["findings"]},
    )  # fmt: skip
    assert TOKEN not in json.dumps(report)


def test_a_word_of_the_company(run, service):
    """With --redact the company's own words are looked for as well."""
    get_logger("orders").info("orders.created", note="for Brightwater")
    text = service.stream.getvalue()

    assert (0, 1) == (run(text)[0], run(text, "--redact", "brightwater")[0])


def test_a_missing_field(run, service):
    """A line without a required field is a finding with its line; --fields-only looks at nothing else."""
    get_logger("orders").info("orders.created")
    broken = {key: value for key, value in service.event.items() if key != "service"} | {"note": TOKEN}
    status, report = run(f"{json.dumps(service.event)}\n{json.dumps(broken)}\n", "--fields-only")

    assert (1, ["OBS-FIELDS.missing"], 2) == (
        status,
        [finding["rule"] for finding in report["findings"]],
        report["findings"][0]["line"],
    )


def test_an_empty_log(run):
    """A log without a line was not checked."""
    assert 3 == run("")[0]


@given(st.lists(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), max_size=5))
def test_whatever_the_lines_are(lines):
    """Lines of any bytes are an answer and never an error, and never a pass unless each is a line of a log."""
    assert Verdict.ALLOW is not check_log(lines).verdict
