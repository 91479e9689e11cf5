"""The check that each of the server's tests runs under is one that finds something."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.server.conformance import OURS, PUBLISHED, check_exchange, schema
from tests.server.conftest import POLICY, request

ONE, MANY = "/access/v1/evaluation", "/access/v1/evaluations"
NO = {"decision": False, "context": {"reason": "policy.default_deny"}}
BATCH = {**request(), "evaluations": [{}, {"action": {"name": "write"}}]}


def with_obligation(**values):
    obligation = {"id": "o", "type": "custom", "properties": {}, **values}
    return {"decision": False, "context": {"obligations": [{k: v for k, v in obligation.items() if v is not None}]}}


@pytest.mark.parametrize(
    ("path", "asked", "answered"),
    [
        pytest.param(ONE, request(), {}, id="no-decision"),
        pytest.param(ONE, request(), {**NO, "decision": "false"}, id="decision-as-text"),
        pytest.param(ONE, request(), {**NO, "context": "no"}, id="context-as-text"),
        pytest.param(ONE, request(), [NO], id="a-list"),
        pytest.param(ONE, request(), with_obligation(type="dance"), id="obligation-of-another-type"),
        pytest.param(ONE, request(), with_obligation(properties=None), id="obligation-without-properties"),
        pytest.param(ONE, request(), {"decision": False, "context": {"obligations": []}}, id="no-obligations"),
        pytest.param(ONE, {**request(), "subject": "alice"}, NO, id="subject-as-text"),
        pytest.param(ONE, {**request(), "action": {}}, NO, id="action-without-a-name"),
        pytest.param(ONE, {**request(), "resource": {"type": "record"}}, NO, id="resource-without-an-id"),
        pytest.param(ONE, {**request(), "context": []}, NO, id="context-as-a-list"),
        pytest.param(MANY, {**request(), "evaluations": []}, {"evaluations": [NO]}, id="one-answered-as-a-batch"),
        pytest.param(MANY, BATCH, NO, id="a-batch-answered-as-one"),
        pytest.param(MANY, BATCH, {"evaluations": []}, id="an-empty-batch"),
        pytest.param(MANY, BATCH, {"evaluations": [NO, {"context": {}}]}, id="an-answer-without-decision"),
        pytest.param(MANY, {"evaluations": [{}]}, {"evaluations": [NO]}, id="a-bad-evaluation-answered-as-a-good-one"),
        pytest.param(MANY, {**BATCH, "options": 5}, {"evaluations": [NO, NO]}, id="options-as-a-number"),
    ],
)
def test_what_is_none_of_the_specification_is_found(path, asked, answered):
    """Each planted exchange breaks a schema, of those that are always there."""
    with pytest.raises(jsonschema.ValidationError):
        check_exchange(path, asked, answered)


@pytest.mark.parametrize(
    ("path", "asked", "answered"),
    [
        (ONE, request(), NO),
        (ONE, request(), with_obligation()),
        (MANY, request(), NO),
        (MANY, BATCH, {"evaluations": [NO, NO]}),
        (MANY, BATCH, {"evaluations": [NO]}),
        (MANY, {"evaluations": [7]}, {"evaluations": [{**NO, "context": {"error": {"status": 400, "message": "x"}}}]}),
    ],
)
def test_what_is_of_the_specification_is_let_through(path, asked, answered):
    """Good exchanges, those cut short by their semantic and errors of one evaluation included, pass."""
    check_exchange(path, asked, answered)


def test_every_request_of_a_test_goes_through_the_check(start, monkeypatch):
    """What a test asks is checked whichever way it asks, and an answer that breaks a schema fails it."""
    from tests.server import conformance

    server = start(None, {"policy.rego": POLICY})
    seen = []

    def checked(*exchange):
        seen.append(exchange)
        check_exchange(*exchange)

    monkeypatch.setattr(conformance, "check_exchange", checked)
    server.ask(request())
    server.ask(BATCH, MANY)
    kind = {"content-type": "application/json"}
    server.http.post(f"{server.url}{ONE}", content=json.dumps(request("bob")), headers=kind)
    server.ask({})

    assert [(path, asked) for path, asked, _ in seen] == [(ONE, request()), (MANY, BATCH), (ONE, request("bob"))]
    assert [answered["decision"] for _, _, answered in seen[::2]] == [True, True]


@pytest.mark.outside
@pytest.mark.parametrize("kind", ["evaluation-request", "evaluation-response"])
def test_ours_ask_for_what_the_published_ones_ask_for(kind):
    """The schemas written from the text require the same members, of the same types, as the published ones."""
    ours, published = schema(kind, OURS).schema, schema(kind, PUBLISHED).schema

    assert sorted(ours["required"]) == sorted(published["required"])
    assert ours["properties"].keys() == published["properties"].keys()
