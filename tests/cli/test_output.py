"""What commands print: never more than text."""

import json

from companyos import Decision, Finding
from companyos.cli.output import echo_decision, echo_json, echo_table

EVIL = "a\x1b[2J\x9b\u202e\udc80b"


def test_tables_and_decisions_do_not_drive_a_terminal(capsys):
    """Names in cells, reasons and findings are shown escaped."""
    echo_table(("name", "size"), [(EVIL, 1)])
    echo_decision(Decision.denied(f"X.{EVIL}", EVIL, findings=[Finding("X.bad", EVIL, path=EVIL, line=1)]))
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert out.count("a\\x1b[2J\\x9b\\u202e\\udc80b") == 5


def test_json_stays_the_same_value(capsys):
    """Characters that would drive a terminal are escaped as JSON does it; the rest is readable."""
    value = {"name": EVIL + "\U000e0001", "city": "Zürich\n東京"}
    echo_json(value)
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert json.loads(out) == value
    assert "Zürich" in out
