"""`companyos prove` over policies that are elsewhere: judged where that can be, and never good where it cannot."""

from __future__ import annotations

import json

import pytest
import yaml

from companyos.authz import RegoEngine
from companyos.cli import app
from tests.server.conftest import Running, write_company

OTHERS = """package companyos.access

import rego.v1

allow contains {"id": "mine.read", "message": ""} if input.action == "read"
"""


@pytest.fixture
def prove_over(tmp_path, monkeypatch, capsys):
    """Runs `companyos prove NAME --json` over a remote engine: exit status, report, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(engine, url, name="AUTHZ-PLAYBOOK", **remote):
        patient = {"timeout_seconds": 30, "read_seconds": 30, "attempts": 1, **remote}
        settings = {"authz": {"engine": engine, "remote": {"url": url, **patient}}}
        (tmp_path / "companyos.yaml").write_text(yaml.safe_dump(settings))
        status = app.run(["prove", name, "--json"])
        out, err = capsys.readouterr()
        return status, json.loads(out), err

    return run


@pytest.fixture
def playbook():
    """The playbook's files and data, as an OPA has them, with the files of some names altered."""

    def make(**altered):
        loaded = RegoEngine().loaded()
        sources = {module.file: module.text for module in loaded.modules}
        for name, (old, new) in altered.items():
            (file,) = (key for key in sources if key.endswith(f"{name}.rego"))
            assert old in sources[file]
            sources[file] = sources[file].replace(old, new)
        return sources, loaded.data

    return make


def test_an_opa_with_the_playbook(prove_over, playbook, opa_server):
    """Every planted violation is caught by the server's policies."""
    status, report, _ = prove_over("opa", opa_server.load(*playbook()))
    (proof,) = report["controls"]

    assert (status, report["holds"], report["unproven"]) == (0, True, [])
    assert proof["caught"] == proof["planted"] > 100


def test_the_room_over_an_opa(prove_over, playbook, opa_server):
    """The whole room is proved with the policies that are elsewhere."""
    status, report, _ = prove_over("opa", opa_server.load(*playbook()), name="authz")

    assert (status, report["unproven"]) == (0, [])
    assert {"AUTHZ-PLAYBOOK", "AUTHZ-OBLIGATIONS"} <= {control["control"] for control in report["controls"]}


@pytest.mark.parametrize(
    ("altered", "violated"),
    [
        ({"eu_residency": ("not input.derived.resource.in_eea", "false")}, "policy.eu_residency"),
        ({"step_up": ("input.derived.resource.high_sensitivity", "false")}, "obligation.require_mfa"),
        ({"baseline": ('input.subject.status != "active"', "false")}, "policy.inactive_subject"),
    ],
    ids=["residency", "step-up", "inactive"],
)
def test_an_opa_that_lost_a_rule(prove_over, playbook, opa_server, altered, violated):
    """What the server's policies do not catch is a proof that does not hold, not one that is lacking."""
    status, report, _ = prove_over("opa", opa_server.load(*playbook(**altered)))
    (proof,) = report["controls"]

    assert (status, report["holds"], report["unproven"]) == (1, False, [])
    assert violated in {failure["violates"] for failure in proof["failures"]}


def test_an_opa_with_other_policies(prove_over, playbook, opa_server):
    """Policies of somebody's own have no specimens here: unproven, and the reason says what to do."""
    sources, data = playbook()
    fixed = {name: text for name, text in sources.items() if name.endswith("decision.rego")}
    status, report, err = prove_over("opa", opa_server.load({**fixed, "mine.rego": OTHERS}, data))

    assert (status, report["holds"], report["unproven"], report["controls"]) == (3, False, ["AUTHZ-PLAYBOOK"], [])
    assert "not the playbook's" in report["reasons"]["AUTHZ-PLAYBOOK"]
    assert "companyos authz test" in report["reasons"]["AUTHZ-PLAYBOOK"]
    assert "AUTHZ-PLAYBOOK is unproven: " in err


@pytest.mark.parametrize("engine", ["opa", "authzen"])
def test_nobody_there(prove_over, engine):
    """An engine that does not answer is not proved, and the reason says where to look."""
    status, report, _ = prove_over(engine, "http://127.0.0.1:9")

    assert (status, report["unproven"]) == (3, ["AUTHZ-PLAYBOOK"])
    assert f"the engine {engine} does not decide" in report["reasons"]["AUTHZ-PLAYBOOK"]
    assert "authz.remote" in report["reasons"]["AUTHZ-PLAYBOOK"]


def test_an_opa_without_policies(prove_over, opa_server):
    """A server that decides nothing is not proved, and the reason says what it lacks."""
    status, report, _ = prove_over("opa", opa_server.load({"other.rego": "package other\n"}))

    assert (status, report["unproven"]) == (3, ["AUTHZ-PLAYBOOK"])
    assert "load decision.rego" in report["reasons"]["AUTHZ-PLAYBOOK"]


@pytest.fixture
def served(tmp_path):
    """Our own decision point over some policies: its URL and key."""
    from companyos.server import add_key

    running = []

    def begin(policies=None, **server):
        directory = tmp_path / "pdp"
        write_company(directory, {"server": {"api_keys": "keys.yaml", "deadline_seconds": 20, **server}}, policies)
        key = add_key(directory / "keys.yaml", "prover")
        (tmp_path / "key").write_text(key, encoding="utf-8")
        running.append(Running(directory, key=key))
        return running[-1].url, f"file:{tmp_path / 'key'}"

    yield begin
    for server in running:
        server.stop()


def test_a_decision_point_with_the_playbook(prove_over, served):
    """Through AuthZEN as through OPA, every planted violation is caught by what decides."""
    url, token = served()
    status, report, err = prove_over("authzen", url, token=token)

    assert (status, report["holds"], report["unproven"]) == (0, True, []), err


def test_a_decision_point_with_other_policies(prove_over, served):
    """One that decides by policies that are not the playbook's is unproven."""
    url, token = served({"mine.rego": OTHERS})
    status, report, _ = prove_over("authzen", url, token=token)

    assert (status, report["unproven"]) == (3, ["AUTHZ-PLAYBOOK"])
    assert "not the playbook's" in report["reasons"]["AUTHZ-PLAYBOOK"]


def test_a_decision_point_that_gives_up(prove_over, served):
    """One that lets only some questions through has not been proved, though nothing that it decided was wrong."""
    url, token = served(rate_per_second=0.001, rate_burst=60)
    status, report, _ = prove_over("authzen", url, token=token)

    assert (status, report["unproven"]) == (3, ["AUTHZ-PLAYBOOK"])
    assert "did not decide" in report["reasons"]["AUTHZ-PLAYBOOK"]
