"""The routing file, the ranking, what is asked for and what is put together again."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import ClassVar

import pytest

from companyos.errors import UserError
from companyos.finops.rates import Rates
from companyos.llm import (
    Message,
    ModelRouter,
    OutputError,
    PromptTooLargeError,
    ProviderError,
    RoutingError,
    RoutingPolicy,
    UnknownModelError,
    UnknownTaskError,
)
from companyos.llm.splice import Splice
from companyos.testing.llm import Fault
from tests.llm.conftest import make_policy

SEED = """
weights: {cost: 0.4, latency: 0.3, accuracy: 0.3}
providers:
  openai:
    models: {planning: gpt-4o-mini, coding: gpt-4o, review: gpt-4o-mini}
    base_latency_ms: 800
    cost_per_1k_tokens: {gpt-4o-mini: 0.00015, gpt-4o: 0.0025}
  anthropic:
    models: {planning: claude-3-5-sonnet-20241022, coding: claude-3-5-sonnet-20241022}
    base_latency_ms: 1200
    cost_per_1k_tokens: {claude-3-5-sonnet-20241022: 0.003}
  local:
    models: {planning: local-llm, coding: local-llm, review: local-llm}
    base_latency_ms: 300
    cost_per_1k_tokens: {local-llm: 0.0}
task_types:
  planning: {preferred_provider: openai, fallback: local, max_tokens: 4000}
  coding: {preferred_provider: anthropic, fallback: openai, max_tokens: 16000}
  review: {preferred_provider: openai, fallback: local, max_tokens: 8000}
failover: {max_retries: 3, retry_delay_ms: 500, fallback_provider: local}
"""


@pytest.fixture
def seed(tmp_path):
    """A routing file of the playbook's shape, with nothing added."""
    path = tmp_path / "model_routing.yaml"
    path.write_text(SEED)
    return path


def order(decision):
    """Providers in the order in which they are asked."""
    return [one.provider for one in decision.chain]


def test_the_table_leads_and_the_score_decides_within_a_place(seed):
    """Preferred, fallback, others, global fallback; without a table the score alone decides."""
    with ModelRouter(seed) as router:
        assert ["anthropic", "openai", "local"] == order(router.decide("Hi", task="coding"))
        assert ["openai", "local", "anthropic"] == order(router.decide("Hi", task="planning"))
        assert router.decide("Hi", task="coding").chain[1].model == "gpt-4o"
    free = SEED.replace("preferred_provider: openai, fallback: local, max_tokens: 4000", "max_tokens: 4000")
    with ModelRouter(RoutingPolicy.parse(_yaml(free.replace(", fallback_provider: local", "")))) as router:
        decision = router.decide("Hi", task="planning")
        assert ["local", "openai", "anthropic"] == order(decision)
        assert sorted((one.score for one in decision.chain), reverse=True) == [one.score for one in decision.chain]


def test_weights_change_the_order(seed):
    """The same candidates, by accuracy alone."""
    values = _yaml(
        SEED.replace("preferred_provider: openai, fallback: local, ", "").replace(", fallback_provider: local", "")
    )
    values["weights"] = {"cost": 0, "latency": 0, "accuracy": 1}
    values["providers"]["anthropic"]["accuracy"] = {"claude-3-5-sonnet-20241022": 0.99}

    with ModelRouter(RoutingPolicy.parse(values)) as router:
        assert order(router.decide("Hi", task="planning"))[0] == "anthropic"


def test_what_was_measured_replaces_what_is_stated(server, make_router):
    """After a whole answer the latency of a provider is its own."""
    router = make_router()
    before = {one.provider: one.latency_score for one in router.decide("Hi", task="planning").chain}
    router.health.succeeded("openai", 0.001)
    after = {one.provider: one.latency_score for one in router.decide("Hi", task="planning").chain}

    assert (before["openai"], after["openai"] > 0.5) == (0.0, True)


def test_an_unknown_price_is_a_refusal_never_nothing(seed):
    """A model without a price is not asked; if there is no other, the error says so."""
    values = _yaml(SEED)
    del values["providers"]["openai"]["cost_per_1k_tokens"]["gpt-4o-mini"]
    with ModelRouter(RoutingPolicy.parse(values)) as router:
        decision = router.decide("Hi", task="planning")
        assert "openai" not in order(decision)
        assert ["llm.unknown_model"] == [one.refusal for one in decision.candidates if one.refusal]
        assert decision.candidates[-1].worst is None
    for provider in values["providers"].values():
        provider["cost_per_1k_tokens"] = {}
    with ModelRouter(RoutingPolicy.parse(values)) as router, pytest.raises(UnknownModelError):
        router.route("Hi", task="planning")


def test_a_prompt_larger_than_every_model_is_refused_before_a_byte_leaves(server, make_router):
    """By the context that the file states; a model of which nobody knows it is left to its provider."""
    values = make_policy(server).model_dump()
    for name, provider in values["providers"].items():
        provider["context_tokens"] = {f"{name}-model": 1000}
    with ModelRouter(RoutingPolicy.parse(values)) as router, pytest.raises(PromptTooLargeError):
        router.route("word " * 4000, task="planning")

    assert server.seen == []


def test_prices_in_another_currency_are_converted_or_refused(server, make_router, tmp_path):
    """By the kept table of rates; without a rate of these days the model may not be asked."""
    from datetime import UTC, datetime

    class Dollars:
        def find(self, provider, model):
            from companyos.llm.routing import FlatPrice

            return FlatPrice("USD", Decimal("0.001"), None)

    table = tmp_path / "rates.csv"
    table.write_text(f"date,from,to,rate\n{datetime.now(UTC).date()},USD,EUR,0.5\n")
    made = make_router(prices=Dollars(), rates=Rates.load(table)).route("Hi", task="planning")

    assert made.cost == Decimal("0.001") * 71 * Decimal("0.5")
    with pytest.raises(UserError, match="no provider may be asked"):
        make_router(prices=Dollars()).route("Hi", task="planning")


