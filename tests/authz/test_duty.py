"""The life of an obligation: in which order, with which receipts, for how long, and by whom it is carried out."""

from __future__ import annotations

import asyncio
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz import (
    AccessDeniedError,
    AccessUndeterminedError,
    Authorizer,
    JsonLines,
    JsonText,
    LogEvent,
    MaskFields,
    MaskStreamError,
    Notification,
    ObligationError,
    Phase,
    RequireMfa,
    SessionTermination,
    StaleDecisionError,
    StepUp,
    StepUpRequiredError,
    Uses,
    with_obligations,
    with_obligations_async,
)
from companyos.decision import Decision, Obligation
from companyos.errors import ConfigError
from companyos.ledger import Ledger

MASK = Obligation("mask_fields", properties={"fields": ["email"]})
LOG = Obligation("log_event", "notification", {"event": "export"})
MFA = Obligation("require_mfa", "step-up")
END = Obligation("obl-3", "session_termination", {"subject": "u-1"})


def allowed(*obligations):
    return Decision.allowed("policy.x", obligations=obligations).recorded(str(uuid.uuid4()))


def receipts(ledger):
    """What became of each obligation, and of calls, in order."""
    return [
        (entry.data.get("obligation", {}).get("id", "the call"), entry.data["outcome"])
        for entry in ledger.read()
        if "outcome" in entry.data
    ]


class TestTheProfilesOrder:
    def test_the_others_are_carried_out(self, ledger, handlers):
        """Where one obligation cannot be carried out the call is not made, and all others still are."""
        ended = []
        known = (*handlers, SessionTermination(lambda subject, _: not ended.append(subject)))
        decision = allowed(MFA, Obligation("watermark"), LOG, MASK, END)

        with pytest.raises(ObligationError, match="watermark"):
            with_obligations(pytest.fail, decision, handlers=known, ledger=ledger)

        assert ended == ["u-1"]
        assert sorted(receipts(ledger)) == [
            ("log_event", "discharged"),
            ("mask_fields", "moot"),
            ("obl-3", "discharged"),
            ("require_mfa", "refused"),
            ("watermark", "refused"),
        ]

    @pytest.mark.parametrize("kind", ["denied", "undetermined"])
    def test_a_denial_obliges_too(self, ledger, handlers, kind):
        """What a denial demands is carried out, and it stays a denial."""
        ended = []
        known = (*handlers, SessionTermination(lambda subject, _: not ended.append(subject)))
        decision = Decision.denied("policy.no", obligations=[LOG, END]).recorded("audit-2")
        error = AccessDeniedError
        if kind == "undetermined":
            decision, error = replace(decision, verdict=Decision.undetermined("x").verdict), AccessUndeterminedError

        with pytest.raises(error):
            with_obligations(pytest.fail, decision, handlers=known, ledger=ledger)

        assert (ended, receipts(ledger)) == (["u-1"], [("log_event", "discharged"), ("obl-3", "discharged")])

    def test_a_denied_export_is_logged(self, authorizer, ledger):
        """The playbook's own denial leaves its event, and the refusal of the approval that is lacking."""
        decision = authorizer.authorize({"id": "u-1", "type": "user"}, "export", {"id": "d", "type": "file"})

        with pytest.raises(AccessDeniedError):
            authorizer.with_obligations(pytest.fail, decision)

        assert sorted(receipts(ledger)) == [("log_event", "discharged"), ("require_approval", "refused")]
        assert [entry.data["decision"] for entry in ledger.read() if "event" in entry.data] == ["deny"]

    def test_a_factor_is_asked_for_last(self, ledger, handlers):
        """Nobody is sent to step up for a call that is refused for another reason."""
        decision = allowed(MFA, Obligation("watermark"))

        with pytest.raises(ObligationError) as caught:
            with_obligations(pytest.fail, decision, handlers=handlers, ledger=ledger)

        assert not isinstance(caught.value, StepUpRequiredError)

    def test_what_comes_last_and_is_left(self, ledger):
        """After a failure on the result the rest is carried out without one, and nothing leaves."""
        seen = []

        class Tell:
            obligation = "tell"

            def discharge(self, obligation, value, context):
                seen.append(value)
                return value

        with pytest.raises(ObligationError, match="cannot be looked into"):
            with_obligations(object, allowed(MASK, Obligation("tell")), handlers=[MaskFields(), Tell()], ledger=ledger)

        assert (seen, receipts(ledger)) == ([None], [("mask_fields", "refused"), ("tell", "discharged")])


