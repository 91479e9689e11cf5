"""The router in a company: real budget and ledger, command line, spans, metrics and the record of calls."""

from __future__ import annotations

import csv
import json
import threading
from contextlib import suppress
from decimal import Decimal

import pytest

from companyos import observability
from companyos.cli import main
from companyos.company import Company
from companyos.errors import UnverifiableError
from companyos.finops import BudgetRefusedError
from companyos.llm import ExhaustedError, LocalBudget, ModelRouter
from companyos.testing.llm import Fault
from tests.llm.conftest import make_policy

FINOPS = """
phase: 1
phases:
  1:
    daily_eur_cap: 20
    monthly_eur_cap: 100
    providers:
      openai: {max_tokens: 2000, models: [openai-model]}
      anthropic: {max_tokens: 100000}
      local: {max_tokens: 100000}
"""


@pytest.fixture
def company(tmp_path, server, monkeypatch):
    """The directory of a company whose models are on the server."""
    (tmp_path / "companyos.yaml").write_text("company: {name: acme}\n")
    (tmp_path / "finops.yaml").write_text(FINOPS)
    (tmp_path / "model_routing.yaml").write_text(json.dumps(make_policy(server).model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_budget_of_the_company_is_reserved_from_and_settled(server, company):
    """Each hop by its own provider, with money and tokens as counted, on the ledger; nothing stays open."""
    server.script("openai", Fault("status", status=503))
    with Company.open(company) as opened:
        made = opened.llm.route("Explain.", task="planning", feature="acme/search")
        records = [opened.budget.find(one.reservation) for one in made.attempts]
        kinds = [entry.type for entry in opened.ledger.read()]

        assert ["refunded", "settled"] == [one.status for one in records]
        assert ["openai", "anthropic"] == [one.body["provider"] for one in records]
        assert {"acme/search"} == {one.body["task"] for one in records}
        spent = dict(records[1].actual)
        assert {int(made.cost * 10**8), 71} == set(spent.values())
        assert opened.budget.open_reservations() == []
        assert len(kinds) >= 4


@pytest.mark.parametrize(
    ("levels", "told"),
    [("acme: [{period: day, limit: 20}]", "EUR"), ("acme: [{period: day, limit: 50000, unit: tokens}]", "tokens")],
)
def test_a_budget_may_count_money_or_tokens_alone(server, company, levels, told):
    """What is settled is in the units that are reserved."""
    (company / "finops.yaml").write_text(f"levels: {{{levels}}}\n")
    with Company.open(company) as opened:
        made = opened.llm.route("Explain.", task="planning")

        (level,) = opened.budget.levels()
        assert (level.unit, level.reserved) == (told, 0)
        assert level.spent == (71 if told == "tokens" else int(made.cost * 10**8))


def test_ceilings_of_tokens_and_models_lead_to_others(server, company):
    """The day's tokens of the preferred provider are used up, so that the fallback is asked; nothing passes a cap."""
    with Company.open(company) as opened:
        made = [opened.llm.route("Explain.", task="planning") for _ in range(4)]
        providers = [one.provider for one in made]

        assert providers[0] == "openai"
        assert all(one.spent + one.reserved <= one.limit for one in opened.budget.levels())


def test_threads_and_faults_never_pass_a_real_cap(server, company):
    """Eight threads on one SQLite budget, faults in between: every level stays within its limit (smaller than soak)."""
    server.script("openai", *(Fault(kind) for kind in ("no_usage", "status", "cut", "ok") * 10))
    (company / "finops.yaml").write_text(FINOPS.replace("daily_eur_cap: 20", "daily_eur_cap: 6"))
    outcomes = []
    with Company.open(company) as opened:
        router = opened.llm

        def work():
            for _ in range(2):
                try:
                    outcomes.append(router.route("Explain.", task="planning").provider)
                except (BudgetRefusedError, ExhaustedError) as error:
                    outcomes.append(error.code)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(outcomes) == 16
        assert all(one.spent + one.reserved <= one.limit for one in opened.budget.levels())
        assert opened.budget.open_reservations() == []


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_what_models_cost_leaves_as_a_bill_and_comes_in_again(server, company, capsys, version):
    """Calls, also after a failover, are rows of FOCUS with their tokens told apart; their sum is what was settled."""
    server.script("openai", Fault(), Fault("status", status=503))
    with Company.open(company) as opened:
        made = [opened.llm.route("Explain.", task="planning", feature="acme/search") for _ in range(3)]
    cost = sum((one.cost for one in made), Decimal(0))
    bill = f"llm-{version}.csv"

    assert main(["finops", "export-llm", "-o", bill, "--focus-version", version]) == 0
    with (company / bill).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {("11", "60", "71.00")} == {
        (row["x_InputTokens"], row["x_OutputTokens"], row["ConsumedQuantity"]) for row in rows
    }
    assert {"openai", "anthropic"} == {
        row["ProviderName" if version == "1.2" else "ServiceProviderName"] for row in rows
    }
    if version == "1.2":
        assert main(["finops", "validate", bill, "--lacks", "ALL"]) in {0, 3}
    assert main(["finops", "ingest", bill]) == 0
    capsys.readouterr()
    assert main(["finops", "report", "--by", "tag:team", "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)["lines"]
    assert (line["key"], Decimal(line["amount"])) == ("search", cost)


def test_a_budget_that_does_not_answer_is_a_refusal(server, company):
    """Nothing is asked of anybody when the store of the budget is lost."""
    with suppress(UnverifiableError), Company.open(company) as opened:
        opened.llm.route("Explain.", task="planning")
        (company / ".companyos" / "budget.db").unlink()
        with pytest.raises(UnverifiableError):
            opened.llm.route("Explain.", task="planning")

    assert len(server.seen) == 1


def test_route_shows_the_ranking_and_asks_nobody(server, company, capsys):
    """`--dry-run` exits 0 with the order and the reasons, 1 if nobody may be asked, and needs no budget."""
    (company / "finops.yaml").unlink()
    options = ["llm", "route", "--task", "planning", "--prompt", "Explain.", "--dry-run"]

    assert main([*options, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert ["openai", "anthropic", "local"] == [one["provider"] for one in shown["candidates"]]
    assert main(options) == 0
    assert "preferred" in capsys.readouterr().out
    assert main([*options, *(part for name in ("openai", "anthropic", "local") for part in ("--without", name))]) == 1
    assert "llm.excluded" in capsys.readouterr().out
    assert main([*options[:3], "cooking", *options[4:]]) == 2
    assert server.seen == []


def test_ask_prints_the_answer_alone(server, company, capsys):
    """Whole or as it comes; what it cost goes to stderr."""
    for more in ([], ["--stream"]):
        assert main(["llm", "ask", "Explain.", "--task", "planning", *more]) == 0
        out, err = capsys.readouterr()
        assert (out.strip(), "openai/openai-model: ok" in err) == (server.text, True)
    assert main(["llm", "ask", "Explain.", "--task", "planning", "--json", "--feature", "acme/x"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == server.text
    assert main(["llm", "route", "--prompt", "Explain.", "--task", "planning", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"]["task"] == "planning"


def test_ask_says_by_its_status_how_it_failed(server, company, capsys):
    """1 for what is refused, 3 for what could not be had, and for what is partial."""
    ask = ["llm", "ask", "Explain.", "--task", "planning"]
    server.script("openai", Fault("status", status=400, code="content_filter"))
    assert main(ask) == 1
    assert "llm.content_filter" in capsys.readouterr().err
    server.script("openai", Fault("cut"))
    for name in ("anthropic", "local"):
        server.script(name, Fault("status", status=401))
    assert main([*ask, "--stream"]) == 3
    out, err = capsys.readouterr()
    assert (out.strip(), "llm.partial" in err) == ("word1 word2 word3 word4 word5", True)


def test_models_lists_what_the_file_has(server, company, capsys):
    """Provider, model, tasks, price and place."""
    assert main(["llm", "models", "--json"]) == 0
    found = {one["provider"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["openai"]["cost_per_1k_tokens"] == "0.002"
    assert found["anthropic"]["endpoint"] == server.url("anthropic")
    assert main(["llm", "--routing", "model_routing.yaml", "models"]) == 0
    assert "local-model" in capsys.readouterr().out


class Trail:
    """Keeps what it is told."""

    is_instant = True

    def __init__(self):
        self.calls = []

    def record(self, call):
        self.calls.append(call)
        return f"entry-{len(self.calls)}"


def test_every_call_leaves_a_record_however_it_ends(server, make_router):
    """Success, partial answer, refusal and a caller that goes away; the text and each attempt are in it."""
    trail = Trail()
    router = make_router(audit=trail)
    made = router.route("Explain.", task="planning", feature="acme/x", data_class="internal")
    server.script("openai", Fault("status", status=400))
    with pytest.raises(Exception, match="does not take"):
        router.route("Explain.", task="planning")
    server.script("openai", Fault())
    stream = router.stream("Explain.", task="planning")
    next(stream)
    stream.close()
    done = list(router.stream("Explain.", task="planning"))[-1].completion

    assert (made.audit_id, done.audit_id) == ("entry-1", "entry-4")
    assert [None, "llm.rejected", "llm.abandoned", None] == [one.error for one in trail.calls]
    first = trail.calls[0]
    assert (first.text, first.feature, first.data_class) == (server.text, "acme/x", "internal")
    assert trail.calls[2].text.startswith("word1")
    assert ["rejected"] == [one.outcome for one in trail.calls[1].attempts]


def test_a_record_that_cannot_be_kept_fails_the_call(server, make_router):
    """What is not on the trail has not happened as far as the caller knows."""

    class Broken:
        is_instant = True

        def record(self, call):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        make_router(audit=Broken()).route("Explain.", task="planning")


def test_spans_and_metrics_have_the_names_of_the_conventions(server):
    """One `chat` client span an attempt below the call's, tokens and durations as metrics, no prompt in any."""
    server.script("openai", Fault("status", status=503))
    with (
        observability.setup(service="t", version="1", env="dev") as seen,
        ModelRouter(make_policy(server), LocalBudget(Decimal(100))) as router,
    ):
        with observability.start_trace("work"):
            made = router.route("A secret prompt.", task="planning", feature="acme/search")
        spans = {span.name: span for span in seen.spans()}
        points = {point.name for point in seen.metrics()}

    call, chat = spans["route planning"], spans["chat anthropic-model"]
    assert call.parent_id == spans["work"].span_id
    assert chat.parent_id == spans["chat openai-model"].parent_id == call.span_id
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "anthropic-model",
        "gen_ai.response.model": "anthropic-model",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 60,
        "companyos.feature": "acme/search",
        "companyos.llm.cost": format(made.cost, "f"),
    }
    assert wanted.items() <= chat.attributes.items()
    assert spans["chat openai-model"].attributes["error.type"] == "overloaded"
    assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration", "companyos.llm.cost"} <= points
    assert "secret" not in repr(spans)
