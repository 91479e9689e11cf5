"""`companyos prove` by the id of a control, or by the room that it comes from."""

from __future__ import annotations

import json
from functools import partial

import pytest
from click.shell_completion import ShellComplete

from companyos.cli import app
from companyos.cli.prove import _by_room, _select, prove
from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding
from companyos.errors import ConfigError
from companyos.plugins import Plugins

LOOPING = """package companyos.access
import rego.v1
deny contains {"id": "mine"} if {
    input.action == "delete"
    count([1 | some a in numbers.range(1, 200000); some b in numbers.range(1, 200000); a == b + 0.5]) == 0
}
"""


def _check(thing, rule="R"):
    return Decision.denied(rule, findings=[Finding(rule, "x")]) if thing else Decision.allowed(rule)


def _control(identity, check):
    specimens = (Specimen("bad", lambda _: 1, "R"), Specimen("good", lambda _: 0))
    return Control(identity, "a control", check, {"R": "a rule"}, specimens, "x.md")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs `companyos prove` where there is no configuration: exit status, report or output, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = app.run(["prove", *arguments])
        out, err = capsys.readouterr()
        return status, json.loads(out) if "--json" in arguments and out else out, err

    return call


def test_a_room(run):
    """A room's name stands for all of its controls."""
    status, report, _ = run("flags", "--json")

    assert (status, report["holds"]) == (0, True)
    assert [control["control"] for control in report["controls"]] == ["FLAG-EXPIRY"]


def test_the_room_of_policies(run):
    """The policies' room proves policies and obligations."""
    status, report, _ = run("authz", "--json")
    proven = {control["control"] for control in report["controls"]}

    assert (status, report["holds"]) == (0, True)
    assert proven >= {"AUTHZ-OBLIGATIONS", "AUTHZ-PLAYBOOK"}
    assert all(identity.startswith("AUTHZ-") for identity in proven)


def test_a_policy_that_loops_is_a_finding(run, tmp_path):
    """What nothing in this process could interrupt is ended by its deadline: the proof does not hold, and says why."""
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "metadata.yaml").write_text("owner: platform\nversion: 1.0.0\nextends: playbook\n")
    (directory / "mine.rego").write_text(LOOPING)
    (tmp_path / "companyos.yaml").write_text("authz: {policies: [mine], deadline_seconds: 0.5}\n")

    status, out, _ = run("AUTHZ-PLAYBOOK")

    assert status == 1
    assert "policy.timeout" in out


@pytest.mark.parametrize(
    ("name", "hint"), [("auth", "authz"), ("AUTHZ-PLAYBOK", "AUTHZ-PLAYBOOK"), ("flag-expiry", None), ("", None)]
)
def test_what_is_neither(run, name, hint):
    """A name that is neither is an error that lists controls and rooms, and names the nearest."""
    status, _, err = run(name)

    assert status == 2
    assert "AUTHZ-PLAYBOOK" in err
    assert "or a room: authz, " in err
    assert hint is None or f"did you mean '{hint}'?" in err


def test_each_control_once():
    """A control that is named twice is run once; ids and rooms mix."""
    controls = Plugins().controls()

    assert list(_select(controls, ["AUTHZ-PLAYBOOK", "authz", "flags"])) == [
        "AUTHZ-PLAYBOOK",
        *(identity for identity in sorted(controls) if identity.startswith("AUTHZ-") and identity != "AUTHZ-PLAYBOOK"),
        "FLAG-EXPIRY",
    ]
    assert list(_select(controls, [])) == sorted(controls)


def test_an_id_is_never_taken_for_a_room():
    """Where a control is called as a room is, the name is the control's."""
    controls = {"authz": _control("authz", _check)} | Plugins().controls()

    assert list(_select(controls, ["authz"])) == ["authz"]


def test_no_controls_at_all():
    """Without any control the error says so."""
    with pytest.raises(ConfigError, match="no control at all"):
        _select({}, ["authz"])


class _Checker:
    def __call__(self, thing):
        return _check(thing)

    def check(self, thing):
        return _check(thing)


@pytest.mark.parametrize(
    "check", [_check, partial(_check, rule="R"), _Checker(), _Checker().check, lambda _: Decision.allowed("R")]
)
def test_whatever_a_check_is(check):
    """Functions, methods, partial ones and objects come from the package that holds them."""
    room = __name__.partition(".")[0]

    assert _by_room({"X1": _control("X1", check)}) == {room: ["X1"]}


@pytest.mark.parametrize(("typed", "offered"), [("AUTHZ-PL", {"AUTHZ-PLAYBOOK"}), ("aut", {"authz"}), ("zz", set())])
def test_completion(typed, offered):
    """The shell completes ids and rooms."""
    completer = ShellComplete(prove, {}, "companyos prove", "_COMPANYOS_COMPLETE")

    assert {item.value for item in completer.get_completions([], typed)} == offered
