"""A budget with a clock that obeys, and its ledger."""

from __future__ import annotations

from decimal import Decimal

import pytest

from companyos.finops.budgets import BudgetPolicy
from companyos.finops.budgets.specimens import Scene

POLICY = {
    "timezone": "Europe/Berlin",
    "levels": {
        "acme": [{"period": "day", "limit": 100}, {"period": "month", "limit": 1000}],
        "acme/search": [{"period": "week", "limit": 80}],
        "acme/*/*/*": [{"period": "total", "limit": 60}],
    },
}
SEED = {
    "timezone": "Europe/Berlin",
    "phases": {
        1: {
            "daily_eur_cap": 450,
            "monthly_eur_cap": 12000,
            "providers": {
                "openai": {"max_tokens": 80000, "models": ["gpt-4o-mini", "gpt-4o"]},
                "anthropic": {"max_tokens": 60000, "models": ["claude-3-5-sonnet-20241022"]},
                "local": {"max_tokens": 100000},
            },
        },
        2: {
            "daily_eur_cap": 650,
            "monthly_eur_cap": 16000,
            "providers": {"openai": {"max_tokens": 120000}, "anthropic": {"max_tokens": 100000}},
        },
        3: {
            "daily_eur_cap": 900,
            "monthly_eur_cap": 22000,
            "providers": {"openai": {"max_tokens": 150000}, "anthropic": {"max_tokens": 130000}},
        },
    },
    "costs": [{"name": "all-costs", "period": "week", "currency": "USD", "target": 300, "ceiling": 500}],
    "alerts": {
        "threshold_percent": 80,
        "channels": [{"type": "slack", "destination": "#finops-alerts"}],
    },
}


@pytest.fixture
def make_scene(tmp_path):
    """Budgets by their policies, each with store, ledger and clock, at 12:00 of 2 March 2026 in Berlin."""
    scenes = []

    def make(policy=POLICY):
        folder = tmp_path / f"scene-{len(scenes)}"
        folder.mkdir()
        scenes.append(Scene(folder, BudgetPolicy.parse(policy)))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


@pytest.fixture
def scene(make_scene):
    """A company, a team and runs with caps in EUR."""
    return make_scene()


@pytest.fixture
def seed():
    """The policy of the three phases, as a parsed file."""
    return SEED


@pytest.fixture
def used():
    """Spent and reserved of each level of a budget, in its currency or in tokens, by level and period."""

    def look(budget):
        return {
            one.key.rsplit(":", 1)[0] if one.key.count(":") > 2 else one.key: tuple(
                units if one.unit == "tokens" else Decimal(units) / 10**8 for units in (one.spent, one.reserved)
            )
            for one in budget.levels()
        }

    return look
