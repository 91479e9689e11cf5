from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, computed_field, model_serializer

from companyos.authz import (
    AccessDeniedError,
    AccessUndeterminedError,
    Authorizer,
    LogEvent,
    MaskFields,
    ObligationError,
    Phase,
    RequireApproval,
    RequireMfa,
    mask,
    with_obligations,
    with_obligations_async,
)
from companyos.authz.derived import MULTI_FACTOR_ACR
from companyos.decision import Decision, Obligation
from companyos.ledger import Ledger


class Row(NamedTuple):
    id: str
    iban: str
    more: object


class Address(BaseModel):
    city: str
    zip: int


class Customer(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str
    email: str
    iban: str | None = Field(default=None, serialization_alias="bankAccount")
    address: Address
    tags: list[str] = []


class Scored(BaseModel):
    id: str
    email: str

    @computed_field
    @property
    def domain(self) -> str:
        return self.email.partition("@")[2]


class Told(BaseModel):
    id: str
    _email: str = PrivateAttr("a@b.example")

    @model_serializer
    def tell(self):
        return {"id": self.id, "email": self._email}


class Key(enum.Enum):
    EMAIL = "iban"


class TextKey(str, enum.Enum):  # noqa: UP042 - the older way to write it, which shows another text
    KEY = "iban"


class Customers(RootModel[list[Customer]]):
    pass


def _customer():
    return Customer(
        id="c-1", email="a@b.example", iban="DE1", address=Address(city="Bonn", zip=53113), tags=["vip"], note="calls"
    )


_values = st.recursive(
    st.just("secret") | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


class TestMask:
    @pytest.mark.parametrize(
        ("value", "fields", "expected"),
        [
            ({"email": "x", "id": 1}, ["email"], {"email": "***", "id": 1}),
            ({"EMail": "x"}, ["email"], {"EMail": "***"}),
            ({"a": {"email": "x", "n": 1}}, ["email", "n"], {"a": {"email": "***", "n": None}}),
            ([{"email": "x"}, {"email": None}], ["email"], [{"email": "***"}, {"email": None}]),
            ({"a": ({"email": "x"},)}, ["email"], {"a": ({"email": "***"},)}),
            ({"a": {"city": "x"}, "b": {"city": "y"}}, ["a.city"], {"a": {"city": "***"}, "b": {"city": "y"}}),
            ({"a": [{"city": "x"}]}, ["a.city"], {"a": [{"city": "***"}]}),
            ({"email": {"home": "x", "work": "y"}}, ["email"], {"email": None}),
            ({"email": ["x", "y"]}, ["email"], {"email": None}),
            ({"id": "1", "type": "t", "n": 1, "s": "x"}, ["*"], {"id": "1", "type": "t", "n": None, "s": "***"}),
            (
                {"a": {"id": "1", "b": ["x", 2, {"c": "y"}]}},
                ["*"],
                {"a": {"id": "1", "b": ["***", None, {"c": "***"}]}},
            ),
            ({"a": [["x"], [1]]}, ["*"], {"a": [["***"], [None]]}),
            (["x", {"y": "z"}], ["*"], ["***", {"y": "***"}]),
            ({"d": Decimal(1), "t": dt.date(2026, 1, 1)}, ["d"], {"d": None, "t": dt.date(2026, 1, 1)}),
            (None, ["*"], None),
            ({"mail": "x"}, ["email"], {"mail": "x"}),
            ({"contact.email": "x"}, ["contact.email"], {"contact.email": "***"}),
            ({"contact.email": "x"}, ["email"], {"contact.email": "***"}),
            ({"contact.email": {"home": "x"}}, ["contact"], {"contact.email": None}),
            ({"a": {"contact.email": {"home": "x"}}}, ["email.home"], {"a": {"contact.email": {"home": "***"}}}),
            ({"pre\u0301nom": "x"}, ["pr\u00e9nom"], {"pre\u0301nom": "***"}),
            ({"pr\u00e9nom": "x"}, ["PRE\u0301NOM"], {"pr\u00e9nom": "***"}),
            ({"\uff49\uff42\uff41\uff4e": "x"}, ["iban"], {"\uff49\uff42\uff41\uff4e": "***"}),
            ({" iban ": "x"}, ["iban"], {" iban ": "***"}),
            ([Row("1", "x", {"email": "y"})], ["iban", "email"], [Row("1", "***", {"email": "***"})]),
            (Row("1", "x", None), ["*"], Row("1", "***", None)),
            ({b"iban": "x"}, ["iban"], {b"iban": "***"}),
            ({Key.EMAIL: "x"}, ["iban"], {Key.EMAIL: "***"}),
            ({Key.EMAIL: "x"}, ["email"], {Key.EMAIL: "***"}),
            ({TextKey.KEY: "x"}, ["iban"], {TextKey.KEY: "***"}),
            ({7: "x"}, ["7"], {7: "***"}),
            ({"ib\u200ban": "x", "iban\0": "y"}, ["iban"], {"ib\u200ban": "***", "iban\0": "***"}),
        ],
    )
    def test_plain_values(self, value, fields, expected):
        """Named fields are masked at any depth; everything else is as it was."""
        assert expected == mask(value, fields)

    @given(_values)
    def test_everything_is_everything(self, value):
        """Whatever the shape, no text but ids and types is left after masking everything."""
        assert "secret" not in json.dumps(mask({"value": value}, ["*"]))

    def test_a_named_tuple_stays_one(self):
        """A row by name comes back as its own class, on paths through it too."""
        masked = mask({"row": Row("1", "x", {"city": "y"})}, ["row.more.city"])["row"]

        assert isinstance(masked, Row)
        assert masked.more == {"city": "***"}

    @pytest.mark.parametrize("field", ["", " ", "a..b", ".", "a.", "\u200b", "\u3164"])
    def test_blank_names(self, field):
        """A name of nothing would mask nothing, and is refused."""
        with pytest.raises(ObligationError, match="blank name"):
            mask({"a": "x"}, ["a", field])

    def test_models(self):
        """A model comes back as its own class, nested models, lists and extra fields included."""
        masked = mask({"items": [_customer()]}, ["email", "address.zip", "note"])["items"][0]

        assert isinstance(masked, Customer)
        assert (
            masked.email,
            masked.address.city,
            masked.address.zip,
            masked.note,
            masked.id,
        ) == ("***", "Bonn", None, "***", "c-1")

    def test_a_model_by_its_alias(self):
        """The name a field has on the wire is as good as its own."""
        assert mask(_customer(), ["bankaccount"]).iban == "***"

    def test_all_of_a_model(self):
        """Everything but id and type is masked in models too."""
        masked = mask(Customers([_customer()]), ["*"]).root[0]

        assert (
            masked.id,
            masked.email,
            masked.address.city,
            masked.tags,
            masked.note,
        ) == ("c-1", "***", "***", ["***"], "***")

    def test_the_original_is_left_alone(self):
        """Masking works on a copy."""
        customer, plain = _customer(), {"a": [{"email": "x"}]}
        mask(customer, ["*"])
        mask(plain, ["*"])

        assert _customer() == customer
        assert plain == {"a": [{"email": "x"}]}

    @pytest.mark.parametrize(
        "value",
        ["text", 7, b"bytes", {"a": b"bytes"}, {"a": {1, 2}}, {"a": object()}, iter([{"email": "x"}]), object()],
        ids=["text", "number", "bytes", "inner bytes", "set", "inner object", "generator", "object"],
    )
    def test_what_cannot_be_looked_into(self, value):
        """A value that might hide a field is refused, so that nothing leaves unmasked."""
        with pytest.raises(ObligationError):
            mask(value, ["email"])

    @pytest.mark.parametrize("fields", [["domain"], ["*"]])
    def test_computed_fields(self, fields):
        """A computed field cannot be masked, and is refused instead of shown."""
        with pytest.raises(ObligationError, match=r"Scored\.domain is computed"):
            mask(Scored(id="1", email="a@b.example"), fields)

    def test_a_model_that_writes_itself(self):
        """A model with a serializer of its own may show what nobody sees in its fields, and is refused."""
        with pytest.raises(ObligationError, match="Told says itself"):
            mask({"rows": [Told(id="1")]}, ["email"])

    def test_endless_nesting(self):
        """A value that holds itself is refused."""
        value = {}
        value["self"] = value

        with pytest.raises(ObligationError, match="too deeply"):
            mask(value, ["email"])

    @pytest.mark.parametrize("fields", [None, [], "email", [1]])
    def test_no_fields(self, fields):
        """An obligation that names no fields is refused instead of masking nothing."""
        with pytest.raises(ObligationError, match="names no fields"):
            MaskFields().discharge(Obligation("mask_fields", properties={"fields": fields}), {"a": 1}, {})


class TestStepUpAndApproval:
    @pytest.mark.parametrize("strength", ["mfa", "MFA", "aal2", "phr"])
    def test_more_than_one_factor(self, strength):
        """A multi-factor strength in the context discharges step-up."""
        assert RequireMfa().discharge(Obligation("require_mfa"), None, {"auth_strength": strength}) is None

    @pytest.mark.parametrize("strength", [None, "", "password", "mfa?", True, 2])
    def test_one_factor(self, strength):
        """Anything else is refused."""
        with pytest.raises(ObligationError, match="more than one factor"):
            RequireMfa().discharge(Obligation("require_mfa"), None, {"auth_strength": strength})

    @pytest.mark.parametrize(("answer", "passes"), [(True, True), (False, False), (1, False), ("yes", False)])
    def test_a_challenge(self, answer, passes):
        """A challenge passes only by True."""
        handler = RequireMfa(lambda _: answer)
        if passes:
            assert handler.discharge(Obligation("require_mfa"), "value", {}) == "value"
        else:
            with pytest.raises(ObligationError):
                handler.discharge(Obligation("require_mfa"), "value", {})

    @pytest.mark.parametrize(
        ("properties", "context", "passes"),
        [
            ({"acr_value": MULTI_FACTOR_ACR}, {"auth_strength": "mfa"}, True),
            ({"acr_value": MULTI_FACTOR_ACR}, {"auth_strength": MULTI_FACTOR_ACR}, True),
            ({"acr_value": MULTI_FACTOR_ACR}, {"acr": MULTI_FACTOR_ACR}, True),
            ({"acr_value": MULTI_FACTOR_ACR}, {"acr": "pwd"}, False),
            ({"acr_value": "phrh"}, {"auth_strength": "mfa"}, False),
            ({"acr_value": "phrh"}, {"acr": "phrh"}, True),
            ({"acr_value": "urn:com:example:loa:3"}, {"auth_strength": "aal3"}, False),
            ({"acr_value": "mfa", "amr_values": ["hwk"]}, {"auth_strength": "mfa"}, False),
            ({"acr_value": "mfa", "amr_values": ["hwk"]}, {"acr": "mfa", "amr": ["pin", "hwk"]}, True),
            ({"acr_value": 7}, {"auth_strength": "mfa"}, False),
        ],
    )
    def test_a_class_beyond_two_factors_is_not_reached_by_any_two(self, properties, context, passes):
        """Where the obligation names a class or methods of its own, no other strength stands in for them."""
        obligation = Obligation("require_mfa", "step-up", properties)

        if passes:
            assert RequireMfa(lambda _: False).discharge(obligation, 7, context) == 7
        else:
            with pytest.raises(ObligationError):
                RequireMfa().discharge(obligation, 7, context)

    @pytest.mark.parametrize(
        ("handler", "judged", "stated", "match"),
        [
            (RequireApproval(), None, "CHG-1", "cannot be verified here"),
            (RequireApproval(), "\u200b", None, "ticket is required"),
            (RequireApproval(), "  ", None, "ticket is required"),
            (RequireApproval(), 7, None, "ticket is required"),
            (RequireApproval(), "CHG-1", "CHG-2", "not the one that was decided on"),
            (RequireApproval(lambda *_: True), "CHG-1", "CHG-2", "not the one that was decided on"),
            (RequireApproval(lambda *_: True), None, None, "ticket is required"),
            (RequireApproval(lambda *_: True), None, "  ", "ticket is required"),
            (RequireApproval(lambda *_: True), None, "CHG\u200b-1", "ticket is required"),
            (RequireApproval(lambda *_: False), None, "CHG-1", "does not hold"),
            (RequireApproval(lambda *_: False), "CHG-1", "CHG-1", "does not hold"),
            (RequireApproval(lambda *_: "yes"), "CHG-1", None, "does not hold"),
        ],
    )
    def test_an_approval_that_is_not_verified(self, handler, judged, stated, match):
        """An approval that is missing, unreadable, another's, false, or that nobody can verify is none."""
        properties = {} if judged is None else {"approval_ticket": judged}
        with pytest.raises(ObligationError, match=match):
            handler.discharge(Obligation("require_approval", properties=properties), 7, {"approval_ticket": stated})

    @pytest.mark.parametrize(
        ("properties", "context"),
        [({"approval_ticket": "CHG-1"}, {}), ({}, {"approval_ticket": "CHG-1"})],
        ids=["passed on by the policy", "from the context"],
    )
    def test_a_verified_approval(self, properties, context):
        """A verifier that confirms the ticket lets the call pass."""
        handler = RequireApproval(lambda ticket, _: ticket == "CHG-1")

        assert handler.discharge(Obligation("require_approval", properties=properties), 7, context) == 7

    def test_log_event_needs_a_ledger(self):
        """Logging without a ledger is refused."""
        with pytest.raises(ObligationError, match="no ledger"):
            LogEvent().discharge(Obligation("log_event"), None, {})


class _Guarded:
    """A call that counts how often it was made."""

    def __init__(self, result=None):
        self.calls = 0
        self.result = result

    def __call__(self):
        self.calls += 1
        return self.result


def _allowed(*obligations):
    return Decision.allowed("policy.x", obligations=obligations).recorded(str(uuid.uuid4()))


def _receipts(ledger):
    """What became of each obligation, in order."""
    return [
        (entry.data["obligation"]["id"], entry.data["outcome"], entry.data["detail"])
        for entry in ledger.read()
        if entry.type == "companyos.authz.obligation"
    ]


MASK_EMAIL = Obligation("mask_fields", properties={"fields": ["email"]})
LOG = Obligation("log_event", "notification", {"event": "export"})
MFA = Obligation("require_mfa", "step-up")


class TestWithObligations:
    def test_nothing_to_do(self, ledger, handlers):
        """An allowed call without obligations just runs."""
        assert with_obligations(lambda: 7, _allowed(), handlers=handlers, ledger=ledger) == 7
        assert len(ledger) == 0

    @pytest.mark.parametrize(
        ("decision", "error"),
        [
            (Decision.denied("policy.no", obligations=[LOG]), AccessDeniedError),
            (Decision.undetermined("policy.unavailable"), AccessUndeterminedError),
        ],
        ids=["denied", "undetermined"],
    )
    def test_not_allowed(self, ledger, handlers, decision, error):
        """A call that is not allowed is not made; the error carries the decision."""
        guarded = _Guarded()

        with pytest.raises(error) as caught:
            with_obligations(guarded, decision, handlers=handlers, ledger=ledger)

        assert guarded.calls == 0
        assert decision is caught.value.decision

    def test_masked_and_on_record(self, ledger, handlers):
        """The result leaves masked, and the discharge is an entry tied to the decision."""
        decision = _allowed(MASK_EMAIL)
        result = with_obligations(lambda: {"email": "x"}, decision, handlers=handlers, ledger=ledger)
        (entry,) = ledger.read()

        assert result == {"email": "***"}
        assert (
            entry.type,
            entry.data["decision_id"],
            entry.data["outcome"],
        ) == ("companyos.authz.obligation", decision.audit_id, "discharged")
        assert MASK_EMAIL.to_dict() == entry.data["obligation"]

    def test_a_mask_that_matched_nothing(self, ledger, handlers):
        """Fields that the result does not have are named in the entry: perhaps they are misspelt."""
        obligation = Obligation("mask_fields", properties={"fields": ["email", "ibn", "*"]})
        with_obligations(lambda: {"email": "x"}, _allowed(obligation), handlers=handlers, ledger=ledger)
        (entry,) = ledger.read()

        assert entry.data["detail"] == "matched nothing: ibn"

    def test_not_on_record(self, ledger, handlers):
        """A decision that no ledger has taken carries no call."""
        guarded = _Guarded()

        with pytest.raises(ObligationError, match="not on record"):
            with_obligations(guarded, Decision.allowed("made.up"), handlers=handlers, ledger=ledger)
        with pytest.raises(ObligationError, match="not on record"):
            asyncio.run(with_obligations_async(guarded, Decision.allowed("made.up"), handlers=handlers, ledger=ledger))

        assert guarded.calls == 0

    def test_logged_before_it_is_done(self, ledger, handlers):
        """The event is on the ledger before the guarded call begins."""
        seen = with_obligations(
            lambda: [entry.type for entry in ledger.read()],
            _allowed(LOG),
            handlers=handlers,
            ledger=ledger,
            context={"attributes": {"rows": 3}},
        )

        assert seen == ["companyos.authz.event", "companyos.authz.obligation"]
        assert next(iter(ledger.read())).data["attributes"] == {"rows": 3}

    def test_step_up_comes_before_the_call(self, ledger, handlers):
        """A deletion without a second factor does not happen, and the refusal is on record."""
        guarded = _Guarded()

        with pytest.raises(ObligationError, match="more than one factor"):
            with_obligations(guarded, _allowed(MFA), handlers=handlers, ledger=ledger)

        assert guarded.calls == 0
        assert [entry.data["outcome"] for entry in ledger.read()] == ["refused"]

    def test_no_handler(self, ledger):
        """An obligation without a handler refuses the call; the others are carried out all the same."""
        guarded = _Guarded()

        with pytest.raises(ObligationError, match="nobody can carry out the obligation mask_fields"):
            with_obligations(guarded, _allowed(LOG, MASK_EMAIL), handlers=[LogEvent()], ledger=ledger)

        assert guarded.calls == 0
        assert _receipts(ledger) == [("log_event", "discharged", ""), ("mask_fields", "refused", "no handler")]

    def test_a_handler_that_breaks(self, ledger):
        """A defect in a handler keeps the result back, and its text, which may hold data, off the ledger."""

        class Broken:
            obligation = "mask_fields"

            def discharge(self, obligation, value, context):
                raise ValueError(f"cannot mask {value}")

        with pytest.raises(ObligationError, match="could not be carried out"):
            with_obligations(lambda: "secret", _allowed(MASK_EMAIL), handlers=[Broken()], ledger=ledger)

        assert b"secret" not in ledger.raw(0)

    def test_a_handler_chooses_its_phase(self, ledger):
        """A handler of one's own may come before or after the call; without a phase it comes after."""
        order = []

        def handler(name, **extra):
            def discharge(self, obligation, value, context):
                order.append(name)
                return value

            return type("Handler", (), {"obligation": name, "discharge": discharge, **extra})()

        decision = _allowed(Obligation("late"), Obligation("early"))
        with_obligations(
            lambda: order.append("call"),
            decision,
            handlers=[handler("early", phase=Phase.BEFORE), handler("late")],
            ledger=ledger,
        )

        assert order == ["early", "call", "late"]

    def test_no_receipt_no_result(self, handlers, tmp_path):
        """A discharge that cannot be recorded keeps the result back."""
        ledger = Ledger.open(f"sqlite:///{tmp_path / 'closed.db'}")
        ledger.close()

        with pytest.raises(ObligationError, match="could not be recorded"):
            with_obligations(lambda: {"email": "x"}, _allowed(MASK_EMAIL), handlers=handlers, ledger=ledger)

    def test_an_asynchronous_call(self, ledger, handlers):
        """Asynchronous calls have a function of their own; the other one refuses them."""

        async def load():
            return {"email": "x"}

        decision = _allowed(MASK_EMAIL)
        with pytest.raises(ObligationError, match="with_obligations_async"):
            with_obligations(load, decision, handlers=handlers, ledger=ledger)

        assert asyncio.run(with_obligations_async(load, decision, handlers=handlers, ledger=ledger)) == {"email": "***"}

    @pytest.mark.parametrize(("answer", "calls"), [(True, 1), (False, 0)])
    def test_an_export_is_verified(self, playbook, ledger, answer, calls):
        """A ticket that satisfied the policy is still put to the verifier before anything is exported."""
        asked, guarded = [], _Guarded()
        handlers = [LogEvent(), RequireApproval(lambda ticket, _: asked.append(ticket) or answer)]
        decision = Authorizer(playbook, ledger, handlers=handlers).authorize(
            {"id": "u-1", "type": "user"}, "export", {"id": "d", "type": "file"}, {"approval_ticket": "CHG-1"}
        )
        assert decision.allow
        with contextlib.nullcontext() if answer else pytest.raises(ObligationError, match="does not hold"):
            with_obligations(guarded, decision, handlers=handlers, ledger=ledger)

        assert (asked, guarded.calls) == (["CHG-1"], calls)

    def test_an_export_that_nobody_verifies(self, authorizer, ledger):
        """Without a verifier the ticket that the policy saw is enough, and the entry says that nobody verified it."""
        decision = authorizer.authorize(
            {"id": "u-1", "type": "user"}, "export", {"id": "d", "type": "file"}, {"approval_ticket": "CHG-1"}
        )

        assert authorizer.with_obligations(lambda: "rows", decision) == "rows"
        assert [
            e.data["detail"] for e in ledger.read() if e.data.get("obligation", {}).get("id") == "require_approval"
        ] == ["the ticket was not verified: no verifier is registered"]

    def test_from_request_to_masked_result(self, authorizer, ledger):
        """The whole way: decide, call, mask, with decision and discharge on the ledger."""
        decision = authorizer.authorize(
            {"id": "u-1", "type": "user", "attributes": {"clearance": "medium"}},
            "read",
            {"id": "c-1", "type": "customer-file", "required_clearance": "high", "masked_fields": ["email"]},
        )
        result = authorizer.with_obligations(_customer, decision)

        assert (result.email, result.address.city) == ("***", "Bonn")
        assert [decision.audit_id] == [e.data["decision_id"] for e in ledger.read() if "decision_id" in e.data]