class TestAFailedCall:
    def test_it_is_on_record(self, ledger, handlers):
        """What was carried out for a call that then failed is followed by an entry that says so."""
        decision = allowed(LOG, MASK)
        with pytest.raises(ZeroDivisionError):
            with_obligations(lambda: 1 // 0, decision, handlers=handlers, ledger=ledger)
        *_, last = ledger.read()

        assert receipts(ledger) == [("log_event", "discharged"), ("mask_fields", "moot"), ("the call", "failed")]
        assert (last.type, last.data["decision_id"], last.data["detail"]) == (
            "companyos.authz.call",
            decision.audit_id,
            "ZeroDivisionError",
        )

    def test_its_text_is_not(self, ledger, handlers):
        """The error's text, which may hold data, is not."""

        def fail():
            raise ValueError("secret")

        with pytest.raises(ValueError, match="secret"):
            with_obligations(fail, allowed(LOG), handlers=handlers, ledger=ledger)

        assert not any(b"secret" in ledger.raw(index) for index in range(len(ledger)))

    def test_without_obligations(self, ledger, handlers):
        """A call for which nothing was carried out leaves nothing but its decision."""
        with pytest.raises(ZeroDivisionError):
            with_obligations(lambda: 1 // 0, allowed(), handlers=handlers, ledger=ledger)

        assert len(ledger) == 0

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
    def test_asynchronous_and_interrupted_calls(self, ledger, handlers, error):
        """Cancelled and interrupted calls are on record like those that fail."""

        async def fail():
            raise error

        async def work():
            with pytest.raises(error):
                await with_obligations_async(fail, allowed(LOG), handlers=handlers, ledger=ledger)

        asyncio.run(work())

        assert receipts(ledger) == [("log_event", "discharged"), ("the call", "failed")]

    def test_a_ledger_that_is_gone(self, handlers, tmp_path):
        """The error of the call goes on where it cannot be recorded."""
        ledger = Ledger.open(f"sqlite:///{tmp_path / 'closed.db'}")

        def fail():
            ledger.close()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            with_obligations(fail, allowed(LOG), handlers=handlers, ledger=ledger)


class TestOnce:
    def test_a_second_call(self, ledger, handlers):
        """A decision carries one call, whoever holds a copy of it, also when that call failed."""
        used, failed = allowed(), allowed()
        with_obligations(int, used, handlers=handlers, ledger=ledger)
        with pytest.raises(ZeroDivisionError):
            with_obligations(lambda: 1 // 0, failed, handlers=handlers, ledger=ledger)

        for decision in (used, replace(used, message="copy"), pickle.loads(pickle.dumps(used)), failed):  # noqa: S301
            with pytest.raises(StaleDecisionError, match="used before"):
                with_obligations(pytest.fail, decision, handlers=handlers, ledger=ledger)

    def test_nothing_is_carried_out_for_it(self, ledger, handlers):
        """A decision that was used carries nothing out again."""
        decision = allowed(LOG)
        with_obligations(int, decision, handlers=handlers, ledger=ledger)
        before = len(ledger)
        with pytest.raises(StaleDecisionError):
            with_obligations(pytest.fail, decision, handlers=handlers, ledger=ledger)

        assert len(ledger) == before

    def test_a_call_that_was_not_begun(self, ledger, handlers):
        """A decision whose call lacked a factor may be tried again with it."""
        decision = allowed(MFA)
        with pytest.raises(StepUpRequiredError):
            with_obligations(pytest.fail, decision, handlers=handlers, ledger=ledger)

        assert with_obligations(int, decision, handlers=handlers, ledger=ledger, context={"auth_strength": "mfa"}) == 0

    @pytest.mark.parametrize(
        ("age", "match"), [(61, "too old"), (86_400, "too old"), (-6, "from the future"), (-3600, "from the future")]
    )
    def test_its_age(self, ledger, handlers, age, match):
        """A decision of another time carries no call, nor does one that a clock an hour off has made."""
        decision = replace(allowed(LOG), decided_at=datetime.now(UTC) - timedelta(seconds=age))
        with pytest.raises(StaleDecisionError, match=match):
            with_obligations(pytest.fail, decision, handlers=handlers, ledger=ledger)

        assert len(ledger) == 0

    def test_the_age_when_the_call_begins(self, ledger):
        """A decision that grew old while its obligations were carried out carries no call any more."""
        now = [datetime.now(UTC)]

        class Slow:
            obligation = "slow"
            phase = Phase.BEFORE

            def discharge(self, obligation, value, context):
                now[0] += timedelta(minutes=2)
                return value

        with pytest.raises(StaleDecisionError, match="too old"):
            with_obligations(
                pytest.fail,
                allowed(Obligation("slow")),
                handlers=[Slow()],
                ledger=ledger,
                uses=Uses(clock=lambda: now[0]),
            )

    def test_a_memory_forgets_what_is_too_old_anyway(self):
        """Used decisions are remembered for as long as they could be used, also by a clock that is set back."""
        now = [datetime.now(UTC)]
        uses = Uses(10, clock=lambda: now[0])
        first = allowed()
        uses.claim(first)
        for seconds in (9, 11, 40, -30):
            now[0] += timedelta(seconds=seconds)
            uses.claim(replace(allowed(), decided_at=now[0]))
            with pytest.raises(StaleDecisionError):
                uses.claim(first)

        assert len(uses._used) < 5

    def test_many_threads(self):
        """Of many that use a decision at the same time, one does."""
        uses, decision, start = Uses(), allowed(), threading.Barrier(8)

        def claim(_):
            start.wait()
            try:
                uses.claim(decision)
            except StaleDecisionError:
                return 0
            return 1

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(claim, range(8))) == 1

    @pytest.mark.parametrize("age", [0, -1, float("nan")])
    def test_no_age(self, age):
        """A memory without an age is refused."""
        with pytest.raises(ConfigError, match="no age"):
            Uses(age)


class TestTypes:
    @pytest.mark.parametrize(
        ("obligation", "handler"),
        [
            (Obligation("mask_fields", "notification", {"fields": ["a"]}), MaskFields()),
            (Obligation("require_mfa", "notification"), RequireMfa()),
            (Obligation("log_event", "step-up"), LogEvent()),
            (Obligation("step-up", "custom", {"acr_value": "x"}), StepUp()),
            (Obligation("log_event", "teleport"), LogEvent()),
        ],
    )
    def test_a_wrong_type(self, ledger, obligation, handler):
        """A type that the handler does not take is nobody's, when it is decided and when it is carried out."""
        with pytest.raises(ObligationError, match="nobody can carry out"):
            with_obligations(pytest.fail, allowed(obligation), handlers=[handler], ledger=ledger)

    def test_it_is_a_denial(self, playbook, ledger):
        """The decision itself is a denial then."""

        class Engine:
            name = version = "typed"

            def decide(self, request):
                return replace(playbook.decide(request), obligations=(Obligation("mask_fields", "step-up"),))

        decision = Authorizer(Engine(), ledger, handlers=[MaskFields()]).authorize(
            {"id": "u", "type": "user"}, "read", {"id": "d", "type": "document"}
        )

        assert (decision.allow, decision.reason) == (False, "obligation.unhandled")

    def test_by_its_type(self, ledger):
        """An obligation with an id of its own is carried out by the handler of its type."""
        ended = []
        handler = SessionTermination(lambda subject, _: not ended.append(subject))

        assert with_obligations(lambda: 7, allowed(END), handlers=[handler], ledger=ledger) == 7
        assert ended == ["u-1"]

    @pytest.mark.parametrize("subject", [None, "", " ", 7, ["u-1"], "u\u200b-1"])
    def test_sessions_of_nobody(self, subject):
        """Without a subject no sessions are ended, and the call is refused."""
        obligation = replace(END, properties={} if subject is None else {"subject": subject})
        with pytest.raises(ObligationError, match="names no subject"):
            SessionTermination(pytest.fail).discharge(obligation, None, {})

    @pytest.mark.parametrize("answer", [None, False, 1, "yes"])
    def test_sessions_that_were_not_ended(self, answer):
        """Only True says that all sessions are ended."""
        with pytest.raises(ObligationError, match="were not ended"):
            SessionTermination(lambda *_: answer).discharge(END, None, {})

    @pytest.mark.parametrize(
        ("properties", "match"),
        [
            ({}, "no to"),
            ({"to": "ops"}, "no body"),
            ({"to": "ops", "body": 7}, "no body"),
            ({"to": "ops", "body": "x" * 10_001}, "no body"),
            ({"to": "evil@example.org", "body": "x"}, "goes where nothing may be sent"),
            ({"to": "ops", "body": "x", "topic": "a\r\nBcc: evil@example.org"}, "not a line of text"),
            ({"to": "ops", "body": "x", "topic": 7}, "not a line of text"),
        ],
    )
    def test_notifications_that_are_not_sent(self, properties, match):
        """What a decision point wants sent is looked at, and goes nowhere but to declared destinations."""
        handler = Notification(pytest.fail, destinations=["ops"])
        with pytest.raises(ObligationError, match=match):
            handler.discharge(Obligation("n", "notification", properties), None, {})

    def test_a_notification(self):
        """What is sent is what was demanded; only True says that it was."""
        told = Obligation("n", "notification", {"to": "ops", "body": "read", "topic": "audit"})
        sent = []

        assert Notification(lambda *it: not sent.append(it), destinations=["ops"]).discharge(told, 7, {}) == 7
        assert sent == [("ops", "audit", "read")]
        with pytest.raises(ObligationError, match="was not sent"):
            Notification(lambda *_: 1, destinations=["ops"]).discharge(told, 7, {})

    @pytest.mark.parametrize(
        ("properties", "context", "passes"),
        [
            ({"acr_value": "loa3"}, {"acr": "loa3"}, True),
            ({"acr_value": "loa3", "amr_values": ["hwk"]}, {"acr": "loa3", "amr": ["pwd", "hwk"]}, True),
            ({"acr_value": "loa2"}, {"acr": "loa3"}, True),
            ({"acr_value": "loa3"}, {"acr": "loa2"}, False),
            ({"acr_value": "loa3"}, {}, False),
            ({"acr_value": "loa3"}, {"acr": ["loa3"]}, False),
            ({"acr_value": "loa3", "amr_values": ["hwk"]}, {"acr": "loa3", "amr": "hwk"}, False),
            ({"acr_value": "loa3", "amr_values": ["hwk"]}, {"acr": "loa3"}, False),
            ({"acr_value": "loa3", "amr_values": "hwk"}, {"acr": "loa3", "amr": ["hwk"]}, False),
            ({"acr_value": 3}, {"acr": "loa3"}, False),
            ({}, {"acr": "loa3"}, False),
        ],
    )
    def test_step_up(self, properties, context, passes):
        """The class that is demanded, or one that is known to be stronger, with all methods that are demanded."""
        handler = StepUp(lambda acr, demanded: (acr, demanded) == ("loa3", "loa2"))
        obligation = Obligation("obl-1", "step-up", properties)
        if passes:
            assert handler.discharge(obligation, 7, context) == 7
        else:
            with pytest.raises(ObligationError):
                handler.discharge(obligation, 7, context)


class TestAsynchronous:
    def test_handlers_that_are_awaited(self, ledger):
        """An asynchronous handler is awaited, plain ones and the ledger leave the loop alone."""
        loops = []

        class Awaited:
            obligation = "awaited"
            phase = Phase.BEFORE

            async def discharge(self, obligation, value, context):
                await asyncio.sleep(0)
                loops.append(threading.current_thread())
                return value

        class Plain(Awaited):
            obligation = "plain"

            def discharge(self, obligation, value, context):
                loops.append(threading.current_thread())
                return value

        async def load():
            return {"email": "x"}

        async def work():
            decision = allowed(Obligation("awaited"), Obligation("plain"), MASK)
            handlers = [Awaited(), Plain(), MaskFields()]
            result = await with_obligations_async(load, decision, handlers=handlers, ledger=ledger)
            return result, threading.current_thread()

        result, thread = asyncio.run(work())

        assert result == {"email": "***"}
        assert [one is thread for one in loops] == [True, False]

    def test_a_plain_call_with_an_asynchronous_handler(self, ledger):
        """A plain call cannot await a handler, and is refused."""

        class Awaited:
            obligation = "awaited"
            phase = Phase.BEFORE

            async def discharge(self, obligation, value, context):
                return value

        with pytest.raises(ObligationError, match="asynchronous"):
            with_obligations(pytest.fail, allowed(Obligation("awaited")), handlers=[Awaited()], ledger=ledger)

    def test_a_handler_that_breaks(self, ledger):
        """A defect in an asynchronous handler keeps the result back."""

        class Broken:
            obligation = "broken"

            async def discharge(self, obligation, value, context):
                raise StopIteration("secret")

        async def load():
            return "secret"

        with pytest.raises(ObligationError, match="could not be carried out"):
            asyncio.run(with_obligations_async(load, allowed(Obligation("broken")), handlers=[Broken()], ledger=ledger))

    def test_the_authorizers_own(self, authorizer):
        """An authorizer decides and enforces without holding up the loop."""

        async def load():
            return {"iban": "x"}

        async def work():
            decision = await authorizer.aauthorize(
                {"id": "u-1", "type": "user"}, "read", {"id": "f", "type": "file", "required_clearance": "low"}
            )
            return await authorizer.with_obligations_async(load, decision)

        assert asyncio.run(work()) == {"iban": "***"}

    def test_many_at_once(self, authorizer):
        """Many decisions at once are each their own."""

        async def work():
            user, ids = {"id": "u-1", "type": "user"}, [f"d-{number}" for number in range(20)]
            decisions = await asyncio.gather(
                *(authorizer.aauthorize(user, "read", {"id": one, "type": "document"}) for one in ids)
            )
            return {decision.audit_id for decision in decisions if decision.allow}

        assert len(asyncio.run(work())) == 20


class TestStreams:
    def test_lines(self, ledger):
        """A stream of JSON lines as a result leaves masked, plain and asynchronous."""

        async def rows():
            yield b'{"email":"x"}\n'

        async def load():
            return JsonLines(rows())

        async def work():
            lines = await with_obligations_async(load, allowed(MASK), handlers=[MaskFields()], ledger=ledger)
            return [line async for line in lines]

        plain = with_obligations(
            lambda: JsonLines(['{"email":', '"x"}\n']), allowed(MASK), handlers=[MaskFields()], ledger=ledger
        )

        assert list(plain) == asyncio.run(work()) == [b'{"email":"***"}\n']

    def test_a_line_that_is_refused(self, ledger):
        """A line that is refused, long after the handler has returned, leaves a receipt of that."""
        lines = with_obligations(
            lambda: JsonLines([b'{"email":"x"}\nnonsense\n']), allowed(MASK), handlers=[MaskFields()], ledger=ledger
        )
        with pytest.raises(MaskStreamError):
            list(lines)
        *_, last = ledger.read()

        assert receipts(ledger) == [("mask_fields", "discharged"), ("mask_fields", "refused")]
        assert last.data["detail"].startswith("line 2 of the stream cannot be masked")

    def test_text(self, ledger):
        """A document that is text already leaves masked, and every other character of it as it was."""
        text = with_obligations(
            lambda: JsonText('{"email":"x","n":1e400}'), allowed(MASK), handlers=[MaskFields()], ledger=ledger
        )

        assert text == JsonText('{"email":"***","n":1e400}')
