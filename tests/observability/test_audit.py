"""The audit trail: what a record says, that nothing silences it, and that nobody can change it unseen."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3

import pytest

from companyos import observability
from companyos.cli import app
from companyos.company import Company
from companyos.decision import Decision, Obligation, Verdict
from companyos.ledger import Ledger
from companyos.observability import AuditTrail
from companyos.observability.audit import FIELDS, TYPE, AuditFailedError, check_trail, problem_of, records
from companyos.ports import Personal
from companyos.signing import PrivateKey

DELETE = {"actor": "ann", "verb": "delete", "target": {"type": "table", "id": "orders"}, "decision": Verdict.ALLOW}


@pytest.fixture
def key():
    return PrivateKey.generate()


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(f"sqlite:///{tmp_path / 'log.db'}", origin="test.example/log") as log:
        yield log


@pytest.fixture
def trail(ledger, key):
    return AuditTrail(ledger, key)


def _rules(decision):
    return [finding.rule for finding in decision.findings]


def _only(ledger):
    (entry,) = records(ledger)
    return entry


class TestRecord:
    def test_fields(self, trail, ledger):
        """A record has each of the playbook's fields, and who it was only where the ledger can forget it."""
        trail.record(**DELETE, policy="ops.cleanup", ip="192.0.2.7", device={"id": "laptop-3"})
        entry = _only(ledger)
        shown = ledger.reveal(entry).data

        assert set(FIELDS) <= set(entry.data)
        assert "ann" not in json.dumps(entry.data)
        assert "192.0.2.7" not in json.dumps(entry.data)
        assert ["ann", "192.0.2.7", {"id": "laptop-3"}] == [
            shown[name]["personal"]["value"] for name in ("actor", "ip", "device")
        ]
        assert ("delete", "ops.cleanup", "allow") == (shown["verb"], shown["policy"], shown["decision"])

    def test_a_verdict_may_be_said_by_its_word(self, trail, ledger):
        """`allow` is the verdict; a word that is none is no record."""
        trail.record(**DELETE | {"decision": "allow"})
        with pytest.raises(AuditFailedError, match="'perhaps' is not a valid Verdict"):
            trail.record(**DELETE | {"decision": "perhaps"})

        assert _only(ledger).data["decision"] == "allow"

    def test_names_the_decision_that_it_carries_out(self, trail, ledger):
        """Policy, obligations and the id of the decision come from the decision that was handed over."""
        decided = Decision.allowed("policy.export", obligations=[Obligation("log_event")]).recorded("d-1")
        trail.record(**DELETE | {"decision": decided})
        data = _only(ledger).data

        assert ("policy.export", "allow", "d-1") == (data["policy"], data["decision"], data["decision_id"])
        assert ["log_event"] == [obligation["id"] for obligation in data["obligations"]]

    def test_trace(self, trail, ledger, service):
        """Inside a span the record names the trace."""
        with observability.start_trace("clean_up") as span:
            trail.record(**DELETE)

        assert span.trace_id == _only(ledger).data["trace_id"]

    def test_in_a_task(self, trail, ledger, key):
        """Records of concurrent tasks are all there, and all signed."""

        async def many():
            return await asyncio.gather(*(trail.arecord(**DELETE | {"verb": f"v{n}"}) for n in range(20)))

        receipts = asyncio.run(many())

        assert {receipt.id for receipt in receipts} == {entry.id for entry in records(ledger)}
        assert check_trail(ledger, [key.public]).allow

    def test_kept_for_seven_years(self, trail, ledger):
        """Its payload is of the class `audit`, which `ledger.retention_days` keeps for seven years."""
        trail.record(**DELETE)

        assert '"retention":"audit"' in ledger.raw(0).decode()
        assert ledger.retain(dry_run=True).payloads == {}


class TestNothingSilencesIt:
    @pytest.mark.parametrize("level", ["fatal", "error", "debug"])
    def test_log_level(self, trail, ledger, make_service, level):
        """Whatever the log level, the record is written."""
        make_service(log_level=level)
        trail.record(**DELETE)

        assert 1 == len(list(records(ledger)))

    def test_disabled_sdk_and_no_sampling(self, trail, ledger, make_service, monkeypatch):
        """With OTEL_SDK_DISABLED and nothing sampled, the record is written."""
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        make_service()
        trail.record(**DELETE)

        assert 1 == len(list(records(ledger)))

    def test_a_failed_append_raises(self, key, tmp_path):
        """A ledger that refuses is an error of exit status 3, and the caller's work must not go on."""
        with Ledger.open(f"sqlite:///{tmp_path / 'full.db'}", validators=[lambda *_: "no more room"]) as full:
            with pytest.raises(AuditFailedError, match="no more room") as caught:
                AuditTrail(full, key).record(**DELETE)
            with pytest.raises(AuditFailedError, match="no more room"):
                asyncio.run(AuditTrail(full, key).arecord(**DELETE))

        assert (3, "observability.audit_failed") == (caught.value.exit_status, caught.value.code)

    def test_what_is_no_json_raises(self, trail):
        """Details that cannot be stored are an error too, never a record without them."""
        with pytest.raises(AuditFailedError):
            trail.record(**DELETE, details={"when": object()})


