"""The decisions on the ledger, for people and for tools that read OPA's decision log."""

from __future__ import annotations

import json

import pytest

from companyos.authz.decision_log import event
from companyos.cli import app
from companyos.company import Company

JANE = {"id": "jane.doe@example.org", "type": "user"}
MAILBOX = {"id": "john.roe@example.org", "type": "mailbox"}
FILE = {"id": "f-1", "type": "file", "region": "eu"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
WHERE = {"ip": "192.0.2.7", "device_id": "laptop-9", "auth_strength": "mfa", "trace_id": TRACE}


@pytest.fixture
def company(tmp_path):
    """A company with an allowed read, a denied export, and a malformed request on its ledger."""
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\nauthz:\n  batched_actions: [read]\n")
    with Company.open(tmp_path) as opened:
        opened.authorizer.authorize(JANE, "read", MAILBOX, WHERE)
        opened.authorizer.authorize(JANE, "export", {**FILE, "contains_pii": True})
        opened.authorizer.authorize(JANE, "Export", FILE)
    return tmp_path


@pytest.fixture
def run(company, monkeypatch, capsys):
    """Runs `companyos authz decisions …` beside the company: exit status, stdout, stderr."""
    monkeypatch.chdir(company)

    def call(*arguments):
        status = app.run(["authz", "decisions", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


class TestExport:
    def test_an_event(self, run, company):
        """A decision is an event of OPA's schema: who and from where is masked or erased, the rest is there."""
        status, out, err = run("export")
        first, *_ = map(json.loads, out.splitlines())
        with Company.open(company) as opened:
            entry = next(opened.ledger.read())
            digest = opened.engine.version

        assert (status, err) == (0, "# 3 decisions; go on with --since 4\n")
        assert {
            "labels": {"app": "companyos", "id": "acme.companyos/log", "version": "0.1.0", "engine": "rego"},
            "decision_id": entry.id,
            "trace_id": TRACE,
            "path": "companyos/access/decision",
            "bundles": {"companyos": {"revision": digest}},
            "input": {
                "subject": {"id": entry.subject, "type": "user"},
                "action": "read",
                "resource": {"type": "mailbox", "id": entry.data["target"]["id"]["$personal"]["sub"]},
                "environment": {"auth_strength": "mfa"},
            },
            "result": {
                "allow": True,
                "decision": "allow",
                "reason": "policy.baseline",
                "message": "a subject reads within its organisation",
                "obligations": [],
            },
            "requested_by": entry.subject,
            "timestamp": f"{entry.time:%Y-%m-%dT%H:%M:%S.%fZ}",
            "metrics": {"ledger_index": 0},
            "masked": ["/input/subject/id", "/input/resource/id"],
            "erased": ["/input/environment/ip", "/input/environment/device_id", "/input/environment/device_trust"],
        } == first

    def test_nothing_personal_leaves(self, run):
        """Neither ids of persons, nor addresses, nor ciphertext are in an export."""
        _, out, _ = run("export")

        assert not [word for word in ("jane", "john", "192.0.2.7", "laptop-9", "$personal") if word in out]

    def test_a_denied_and_a_malformed_one(self, run):
        """A deny carries its obligations; of a malformed request the whole input is erased."""
        _, out, _ = run("export", "--since", "1")
        denied, malformed = map(json.loads, out.splitlines())

        assert (denied["result"]["allow"], denied["result"]["reason"]) == (False, "policy.export_approval")
        assert ["log_event", "require_approval"] == [duty["id"] for duty in denied["result"]["obligations"]]
        assert denied["input"]["resource"] == {"type": "file", "id": "f-1", "region": "eu"}
        assert (malformed["result"]["reason"], malformed["erased"]) == ("request.invalid", ["/input"])
        assert "input" not in malformed

    def test_into_a_file(self, run, company):
        """The file is there wholly, and the next export goes on where it ended."""
        status, out, err = run("export", "--out", "decisions.jsonl")
        again = run("export", "--since", err.split()[-1])

        assert (status, out) == (0, "")
        assert len((company / "decisions.jsonl").read_text().splitlines()) == 3
        assert again == (0, "", "# 0 decisions; go on with --since 4\n")
        assert not (company / "decisions.jsonl.part").exists()

    def test_into_a_place_that_is_none(self, run):
        """Where nothing can be written, that is said."""
        status, out, err = run("export", "--out", "nowhere/decisions.jsonl")

        assert (status, out) == (2, "")
        assert "cannot write" in err

    def test_a_batched_one_has_the_time_of_its_decision(self, company):
        """An event says when it was decided, not when it was written."""
        with Company.open(company) as opened:
            decision = opened.authorizer.authorize(JANE, "read", FILE)
            opened.authorizer.close()
            (entry,) = (entry for entry in opened.ledger.read() if entry.id == decision.audit_id)

        assert entry.data["audit"]["decided"] == event(entry, "o")["timestamp"]
        assert entry.data["audit"]["decided"] <= f"{entry.time:%Y-%m-%dT%H:%M:%S.%fZ}"


class TestList:
    def test_a_table(self, run):
        """People get one line for each decision, the newest last, with pseudonyms for persons."""
        status, out, _ = run("list")
        headings, read, export, malformed = (line.split() for line in out.splitlines())

        assert status == 0
        assert headings == ["INDEX", "TIME", "DECISION", "REASON", "ACTOR", "ACTION", "TARGET", "OBLIGATIONS"]
        assert (read[2], read[3], read[5], read[7]) == ("allow", "policy.baseline", "read", "-")
        assert (export[2], export[6], export[7]) == ("deny", "file:f-1", "log_event,require_approval")
        assert malformed[3:7] == ["request.invalid", "-", "-", "-"]
        assert "jane" not in out

    def test_revealed(self, run):
        """Who has the keys sees who it was."""
        _, out, _ = run("list", "--reveal", "--json")
        first = json.loads(out)[0]

        assert (first["actor"], first["target"]["id"]) == (JANE["id"], MAILBOX["id"])
        assert (first["ip"], first["device"]) == ("192.0.2.7", {"device_id": "laptop-9"})

    def test_the_erased_stay_hidden(self, run, company):
        """A person who was erased is a pseudonym to everybody."""
        with Company.open(company) as opened:
            opened.ledger.erase(JANE["id"], reason="asked for")
        status, out, _ = run("list", "--reveal", "--json")

        assert status == 0
        assert json.loads(out)[0]["actor"].startswith("p-")

    def test_some(self, run):
        """The newest of one verdict."""
        _, out, _ = run("list", "--verdict", "deny", "-n", "1", "--json")

        assert ["request.invalid"] == [decision["reason"] for decision in json.loads(out)]

    def test_none(self, run):
        """Where there is nothing to show, that is said, and it is no error."""
        status, out, err = run("list", "--verdict", "undetermined")

        assert (status, out, err) == (0, "", "# no decisions\n")
