"""The record of calls: what stays for ever, what is kept beside the log, and what never gets there."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from companyos.ledger import ErasedError, Ledger
from companyos.llm.audit import CALL, MOST_WAITING, TEXT, CallAudit, CallAuditError, about, commitment
from companyos.llm.interface import Attempt, CallRecord, Candidate, Message, Request, RouteDecision, Usage
from companyos.llm.residency import ResidencyPolicy, distribution, to_csv

SECRET = "sk-" + "proj-" + "a1B2c3D4e5F6g7H8i9J0" * 2
PROMPT = f"Summarise the contract. My key is {SECRET}."
NAME = "Erika Mustermann"


def record(identity="call-1", data_class="sensitive", prompt=PROMPT, text="Fine.", **changes):
    """A call that was answered by a second provider."""
    names = (("openai", "gpt-4o"), ("mistral", "mistral-small-latest"))
    candidates = tuple(
        Candidate(provider, model, 0.5, 0.5, 0.5, 0.5, Decimal("0.01"), Decimal("0.02"), "USD", "preferred", refusal)
        for (provider, model), refusal in zip((*names, ("far", "m")), (None, None, "residency"), strict=True)
    )
    attempts = (
        Attempt("openai", "gpt-4o", "https://eu.api.openai.com/v1", "eu", "overloaded", "503", 503, 0.2, None, None,
                Decimal("0.02"), "USD", True, "r-1"),
        Attempt("mistral", "mistral-small-latest", "https://api.eu.mistral.ai/v1", "eu", "ok", "", 200, 0.5, 0.1,
                Usage(120, 30, 20, 10, 5), Decimal("0.0000360"), "USD", False, "r-2"),
    )  # fmt: skip
    values = {
        "id": identity, "at": datetime(2026, 3, 2, 12, tzinfo=UTC), "seconds": 0.7, "task": "review",
        "feature": "acme/legal/contracts", "data_class": data_class,
        "request": Request((Message("user", prompt),), 100), "decision": RouteDecision("review", candidates, 40, 100),
        "attempts": attempts, "text": text, "error": None, "trace_id": "0" * 31 + "1",
    }  # fmt: skip
    return CallRecord(**(values | changes))


@pytest.fixture
def ledger(tmp_path):
    """A real ledger."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def entries(ledger, kind):
    """The data of every entry of a type."""
    return [entry.data for entry in ledger.read() if entry.type == kind]


def test_a_call_is_told_whole_and_without_its_text(ledger):
    """Provider, model, region, tokens, cost, feature, the decision and every attempt; nothing of what was said."""
    assert "call-1" == CallAudit(ledger).record(record())
    (data,) = entries(ledger, CALL)

    assert ("mistral", "mistral-small-latest", "eu", "acme/legal/contracts") == tuple(
        data[key] for key in ("provider", "model", "region", "feature")
    )
    assert {"input": 120, "output": 30, "cache_read": 20, "cache_write": 10, "reasoning": 5} == data["attempts"][1][
        "tokens"
    ]
    assert [("0.02", True), ("0.0000360", False)] == [(one["amount"], one["assumed"]) for one in data["attempts"]]
    assert {"far/m": "residency"} == data["decision"]["refused"]
    assert "Summarise" not in json.dumps(data)
    assert "Fine." not in json.dumps(data)


def test_the_digest_is_salted_and_can_be_proved(ledger):
    """Two calls with one prompt do not show it; salt and text together prove what was asked."""
    audit = CallAudit(ledger)
    audit.record(record("a", prompt="yes"))
    audit.record(record("b", prompt="yes"))
    first, second = entries(ledger, CALL)
    beside = entries(ledger, TEXT)

    assert first["prompt"] != second["prompt"]
    assert commitment(beside[0]["salt"], [["user", "yes"]]) == first["prompt"]
    assert commitment(beside[0]["salt"], "Fine.") == first["answer"]


