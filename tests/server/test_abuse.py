"""What a server meets from those who mean no good, or know no better: refused by name, and the server stays up."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.error
import urllib.request

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.conftest import POLICY, Running, entries, request, write_company
from tests.server.test_authentication import until

EXPLODING = (
    POLICY
    + """
deny contains {"id": "cert.never"} if {
	input.action == "explode"
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a * b == -1
}

obligation contains {"id": "require_mfa", "type": "step-up", "properties": {"acr_value": "loa:3"}} if {
	input.resource.status == "secret"
}

obligation contains {"id": "dance", "type": "custom", "properties": {}} if input.resource.status == "odd"
"""
)


@pytest.fixture(scope="module")
def pdp(tmp_path_factory):
    """One server, with a policy among its policies that does not end."""
    from companyos.server import add_key

    directory = tmp_path_factory.mktemp("pdp")
    limits = {"body_seconds": 1, "deadline_seconds": 1, "rate_per_second": 100_000, "rate_burst": 10_000_000}
    write_company(directory, {"server": {"api_keys": "keys.yaml", **limits}}, {"policy.rego": EXPLODING})
    key = add_key(directory / "keys.yaml", "tests")
    server = Running(directory, key=key)
    server.key = key
    yield server
    assert server.stop() == 0
    assert "a request failed" not in server.log()


@pytest.fixture(autouse=True)
def _stays_up(pdp):
    """After each of these tests the server still answers, and decides."""
    yield
    assert pdp.alive()
    until(lambda: pdp.ask(request()).json()["decision"] is True)


def with_part(part, **values):
    body = request()
    return {**body, part: {**body[part], **values}}


def test_a_policy_that_explodes_is_ended_and_the_others_are_answered(pdp):
    """A request whose policy would run for hours is refused in time, and meanwhile others are decided."""
    answer = pdp.ask(request(action="explode"))

    assert answer.status_code == 200
    assert answer.json()["decision"] is False
    assert answer.json()["context"]["reason"] == "policy.timeout"
    assert answer.json()["context"]["audit_id"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param(with_part("subject", id="\u0430lice\u200b"), "subject.id", id="invisible"),
        pytest.param(with_part("subject", id="\uff41lice"), "look-alike", id="wide-letters"),
        pytest.param(with_part("subject", id="\u0430lice"), "mixes scripts", id="a-cyrillic-letter"),
        pytest.param(with_part("resource", id="record-\u2082"), "look-alike", id="a-subscript"),
        pytest.param(with_part("subject", properties={"st\u0430tus": "x"}), "status", id="almost-status"),
        pytest.param(with_part("resource", properties={"cont\u0430ins_pii": True}), "contains_pii", id="almost-pii"),
        pytest.param({**request(), "cont\u0435xt": {"ip": "192.0.2.1"}}, "context", id="context-look-alike"),
        pytest.param(with_part("subject", id="e\u0301ve"), "normal form", id="decomposed"),
        pytest.param(with_part("subject", id=""), "subject.id", id="empty-id"),
        pytest.param(with_part("subject", id=["alice"]), "subject.id", id="id-is-a-list"),
        pytest.param(with_part("subject", id="\ud800"), "Unicode", id="surrogate"),
        pytest.param(with_part("action", name="Read"), "plain spelling", id="action-in-capitals"),
        pytest.param(with_part("subject", status="suspended"), "subject.properties", id="status-misplaced"),
        pytest.param(with_part("resource", contains_pii=True), "resource.properties", id="attribute-misplaced"),
        pytest.param(with_part("resource", properties={"contains_pii": "true"}), "contains_pii", id="text-for-boolean"),
        pytest.param(with_part("resource", properties={"Contains-PII": True}), "contains_pii", id="other-spelling"),
        pytest.param(with_part("resource", properties={"id": "record-2"}), "resource.properties", id="second-id"),
        pytest.param(with_part("subject", properties={"Status": "suspended"}), "status", id="status-in-capitals"),
        pytest.param(with_part("subject", properties=[]), "subject.properties", id="properties-are-a-list"),
        pytest.param(request(context={"action_properties": {"soft": True}}), "action.properties", id="forged-action"),
        pytest.param(request(context=[]), "context", id="context-is-a-list"),
        pytest.param(request(context={"supported_obligations": "all"}), "supported_obligations", id="no-array"),
        pytest.param({**request(), "Context": {"ip": "192.0.2.1"}}, "context", id="almost-context"),
        pytest.param([request()], "object", id="a-list"),
        pytest.param(None, "object", id="null"),
        pytest.param(request(context={"deep": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}), "deeply", id="too-deep"),
        pytest.param(request(context={"text": "x" * 70_000}), "too large", id="too-large"),
    ],
)
def test_malformed_requests_are_refused_by_name(pdp, body, named):
    """Each is 400, and the message names what was wrong."""
    answer = pdp.http.post(
        "/access/v1/evaluation", content=json.dumps(body), headers={"content-type": "application/json"}
    )

    assert answer.status_code == 400
    assert named in answer.text


@pytest.mark.parametrize(
    ("action", "body"),
    [
        pytest.param("launch", None, id="unknown-action"),
        pytest.param("__class__", None, id="like-a-prototype"),
        pytest.param("write", with_part("subject", id="__proto__"), id="prototype-as-id"),
    ],
)
def test_what_no_policy_knows_is_denied(pdp, action, body):
    """An action or subject that no policy allows is denied, with a reason and a record."""
    answer = pdp.ask({**(body or request()), "action": {"name": action}}).json()

    assert (answer["decision"], answer["context"]["reason"]) == (False, "policy.default_deny")


def test_prototype_like_keys_are_only_keys(pdp):
    """`__proto__`, `constructor` and their like are names as any other, and change nothing."""
    keys = {"__proto__": {"role": "admin"}, "constructor": {"prototype": {"role": "admin"}}, "__init__": 1}
    body = {
        "subject": {"type": "user", "id": "bob", "properties": keys},
        "action": {"name": "write"},
        "resource": {"type": "record", "id": "record-2", "properties": {"status": "archived", **keys}},
        "context": keys,
    }

    assert pdp.ask(body).json()["decision"] is False


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("[" * 10_000 + "]" * 10_000, id="lists"),
        pytest.param('{"a":' * 10_000 + "1" + "}" * 10_000, id="objects"),
        pytest.param('{"context": ' + '{"a":' * 10_000 + "1" + "}" * 10_001, id="context"),
        pytest.param('{"subject": {"type": "user", "id": "a", "id": "b"}}', id="a-name-twice"),
        pytest.param('{"a": NaN}', id="nan"),
        pytest.param('{"a": 1e999, "b": -Infinity}', id="infinity"),
        pytest.param('{"a": ' + "1" * 10_000 + "}", id="long-number"),
        pytest.param(b'{"a": "\xff\xfe"}', id="not-utf-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="utf-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param("nothing", id="text"),
    ],
)
@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/access/v1/evaluations"])
def test_bodies_that_are_no_json_are_refused(pdp, content, path):
    """Nesting without measure, names twice, numbers that are none and other encodings are 400."""
    answer = pdp.http.post(path, content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 400


def test_ten_megabytes_are_refused(pdp):
    """A body above the limit is 413, whether its size is announced or not."""
    body = json.dumps(request(context={"text": "x" * 10_000_000})).encode()

    def chunks():
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    kind = {"content-type": "application/json"}
    announced = pdp.http.post("/access/v1/evaluation", content=body, headers=kind)
    streamed = pdp.http.post("/access/v1/evaluation", content=chunks(), headers=kind)

    assert [announced.status_code, streamed.status_code] == [413, 413]


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "in-chunks"])
def test_who_reads_only_when_all_is_sent_reads_the_refusal(pdp, is_announced):
    """The standard library's client sends all of ten megabytes before it reads: it gets the 413 and no reset."""
    body = json.dumps(request(context={"text": "x" * 10_000_000})).encode()
    data = body if is_announced else (body[at : at + 65_536] for at in range(0, len(body), 65_536))
    headers = {"content-type": "application/json", "x-api-key": pdp.key}
    asked = urllib.request.Request(f"{pdp.url}/access/v1/evaluation", data, headers)  # noqa: S310 - our own server

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60)
    with caught.value as answer:
        assert (answer.code, answer.read()) == (413, b"the body is larger than 1048576 bytes")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("content-length: 10000000\r\nexpect: 100-continue\r\n", id="on-demand"),
        pytest.param("content-length: 100000000000\r\n", id="without-measure"),
        pytest.param(f"content-length: {'9' * 5000}\r\n", id="a-length-that-is-none"),
    ],
)
def test_what_need_not_be_read_is_refused_at_once(pdp, head):
    """Who waits to be told before sending, or announces more than is ever read, is refused without a byte of it."""
    start = HEAD + f"x-api-key: {pdp.key}\r\nconnection: close\r\n{head}\r\n".encode()

    assert raw(pdp, start).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_path_that_is_almost_right_leads_nowhere(pdp):
    """Nobody is sent elsewhere with a body that many clients then leave behind."""
    answer = pdp.ask(request(), "/access/v1/evaluation/")

    assert (answer.status_code, "location" in answer.headers) == (404, False)