class TestVerification:
    def test_alone(self, trail, ledger, key):
        """One record and the public key are enough to check it."""
        trail.record(**DELETE)

        assert problem_of(_only(ledger), [key.public]) is None

    def test_after_an_erasure(self, trail, ledger, key):
        """When the person was erased the record still verifies, and nobody can test guesses against what was signed."""
        trail.record(**DELETE, ip="192.0.2.7")
        ledger.erase("ann", reason="asked for")

        assert check_trail(ledger, [key.public]).allow

    def test_a_personal_value_is_bound_to_the_signature(self, trail, ledger, key):
        """What is revealed is what was signed: the commitment is to the value and its salt."""
        from companyos.observability.audit.record import commitment

        trail.record(**DELETE | {"target": {"type": "customer", "id": Personal("c-9", "c-9")}})
        target = ledger.reveal(_only(ledger)).data["target"]["id"]

        assert "c-9" == target["personal"]["value"]
        assert target["commitment"] == commitment(target["personal"])

    def test_another_key(self, trail, ledger):
        """A record by a key that is not trusted is forged."""
        trail.record(**DELETE)

        assert ["OBS-AUDIT.forged"] == _rules(check_trail(ledger, [PrivateKey.generate().public]))

    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            ({"verb": "read"}, "OBS-AUDIT.forged"),
            ({"signature": None}, "OBS-AUDIT.unsigned"),
            ({"id": "other"}, "OBS-AUDIT.forged"),
        ],
    )
    def test_a_record_that_was_appended_beside_the_trail(self, trail, ledger, key, change, rule):
        """A copy of a signed record with anything changed is refused, though the log itself holds."""
        trail.record(**DELETE)
        ledger.append(TYPE, {**_only(ledger).data, **change} | _public(), id="copy", source="companyos/observability")

        assert rule in _rules(check_trail(ledger, [key.public]))

    def test_a_record_of_another_log(self, ledger, key, tmp_path):
        """A record that the same key signed for another log is not taken for one of this log."""
        with Ledger.open(f"sqlite:///{tmp_path / 'other.db'}", origin="test.example/other") as other:
            AuditTrail(other, key).record(**DELETE)
            entry = _only(other)
        actor = {"commitment": entry.data["actor"]["commitment"]}
        ledger.append(TYPE, entry.data | {"actor": actor}, id=entry.id, source="companyos/observability")

        assert problem_of(_only(ledger), [key.public]) is None
        assert ["OBS-AUDIT.forged"] == _rules(check_trail(ledger, [key.public]))

    def test_a_receipt_without_a_record(self, trail, ledger, key):
        """Whoever holds a receipt finds out if the record is not there."""
        trail.record(**DELETE)

        assert ["OBS-AUDIT.lost"] == _rules(check_trail(ledger, [key.public], done=["never-written"]))

    def test_a_payload_that_is_dropped_before_its_time(self, trail, ledger, key, tmp_path):
        """The payload of a record may not vanish before its retention is over."""
        trail.record(**DELETE)
        with sqlite3.connect(tmp_path / "log.db") as database:
            database.execute("DELETE FROM detached")

        assert ["OBS-AUDIT.deleted"] == _rules(check_trail(ledger, [key.public]))

    def test_no_record(self, ledger, key):
        """A log without a single record was not checked."""
        assert Verdict.UNDETERMINED is check_trail(ledger, [key.public]).verdict


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch, capsys):
        """Runs `companyos audit` in a company with one record: exit status and output."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "companyos.yaml").write_text("company: {name: acme}\n")
        with Company.open() as opened:
            opened.audit.record(**DELETE, policy="ops.cleanup")

        def call(*arguments):
            status = app.run(["audit", *arguments])
            return status, capsys.readouterr().out

        return call

    def test_list_and_show(self, run):
        """`audit list --reveal` names who did what; without it, and in `show`, there is a pseudonym."""
        _, revealed = run("list", "--reveal", "--json")
        _, shown = run("show", "0")

        assert ("ann", "delete") == tuple(json.loads(revealed)[0][name] for name in ("actor", "verb"))
        assert "ann" not in json.loads(shown)["actor"]
        assert "ops.cleanup" in run("list")[1]

    def test_verify(self, run, tmp_path):
        """`audit verify` exits with 0 for a whole trail, and with 1 if another key signed it."""
        PrivateKey.generate().save(tmp_path / "other.pem")
        status, report = run("verify", "--audit-key", "file:other.pem", "--json")

        assert 0 == run("verify")[0]
        assert 3 == run("verify", "--audit-key", "file:nowhere.pem")[0]
        assert (1, "OBS-AUDIT.forged") == (status, json.loads(report)["findings"][0]["rule"])


def _public():
    """Fields about nobody, in the place of encrypted ones, which cannot be copied by hand."""
    salted = {"commitment": f"sha256:{base64.b16encode(bytes(32)).decode().lower()}"}
    return {"actor": salted, "ip": None, "device": None}
