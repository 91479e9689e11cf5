"""The room's controls: each holds, and each goes red when what it proves is broken."""

from __future__ import annotations

import json
import re

import pytest

from companyos.controls import prove
from companyos.decision import Verdict
from companyos.ledger import Ledger
from companyos.observability import digits, redaction, shapes, tracing
from companyos.observability.audit import trail, verification
from companyos.observability.runtime import current
from companyos.observability.sink import Sink
from companyos.observability.specimens import _places
from companyos.observability.specimens import alerts as alerts_specimens
from companyos.observability.specimens import redaction as redaction_specimens
from companyos.observability.specimens._values import LOOKALIKES, PLANTED
from companyos.observability.specimens.alerts import alerts_control
from companyos.observability.specimens.audit import audit_control
from companyos.observability.specimens.fields import fields_control
from companyos.observability.specimens.objectives import check as objectives_check
from companyos.observability.specimens.objectives import objectives_control
from companyos.observability.specimens.redaction import Emission, redaction_control
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


class TestFields:
    def test_holds(self):
        """Every broken line is caught, and what the logger writes is let through, whatever it is given."""
        proof = prove(fields_control())

        assert proof.holds, [r for r in proof.results if not r.passed]
        assert proof.planted >= 45

    @pytest.mark.parametrize("field", ["trace_id", "outcome", "version"])
    def test_a_logger_that_forgets_a_field(self, monkeypatch, field):
        """If the logger left out a field, its clean lines would be refused."""

        def forgetful(self, line):
            left = {key: value for key, value in json.loads(line).items() if key != field}
            self._stream.write(f"{json.dumps(left)}\n")

        monkeypatch.setattr(Sink, "write", forgetful)

        assert prove(fields_control()).false_alarms >= 4

    def test_a_logger_that_writes_debug_everywhere(self, monkeypatch):
        """If DEBUG were not refused in production, a clean log would be."""
        from companyos.observability import runtime

        monkeypatch.setattr(runtime, "DEVELOPMENT", frozenset({"dev", "prod"}))
        monkeypatch.setattr(runtime, "PRODUCTION", frozenset())

        assert 1 <= prove(fields_control()).false_alarms


class TestRedaction:
    def test_holds(self):
        """Everything planted is withheld, and what only looks like it comes out."""
        proof = prove(redaction_control())

        assert proof.holds, [r for r in proof.results if not r.passed]
        assert proof.planted >= 260

    def test_everything_everywhere(self):
        """Every planted value is withheld in every place."""
        leaks = [
            (name, place)
            for name, planted in PLANTED.items()
            for place in _places.PLACES
            if Verdict.DENY is not _verdict(place, planted.value, planted.cores)
        ]

        assert [] == leaks

    def test_lookalikes_everywhere(self):
        """Every look-alike comes out of every place in which its text stays as it is."""
        masked = [
            (name, place)
            for name, value in LOOKALIKES.items()
            for place in _places.PLACES.keys() - _places.SELECTIVE
            if Verdict.ALLOW is not _verdict(place, value, (value,))
        ]

        assert [] == masked

    @pytest.mark.parametrize(
        ("where", "name", "broken", "missed"),
        [
            (
                redaction.Redactor,
                "_searched",
                lambda self, value: value,
                {"secret", "address", "card", "account", "host", "word"},
            ),
            (shapes, "masked", lambda text: text, {"secret", "address"}),
            (digits, "masked", lambda text: text, {"card", "account"}),
            (redaction.Redactor, "_own", lambda self, value: value, {"host", "word"}),
            (redaction.Redactor, "baggage", lambda self, entries: {k: str(v) for k, v in entries.items()}, {"card"}),
            (tracing, "attribute", lambda key, value: str(value), {"secret", "name"}),
            (redaction, "is_secret_key", lambda key: False, {"name"}),
            (redaction.Redactor, "cut", lambda self, text, limit: text[:limit], {"card"}),
        ],
    )
    def test_a_part_of_the_net_that_is_gone(self, monkeypatch, where, name, broken, missed):
        """Whichever part of the net is taken away, the control goes red by the rules of that part."""
        monkeypatch.setattr(where, name, broken)

        assert {f"OBS-REDACTION.{rule}" for rule in missed} <= _missed(prove(redaction_control()))

    def test_a_net_that_withholds_everything(self, monkeypatch):
        """A net that masks whatever it sees is no net: look-alikes would be lost."""
        monkeypatch.setattr(redaction.Redactor, "is_clean", lambda self, text: False)
        monkeypatch.setattr(redaction.Redactor, "_searched", lambda self, value: "specimen-was-here")

        assert prove(redaction_control()).false_alarms >= 90

    def test_silence_is_no_proof(self, monkeypatch):
        """Where nothing comes out at all nothing was withheld: undetermined."""
        monkeypatch.setitem(_places.PLACES, "a field", lambda key, value: None)

        assert Verdict.UNDETERMINED is _verdict("a field", "x", ("x",))


def _verdict(place, value, cores):
    return redaction_specimens.check(Emission(place, value, cores, "OBS-REDACTION.secret")).verdict


class TestObjectives:
    def test_holds(self):
        """What looks good because nobody could tell is called by name, and what is good passes."""
        proof = prove(objectives_control())

        assert proof.holds, [r for r in proof.results if not r.passed]
        assert (proof.planted, proof.clean) >= (12, 7)

    def test_a_status_that_takes_anything_below_the_budget(self, monkeypatch):
        """If nonsense were let pass, the planted verdicts would go unnoticed."""
        monkeypatch.setattr("companyos.observability.slo.status.BEYOND", 1000)
        cases = [
            s for s in objectives_control().specimens if s.violates == "OBS-SLO.kept" and "an SLI of 300" in s.name
        ]

        assert [Verdict.ALLOW] == [objectives_check(case.build(None)).verdict for case in cases]


class TestAlerts:
    @pytest.fixture(autouse=True)
    def _compiled_anew(self):
        alerts_specimens._rules_text.cache_clear()
        yield
        alerts_specimens._rules_text.cache_clear()

    def test_holds(self):
        """The kits' alerts page for every planted incident and for nothing else, and broken rules are found out."""
        proof = prove(alerts_control())

        assert proof.holds, [r for r in proof.results if not r.passed]
        assert (proof.planted, proof.clean) >= (20, 12)

    def test_a_compiler_that_gets_burn_rates_wrong(self, monkeypatch):
        """If alerts were compiled a thousand times too lax, planted incidents would go unnoticed."""
        from companyos.observability.slo.ruleset import Rules

        whole = Rules.to_yaml
        monkeypatch.setattr(Rules, "to_yaml", lambda self: re.sub(r"> \([0-9.]+ \*", "> (14400 *", whole(self)))
        incidents = [s for s in alerts_control().specimens if s.violates == "OBS-ALERTS.page"]
        verdicts = {alerts_specimens.check(specimen.build(None)).verdict for specimen in incidents}

        assert {Verdict.ALLOW} == verdicts
