"""AuthZEN messages: what they mean here, and what would be lost is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.authz.authzen import (
    batch_from_authzen,
    opinion_from_authzen,
    parts_from_authzen,
    request_from_authzen,
    request_to_authzen,
    response_to_authzen,
)
from companyos.authz.interface import EngineError, RequestError
from companyos.decision import Decision, Obligation
from companyos.ports import AccessRequest, Opinion

SUBJECT, ACTION, RESOURCE = {"type": "user", "id": "u-1"}, {"name": "read"}, {"type": "document", "id": "d-1"}


def evaluation(**more):
    return {"subject": SUBJECT, "action": ACTION, "resource": RESOURCE, **more}


def test_every_property_is_where_policies_read_it():
    """Known properties of a subject stand beside its id, all others are attributes; the rest is flat."""
    request = request_from_authzen(
        {
            "subject": {
                **SUBJECT,
                "properties": {
                    "status": "active",
                    "org_id": "o-1",
                    "workspace_id": "w-1",
                    "clearance": "high",
                    "region": "eu",
                    "attributes": {"roles": ["admin"], "org_id": "o-2"},
                },
            },
            "action": {"name": "delete", "properties": {"soft": True}},
            "resource": {**RESOURCE, "properties": {"owner": "u-1", "region": "eu-west-1"}},
            "context": {"ip": "192.0.2.1", "supported_obligations": ["step-up"]},
        }
    )

    assert request == AccessRequest(
        {
            "id": "u-1",
            "type": "user",
            "status": "active",
            "org_id": "o-1",
            "workspace_id": "w-1",
            "attributes": {"clearance": "high", "region": "eu", "roles": ["admin"], "org_id": "o-2"},
        },
        "delete",
        {"id": "d-1", "type": "document", "owner": "u-1", "region": "eu-west-1"},
        {"ip": "192.0.2.1", "supported_obligations": ["step-up"], "action_properties": {"soft": True}},
    )


def test_both_places_of_a_subject_arrive_as_both():
    """What a subject says of its region in two places is judged by the policies, and not merged."""
    subject = {**SUBJECT, "properties": {"region": "us", "attributes": {"region": "eu"}}}

    assert parts_from_authzen(evaluation(subject=subject)).subject == {
        **SUBJECT,
        "region": "us",
        "attributes": {"region": "eu"},
    }


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"subject": {**SUBJECT, "properties": {"a": 1, "attributes": {"a": 1}}}}, "attributes"),
        ({"subject": {**SUBJECT, "properties": {"attributes": {"status": "active"}}}}, "status"),
        ({"subject": {**SUBJECT, "properties": {"attributes": []}}}, "attributes"),
        ({"subject": {**SUBJECT, "properties": {"Org-ID": "o"}}}, "org_id"),
        ({"subject": {**SUBJECT, "attributes": {"clearance": "high"}}}, "attributes"),
        ({"action": {**ACTION, "soft": True}}, "soft"),
        ({"action": {"name": "read", "properties": 5}}, "action.properties"),
        ({"resource": {**RESOURCE, "properties": {"type": "other"}}}, "type"),
        ({"context": {"Action_Properties": {}}}, "action.properties"),
        ({"context": {"supportedObligations": []}}, "supported_obligations"),
        ({"context": {"supported_obligations": [1]}}, "supported_obligations"),
        ({"Subject": SUBJECT}, "subject"),
        ({"cont\u0435xt": {"destination_region": "us"}}, "context"),
        ({"evaluati\u043ens": []}, "evaluations"),
        ({"context": {"\u0430ction_properties": {}}}, "action_properties"),
        ({"context": {"supp\u043erted_obligations": []}}, "supported_obligations"),
        ({"subject": {**SUBJECT, "properties": {"st\u03b1tus": "suspended"}}}, "status"),
        ({"subject": {**SUBJECT, "properties": {"attributes": {"st\u03b1tus": "x"}}}}, "belongs to subject.properties"),
        ({"resource": {**RESOURCE, "properties": {"cont\u0430ins_pii": True}}}, "contains_pii"),
        ({"subject": {**SUBJECT, "properties": {7: 1}}}, "not text"),
    ],
)
def test_nothing_is_passed_over(body, named):
    """What policies would not see, or see in two versions, is refused, and the message names it."""
    with pytest.raises(RequestError, match=named):
        request_from_authzen({**evaluation(), **body})


@pytest.mark.parametrize(
    "request_",
    [
        AccessRequest({**SUBJECT, "email": "a@b"}, "read", RESOURCE),
        AccessRequest({**SUBJECT, "attributes": {"status": "active"}}, "read", RESOURCE),
        AccessRequest({**SUBJECT, "attributes": {"workspace_id": "w"}}, "read", RESOURCE),
    ],
)
def test_what_would_arrive_elsewhere_is_not_sent(request_):
    """A request that AuthZEN has no place for is refused before it is asked."""
    with pytest.raises(RequestError):
        request_to_authzen(request_)


NAMES = st.sampled_from(["clearance", "team", "x", "y_z", "Großes", "roles2"])
PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8"), max_size=8)
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(["high", "low"]) if name == "clearance" else VALUES
        for name in ("clearance", "team", "x", "y_z", "roles2")
    }
    | {"org_id": st.just("o-2"), "region": st.just("eu"), "jurisdiction": st.just("eu")},
)
SUBJECTS = st.fixed_dictionaries(
    {"id": st.just("u-1"), "type": st.just("user")},
    optional={
        "status": st.just("active"),
        "org_id": st.just("o-1"),
        "workspace_id": st.just("w"),
        "attributes": ATTRIBUTES.filter(bool),
    },
)


@given(
    SUBJECTS,
    st.sampled_from(["read", "delete"]),
    st.dictionaries(st.sampled_from(["owner", "flag", "data"]), st.text("abc", max_size=3), max_size=3),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.dictionaries(NAMES, VALUES, max_size=2),
)
def test_there_and_back_again(subject, action, more, context, action_properties):
    """A request that can be sent arrives as the same request, after JSON as well."""
    environment = context | ({"action_properties": action_properties} if action_properties else {})
    before = AccessRequest(subject, action, {**RESOURCE, **more}, environment)
    sent = json.loads(json.dumps(request_to_authzen(before)))

    assert request_from_authzen(sent) == before


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=12), inner), max_leaves=20))
def test_any_value_is_a_request_or_refused_by_name(value):
    """Whatever is no request, batch or answer is an error of its kind."""
    for read, error in (
        (request_from_authzen, RequestError),
        (batch_from_authzen, RequestError),
        (opinion_from_authzen, EngineError),
    ):
        try:
            found = read(value)
        except error:
            continue
        assert read is not opinion_from_authzen or isinstance(found, Opinion)


def test_defaults_fill_in_what_an_evaluation_leaves_out():
    """An entity of an evaluation replaces the default whole, but for required members that it does not have."""
    batch = batch_from_authzen(
        {
            "subject": SUBJECT,
            "action": {"name": "read", "properties": {"method": "GET"}},
            "resource": {"type": "document", "properties": {"owner": "u-1"}},
            "context": {"ip": "192.0.2.1"},
            "evaluations": [
                {"resource": {"id": "d-1"}},
                {"resource": {"id": "f-1", "type": "folder"}, "context": {}, "action": {"name": "list"}},
                5,
            ],
        }
    )

    assert batch.evaluations == (
        {
            "subject": SUBJECT,
            "action": {"name": "read", "properties": {"method": "GET"}},
            "resource": {"type": "document", "id": "d-1"},
            "context": {"ip": "192.0.2.1"},
        },
        {
            "subject": SUBJECT,
            "action": {"name": "list"},
            "resource": {"type": "folder", "id": "f-1"},
            "context": {},
        },
        5,
    )


def test_a_decision_on_the_wire_says_all_there_is():
    """Reason, verdict, record, policies and obligations are in the context; undetermined is no permit."""
    decision = Decision.allowed(
        "policy.a", "because", obligations=[Obligation("o", "step-up", {"x": 1})], facts={"policy_digest": "sha256:1"}
    ).recorded("e-1")

    assert response_to_authzen(decision) == {
        "decision": True,
        "context": {
            "reason": "policy.a",
            "verdict": "allow",
            "message": "because",
            "audit_id": "e-1",
            "durable": True,
            "policy_digest": "sha256:1",
            "obligations": [{"id": "o", "type": "step-up", "properties": {"x": 1}}],
        },
    }
    waiting = response_to_authzen(decision.recorded("e-2", durable=False))["context"]
    assert (waiting["audit_id"], waiting["durable"]) == ("e-2", False)
    assert response_to_authzen(Decision.undetermined("audit.unavailable")) == {
        "decision": False,
        "context": {"reason": "audit.unavailable", "verdict": "undetermined"},
    }
