from __future__ import annotations

import logging

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from companyos.authz import Authorizer, LogEvent, MaskFields
from companyos.decision import Obligation
from companyos.errors import ConfigError, UnverifiableError
from companyos.ledger import Ledger
from companyos.ports import Opinion

USER = {"id": "u-1", "type": "user", "attributes": {"clearance": "low", "region": "eu"}}
DOCUMENT = {"id": "d-1", "type": "document"}
EU_DATA_IN_US = {"id": "d-1", "type": "document", "region": "us-east-1", "contains_pii": True}


class _Engine:
    """An engine that answers what it is given, or raises it."""

    name = "given"
    version = "sha256:0"

    def __init__(self, answer):
        self._answer = answer

    def decide(self, request):
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


ALLOW = Opinion(True, "policy.given")


class TestAuthorize:
    def test_the_demo(self, authorizer, ledger):
        """An export of EU personal data held in the US is denied, with reason, obligations and an audit id."""
        decision = authorizer.authorize(USER, "export", EU_DATA_IN_US)

        assert not decision.allow
        assert decision.reason == "policy.eu_residency"
        assert [item.id for item in decision.obligations] == ["log_event", "require_approval"]
        assert [decision.audit_id] == [entry.id for entry in ledger.read()]

    def test_an_allowed_read(self, authorizer, playbook):
        """An allowed decision names its policy, the policies' digest and the engine."""
        decision = authorizer.authorize(USER, "read", DOCUMENT)

        assert decision.allow
        assert {"policy_digest": playbook.version, "engine": "rego"} == decision.facts

    def test_one_entry_for_each_decision(self, authorizer, ledger):
        """The same request twice is two decisions, and two entries."""
        ids = {authorizer.authorize(USER, "read", DOCUMENT).audit_id for _ in range(2)}

        assert ids == {entry.id for entry in ledger.read()}
        assert len(ledger) == 2

    def test_the_audit_fields(self, authorizer, ledger):
        """The entry carries actor, verb, target, policy, decision, obligations, ip, device and signature."""
        environment = {"ip": "192.0.2.7", "device_trust": "managed", "trace_id": "0af7651916cd43dd8448eb211c80319c"}
        decision = authorizer.authorize(USER, "read", {**DOCUMENT, "required_clearance": "high"}, environment)
        entry, origin = (ledger.reveal(entry) for entry in ledger.read())
        elsewhere = {"retention": "pii", "entry": origin.id}

        assert (entry.type, entry.source) == ("companyos.authz.decision", "companyos/authz")
        assert {"decision_id": entry.id, "ip": "192.0.2.7", "device": {"device_trust": "managed"}} == origin.data
        assert {
            "actor": "u-1",
            "actor_type": "user",
            "verb": "read",
            "target": {"type": "document", "id": "d-1", "region": None},
            "policy": {"id": "policy.baseline", "digest": decision.facts["policy_digest"], "engine": "rego"},
            "decision": "allow",
            "reason": "policy.baseline",
            "message": "a subject reads within its organisation",
            "obligations": [{"id": "mask_fields", "type": "custom", "properties": {"fields": ["*"]}}],
            "ip": elsewhere,
            "device": elsewhere,
            "signature": {"by": "checkpoint"},
            "auth_strength": None,
            "approval_ticket": None,
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        } == dict(entry.data)

    def test_who_and_where_are_encrypted(self, authorizer, ledger):
        """Neither the person's id nor ip or device can be read from the log itself."""
        person = {"id": "jane.doe@example.org", "type": "user"}
        authorizer.authorize(person, "read", {"id": "jane.doe@example.org", "type": "person"}, {"ip": "192.0.2.77"})
        raw = ledger.raw(0) + ledger.raw(1) + repr(list(ledger.read())).encode()

        assert b"jane" not in raw
        assert b"192.0.2.77" not in raw

    @pytest.mark.parametrize(
        ("kind", "clear"),
        [
            ("document", True),
            ("Data Set", False),
            ("feature-flag", True),
            ("user", False),
            ("user_profile", False),
            ("customer", False),
            ("mailbox", False),
            ("x", False),
        ],
    )
    def test_ids_of_resources(self, authorizer, ledger, kind, clear):
        """An id is in the clear only for types known not to be about people; it can be revealed all the same."""
        authorizer.authorize(USER, "read", {"id": "ann@example.org", "type": kind})
        (entry,) = (ledger.reveal(entry) for entry in ledger.read())

        assert clear == (b"ann@example.org" in ledger.raw(0))
        assert entry.data["target"]["id"] == "ann@example.org"

    def test_the_trace_of_the_span_around(self, authorizer, ledger):
        """Without a trace id in the environment that of the active span is recorded."""
        span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
        with trace.use_span(span):
            authorizer.authorize(USER, "read", DOCUMENT)
        (entry,) = ledger.read()

        assert f"{0xABC:032x}" == entry.data["trace_id"]


