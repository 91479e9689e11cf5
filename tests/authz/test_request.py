from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.authz import RequestError, build_request, request_from_dict
from companyos.authz.request import MAX_DEPTH, MAX_SIZE

SUBJECT = {"id": "u-1", "type": "user"}
RESOURCE = {"id": "d-1", "type": "document"}


def _nested(levels):
    value = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


def _endless():
    value = {}
    value["self"] = value
    return value


BAD = {
    "subject is a text": ("u-1", "read", RESOURCE, None),
    "subject is missing": (None, "read", RESOURCE, None),
    "no subject id": ({"type": "user"}, "read", RESOURCE, None),
    "no subject type": ({"id": "u-1"}, "read", RESOURCE, None),
    "no resource id": (SUBJECT, "read", {"type": "document"}, None),
    "no resource type": (SUBJECT, "read", {"id": "d-1"}, None),
    "an id that is a number": ({"id": 1, "type": "user"}, "read", RESOURCE, None),
    "an empty id": ({"id": "", "type": "user"}, "read", RESOURCE, None),
    "a padded id": ({"id": "u-1 ", "type": "user"}, "read", RESOURCE, None),
    "an endless id": ({"id": "u" * 257, "type": "user"}, "read", RESOURCE, None),
    "an id with a zero-width space": ({"id": "u\u200b-1", "type": "user"}, "read", RESOURCE, None),
    "an id with a reversal of direction": ({"id": "u\u202e-1", "type": "user"}, "read", RESOURCE, None),
    "an id with a line break": ({"id": "u\n1", "type": "user"}, "read", RESOURCE, None),
    "an id in decomposed Unicode": ({"id": "e\u0301", "type": "user"}, "read", RESOURCE, None),
    "an id with a lone surrogate": ({"id": "\ud800", "type": "user"}, "read", RESOURCE, None),
    "an id with a filler that is a letter": ({"id": "u\u3164", "type": "user"}, "read", RESOURCE, None),
    "an id with a variation selector": ({"id": "u\ufe0f-1", "type": "user"}, "read", RESOURCE, None),
    "a resource id with a blank pattern": (SUBJECT, "read", {"id": "d\u2800", "type": "document"}, None),
    "an id in wide letters": ({"id": "\uff41dmin", "type": "user"}, "read", RESOURCE, None),
    "an id in styled letters": ({"id": "\U0001d41admin", "type": "user"}, "read", RESOURCE, None),
    "an action that is nothing": (SUBJECT, None, RESOURCE, None),
    "an action that is empty": (SUBJECT, "", RESOURCE, None),
    "an action that is a list": (SUBJECT, ["read"], RESOURCE, None),
    "an action in capitals": (SUBJECT, "EXPORT", RESOURCE, None),
    "an action with a capital": (SUBJECT, "Delete", RESOURCE, None),
    "an action in wide letters": (SUBJECT, "\uff44elete", RESOURCE, None),
    "an action with a long s": (SUBJECT, "tran\u017ffer", RESOURCE, None),
    "an action with a filler": (SUBJECT, "delete\u3164", RESOURCE, None),
    "personal data as a text": (SUBJECT, "read", {**RESOURCE, "contains_pii": "true"}, None),
    "personal data as a number": (SUBJECT, "read", {**RESOURCE, "contains_pii": 1}, None),
    "personal data in capitals": (SUBJECT, "read", {**RESOURCE, "Contains_PII": True}, None),
    "personal data in camel case": (SUBJECT, "read", {**RESOURCE, "containsPii": True}, None),
    "personal data with a hyphen": (SUBJECT, "read", {**RESOURCE, "contains-pii": True}, None),
    "personal data in wide letters": (SUBJECT, "read", {**RESOURCE, "contains_\uff50ii": True}, None),
    "a second spelling beside the first": (SUBJECT, "read", {**RESOURCE, "region": "eu", "Region": "us"}, None),
    "a status in capitals": ({**SUBJECT, "STATUS": "suspended"}, "read", RESOURCE, None),
    "attributes in capitals": ({**SUBJECT, "Attributes": {}}, "read", RESOURCE, None),
    "a region attribute with a capital": ({**SUBJECT, "attributes": {"Region": "us"}}, "read", RESOURCE, None),
    "a destination in camel case": (SUBJECT, "read", RESOURCE, {"destinationRegion": "us"}),
    "properties of a resource": (SUBJECT, "read", {**RESOURCE, "properties": {"contains_pii": True}}, None),
    "attributes of a resource": (SUBJECT, "read", {**RESOURCE, "attributes": {"contains_pii": True}}, None),
    "properties of a subject": ({**SUBJECT, "properties": {"status": "suspended"}}, "read", RESOURCE, None),
    "properties of an environment": (SUBJECT, "read", RESOURCE, {"properties": {"destination_region": "us"}}),
    "a region that is a list": (SUBJECT, "read", {**RESOURCE, "region": ["eu"]}, None),
    "an owner that is nothing": (SUBJECT, "read", {**RESOURCE, "owner": None}, None),
    "a clearance that is true": ({**SUBJECT, "attributes": {"clearance": True}}, "read", RESOURCE, None),
    "attributes that are a list": ({**SUBJECT, "attributes": []}, "read", RESOURCE, None),
    "roles that are a text": ({**SUBJECT, "attributes": {"roles": "admin"}}, "read", RESOURCE, None),
    "roles that hold a number": ({**SUBJECT, "attributes": {"roles": [1]}}, "read", RESOURCE, None),
    "masked fields that are a text": (SUBJECT, "read", {**RESOURCE, "masked_fields": "iban"}, None),
    "a ticket that is true": (SUBJECT, "read", RESOURCE, {"approval_ticket": True}),
    "a ticket that is a zero-width space": (SUBJECT, "read", RESOURCE, {"approval_ticket": "\u200b"}),
    "a ticket with a line break": (SUBJECT, "read", RESOURCE, {"approval_ticket": "CHG-1\n"}),
    "a strength that is true": (SUBJECT, "read", RESOURCE, {"auth_strength": True}),
    "an environment that is a list": (SUBJECT, "read", RESOURCE, []),
    "bytes": (SUBJECT, "read", {**RESOURCE, "body": b"x"}, None),
    "a set": (SUBJECT, "read", {**RESOURCE, "tags": {"a"}}, None),
    "an object": (SUBJECT, "read", {**RESOURCE, "self": object()}, None),
    "not a number": (SUBJECT, "read", {**RESOURCE, "size": float("nan")}, None),
    "infinity": (SUBJECT, "read", {**RESOURCE, "size": float("inf")}, None),
    "an integer that JSON loses": (SUBJECT, "read", {**RESOURCE, "size": 2**53}, None),
    "a key that is a number": (SUBJECT, "read", {**RESOURCE, 1: "x"}, None),
    "a key with a lone surrogate": (SUBJECT, "read", {**RESOURCE, "\udfff": "x"}, None),
    "10 MB of text": (SUBJECT, "read", {**RESOURCE, "body": "x" * 10_000_000}, None),
    "10 MB of key": (SUBJECT, "read", {**RESOURCE, "x" * 10_000_000: 1}, None),
    "a million values": (SUBJECT, "read", {**RESOURCE, "many": [0] * 1_000_000}, None),
    "10,000 levels": (SUBJECT, "read", {**RESOURCE, "deep": _nested(10_000)}, None),
    "a value that holds itself": (SUBJECT, "read", {**RESOURCE, "deep": _endless()}, None),
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_malformed(arguments):
    """A malformed request is refused by name, with a short message."""
    with pytest.raises(RequestError) as caught:
        build_request(*arguments)

    assert caught.value.code == "authz.request"
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_malformed_is_denied_and_recorded(authorizer, ledger, arguments):
    """`authorize` answers a malformed request with a recorded deny; none of its values reaches the ledger."""
    decision = authorizer.authorize(*arguments)
    (entry,) = ledger.read()

    assert (decision.verdict.value, decision.reason) == ("deny", "request.invalid")
    assert entry.id == decision.audit_id
    assert entry.data["actor"] is None
    assert "got" not in entry.data["message"]


@pytest.mark.parametrize("value", [None, [], "x", {}, {"subject": SUBJECT}, {"subject": 1, "acton": 2, "resource": 3}])
def test_not_a_request(authorizer, value):
    """A JSON value that is no request at all is denied."""
    assert authorizer.authorize_dict(value).reason == "request.invalid"


@pytest.mark.parametrize(
    ("resource", "match"),
    [
        ({"Contains_PII": True}, "got: Contains_PII\n  next: write contains_pii"),
        (
            {"properties": {"contains_pii": True}},
            r"reads resource\.properties\n  next: put what it holds into resource",
        ),
    ],
)
def test_the_right_name_is_said(resource, match):
    """Who misspells an attribute, or puts it where no policy reads it, is told the right name."""
    with pytest.raises(RequestError, match=match):
        build_request(SUBJECT, "read", {**RESOURCE, **resource})


def test_names_of_ones_own():
    """What no policy of the playbook reads may be called as one likes."""
    build_request(SUBJECT, "read", {**RESOURCE, "Title": "x", "region_note": "y", "properties": ["a"]})


def test_an_id_in_another_script_is_an_id():
    """Names are not held to ASCII, and a file may be called what it likes."""
    request = build_request({"id": "j\u00fcrgen", "type": "user"}, "read", {"id": "m\u00b2.pdf", "type": "document"})

    assert (request.subject["id"], request.resource["id"]) == ("j\u00fcrgen", "m\u00b2.pdf")


def test_the_plain_spelling_of_an_action_is_named():
    """Who writes an action in capitals is told how to write it."""
    with pytest.raises(RequestError, match="lower case: 'delete'"):
        build_request(SUBJECT, "Delete", RESOURCE)


def test_limits_are_those_documented():
    """What is just within the limits passes."""
    room = MAX_SIZE - 200

    build_request(SUBJECT, "read", {**RESOURCE, "deep": _nested(MAX_DEPTH - 2), "body": "x" * room})


def test_the_request_is_a_copy():
    """What a caller changes later does not reach the request."""
    resource = {**RESOURCE, "tags": ["a"]}
    request = build_request(SUBJECT, "read", resource)
    resource["tags"].append("b")

    assert request.resource["tags"] == ["a"]


def test_look_alikes_are_different_ids():
    """A Cyrillic letter that looks like a Latin one makes another id, and is taken as it is."""
    request = build_request({"id": "\u0430dmin", "type": "user"}, "read", RESOURCE)

    assert request.subject["id"] != "admin"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_keys = st.sampled_from(
    ["id", "type", "attributes", "region", "contains_pii", "owner", "roles", "clearance", "ip", "x", "__proto__"]
)
_part = st.dictionaries(_keys, _json | st.sampled_from(["u-1", "user"]), max_size=5)


@given(_part, st.sampled_from(["read", "export", "delete"]) | st.text(max_size=5), _part, _part | st.none())
def test_any_values_give_a_request_or_a_refusal(playbook, subject, action, resource, environment):
    """Whatever is sent, the parser answers with a request that the engine can judge, or with a `RequestError`."""
    try:
        request = build_request(subject, action, resource, environment)
    except RequestError:
        return
    opinion = playbook.decide(request)

    assert request == request_from_dict(json.loads(json.dumps(request.to_dict())))
    assert opinion.reason
