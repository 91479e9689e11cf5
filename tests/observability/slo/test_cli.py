"""The commands `companyos slo init`, `compile` and `validate`."""

from __future__ import annotations

import io
import json
import sys

import pytest
import yaml

from companyos.cli.app import run
from tests.observability.slo.texts import slo, text


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory, to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def api(here):
    """The file of an API."""
    assert run(["slo", "init", "--kind", "api", "--service", "orders", "-o", "slo.yaml"]) == 0
    return here / "slo.yaml"


def test_from_nothing_to_rules_in_two_commands(api, here):
    """Init writes a file that compile takes."""
    assert run(["slo", "compile", "slo.yaml", "-o", "rules.yaml"]) == 0
    names = [group["name"] for group in yaml.safe_load((here / "rules.yaml").read_text())["groups"]]
    assert names == ["slo-orders-availability", "slo-orders-latency"]


def test_init_does_not_write_over_a_file(api, capsys):
    """What is there stays, unless --force."""
    before = api.read_text()
    again = ["slo", "init", "--kind", "worker", "--service", "orders", "-o", "slo.yaml"]
    assert run(again) == 2
    assert api.read_text() == before
    assert "is there already" in capsys.readouterr().err
    assert run([*again, "--force"]) == 0
    assert "messaging_" in api.read_text()


def test_standard_input_to_standard_output(capsys, monkeypatch):
    """Both may be `-`, and stdout holds the rules alone."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text(slo()))))
    assert run(["slo", "compile", "-"]) == 0
    assert "slo-shop-up" in yaml.safe_load(capsys.readouterr().out)["groups"][0]["name"]


def test_check_tells_a_stale_file_and_writes_nothing(api, here, capsys):
    """As with a formatter: 1 where the file is not what would be written, 0 where it is."""
    check = ["slo", "compile", "slo.yaml", "-o", "rules.yaml", "--check"]
    assert run(check) == 1
    assert not (here / "rules.yaml").exists()
    assert run(check[:-1]) == 0
    assert run(check) == 0
    api.write_text(api.read_text().replace("0.9995", "0.999"))
    before = (here / "rules.yaml").read_bytes()
    assert run(check) == 1
    assert (here / "rules.yaml").read_bytes() == before
    assert "is not what would be compiled" in capsys.readouterr().err


def test_the_summary_for_machines(api, capsys):
    """--json says what was compiled and whether the file changed."""
    capsys.readouterr()
    command = ["slo", "compile", "slo.yaml", "-o", "rules.yaml", "--json"]
    assert run(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["slos"] == ["orders-availability", "orders-latency"]
    assert (first["alerts"], first["changed"], first["written"]) == (8, True, True)
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False


def test_every_problem_is_printed_with_its_place(here, capsys):
    """File, line and field on a line each, exit status 2, and no rule file."""
    (here / "bad.yaml").write_bytes(text(slo(target=1, duration="0d")))
    assert run(["slo", "compile", "bad.yaml", "missing.yaml", "-o", "rules.yaml"]) == 2
    assert "missing.yaml: cannot be read" in capsys.readouterr().err
    assert run(["slo", "compile", "bad.yaml", "-o", "rules.yaml"]) == 2
    shown = capsys.readouterr().err
    assert "error[slo.invalid]: 2 problems" in shown
    assert "spec.timeWindow[0].duration: got '0d'" in shown
    assert "spec.objectives[0].target: got 1: without an error budget" in shown
    assert not (here / "rules.yaml").exists()


def test_validate_shows_what_will_alert(api, capsys):
    """One row an objective, with its burn rates."""
    assert run(["slo", "validate", "slo.yaml"]) == 0
    assert "page 14.4 over 1h or 6 over 6h; ticket 3 over 1d or 1 over 3d" in capsys.readouterr().out


def test_warnings_count_when_strict(here, capsys):
    """A warning is said on stderr, and is a finding with --strict."""
    (here / "loose.yaml").write_bytes(text(slo(target=0.9)))
    assert run(["slo", "validate", "loose.yaml"]) == 0
    assert "could never fire" in capsys.readouterr().err
    assert run(["slo", "validate", "--strict", "--json", "loose.yaml"]) == 1
    assert "could never fire" in json.loads(capsys.readouterr().out)["warnings"][0]["what"]
