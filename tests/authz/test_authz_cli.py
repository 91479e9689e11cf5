from __future__ import annotations

import json
import subprocess
import sys

import pytest

from companyos.cli import app
from companyos.cli.authz import authz
from companyos.company import Company

USER = '{"id": "u-1", "type": "user"}'
US_DATA = '{"id": "d-1", "type": "document", "region": "us-east-1", "contains_pii": true}'
DOCUMENT = '{"id": "d-1", "type": "document"}'


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs `companyos authz …` in an empty directory: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = app.run(["authz", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def _eval(subject=USER, action="read", resource=DOCUMENT, *more):
    return ("eval", "--subject", subject, "--action", action, "--resource", resource, *more)


def test_a_denied_export(run, tmp_path):
    """With a companyos.yaml the decision is recorded, printed, and the exit status is 1."""
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\n")
    status, out, err = run(*_eval(USER, "export", US_DATA, "--json"))
    decision = json.loads(out)

    assert (status, err) == (1, "")
    assert (decision["decision"], decision["reason"]) == ("deny", "policy.eu_residency")
    with Company.open(tmp_path) as company:
        assert [decision["audit_id"]] == [entry.id for entry in company.ledger.read()]


def test_an_allowed_read_for_people(run, tmp_path):
    """Without --json a person gets verdict, reason and audit id."""
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\n")
    status, out, _ = run(*_eval())

    assert status == 0
    assert "ALLOW  policy.baseline" in out
    assert "audit id:" in out


def test_policies_of_ones_own(run, tmp_path, policies):
    """The setting `authz.policies` is followed, relative to its file."""
    policies(
        mine__rego='package companyos.access\n\nimport rego.v1\n\nallow contains {"id": "policy.mine"} if { true }\n'
    )
    (tmp_path / "companyos.yaml").write_text("authz:\n  policies: [policies]\n")
    status, out, _ = run(*_eval(USER, "launch", DOCUMENT, "--dry-run"))

    assert status == 0
    assert "policy.mine" in out


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_nothing_is_recorded(run, tmp_path, more):
    """Without a companyos.yaml, or on a dry run, the policies answer and nothing is written; stderr says so."""
    status, out, err = run(*_eval(USER, "export", US_DATA, "--json", *more))

    assert status == 1
    assert json.loads(out)["audit_id"] is None
    assert "not recorded" in err
    assert list(tmp_path.iterdir()) == []


def test_a_request_from_a_file(run, tmp_path):
    """A whole request comes from a file."""
    request = {"subject": json.loads(USER), "action": "read", "resource": json.loads(DOCUMENT), "environment": {}}
    (tmp_path / "request.json").write_text(json.dumps(request))
    status, out, _ = run("eval", "--request", "request.json")

    assert (status, "policy.baseline" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("eval",), "missing --subject, --action, --resource"),
        (("eval", "--subject", USER, "--action", "read"), "missing --resource"),
        (_eval("{"), "--subject is not JSON"),
        (_eval('{"id": "u-1"}'), "subject.type is missing"),
        (_eval("[" * 100_000), "--subject is not JSON"),
        (_eval(USER, "read", '{"id": "d", "type": "t", "size": NaN}'), "NaN is no JSON value"),
        (_eval('{"id": "u", "type": "user", "id": "v"}'), "--subject is not JSON\n  got: a name stands twice"),
        (_eval(USER, "read", DOCUMENT, "--environment", '{"ip": "a", "ip": "b"}'), "--environment is not JSON"),
        (("eval", "--request", "twice.json"), "--request is not JSON"),
        (("explain", "--request", "twice.json"), "--request is not JSON"),
        (("eval", "--request", "nowhere.json"), "nowhere.json"),
        (("eval", "--request", "bad.json"), "cannot be read"),
        (("eval", "--request", "bad.json", "--action", "read"), "already holds"),
    ],
)
def test_wrong_usage(run, tmp_path, arguments, text):
    """What is wrong with a call is said on stderr, with exit status 2 and nothing on stdout."""
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe")
    (tmp_path / "twice.json").write_text(
        f'{{"subject": {USER}, "action": "export", "action": "read", "resource": {DOCUMENT}}}'
    )
    status, out, err = run(*arguments)

    assert (status, out) == (2, "")
    assert text in err


def test_the_group_has_help():
    """Each command says what it does."""
    assert all(command.help for command in authz.commands.values())


def test_a_failing_engine_is_told_without_a_traceback(tmp_path):
    """What an engine says is a line for people, in a process of its own; --debug shows where it was."""
    (tmp_path / "companyos.yaml").write_text("authz: {engine: opa, remote: {url: 'http://127.0.0.1:1'}}\n")

    def ask(*options):
        command = [sys.executable, "-m", "companyos", *options, "authz", *_eval()]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    told, shown = ask(), ask("--debug")

    assert (told.returncode, "policy.unreachable" in told.stdout) == (3, True)
    assert "error: the policy engine failed; the request is refused\n  why: the OPA server cannot" in told.stderr
    assert ("Traceback" in told.stderr, "Traceback" in shown.stderr) == (False, True)


@pytest.mark.parametrize("command", [["eval"], ["eval", "--dry-run"], ["explain"]], ids=" ".join)
def test_a_subject_that_nobody_looks_up(run, command):
    """Where no subject is looked up, an id alone says what to do."""
    status, _, err = run(*command, *_eval('"u-1"')[1:])

    assert status == 2
    assert "next: see it with `companyos identity show ID --json`" in err


def test_a_bare_id_is_no_json(run):
    """Somebody who forgets the quotes is shown both forms of a subject."""
    assert """or '"u-1"' for whom the identity store knows""" in run(*_eval("u-1"))[2]
