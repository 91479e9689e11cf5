"""The certification scenario of the AuthZEN Authorization API 1.0: Basic, Batch and Discovery, over TLS.

Each request and response is held against the schemas (`conformance.py`), as in all tests of the server.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server.conformance import schema
from tests.server.conftest import POLICY, Running, write_company

ALICE, BOB = {"type": "user", "id": "alice"}, {"type": "user", "id": "bob"}
ADMIN = {**BOB, "properties": {"role": "admin"}}
READ, WRITE = {"name": "read"}, {"name": "write"}
ONE, TWO = {"type": "record", "id": "record-1"}, {"type": "record", "id": "record-2"}
ACTIVE = {**ONE, "properties": {"status": "active"}}
ARCHIVED = {**TWO, "properties": {"status": "archived"}}


def evaluation(subject=ALICE, action=READ, resource=ONE, **more):
    return {"subject": subject, "action": action, "resource": resource, **more}


def certificate(directory):
    """A certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pdp")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "tls.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="module")
def pdp(tmp_path_factory):
    """One server over TLS with the fixture of the scenario."""
    from companyos.server import add_key

    directory = tmp_path_factory.mktemp("pdp")
    settings = {"server": {"api_keys": "keys.yaml", "tls_certificate": "tls.pem", "tls_key": "tls.key"}}
    write_company(directory, settings, {"policy.rego": POLICY})
    certificate(directory)
    trusted = ssl.create_default_context(cafile=str(directory / "tls.pem"))
    server = Running(directory, key=add_key(directory / "keys.yaml", "harness"), verify=trusted)
    yield server
    assert server.stop() == 0


def decided(pdp, body, path="/access/v1/evaluation"):
    """The decision of one evaluation."""
    answer = pdp.ask(body, path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["decision"]


def batch(pdp, body):
    """The decisions of a batch."""
    answer = pdp.ask(body, "/access/v1/evaluations")
    assert answer.status_code == 200, answer.text
    return [item["decision"] for item in answer.json()["evaluations"]]


RULES = [
    pytest.param(evaluation(ALICE, READ, ONE), True, id="1-alice-reads"),
    pytest.param(evaluation(ALICE, WRITE, ONE), True, id="2-alice-writes"),
    pytest.param(evaluation(BOB, READ, ONE), True, id="3-bob-reads"),
    pytest.param(evaluation(BOB, WRITE, ONE), False, id="4-bob-does-not-write"),
    pytest.param(evaluation(ALICE, WRITE, ARCHIVED), False, id="5-archived"),
    pytest.param(evaluation(ADMIN, WRITE, ARCHIVED), True, id="6-admin"),
    pytest.param(evaluation(ALICE, {"name": "delete", "properties": {"soft": True}}, ONE), True, id="7-soft"),
    pytest.param(evaluation(ALICE, {"name": "delete", "properties": {"soft": False}}, ONE), False, id="8-hard"),
]


@pytest.mark.parametrize(("body", "expected"), RULES)
def test_basic_the_eight_decisions(pdp, body, expected):
    """Each fixture request has the decision that the scenario demands."""
    assert decided(pdp, body) is expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(evaluation(context={"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}), id="2-2-3-context"),
        pytest.param(
            evaluation(
                {**ALICE, "properties": {"department": "Sales", "role": "manager"}},
                {"name": "read", "properties": {"method": "GET"}},
                {**ONE, "properties": {"status": "active", "owner": "bob"}},
            ),
            id="2-2-8-more-properties",
        ),
        pytest.param({**evaluation(), "foo": "bar", "futureField": {"nested": True}}, id="2-2-9-unknown-fields"),
    ],
)
def test_basic_what_is_optional_changes_nothing(pdp, body):
    """Context, further properties and unknown members are accepted, and the decision stays."""
    assert decided(pdp, body) is True


def without(*path):
    body = evaluation()
    target = body
    for key in path[:-1]:
        target[key] = target = dict(target[key])
    del target[path[-1]]
    return body


@pytest.mark.parametrize(
    "body",
    [
        without("subject"),
        without("action"),
        without("resource"),
        without("subject", "type"),
        without("subject", "id"),
        without("action", "name"),
        without("resource", "type"),
        without("resource", "id"),
        evaluation("alice"),
        evaluation(action={"name": 123}),
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_basic_what_is_missing_or_of_the_wrong_type_is_400(pdp, body):
    """A request that lacks something is refused by name, with a message string."""
    answer = pdp.ask(body)

    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert answer.text.partition(" ")[0].partition(".")[0] in {"subject", "action", "resource"}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(json.dumps(evaluation()), "text/plain", id="2-4-3-content-type"),
        pytest.param(json.dumps(evaluation())[:-1], "application/json", id="2-4-4-malformed"),
        pytest.param("", "application/json", id="2-4-5-empty"),
    ],
)
def test_basic_a_body_that_is_no_json_is_400(pdp, content, kind):
    """What is not declared as JSON, or is not, or is empty, is refused."""
    answer = pdp.http.post("/access/v1/evaluation", content=content, headers={"content-type": kind})

    assert answer.status_code == 400


def test_basic_the_request_id_comes_back(pdp):
    """The caller's X-Request-ID is in the answer; without one the server makes its own."""
    given = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"

    assert pdp.ask(evaluation(), **{"x-request-id": given}).headers["x-request-id"] == given
    assert pdp.ask({}, **{"x-request-id": given}).headers["x-request-id"] == given
    assert len(pdp.ask(evaluation()).headers["x-request-id"]) == 32


def test_basic_the_same_request_has_the_same_decision(pdp):
    """Asking again changes nothing."""
    assert [decided(pdp, evaluation(BOB, WRITE, ONE)) for _ in range(5)] == [False] * 5


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            {"subject": ALICE, "action": READ, "evaluations": [{"resource": ONE}, {"resource": TWO}]},
            [True, True],
            id="3-2-1",
        ),
        pytest.param(
            {"subject": BOB, "resource": ONE, "evaluations": [{"action": READ}, {"action": WRITE}]},
            [True, False],
            id="3-2-2",
        ),
        pytest.param(
            {"subject": ALICE, "action": WRITE, "evaluations": [{"resource": ACTIVE}, {"resource": ARCHIVED}]},
            [True, False],
            id="3-2-3-properties",
        ),
        pytest.param(
            {"action": WRITE, "resource": ARCHIVED, "evaluations": [{"subject": ALICE}, {"subject": ADMIN}]},
            [False, True],
            id="3-2-4-subject-properties",
        ),
        pytest.param(
            {"evaluations": [evaluation(ALICE, READ, ONE), evaluation(BOB, WRITE, ONE)]},
            [True, False],
            id="3-2-5-no-defaults",
        ),
        pytest.param(
            {
                "subject": ALICE,
                "action": READ,
                "context": {"time": "2025-06-27T18:03-07:00"},
                "evaluations": [
                    {"resource": ONE},
                    {"resource": TWO, "context": {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}},
                ],
            },
            [True, True],
            id="3-2-6-context",
        ),
        pytest.param(
            {
                "subject": ALICE,
                "action": WRITE,
                "resource": {"type": "record"},
                "evaluations": [
                    {"resource": {"id": "record-1", "properties": {"status": "active"}}},
                    {"resource": ARCHIVED},
                ],
            },
            [True, False],
            id="3-2-7-merging",
        ),
        pytest.param(
            {"subject": ALICE, "action": READ, "evaluations": [{"resource": ONE}, {}]}, [True, False], id="3-4-1-error"
        ),
    ],
)
def test_batch_decisions_in_order(pdp, body, expected):
    """A batch has one decision an evaluation, in its order; what is wrong with one is a deny of that one."""
    assert batch(pdp, body) == expected


