"""A server of language models that can fail in every way, and routers over it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from companyos.llm import LocalBudget, ModelRouter, RoutingPolicy
from companyos.testing.llm import LlmServer

IMPATIENT = {"first_token_seconds": 1.0, "idle_seconds": 1.0, "attempt_seconds": 1.0}
"""For faults that are silence; still long enough for a server that is well on a machine that is busy."""
PRICES = {"openai": "0.002", "anthropic": "0.003", "local": "0"}


@pytest.fixture
def server():
    """A server of the test's own."""
    with LlmServer() as running:
        yield running


def make_policy(server, kinds=("openai", "anthropic", "openai-responses"), *, rules=None, **more):
    """Three providers on the server: `openai` is preferred, `anthropic` the fallback, `local` the last resort."""
    names = ("openai", "anthropic", "local")[: len(kinds)]
    return RoutingPolicy.parse(
        {
            "providers": {
                name: {
                    "kind": kind,
                    "base_url": server.url(name),
                    "models": {"planning": f"{name}-model"},
                    "cost_per_1k_tokens": {f"{name}-model": float(PRICES[name])},
                }
                for name, kind in zip(names, kinds, strict=True)
            },
            "task_types": {
                "planning": {
                    "preferred_provider": "openai",
                    "fallback": names[min(1, len(names) - 1)],
                    "max_tokens": 400,
                }
            },
            "failover": {
                "fallback_provider": names[-1],
                "retry_delay_ms": 10,
                "connect_seconds": 20,
                "first_token_seconds": 20,
                "idle_seconds": 20,
                "attempt_seconds": 20,
                "deadline_seconds": 60,
                "cool_down_seconds": 0.2,
            }
            | (rules or {}),
        }
        | more
    )


@pytest.fixture
def make_router(server):
    """Makes routers, and closes them."""
    made = []

    def make(*args, budget=None, rules=None, residency=None, audit=None, shapes=None, rates=None, prices=None, **more):
        held = LocalBudget(Decimal(100)) if budget is None else budget
        options = {"residency": residency, "audit": audit, "shapes": shapes, "rates": rates, "prices": prices}
        router = ModelRouter(make_policy(server, *args, rules=rules, **more), held, **options)
        router.budget = held
        made.append(router)
        return router

    yield make
    for router in made:
        router.close()
