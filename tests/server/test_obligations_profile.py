"""Every obligation that the decision point serves meets the AuthZEN Obligations Profile, answered and on record."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from companyos.authz import CedarEngine, RegoEngine, playbook_control
from companyos.authz.authzen import opinion_from_authzen, request_to_authzen, response_to_authzen
from companyos.authz.interface import RequestError
from companyos.authz.profile import OBLIGATION_TYPES, conforms
from companyos.authz.request import request_from_dict
from companyos.decision import Decision, Obligation
from tests.server.conftest import Running, entries, request, write_company

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "obligations.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLES = [
    {
        "type": "step-up",
        "id": "obl-1",
        "properties": {"acr_value": "urn:com:example:loa:3", "amr_values": ["mfa", "hwk"]},
    },
    {
        "type": "notification",
        "id": "obl-2",
        "properties": {"to": "manager@example.com", "topic": "Unauthorized access attempt", "body": "User jdoe tried."},
    },
    {"type": "session_termination", "id": "obl-3", "properties": {"subject": "jdoe@example.com"}},
    {"type": "custom", "id": "obl-4", "properties": {"vendor": "example-dlp-suite", "action": "watermark"}},
]
"""The examples of the profile."""
LACKING = [
    {"type": "step-up", "id": "require_mfa", "properties": {"auth_strength": "mfa"}},
    {"type": "step-up", "id": "x", "properties": {"acr_value": ["loa:3"]}},
    {"type": "step-up", "id": "x", "properties": {"acr_value": "loa:3", "amr_values": "mfa"}},
    {"type": "notification", "id": "log_event", "properties": {"event": "export"}},
    {"type": "notification", "id": "x", "properties": {"to": "audit"}},
    {"type": "notification", "id": "x", "properties": {"to": "audit", "body": "x", "topic": 7}},
    {"type": "session_termination", "id": "x", "properties": {}},
    {"type": "levitation", "id": "x", "properties": {}},
]
HEAD = "package companyos.access\n\nimport rego.v1\n\n"
MISTAKEN = HEAD + "".join(
    f"obligation contains {json.dumps(item)} if input.resource.status == {json.dumps(str(number))}\n"
    for number, item in enumerate(LACKING)
    if item["type"] in OBLIGATION_TYPES
)
TWICE = "".join(
    f'obligation contains {{"id": "mask_fields", "properties": {{"fields": ["{field}"]}}}} if '
    'input.resource.status == "twice"\n'
    for field in ("iban", "email")
)
ALLOW = 'allow contains {"id": "policy.open", "message": ""} if input.action == "read"\n'


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Start servers; they end with the module."""
    from companyos.server import add_key

    running = []

    def begin(authz, policies=None, **server):
        directory = tmp_path_factory.mktemp("pdp")
        limits = {"rate_per_second": 100_000, "rate_burst": 100_000, "deadline_seconds": 20}
        settings = {"authz": authz, "server": {"api_keys": "keys.yaml", **limits, **server}}
        write_company(directory, settings, policies)
        running.append(Running(directory, key=add_key(directory / "keys.yaml", "tests")))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


def specimens():
    """The requests of the playbook's proof, as a caller sends them."""
    for specimen in playbook_control().specimens:
        try:
            yield specimen.name, request_to_authzen(request_from_dict(specimen.build(Path())))
        except RequestError:
            continue


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: item["type"])
def test_the_examples_of_the_profile(example):
    """What the profile shows as an example is valid under the schema, and conforms."""
    VALIDATOR.validate([example])

    assert conforms(example["type"], example["properties"])


@pytest.mark.parametrize("lacking", LACKING, ids=json.dumps)
def test_what_lacks_something(lacking):
    """A required member that is missing or of another type is found, by the schema and by ours."""
    assert not VALIDATOR.is_valid([lacking])
    assert not conforms(lacking["type"], lacking["properties"])