class TestFailures:
    @pytest.mark.parametrize(
        "answer",
        [UnverifiableError("down"), TimeoutError("slow"), RuntimeError("bug"), None, object()],
        ids=["says so", "timeout", "defect", "no answer", "not an opinion"],
    )
    def test_an_engine_that_fails(self, ledger, answer):
        """An engine that cannot decide, in whatever way, leaves the request undetermined, and that is recorded."""
        decision = Authorizer(_Engine(answer), ledger).authorize(USER, "read", DOCUMENT)

        assert (decision.verdict.value, decision.reason) == ("undetermined", "policy.unavailable")
        assert [decision.audit_id] == [entry.id for entry in ledger.read()]

    def test_an_allow_that_is_not_true(self, ledger):
        """Only True allows."""
        decision = Authorizer(_Engine(Opinion("yes", "policy.given")), ledger).authorize(USER, "read", DOCUMENT)

        assert not decision.allow

    def test_a_ledger_that_fails(self, playbook, tmp_path):
        """A decision that cannot be recorded is none, and carries no audit id."""
        ledger = Ledger.open(f"sqlite:///{tmp_path / 'closed.db'}")
        ledger.close()
        told = []
        authorizer = Authorizer(playbook, ledger, listeners=[lambda **kept: told.append(kept)])
        decision = authorizer.authorize(USER, "read", DOCUMENT)

        assert (
            decision.verdict.value,
            decision.reason,
            decision.audit_id,
        ) == ("undetermined", "audit.unavailable", None)
        assert told == []

    def test_a_ledger_that_refuses(self, playbook, tmp_path):
        """An entry that a validator of the ledger refuses leaves the request undetermined."""
        with Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", validators=[lambda *_, **__: "not today"]) as ledger:
            decision = Authorizer(playbook, ledger).authorize(USER, "read", DOCUMENT)

        assert decision.reason == "audit.unavailable"

    def test_an_obligation_without_a_handler(self, playbook, ledger):
        """What nobody can carry out is denied, and the decision says what it was."""
        authorizer = Authorizer(playbook, ledger, handlers=[LogEvent()])
        decision = authorizer.authorize(USER, "read", {**DOCUMENT, "required_clearance": "high"})

        assert (decision.verdict.value, decision.reason) == ("deny", "obligation.unhandled")
        assert "mask_fields" in decision.message

    def test_two_handlers_for_one_obligation(self, playbook, ledger):
        """Two handlers for the same obligation are a configuration error."""
        with pytest.raises(ConfigError, match="claim the obligation mask_fields"):
            Authorizer(playbook, ledger, handlers=[MaskFields(), MaskFields()])


