"""Prices, residency, audit and shapes of output behind a company's own router, over a real socket."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from pydantic import BaseModel

from companyos.cli import main
from companyos.company import Company
from companyos.llm import ExhaustedError, OutputError, RouteRefusedError
from companyos.llm.audit import CALL
from companyos.testing.llm import Fault

ROUTING = """
currency: USD
providers:
  local:
    base_url: {local}
    models: {{review: local-llm}}
    cost_per_1k_tokens: {{local-llm: 0.001}}
  openai:
    base_url: {openai}
    models: {{review: gpt-4o-mini}}
task_types:
  review: {{preferred_provider: openai, fallback: local, max_tokens: 200}}
failover: {{fallback_provider: local, retry_delay_ms: 1, max_retries: 1, patience_seconds: 0, cool_down_seconds: 0.1}}
"""
FINOPS = """
levels:
  company: [{period: day, limit: 5, unit: USD}]
"""


class Verdict(BaseModel):
    """What is asked for."""

    fine: bool


@pytest.fixture
def company(tmp_path, server):
    """A company whose two providers are on the test server, without a residency file."""
    routing = ROUTING.format(local=server.url("local"), openai=server.url("openai"))
    (tmp_path / "model_routing.yaml").write_text(routing, encoding="utf-8")
    (tmp_path / "finops.yaml").write_text(FINOPS, encoding="utf-8")
    (tmp_path / "companyos.yaml").write_text("company: {name: company}", encoding="utf-8")
    with Company.open(tmp_path) as opened:
        yield opened


def calls(company):
    """The records of calls."""
    return [entry.data for entry in company.ledger.read() if entry.type == CALL]


def test_a_call_costs_its_list_price_and_is_on_record(company):
    """11 tokens in and 60 out, at the list price of gpt-4o-mini; the record has all that a bill needs."""
    made = company.llm.route("Is it fine?", task="review", feature="company/legal", data_class="sensitive")
    (data,) = calls(company)
    (attempt,) = data["attempts"]

    assert Decimal(11) * Decimal("0.15") / 10**6 + Decimal(60) * Decimal("0.6") / 10**6 == made.cost
    assert made.audit_id is not None
    assert ("openai", "gpt-4o-mini", "company/legal", "review") == (
        data["provider"],
        data["model"],
        data["feature"],
        data["task"],
    )
    assert (made.cost, "USD") == (Decimal(attempt["amount"]), attempt["currency"])
    assert (11, 60) == (attempt["tokens"]["input"], attempt["tokens"]["output"])


def test_without_a_residency_file_nothing_leaves_this_machine(company, tmp_path, server):
    """A provider elsewhere is refused by name; whoever is on this machine is asked instead."""
    file = tmp_path / "model_routing.yaml"
    text = file.read_text(encoding="utf-8")
    elsewhere = text.replace(f"base_url: {server.url('openai')}", "base_url: https://api.openai.com/v1")
    file.write_text(elsewhere, encoding="utf-8")

    decision = company.llm_planner.decide("Is it fine?", task="review")

    assert ["local"] == [one.provider for one in decision.chain]
    assert ["LLM-RESIDENCY.no-file"] == [one.refusal for one in decision.candidates if one.refusal]


def test_a_file_that_lists_nobody_else_keeps_everybody_else_out(company, tmp_path, server):
    """With a file only its vendors are asked, also where the listed one fails."""
    vendor = {
        "region": "on-premise", "endpoint": server.url("local"), "data_retention": True,
        "training_data_opt_out": True, "logging_enabled": True,
    }  # fmt: skip
    (tmp_path / "vendor_residency.yaml").write_text(json.dumps({"vendors": {"local": vendor}}), encoding="utf-8")
    server.script("local", Fault("status", status=503))

    with pytest.raises((ExhaustedError, RouteRefusedError)):
        company.llm.route("Is it fine?", task="review")

    assert {"local"} == {seen.provider for seen in server.seen}


def test_a_wrong_shape_is_mended_in_one_round(company, server):
    """The model is told what was wrong; both rounds are paid for and on record."""
    server.script("openai", Fault(text="It is fine."), Fault(text='```json\n{"fine": true}\n```'))

    made = company.llm.route("Is it fine?", task="review", schema=Verdict)

    assert Verdict(fine=True) == made.value
    assert 2 == len(calls(company))
    assert "JSON" in server.seen[1].body["messages"][-1]["content"]


def test_a_shape_that_no_answer_has_costs_two_rounds_and_an_error(company, server):
    """No third round, and no value that is not of the shape."""
    server.script("openai", Fault(text='{"fine": true}'))

    with pytest.raises(OutputError):
        company.llm.route("Is it fine?", task="review", schema={"not": {}})

    assert 2 == len(server.seen)


def test_the_residency_check_counts_what_the_router_did(company, tmp_path, server, monkeypatch, capsys):
    """Calls of the router are judged again by the command: the one to a vendor that the file lacks is red."""
    company.llm.route("Is it fine?", task="review")
    vendor = {
        "region": "on-premise", "endpoint": server.url("local"), "data_retention": True,
        "training_data_opt_out": True, "logging_enabled": True,
    }  # fmt: skip
    (tmp_path / "vendor_residency.yaml").write_text(json.dumps({"vendors": {"local": vendor}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    status = main(["residency", "check", "--json"])
    found = {one["vendor"]: one for one in json.loads(capsys.readouterr().out)["vendors"]}

    assert 1 == status
    assert (1, "LLM-RESIDENCY.vendor-unknown") == (found["openai"]["requests"], found["openai"]["reason"])
