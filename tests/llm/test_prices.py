"""Prices: exact, dated, overridable; what is unknown or too old is refused and never free."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companyos.cli import main
from companyos.llm.errors import UnknownModelError
from companyos.llm.interface import Usage
from companyos.llm.prices import Chained, ListedPrices, PriceFileError, PriceTable, StalePriceError, shipped_table

DAY = date(2026, 12, 1)
OWN = {
    "checked": "2026-11-01",
    "currency": "EUR",
    "providers": {
        "local": {"models": {"local-llm": {"prices": [{"input": 0, "output": 0}]}}},
        "openai-eu": {"same_as": "openai", "is_regional": True},
        "anthropic": {"models": {"claude-sonnet-4-5": {"prices": [{"input": "2.4", "output": 12}]}}},
    },
}
TIERED = {
    "checked": "2026-11-01",
    "currency": "USD",
    "providers": {
        "p": {
            "batch": "0.5",
            "models": {
                "m": {
                    "context_tokens": 1000,
                    "prices": [
                        {"input": 1, "output": 5, "cache_read": "0.1", "cache_write": "1.25"},
                        {
                            "from": "2026-03-01",
                            "input": 2,
                            "output": 10,
                            "reasoning": 20,
                            "cache_read": "0.2",
                            "cache_write": "2.5",
                            "above": [{"input_tokens": 100, "input": 4, "output": 15, "cache_write": 5}],
                        },
                    ],
                }
            },
        }
    },
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`companyos llm prices` in an empty directory; gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = main(["llm", "prices", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def listed(values=OWN, **given):
    """The company's own prices before the shipped ones, on 1 December 2026."""
    return ListedPrices(PriceTable.parse(values), **({"today": lambda: DAY} | given))


SPRING = listed(TIERED).find("p", "m", at=date(2026, 4, 1))


def test_the_playbooks_models_cost_what_their_vendors_publish():
    """A thousand tokens each way, by the shipped list; a dated snapshot costs what its model costs."""
    usage = Usage(1000, 1000)
    found = {
        model: ListedPrices(today=lambda: DAY).find(provider, model).cost(usage)
        for provider, model in (
            ("openai", "gpt-4o-mini"),
            ("openai", "gpt-4o-2024-08-06"),
            ("anthropic", "claude-3-5-sonnet-20241022"),
        )
    }

    assert {
        "gpt-4o-mini": Decimal("0.00075"),
        "gpt-4o-2024-08-06": Decimal("0.0125"),
        "claude-3-5-sonnet-20241022": Decimal("0.018"),
    } == found


def test_each_kind_of_token_has_its_price():
    """Cache reads, cache writes and reasoning are parts of the counts, each at its own price."""
    price = listed(TIERED).find("p", "m", at=date(2026, 4, 1))
    usage = Usage(100, 10, cache_read_tokens=30, cache_write_tokens=20, reasoning_tokens=4)

    assert Decimal(50 * 2 + 6 + 50 + 6 * 10 + 4 * 20) / 1_000_000 == price.cost(usage)


def test_a_longer_prompt_moves_all_of_the_request_into_the_tier():
    """The tier counts from one token more than it says, and for the answer, too."""
    price = listed(TIERED).find("p", "m", at=date(2026, 4, 1))

    assert Decimal(100 * 2 + 10) / 1_000_000 == price.cost(Usage(100, 1))
    assert Decimal(101 * 4 + 15) / 1_000_000 == price.cost(Usage(101, 1))


def test_prices_have_a_history():
    """A day before a change has the price of then, and a batch is half of it."""
    found = listed(TIERED)

    assert Decimal("0.000001") == found.find("p", "m", at=date(2026, 2, 28)).cost(Usage(1, 0))
    assert Decimal("0.000002") == found.find("p", "m", at=date(2026, 3, 1)).cost(Usage(1, 0))
    assert Decimal("0.000001") == found.find("p", "m", at=date(2026, 3, 1), batch=True).cost(Usage(1, 0))


@settings(deadline=None)  # times are not judged here
@given(
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_nothing_costs_more_than_the_worst_case(given_in, given_out, read, write, thought):
    """Whatever is cached, thought or tiered, what was held for a call covers it."""
    read = min(read, given_in)
    write = min(write, given_in - read)
    usage = Usage(given_in, given_out, read, write, min(thought, given_out))

    assert 0 <= SPRING.cost(usage) <= SPRING.worst(given_in, given_out)


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-9"), ("nobody", "gpt-4o"), ("openai", ""), ("OPENAI", "gpt-4o")]
)
def test_an_unknown_model_is_refused_and_never_free(provider, model):
    """No price is no permission."""
    with pytest.raises(UnknownModelError, match="nobody knows"):
        ListedPrices(today=lambda: DAY).find(provider, model)