@pytest.mark.parametrize("more", [{}, {"evaluations": []}], ids=["3-4-2-missing", "3-4-3-empty"])
def test_batch_without_evaluations_is_one_evaluation(pdp, more):
    """Without evaluations the endpoint answers like the single one."""
    assert decided(pdp, {**evaluation(), **more}, "/access/v1/evaluations") is True


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        (None, [True, False, True]),
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_batch_semantics(pdp, semantic, expected):
    """Each of the three semantics goes as far as it says."""
    body = {
        "resource": ONE,
        "evaluations": [
            {"subject": ALICE, "action": READ},
            {"subject": BOB, "action": WRITE},
            {"subject": ALICE, "action": WRITE},
        ],
    }
    options = {} if semantic is None else {"options": {"evaluations_semantic": semantic, "another_option": "value"}}

    assert batch(pdp, body | options) == expected


def test_discovery_metadata(pdp):
    """The metadata names the decision point by the address it was found at, and https endpoints that answer."""
    answer = pdp.http.get("/.well-known/authzen-configuration", headers={"x-api-key": ""})
    metadata = answer.json()

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    schema("pdp-metadata").validate(metadata)
    assert metadata["policy_decision_point"] == pdp.url
    assert decided(pdp, evaluation(), metadata["access_evaluation_endpoint"]) is True
    assert decided(pdp, evaluation(), metadata["access_evaluations_endpoint"]) is True
    assert metadata["supported_obligations"] == ["custom", "notification", "session_termination", "step-up"]


@pytest.mark.parametrize("kind", ["subject", "resource", "action"])
def test_search_is_not_offered(pdp, kind):
    """The metadata names no Search endpoint, and asking one all the same is a 404 that says where to look."""
    metadata = pdp.http.get("/.well-known/authzen-configuration").json()
    answer = pdp.ask(evaluation(), f"/access/v1/search/{kind}")

    assert [name for name in metadata if "search" in name] == []
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert answer.text == "no such path; /.well-known/authzen-configuration names what is offered"
    assert pdp.ask(evaluation(), f"/access/v1/search/{kind}", **{"x-api-key": "wrong"}).status_code == 401
