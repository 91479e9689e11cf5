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
    "an id with a Cyrillic letter": ({"id": "\u0430dmin", "type": "user"}, "read", RESOURCE, None),
    "an id with a Greek letter": ({"id": "r\u03bfot", "type": "user"}, "read", RESOURCE, None),
    "an id with an Armenian letter": ({"id": "b\u0585b", "type": "user"}, "read", RESOURCE, None),
    "an id with a Cherokee letter": ({"id": "\u13aadmin", "type": "user"}, "read", RESOURCE, None),
    "an id with a Lisu letter": ({"id": "\ua4d0ob", "type": "user"}, "read", RESOURCE, None),
    "an id with a phonetic letter": ({"id": "\u0251dmin", "type": "user"}, "read", RESOURCE, None),
    "an id with small capitals": ({"id": "\u1d00dmin", "type": "user"}, "read", RESOURCE, None),
    "an id with a Cyrillic letter set apart": ({"id": "\u0430-dmin", "type": "user"}, "read", RESOURCE, None),
    "a Cyrillic name that reads as a Latin one": (
        {"id": "\u0441\u043e\u0441\u043e@example.com", "type": "user"},
        "read",
        RESOURCE,
        None,
    ),
    "an id in two scripts that are not Latin": ({"id": "\u03b1.\u0430", "type": "user"}, "read", RESOURCE, None),
    "a subject's type with a Cyrillic letter": ({"id": "u", "type": "us\u0435r"}, "read", RESOURCE, None),
    "a resource's id with a Cyrillic letter": (SUBJECT, "read", {"id": "p\u0430yroll", "type": "document"}, None),
    "a resource's id in wide letters": (SUBJECT, "read", {"id": "\uff41bc", "type": "document"}, None),
    "a resource's id with a subscript": (SUBJECT, "read", {"id": "d-\u2081", "type": "document"}, None),
    "a resource's type with a Cyrillic letter": (SUBJECT, "read", {"id": "d", "type": "secr\u0435t"}, None),
    "an owner with a Cyrillic letter": (SUBJECT, "read", {**RESOURCE, "owner": "\u0430nn"}, None),
    "an owner in wide letters": (SUBJECT, "read", {**RESOURCE, "owner": "\uff41nn"}, None),
    "a domain with a Cyrillic letter": (SUBJECT, "read", {**RESOURCE, "domain": "fin\u0430nce"}, None),
    "a service with a Cyrillic letter": (SUBJECT, "read", {**RESOURCE, "service": "p\u0430yroll"}, None),
    "an action with a Cyrillic letter": (SUBJECT, "d\u0435lete", RESOURCE, None),
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
    "personal data with a Cyrillic letter": (SUBJECT, "read", {**RESOURCE, "cont\u0430ins_pii": True}, None),
    "personal data in capitals with a Cyrillic one": (SUBJECT, "read", {**RESOURCE, "CONT\u0410INS_PII": True}, None),
    "personal data with an l for an i": (SUBJECT, "read", {**RESOURCE, "contalns_pii": True}, None),
    "personal data with another hyphen": (SUBJECT, "read", {**RESOURCE, "contains\u2010pii": True}, None),
    "personal data with a zero-width space": (SUBJECT, "read", {**RESOURCE, "contains\u200b_pii": True}, None),
    "personal data with a second dot": (SUBJECT, "read", {**RESOURCE, "contai\u0307ns_pii": True}, None),
    "a region without a dot": (SUBJECT, "read", {**RESOURCE, "reg\u0131on": "us"}, None),
    "a clearance with a digit": (SUBJECT, "read", {**RESOURCE, "required_c1earance": "high"}, None),
    "an owner with a digit": (SUBJECT, "read", {**RESOURCE, "0wner": "u-2"}, None),
    "a status with a Greek letter": ({**SUBJECT, "st\u03b1tus": "suspended"}, "read", RESOURCE, None),
    "attributes with a Cyrillic letter": ({**SUBJECT, "attribut\u0435s": {}}, "read", RESOURCE, None),
    "roles with a small capital": ({**SUBJECT, "attributes": {"role\ua731": []}}, "read", RESOURCE, None),
    "a destination with a Cyrillic letter": (SUBJECT, "read", RESOURCE, {"destination_regi\u043en": "us"}),
    "a key of one's own with a Cyrillic letter": (SUBJECT, "read", {**RESOURCE, "p\u0430yload": 1}, None),
    "an endless key beyond ASCII": (SUBJECT, "read", {**RESOURCE, "\u00e9" * 257: 1}, None),
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


class Broken(dict):
    """A mapping that fails while it is read."""

    def __init__(self, method):
        super().__init__(id="secret-1", type="user")
        self.method = method

    def items(self):
        if self.method == "items":
            raise RuntimeError("secret-1")
        return super().items()

    def get(self, key, default=None):
        if self.method == "get":
            raise RuntimeError("secret-1")
        return super().get(key, default)

    def __contains__(self, key):
        if self.method == "contains":
            raise OSError("secret-1")
        return super().__contains__(key)


@pytest.mark.parametrize(
    "arguments",
    [
        (Broken("items"), "read", RESOURCE),
        (SUBJECT, "read", Broken("items")),
        (SUBJECT, "read", RESOURCE, Broken("items")),
        ({**SUBJECT, "attributes": Broken("items")}, "read", RESOURCE),
        (SUBJECT, "read", {**RESOURCE, "more": [{"a": Broken("items")}]}),
    ],
    ids=["subject", "resource", "environment", "attributes", "deep within"],
)
def test_what_cannot_be_read_is_denied_and_recorded(authorizer, ledger, arguments):
    """A mapping that raises while it is read is a malformed request, recorded without what it said."""
    decision = authorizer.authorize(*arguments)
    (entry,) = ledger.read()

    assert (decision.verdict.value, decision.reason) == ("deny", "request.invalid")
    assert "RuntimeError" in decision.message
    assert entry.id == decision.audit_id
    assert "secret-1" not in str(entry.data) + decision.message


