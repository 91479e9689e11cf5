"""What an answer says of its entry on the ledger: whether it is written already."""

from __future__ import annotations

import pytest

from tests.server.conformance import validate
from tests.server.conftest import POLICY, entries, request

LOW_RISK = {"authz": {"batched_actions": ["read"]}}
READ = {**request(), "resource": {"type": "file", "id": "f-1"}}
WRITE = request(subject="bob", action="write")


@pytest.fixture
def recorded(start):
    """A server whose reads are recorded in batches, and how to ask it for the contexts of its answers."""
    server = start(LOW_RISK, {"policy.rego": POLICY})

    def ask(*bodies):
        answer = server.ask({"evaluations": list(bodies)}, "/access/v1/evaluations").json()
        return [item["context"] for item in answer["evaluations"]]

    ask.server = server
    return ask


def test_an_answer_says_whether_its_entry_is_written(recorded):
    """A read of low risk may be recorded later and says so; what is denied is on the ledger before the answer."""
    single = recorded.server.ask(READ).json()["context"]
    read, denied = recorded(READ, WRITE)

    assert [item["durable"] for item in (single, read, denied)] == [False, False, True]
    recorded.server.stop()
    found = {entry.id for entry in entries(recorded.server.directory, "companyos.authz.decision")}
    assert {item["audit_id"] for item in (single, read, denied)} == found


def test_a_malformed_evaluation_of_a_batch_says_so_as_well(recorded):
    """What cannot be read is refused, and names its entry, which is written."""
    body = request()
    body["subject"] = {**body["subject"], "properties": {"status": 7}}
    answers = recorded(body, {})

    assert [(answer["reason"], answer["durable"]) for answer in answers] == [("request.invalid", True)] * 2
    recorded.server.stop()
    assert {answer["audit_id"] for answer in answers} <= {entry.id for entry in entries(recorded.server.directory)}


def test_answers_with_it_are_those_of_the_specification(recorded):
    """The specification's schema holds for answers whose entry is written, and for those whose entry is not."""
    for body, durable in ((READ, False), (WRITE, True)):
        answer = recorded.server.ask(body).json()
        validate("evaluation-response", answer)
        assert answer["context"]["durable"] is durable