def test_too_many_evaluations_are_refused(pdp):
    """A batch has an end."""
    answer = pdp.ask({**request(), "evaluations": [{}] * 101}, "/access/v1/evaluations")

    assert (answer.status_code, "at most 100" in answer.text) == (400, True)


@pytest.mark.parametrize(
    "options", [{"evaluations_semantic": "some"}, {"evaluation_semantics": "execute_all"}, {"evaluations_semantic": []}]
)
def test_an_unknown_semantic_is_refused(pdp, options):
    """A batch is not evaluated by a semantic that nobody knows, nor under a name that is almost the right one."""
    answer = pdp.ask({**request(), "evaluations": [{}], "options": options}, "/access/v1/evaluations")

    assert answer.status_code == 400


def raw(pdp, *pieces, pause=0.0):
    """What the server answers to bytes, sent piece by piece; empty if it just hangs up."""
    host, _, port = pdp.url.removeprefix("http://").rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                received += part
    return received.split(b"\r\n", 1)[0]


HEAD = b"POST /access/v1/evaluation HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def test_a_head_without_end_is_cut(pdp):
    """Headers that are too large, too many or never complete end the connection."""
    key = f"x-api-key: {pdp.key}\r\n".encode()

    assert raw(pdp, HEAD, *[b"a: " + b"x" * 8000 + b"\r\n"] * 20) in {
        b"HTTP/1.1 431 Request Header Fields Too Large",
        b"",
    }
    assert raw(pdp, HEAD + b"connection: close\r\n" + b"a: b\r\n" * 200 + b"\r\n").startswith(b"HTTP/1.1 431")
    assert raw(pdp, HEAD + b"connection: close\r\n" + b"a: " + b"x" * 40_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431")
    assert raw(pdp, HEAD + key).startswith(b"HTTP/1.1 408")


def test_a_body_that_does_not_come_is_cut(pdp):
    """A caller who announces a body and sends it a byte at a time is told 408."""
    head = HEAD + f"x-api-key: {pdp.key}\r\ncontent-length: 1000\r\n\r\n".encode()

    assert raw(pdp, head, *[b"{"] * 8, pause=0.2).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_hung_up_on(pdp, content):
    """Other protocols, and requests that are none, get an error or nothing."""
    answer = raw(pdp, content, b"", pause=0.1)

    assert answer == b"" or answer.startswith((b"HTTP/1.1 4",))


@pytest.mark.parametrize("value", ["", "a b", "x" * 129])
def test_a_request_id_that_cannot_be_echoed_is_refused(pdp, value):
    """An id with spaces, or without measure, is 400 and not replaced in silence."""
    assert pdp.ask(request(), **{"x-request-id": value}).status_code == 400


def test_answers_carry_what_protects_them(pdp):
    """Errors and decisions alike say that they are not to be cached, sniffed or framed."""
    for answer in (pdp.ask(request()), pdp.ask({}), pdp.http.get("/nowhere"), pdp.http.get("/access/v1/evaluation")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers
    assert [pdp.http.get("/nowhere").status_code, pdp.http.get("/access/v1/evaluation").status_code] == [404, 405]


def test_obligations_are_in_the_context(pdp):
    """An allow with an obligation carries it; one that nobody knows is a deny."""
    secret = with_part("resource", properties={"status": "secret"})

    answer = pdp.ask(secret).json()
    assert answer["decision"] is True
    assert answer["context"]["obligations"] == [
        {"id": "require_mfa", "type": "step-up", "properties": {"acr_value": "loa:3"}}
    ]
    odd = pdp.ask(with_part("resource", properties={"status": "odd"})).json()
    assert (odd["decision"], odd["context"]["reason"]) == (False, "obligation.unhandled")


@pytest.mark.parametrize(
    ("supported", "expected"),
    [
        (["step-up", "custom"], (True, "cert.read")),
        (["custom", "levitation"], (False, "obligation.unsupported")),
        ([], (False, "obligation.unsupported")),
    ],
)
def test_what_a_caller_cannot_carry_out_is_denied(pdp, supported, expected):
    """A caller that names the obligations it supports is denied what needs another one, and that is on record."""
    body = with_part("resource", properties={"status": "secret"})
    answer = pdp.ask({**body, "context": {"supported_obligations": supported}}).json()

    assert (answer["decision"], answer["context"]["reason"]) == expected
    assert answer["context"]["obligations"]


def test_the_trace_of_the_caller_is_on_record(start):
    """The trace id of `traceparent` is in the ledger's entry of the decision; a malformed one is left out."""
    server = start(None, {"policy.rego": POLICY})
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    named = server.ask(request(), traceparent=f"00-{trace}-00f067aa0ba902b7-01").json()["context"]["audit_id"]
    server.ask(request(), traceparent=f"00-{trace}-0000000000000000-01")
    server.stop()
    found = {entry.id: entry.data["trace_id"] for entry in entries(server.directory, "companyos.authz.decision")}

    assert found.pop(named) == trace
    assert list(found.values()) == [None]


def test_each_malformed_request_is_on_record(start):
    """A request that cannot be read as one is an entry, with the caller's trace, and so is each one of a batch."""
    server = start(None, {"policy.rego": POLICY})
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    stranger = {"subject": {"type": "user", "id": "alice", "role": "x"}}
    for body, path in (
        ({**request(), **stranger}, "evaluation"),
        ({**request(), "evaluations": 3}, "evaluations"),
        (request(), "evaluation"),
        ([7], "evaluations"),
    ):
        server.ask(body, f"/access/v1/{path}", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    items = [{}, {"subject": []}, {"resource": 3}, stranger, 7]
    answers = server.ask({**request(), "evaluations": items}, "/access/v1/evaluations").json()["evaluations"]
    server.stop()
    found = {entry.id: entry.data for entry in entries(server.directory, "companyos.authz.decision")}
    named = [answer["context"]["audit_id"] for answer in answers]

    assert [answer["context"]["reason"] for answer in answers] == ["cert.read", *["request.invalid"] * 4]
    assert [answer["context"]["error"]["status"] for answer in answers[1:]] == [400] * 4
    assert [found[name]["reason"] for name in named] == ["cert.read", *["request.invalid"] * 4]
    others = [data for name, data in found.items() if name not in named]
    assert sorted(data["reason"] for data in others) == ["cert.read", *["request.invalid"] * 3]
    assert {data["trace_id"] for data in others} == {trace}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from(["subject", "action", "resource", "context", "evaluations", "options", "x"]), VALUES, max_size=6
    )
    | VALUES,
    st.sampled_from(["/access/v1/evaluation", "/access/v1/evaluations"]),
)
def test_whatever_comes_is_answered(pdp, body, path):
    """Any JSON value is decided or refused: 200 with a decision that denies, or 400 with a sentence."""
    answer = pdp.http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})

    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        assert answer.text