def test_secrets_are_masked_in_what_is_kept(ledger, tmp_path):
    """The text of business data is kept, without the key that somebody pasted into it; not a byte of it is on disk."""
    CallAudit(ledger).record(record())
    (data,) = entries(ledger, TEXT)

    assert "Summarise the contract." in data["text"]["prompt"][0]["content"]
    assert all(SECRET.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_personal_text_is_kept_under_the_person_alone(ledger, tmp_path):
    """With `about` it is encrypted and comes back by `reveal`; once the person is erased nothing comes back."""
    with about("person-7"):
        CallAudit(ledger).record(record(data_class="pii", prompt=f"Write to {NAME}"))
    (entry,) = [entry for entry in ledger.read() if entry.type == TEXT]

    assert all(NAME.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert f"Write to {NAME}" == ledger.reveal(entry).data["text"]["prompt"][0]["content"]
    ledger.erase("person-7", reason="asked for")
    with pytest.raises(ErasedError):
        ledger.reveal(entry)


@pytest.mark.parametrize("data_class", ["pii", None, "restricted", "secret", "of-nobody"])
def test_what_may_not_be_kept_leaves_digests_alone(ledger, data_class):
    """Personal text about nobody in particular, and whatever is stricter, is not kept; the call is on record."""
    CallAudit(ledger).record(record(data_class=data_class))

    assert None is entries(ledger, TEXT)[0]["text"]
    assert 1 == len(entries(ledger, CALL))


def test_text_can_be_left_out_altogether(ledger):
    """`keep_text=False` keeps digests and facts only."""
    CallAudit(ledger, keep_text=False).record(record())

    assert None is entries(ledger, TEXT)[0]["text"]


@pytest.mark.parametrize(("data_class", "person"), [("sensitive", None), ("pii", "person-7")])
def test_a_conversation_without_measure_is_kept_in_part(ledger, data_class, person):
    """Three hundred turns of a hundred thousand characters do not keep the call from being recorded."""
    turns = tuple(Message("user", "word " * 20_000) for _ in range(300))
    call = record(data_class=data_class, request=Request(turns, 100))
    with nullcontext() if person is None else about(person):
        CallAudit(ledger).record(call)

    assert 1 == len(entries(ledger, CALL))


def test_calls_of_low_risk_share_commits_and_none_is_lost(ledger):
    """They wait for each other; closing writes the rest, in order and each once."""
    audit = CallAudit(ledger)
    ids = [f"c-{number}" for number in range(MOST_WAITING + 10)]
    for identity in ids:
        audit.record(record(identity, data_class="telemetry"))
    audit.close()

    assert ids == [entry.id for entry in ledger.read() if entry.type == CALL]


def test_a_call_that_cannot_be_recorded_fails(ledger):
    """A ledger that is gone is an error of the call, also for what waited."""
    audit = CallAudit(ledger)
    ledger.close()

    with pytest.raises(CallAuditError):
        audit.record(record())
    for number in range(MOST_WAITING):
        audit.record(record(str(number), data_class="telemetry"))
    with pytest.raises(CallAuditError):
        audit.record(record("one-more", data_class="telemetry"))
    with pytest.raises(CallAuditError):
        audit.close()


def test_the_same_call_is_recorded_once(ledger):
    """A second record under the id of a call is an error, and no second call."""
    audit = CallAudit(ledger)
    audit.record(record())
    with pytest.raises(CallAuditError):
        audit.record(record())

    assert 1 == len(entries(ledger, CALL))


def test_the_distribution_counts_real_calls(ledger):
    """Each attempt in which something left counts for its vendor; one to an unlisted vendor is a violation."""
    audit = CallAudit(ledger)
    audit.record(record("a"))
    audit.record(record("b", attempts=record().attempts[1:]))
    audit.record(record("c", attempts=()))
    vendor = {
        "region": "eu", "endpoint": "https://api.eu.mistral.ai/v1", "data_retention": False,
        "training_data_opt_out": True, "logging_enabled": False, "compliance": ["GDPR"],
        "attestations": [{"document": "DPA", "issued": "2026-01-01", "expires": "2099-12-31"}],
    }  # fmt: skip
    policy = ResidencyPolicy.parse({"vendors": {"mistral": vendor}})
    shares = distribution(policy, ledger.read(), date(2026, 3, 2))

    assert [("mistral", 2, True), ("openai", 1, False)] == [
        (share.vendor, share.requests, share.decision.allow) for share in shares
    ]
    assert "LLM-RESIDENCY.vendor-unknown" == shares[1].decision.reason
    assert ",66.67,true," in to_csv(shares, datetime(2026, 3, 2, tzinfo=UTC))
