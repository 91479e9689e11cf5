"""The room's controls: each holds, and each goes red when what it proves is broken."""

from __future__ import annotations

from companyos.controls import prove
from companyos.ledger import Ledger
from companyos.observability.audit import trail, verification
from companyos.observability.runtime import current
from companyos.observability.specimens.audit import audit_control
from companyos.ports import Receipt


def _missed(proof):
    return {result.violates for result in proof.results if not result.passed}


class TestAudit:
    def test_holds(self):
        """Every way to tamper is caught, and whole trails are let through."""
        proof = prove(audit_control())

        assert (proof.holds, proof.false_alarms) == (True, 0), [r for r in proof.results if not r.passed]
        assert proof.planted >= 30

    def test_signatures_that_nobody_checks(self, monkeypatch):
        """Without the check of signatures it goes red."""
        monkeypatch.setattr(verification, "problem_of", lambda entry, keys: None)

        assert {"OBS-AUDIT.unsigned", "OBS-AUDIT.forged"} <= _missed(prove(audit_control()))

    def test_a_log_that_nobody_verifies(self, monkeypatch):
        """Without the verification of the log it goes red."""
        monkeypatch.setattr(Ledger, "verify", lambda self, **_: _Anything())

        assert {"OBS-AUDIT.altered"} <= _missed(prove(audit_control()))

    def test_a_trail_that_a_log_level_silences(self, monkeypatch):
        """If the trail heeded the log level, a clean trail would lack its records."""
        record = trail.AuditTrail.record

        def heeding(self, **given):
            if current().level == "FATAL":
                return Receipt("silenced", 0, bytes(32), 1)
            return record(self, **given)

        monkeypatch.setattr(trail.AuditTrail, "record", heeding)

        assert None in _missed(prove(audit_control()))

    def test_a_trail_that_does_not_sign(self, monkeypatch):
        """If records were not signed, clean trails would be refused."""
        monkeypatch.setattr(
            trail.AuditTrail,
            "_data",
            lambda self, identity, given: {"id": identity, **given.fields(), "signature": None},
        )

        assert prove(audit_control()).false_alarms >= 5


class _Anything:
    size = 0
    anchored = True