@pytest.mark.parametrize("engine", ["rego", "cedar"])
def test_the_playbook_is_of_the_profile(serve, engine):
    """Of each specimen of the playbook, what the server obliges to is valid; every obligation that we have is seen."""
    server = serve({"engine": engine})
    seen = {}
    for name, body in specimens():
        context = server.ask(body).json()["context"]
        if "obligations" in context:
            VALIDATOR.validate(context["obligations"])
            seen |= {item["id"]: item["type"] for item in context["obligations"]}
            assert len({item["id"] for item in context["obligations"]}) == len(context["obligations"]), name

    assert seen == {
        "log_event": "notification",
        "mask_fields": "custom",
        "require_approval": "custom",
        "require_mfa": "step-up",
    }


@pytest.mark.parametrize("engine", [RegoEngine, CedarEngine])
def test_the_class_that_is_demanded_is_enough(engine):
    """A caller that reaches the `acr_value` and states it as its strength is asked for nothing more."""
    subject = {"id": "u-1", "type": "user"}
    body = {"subject": subject, "action": "delete", "resource": {"id": "d-1", "type": "document", "owner": "u-1"}}
    (demanded,) = engine().decide(request_from_dict(body)).obligations
    reached = {"auth_strength": demanded.properties["acr_value"]}

    assert engine().decide(request_from_dict({**body, "environment": reached})).obligations == ()


def test_a_mistaken_type_is_served_as_custom(serve):
    """What a policy gives a type without its members is `custom`, in the answer and on the ledger; nothing is lost."""
    server = serve({}, {"policy.rego": MISTAKEN + ALLOW}, obligations=["x"])
    served = []
    for number, item in enumerate(LACKING):
        if item["type"] in OBLIGATION_TYPES:
            answer = server.ask(request("u-1") | _status(str(number))).json()
            VALIDATOR.validate(answer["context"]["obligations"])
            assert answer["context"]["obligations"] == [{**item, "type": "custom"}]
            served.append(answer["context"]["obligations"])
    server.stop()
    recorded = [entry.data["obligations"] for entry in entries(server.directory, "companyos.authz.decision")]

    assert recorded == served


def test_a_caller_that_takes_no_custom_is_denied_a_mistaken_type(serve):
    """A caller that carries out step-ups only is not given half of one."""
    server = serve({}, {"policy.rego": MISTAKEN + ALLOW}, obligations=["x"])
    answer = server.ask({**request(), **_status("0"), "context": {"supported_obligations": ["step-up"]}}).json()

    assert (answer["decision"], answer["context"]["reason"]) == (False, "obligation.unsupported")


def test_two_of_one_id_are_told_apart(serve):
    """Ids are unique in an answer, and who reads it as we do gets both under their own id."""
    server = serve({}, {"policy.rego": HEAD + TWICE + ALLOW})
    answer = server.ask({**request(), **_status("twice")}).json()
    (one, two) = answer["context"]["obligations"]

    assert (one["id"], two["id"]) == ("mask_fields", "mask_fields#2")
    assert sorted([*one["properties"]["fields"], *two["properties"]["fields"]]) == ["email", "iban"]
    assert {item.id for item in opinion_from_authzen(answer).obligations} == {"mask_fields"}


def test_an_id_that_looks_like_a_second_one():
    """An id of a policy's own with a number is left alone, unless it stands beside its namesake of the same type."""
    alone = [Obligation("a#2"), Obligation("b", "step-up", {"acr_value": "x"}), Obligation("b#2")]
    taken = [Obligation("a"), Obligation("a"), Obligation("a#2", "step-up", {"acr_value": "x"})]

    assert _round(alone) == ["a#2", "b", "b#2"]
    assert [item["id"] for item in _served(taken)["context"]["obligations"]] == ["a", "a#3", "a#2"]
    assert _round(taken) == ["a", "a", "a#2"]


def _status(text):
    return {"resource": {"type": "record", "id": "r-1", "properties": {"status": text}}}


def _served(obligations):
    return response_to_authzen(Decision.allowed("policy.open", obligations=obligations))


def _round(obligations):
    return [item.id for item in opinion_from_authzen(_served(obligations)).obligations]