def test_estimates_and_room_can_be_asked_for(make_router):
    """`estimate_cost` is below the worst case; `check_budget` holds nothing; `failover` passes by those that failed."""
    router = make_router()
    estimate, currency = router.estimate_cost("Explain.", task="planning")

    assert (currency, estimate > 0) == ("EUR", True)
    assert estimate < router.decide("Explain.", task="planning").worst
    assert router.check_budget("Explain.", task="planning").allow
    assert router.budget.reserved == router.budget.spent == 0
    router.budget.limit = Decimal(-1)
    assert not router.check_budget("Explain.", task="planning").allow
    router.budget.limit = Decimal(100)
    assert router.failover("Explain.", task="planning", failed=["openai"]).provider == "anthropic"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v["task_types"]["planning"].update(preferred_provider="nobody"), "nobody"),
        (lambda v: v["task_types"]["review"].update(fallback="anthropic"), "no model for it"),
        (lambda v: v["failover"].update(fallback_provider="nobody"), "nobody"),
        (lambda v: v["providers"].update(other={"models": {"planning": "m"}}), "kind"),
        (lambda v: v["providers"]["openai"].update(base_url="ftp://x"), "base_url"),
        (lambda v: v["providers"]["openai"].update(base_url="https://user:pw@host/v1"), "base_url"),
        (lambda v: v["providers"]["openai"]["cost_per_1k_tokens"].update({"gpt-4o": -1}), "price"),
        (lambda v: v["weights"].update(cost=0, latency=0, accuracy=0), "weight"),
        (lambda v: v.update(curency="EUR"), "curency"),
        (lambda v: v.update(currency="EURO"), "EURO"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_routing_file_that_contradicts_itself_is_refused(change, told):
    """What is wrong is named."""
    values = _yaml(SEED)
    change(values)

    with pytest.raises(RoutingError, match=told):
        RoutingPolicy.parse(values)


@pytest.mark.parametrize(
    ("prompt", "options", "error"),
    [
        ("", {}, UserError),
        ([], {}, UserError),
        ([{"role": "tool", "content": "x"}], {}, UserError),
        ([{"content": "x"}], {}, UserError),
        ([Message("system", "x")], {}, UserError),
        ("a\ud800", {}, UserError),
        ("Hi", {"task": "cooking"}, UnknownTaskError),
        ("Hi", {"max_tokens": 0}, UserError),
        ("Hi", {"max_tokens": 401}, UserError),
        ("Hi", {"temperature": 3}, UserError),
        ("Hi", {"schema": dict}, RoutingError),
    ],
)
def test_what_cannot_be_asked_is_refused(server, make_router, prompt, options, error):
    """Before anybody is asked."""
    with pytest.raises(error):
        make_router().route(prompt, **({"task": "planning"} | options))

    assert server.seen == []


class Shape:
    """Wants JSON with a number in it."""

    json_schema: ClassVar = {"type": "object", "required": ["n"]}

    @staticmethod
    def read(text):
        try:
            return json.loads(text)["n"]
        except (ValueError, KeyError) as error:
            raise OutputError("no number", repair='Give {"n": 1}.', got=text) from error


def test_an_answer_of_another_shape_is_asked_for_once_more(server, make_router):
    """The model is told what is wrong, both answers are paid for; a second failure is a typed error."""
    router = make_router(("openai",), shapes=lambda _: Shape)
    server.script("openai", Fault(text="forty-two"), Fault(text='{"n": 42}'))

    made = router.route("How many?", task="planning", schema=int)

    assert (made.value, len(made.attempts)) == (42, 2)
    assert made.cost == router.budget.spent == 2 * made.attempts[0].amount
    first, second = (one.body for one in server.seen)
    assert [{"role": "assistant", "content": "forty-two"}, {"role": "user", "content": 'Give {"n": 1}.'}] == second[
        "messages"
    ][-2:]
    assert first["response_format"]["json_schema"]["schema"] == Shape.json_schema
    server.script("openai", Fault(text="no"))
    with pytest.raises(OutputError):
        router.route("How many?", task="planning", schema=int)


@pytest.mark.parametrize(
    ("before", "parts", "expected"),
    [
        ("The cat sat", [" on", " the mat."], " on the mat."),
        ("The cat sat", ["The", " cat", " sat", " on it."], " on it."),
        ("The cat sat on", ["cat sat on", " a mat"], " a mat"),
        ("ha ha", [" ha", " ha"], " ha ha"),
        ("The cat sat", ["The cat sat"], ""),
        ("word1 word2", [""], ""),
        ("a", ["a", "b"], "b"),
    ],
)
def test_texts_are_joined_without_repeating(before, parts, expected):
    """Repeated whole, repeated at the end, or simply continued; short repetitions are part of the text."""
    splice = Splice(before)

    assert "".join([*map(splice.feed, parts), splice.end()]) == expected


def test_a_second_version_is_not_joined():
    """It has the same beginning, and other words then."""
    splice = Splice("The quick brown fox jumps over the lazy dog, and then")

    with pytest.raises(ProviderError, match="other words"):
        splice.feed("The quick brown fox jumps over a fence")


def _yaml(text):
    from companyos.config import parse_yaml

    return parse_yaml(text, "model_routing.yaml")