@pytest.mark.parametrize("method", ["get", "contains", "items"])
def test_whole_requests_that_cannot_be_read(authorizer, ledger, method):
    """Nor does a whole request escape, one of many or alone."""
    broken = Broken(method)
    broken.update(subject=SUBJECT, action="read", resource=Broken("items"))
    answers = [authorizer.authorize_dict(broken), *authorizer.authorize_many([broken])]

    assert [answer.reason for answer in answers] == ["request.invalid"] * 2
    assert [entry.id for entry in ledger.read()] == [answer.audit_id for answer in answers]


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
    own = {"Title": "x", "region_note": "y", "properties": ["a"], "1d": 1}
    beyond = {"\u540d\u524d": "z", "gr\u00f6\u00dfe_m\u00b2": 1, "\u0446\u0435\u043d\u0430_usd": 1, "r\u00e9gion": "x"}

    build_request(SUBJECT, "read", {**RESOURCE, **own, **beyond}, {"lp": "x"})


@pytest.mark.parametrize(
    "name",
    [
        "j\u00fcrgen",
        "\u0131\u015f\u0131k",
        "\u0438\u0432\u0430\u043d",
        "\u0421\u0430\u0440\u0430",
        "\u0438\u0432\u0430\u043d@example.com",
        "CN=\u0418\u0432\u0430\u043d\u043e\u0432,OU=users",
        "\u043e\u0442\u0447\u0451\u0442-2026_v2.pdf",
        "\u0391\u03b8\u03ae\u03bd\u03b1",
        "\u5c71\u7530\u592a\u90ce",
        "\u30e6\u30fc\u30b6\u30fc1",
        "iPhone\u624b\u673a.pdf",
        "\uae40\ucca0\uc218",
        "\u0645\u062d\u0645\u062f",
        "\u0e44\u0e1f\u0e25\u0e4cv2",
        "\u05e9\u05dc\u05d5\u05dd@example.com",
        "O\u02bbzbek",
    ],
)
def test_an_id_in_another_script_is_an_id(name):
    """Names are not held to ASCII: one script, or one beside Latin where no word could be read as another."""
    request = build_request({"id": name, "type": "user"}, "read", {"id": name, "type": "document", "owner": name})

    assert (request.subject["id"], request.resource["id"], request.resource["owner"]) == (name, name, name)


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


class Masquerade(str):
    """A text that says of itself whatever is asked for."""

    __slots__ = ()

    def isascii(self):
        return True

    def __len__(self):
        return 1

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


def test_texts_of_a_subclass_are_texts():
    """Of a text that overrides what a text is, the text alone is judged."""
    subject = {"id": Masquerade("u-1"), "type": "user"}
    request = build_request(subject, Masquerade("read"), {**RESOURCE, "note": [Masquerade("x")], Masquerade("k"): 1})

    assert {type(request.subject["id"]), type(request.action), type(request.resource["note"][0])} == {str}
    assert {type(key) for key in request.resource} == {str}
    with pytest.raises(RequestError, match="look alike"):
        build_request({"id": Masquerade("\u0430dmin"), "type": "user"}, "read", RESOURCE)


_LETTERS = st.sampled_from("\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u03bf\u03c1\u0585\u057d\u13aa\ua4d0\u1d00\uff41")


_LATIN = st.text(st.sampled_from("abcxyz"), min_size=1, max_size=4)


@given(_LATIN, _LETTERS, st.text(st.sampled_from("abc1_-."), max_size=4))
def test_no_letter_passes_for_a_latin_one(before, letter, after):
    """Wherever a look-alike stands in a Latin name, the name is no id."""
    with pytest.raises(RequestError):
        build_request({"id": f"{before}{letter}{after}", "type": "user"}, "read", RESOURCE)


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


def _carrying(value):
    return {"subject": {"id": "u", "type": "user"}, "action": "read", "resource": {"id": "r", "type": "t", "x": value}}


@pytest.mark.parametrize(
    "stray", [2**53, -(2**53), float("nan"), "\ud800", object(), b"x", {1: 2}], ids=["up", "down", "nan", *"tobm"]
)
@pytest.mark.parametrize("plain", [list(range(20)), ["a"] * 20], ids=["numbers", "texts"])
@pytest.mark.parametrize("shape", [list, tuple, lambda items: {f"k{n}": item for n, item in enumerate(items)}])
def test_one_stray_item_in_many_plain_ones_is_refused(shape, plain, stray):
    """What is copied in bulk is held to the same rules as what is walked."""
    with pytest.raises(RequestError):
        request_from_dict(_carrying(shape([*plain, stray])))


@given(st.lists(st.integers(-9, 9) | st.booleans() | st.text("aé", max_size=2) | st.floats(-1, 1), max_size=30))
def test_a_long_list_is_copied_as_it_is(items):
    """Items keep their values and types, whichever way they are copied, and stay what they were."""
    given_items = list(items)
    request = request_from_dict(_carrying(given_items))
    given_items.append("later")
    held = request.to_dict()["resource"]["x"]
    assert [(type(item), item) for item in held] == [(type(item), item) for item in items]


@pytest.mark.parametrize("item", [0, "", "four"])
def test_a_long_list_counts_towards_the_size(item):
    """As many items as the limit are too many, also when they are copied in bulk."""
    with pytest.raises(RequestError, match="too large"):
        request_from_dict(_carrying([item] * MAX_SIZE))