class TestVetoes:
    def test_one_sentence_is_enough(self, ledger):
        """A validator's sentence denies, whatever the others say."""
        validators = [lambda **_: None, lambda **_: "not during the freeze", lambda **_: None]
        decision = Authorizer(_Engine(ALLOW), ledger, validators=validators).authorize(USER, "read", DOCUMENT)

        assert (
            decision.verdict.value,
            decision.reason,
            decision.message,
        ) == ("deny", "validator.refused", "not during the freeze")
        assert next(iter(ledger.read())).data["reason"] == "validator.refused"

    def test_an_empty_sentence_is_a_sentence(self, ledger):
        """Only None lets a request pass."""
        decision = Authorizer(_Engine(ALLOW), ledger, validators=[lambda **_: ""]).authorize(USER, "read", DOCUMENT)

        assert not decision.allow

    def test_a_validator_that_fails(self, ledger):
        """An error in a validator is a refusal."""

        def broken(*, request, opinion_reason):
            raise ValueError("bug")

        decision = Authorizer(_Engine(ALLOW), ledger, validators=[broken]).authorize(USER, "read", DOCUMENT)

        assert (decision.verdict.value, decision.reason) == ("deny", "validator.failed")

    def test_they_are_asked_about_allowed_requests_only(self, ledger):
        """A veto cannot turn a deny into anything else; it is not even asked."""
        asked = []
        validators = [lambda **given: asked.append(given["opinion_reason"])]
        Authorizer(_Engine(Opinion(False, "policy.no")), ledger, validators=validators).authorize(USER, "x", DOCUMENT)
        Authorizer(_Engine(ALLOW), ledger, validators=validators).authorize(USER, "x", DOCUMENT)

        assert asked == ["policy.given"]


class TestListeners:
    def test_told_after_the_commit(self, ledger):
        """A listener gets request and decision once the entry is there."""
        seen = []

        def listener(*, request, decision):
            seen.append((request.action, decision.audit_id, len(ledger)))

        decision = Authorizer(_Engine(ALLOW), ledger, listeners=[listener]).authorize(USER, "read", DOCUMENT)

        assert [("read", decision.audit_id, 1)] == seen

    def test_told_of_malformed_requests(self, ledger):
        """A refusal of what cannot be read is told like any other, without what was sent."""
        seen = []

        def listener(*, request, decision):
            seen.append((request.action, request.subject["id"], decision))

        authorizer = Authorizer(_Engine(ALLOW), ledger, listeners=[listener])
        decision = authorizer.authorize(USER, "read", {**DOCUMENT, "contains_pii": "secret"})
        ((action, person, told),) = seen

        assert (action, person, told.reason, told.audit_id) == ("", "", "request.invalid", decision.audit_id)
        assert told.message == "resource.contains_pii is of the wrong type"

    def test_one_that_fails_disturbs_nobody(self, ledger, caplog):
        """A failing listener is logged and counted, and the next one is told all the same."""
        seen = []

        def broken(*, request, decision):
            raise ValueError("bug")

        def good(*, request, decision):
            seen.append(decision.reason)

        authorizer = Authorizer(_Engine(ALLOW), ledger, listeners=[broken, good])
        with caplog.at_level(logging.ERROR):
            decision = authorizer.authorize(USER, "read", DOCUMENT)

        assert decision.allow
        assert seen == ["policy.given"]
        assert authorizer.listener_failures == 1
        assert "a decision listener failed" in caplog.text


def test_nobody_alters_what_is_recorded(playbook, ledger, handlers):
    """Validators and listeners get copies: what they do to them changes neither the entry nor the decision."""

    def validator(*, request, opinion_reason):
        request.resource["id"] = "forged"

    def listener(*, request, decision):
        decision.obligations[0].properties["fields"].clear()
        decision.facts.clear()
        request.subject.clear()

    authorizer = Authorizer(playbook, ledger, handlers=handlers, listeners=[listener] * 2, validators=[validator])
    decision = authorizer.authorize(USER, "read", {**DOCUMENT, "required_clearance": "high"})
    (entry,) = ledger.read()

    assert authorizer.listener_failures == 0
    assert entry.data["target"]["id"] == "d-1"
    assert decision.obligations[0].properties == {"fields": ["*"]}
    assert decision.facts["engine"] == "rego"


def test_obligations_of_a_deny_need_no_handler(ledger):
    """Obligations on a deny tell the caller what is lacking; nobody has to carry them out."""
    opinion = Opinion(False, "policy.no", obligations=(Obligation("require_approval"),))
    decision = Authorizer(_Engine(opinion), ledger).authorize(USER, "export", DOCUMENT)

    assert decision.reason == "policy.no"
