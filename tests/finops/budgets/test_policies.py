"""`finops.yaml`: what it says, and what it must not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from companyos.finops.budgets import BudgetPolicy, BudgetPolicyError

TEXT = """
phases:
  1:
    daily_eur_cap: 450
    monthly_eur_cap: 12000
    providers:
      openai:
        max_tokens: 80000
        models:
          - gpt-4o-mini
          - gpt-4o
      local:
        max_tokens: 100000
alerts:
  threshold_percent: 80
  channels:
    - type: slack
      destination: "#finops-alerts"
"""


def test_the_file_of_the_phases_is_read_as_it_is(tmp_path):
    """A file with phases and alerts alone is a policy: caps a day and a month, tokens a day, by provider."""
    path = tmp_path / "finops.yaml"
    path.write_text(TEXT, encoding="utf-8")
    policy = BudgetPolicy.load(path)

    caps = [(cap.name, cap.unit, cap.period, cap.limit) for cap in policy.caps]
    assert caps == [
        ("phase-1", "EUR", "day", 450 * 10**8),
        ("phase-1", "EUR", "month", 12000 * 10**8),
        ("phase-1/openai", "tokens", "day", 80000),
        ("phase-1/local", "tokens", "day", 100000),
    ]
    assert policy.alerts.threshold_percent == 80


@pytest.mark.parametrize(("phase", "caps"), [(1, (450, 12000)), (2, (650, 16000)), (3, (900, 22000))])
def test_the_phase_in_force_decides(seed, phase, caps):
    """Of three phases, the caps of the one in force hold."""
    policy = BudgetPolicy.parse(seed | {"phase": phase})

    found = {cap.period: cap.limit // 10**8 for cap in policy.caps if cap.unit == "EUR"}
    assert (found["day"], found["month"]) == caps


def test_costs_have_targets_and_ceilings(seed):
    """The other scheme, over all costs, stands in the same file."""
    (budget,) = BudgetPolicy.parse(seed).costs

    assert (budget.period, budget.currency, budget.target, budget.ceiling) == ("week", "USD", 300, 500)


def test_numbers_are_exact():
    """A tenth is a tenth."""
    policy = BudgetPolicy.parse({"levels": {"a": [{"period": "day", "limit": 0.1}]}})

    assert (policy.levels["a"][0].limit, policy.caps[0].limit) == (Decimal("0.1"), 10_000_000)


@pytest.mark.parametrize(
    "values",
    [
        [],
        None,
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc"},
        {"phase": 2, "phases": {1: {"daily_eur_cap": 1, "monthly_eur_cap": 1, "providers": {"a": {"max_tokens": 1}}}}},
        {"phases": {1: {"daily_eur_cap": -1, "monthly_eur_cap": 1, "providers": {"a": {"max_tokens": 1}}}}},
        {"phases": {1: {"daily_eur_cap": 1, "monthly_eur_cap": 1, "providers": {}}}},
        {"phases": {1: {"daily_eur_cap": 1, "monthly_eur_cap": 1, "providers": {"a b": {"max_tokens": 1}}}}},
        {"levels": {"a//b": [{"period": "day", "limit": 1}]}},
        {"levels": {"a:b": [{"period": "day", "limit": 1}]}},
        {"levels": {"a": [{"period": "year", "limit": 1}]}},
        {"levels": {"a": [{"period": "day", "limit": "NaN"}]}},
        {"levels": {"a": [{"period": "day", "limit": 10**30}]}},
        {"levels": {"a": [{"period": "day", "limit": 1.5, "unit": "tokens"}]}},
        {"levels": {"a": [{"period": "day", "limit": 1, "unit": "XXX"}]}},
        {"unlogged_percent": 51},
        {"lease_seconds": 0},
        {"bugdet": 1},
    ],
)
def test_what_contradicts_itself_is_refused(values):
    """A policy that cannot be meant is an error by name."""
    with pytest.raises(BudgetPolicyError):
        BudgetPolicy.parse(values)


@pytest.mark.parametrize("content", [b"phases: {", b"\xff", b"phase: 1\nphase: 2\n"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    """So is one that is no YAML, no UTF-8, or says something twice."""
    from companyos.errors import ConfigError

    path = tmp_path / "finops.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        BudgetPolicy.load(path)