def test_a_list_that_is_too_old_is_not_used():
    """On its last day it counts, on the next it does not, and the text says how old it is."""
    checked = shipped_table().checked
    on_time = ListedPrices(max_age_days=10, today=lambda: date.fromordinal(checked.toordinal() + 10))
    late = ListedPrices(max_age_days=10, today=lambda: date.fromordinal(checked.toordinal() + 11))

    assert on_time.find("openai", "gpt-4o")
    assert list(on_time.models())
    with pytest.raises(StalePriceError, match="too old"):
        late.find("openai", "gpt-4o")
    assert [] == list(late.models())


def test_the_companys_own_prices_count_first():
    """A negotiated price, a model that is said to be free, and a regional endpoint that costs a tenth more."""
    found = listed()

    assert ("EUR", Decimal("0.0000024")) == (
        found.find("anthropic", "claude-sonnet-4-5").currency,
        found.find("anthropic", "claude-sonnet-4-5").cost(Usage(1, 0)),
    )
    assert 0 == found.find("local", "local-llm").cost(Usage(1000, 1000))
    assert Decimal("1.1") == found.find("openai-eu", "gpt-5.4").cost(Usage(1000, 1000)) / found.find(
        "openai", "gpt-5.4"
    ).cost(Usage(1000, 1000))
    assert found.find("openai-eu", "gpt-4o").rates == found.find("openai", "gpt-4o").rates


def test_a_stale_price_is_not_replaced_by_another():
    """The routing file's price counts where the list has none, and not where the list is too old."""

    class Stated:
        def find(self, provider, model):
            return listed().find("local", "local-llm")

    stale = ListedPrices(max_age_days=1, today=lambda: date(2999, 1, 1))

    assert 0 == Chained(ListedPrices(today=lambda: DAY), Stated()).find("own", "m").cost(Usage(1, 1))
    with pytest.raises(StalePriceError):
        Chained(stale, Stated()).find("openai", "gpt-4o")


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "BTC"},
        {"checked": "yesterday"},
        {"providers": {"p": {"models": {"m": {"prices": []}}}}},
        {"providers": {"p": {"models": {"m": {"prices": [{"input": -1, "output": 1}]}}}}},
        {"providers": {"p": {"models": {"m": {"prices": [{"input": "NaN", "output": 1}]}}}}},
        {"providers": {"p": {"models": {"m": {"prices": [{"input": 1}]}}}}},
        {"providers": {"p": {"models": {"m": {"prices": [{"input": 1, "output": 1}, {"input": 1, "output": 1}]}}}}},
        {"providers": {"p": {"same_as": "nobody"}}},
    ],
    ids=["currency", "date", "empty", "negative", "nan", "no-output", "two-beginnings", "same-as-nobody"],
)
def test_a_file_that_does_not_hold_together_is_refused(change):
    """A price that cannot be meant is an error, not a number."""
    with pytest.raises(PriceFileError):
        listed(OWN | change)


def test_every_shipped_price_is_positive_and_sourced():
    """No shipped model is free, and each provider's prices name the page they are from."""
    found = list(ListedPrices(today=lambda: DAY).models())

    assert len(found) > 80
    assert all(price.cost(Usage(1, 0)) > 0 for price in found)
    assert all(price.cost(Usage(0, 1)) > 0 for price in found)
    assert all(price.source.startswith("https://") for price in found)


def test_the_command_shows_them(run):
    """A table for people, JSON for machines, the price of another day, and 3 for what nobody knows."""
    status, out, _ = run("--model", "mistral-large-4", "--at", "2026-10-25")
    assert (0, True) == (status, "1.36" in out)

    status, out, _ = run("--provider", "anthropic", "--model", "claude-sonnet-4-5", "--json", "--at", "2026-12-01")
    (price,) = json.loads(out)
    assert [0, 200_000] == [tier["above_input_tokens"] for tier in price["per_million_tokens"]]

    assert 3 == run("--model", "gpt-9")[0]
    assert 3 == run("--provider", "openai", "--model", "gpt-9")[0]
    assert 2 == run("--batch")[0]


def test_the_command_reads_the_settings(run):
    """The file of `llm.prices` counts, and so does how old a list may be."""
    Path("own.yaml").write_text(json.dumps(OWN), encoding="utf-8")
    Path("companyos.yaml").write_text("llm: {prices: own.yaml, price_max_age_days: 100000}", encoding="utf-8")

    status, out, _ = run("--provider", "local", "--json", "--at", "2026-12-01")

    assert (0, ["local-llm"]) == (status, [price["model"] for price in json.loads(out)])
