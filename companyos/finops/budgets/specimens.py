"""What budgets must refuse, and let through: spending that really happens, on a real store and ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable  # noqa: TC003 - a field of a dataclass names it
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from companyos.controls import Specimen
from companyos.decision import Decision, Finding, Severity
from companyos.finops.budgets.budget import Budget
from companyos.finops.budgets.errors import BudgetConflictError, BudgetRefusedError, BudgetStoreLostError
from companyos.finops.budgets.policy import BudgetPolicy
from companyos.finops.budgets.stores.sqlite import SqliteBudgetStore
from companyos.finops.budgets.verdicts import assess

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.controls import Build

__all__ = ("SPECIMENS", "Scene", "Spending", "check_spending")

_POLICY = BudgetPolicy.parse(
    {
        "timezone": "Europe/Berlin",
        "levels": {
            "acme": [{"period": "day", "limit": 100}, {"period": "month", "limit": 1000}],
            "acme/search": [{"period": "week", "limit": 150}],
            "acme/*/*/*": [{"period": "total", "limit": 60}],
        },
    }
)
_MODELS = BudgetPolicy.parse(
    {
        "timezone": "Europe/Berlin",
        "phases": {
            1: {
                "daily_eur_cap": 450,
                "monthly_eur_cap": 12000,
                "providers": {"openai": {"max_tokens": 80000, "models": ["gpt-4o-mini", "gpt-4o"]}},
            }
        },
    }
)


class Scene:
    """A budget with its store, its ledger and a clock that obeys."""

    def __init__(self, folder: Path, policy: BudgetPolicy) -> None:
        from companyos.ledger import Ledger

        self.policy, self.path = policy, folder / "budget.db"
        self.now = 0.0
        self.at("2026-03-02 12:00")
        self.ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        self.budget = self.open()

    def at(self, local: str, *, fold: int = 0) -> None:
        """Set the clocks of store and caller to a local time; of one that comes twice, `fold` says which."""
        zone = ZoneInfo(self.policy.timezone)
        self.now = datetime.fromisoformat(local).replace(tzinfo=zone, fold=fold).timestamp()

    def open(self) -> Budget:
        """The budget, opened anew."""
        store = SqliteBudgetStore(self.path, clock=lambda: self.now)
        try:
            return Budget(self.policy, store, self.ledger, clock=lambda: self.now)
        except BaseException:
            store.close()
            raise

    def spend(self, amount: int, task: str = "acme") -> None:
        """Reserve and settle."""
        self.budget.reserve(Decimal(amount), task=task).settle()

    def close(self) -> None:
        """Close all of it."""
        self.budget._store.close()  # noqa: SLF001 - a lost store takes no last events, by which `close` of a budget ends
        self.ledger.close()


@dataclass(frozen=True, slots=True)
class Spending:
    """Something that is done to a budget."""

    folder: Path
    """An empty directory."""
    act: Callable[[Scene], None]
    """What is done."""
    policy: BudgetPolicy = _POLICY
    """The policy."""


def check_spending(case: Spending) -> Decision:
    """Do it, and say how the budget answered; afterwards, whether a pipeline may run."""
    scene = Scene(case.folder, case.policy)
    try:
        case.act(scene)
        return _without_notices(assess(case.policy, scene.budget.levels(), scene.now))
    except BudgetRefusedError as error:
        return error.decision
    except BudgetConflictError as error:
        return _denied("budget.conflict", "BUDGET-CAP.settled-twice", error.what)
    except BudgetStoreLostError as error:
        return _denied("budget.store_lost", "BUDGET-CAP.store-lost", error.what)
    finally:
        scene.close()


def _without_notices(decision: Decision) -> Decision:
    """Notices are for people, and no violation."""
    found = tuple(one for one in decision.findings if not one.rule.startswith("BUDGET-NOTICE."))
    return replace(decision, findings=found)


def _denied(reason: str, rule: str, message: str) -> Decision:
    return Decision.denied(reason, message, findings=[Finding(rule, message, Severity.CRITICAL)])


def _case(act: Callable[[Scene], None], policy: BudgetPolicy = _POLICY) -> Build:
    return lambda scratch: Spending(scratch, act, policy)


def _more_than_the_day(scene: Scene) -> None:
    scene.spend(70)
    scene.spend(31)


def _while_reserved(scene: Scene) -> None:
    scene.budget.reserve(Decimal(60), task="acme")
    scene.budget.reserve(Decimal(41), task="acme")


def _team_over_days(scene: Scene) -> None:
    for day in (2, 3, 4):
        scene.at(f"2026-03-0{day} 12:00")
        scene.spend(51, "acme/search")


def _run_over_its_own(scene: Scene) -> None:
    scene.spend(40, "acme/search/rank/run-1")
    scene.spend(21, "acme/search/rank/run-1")


def _a_hair_over(scene: Scene) -> None:
    scene.spend(100)
    scene.budget.reserve(Decimal("0.000000001"), task="acme")


def _after_an_excess(scene: Scene) -> None:
    scene.budget.reserve(Decimal(90), task="acme").settle(Decimal(250))
    scene.at("2026-03-02 23:59")
    scene.spend(1)


def _the_hour_that_comes_twice(scene: Scene) -> None:
    scene.at("2026-10-25 02:30")
    scene.spend(60)
    scene.at("2026-10-25 02:30", fold=1)
    scene.spend(60)


def _the_last_hour_of_25(scene: Scene) -> None:
    scene.at("2026-10-25 00:00")
    scene.spend(60)
    scene.at("2026-10-25 23:59")
    scene.spend(60)


def _a_clock_set_back_over_midnight(scene: Scene) -> None:
    scene.at("2026-03-02 23:59")
    scene.spend(90)
    scene.at("2026-03-03 00:01")
    scene.spend(10)
    scene.at("2026-03-02 23:58")
    scene.spend(11)


def _a_caller_who_lives_in_tomorrow(scene: Scene) -> None:
    scene.spend(90)
    ahead = Budget(
        scene.policy,
        SqliteBudgetStore(scene.path, clock=lambda: scene.now),
        scene.ledger,
        clock=lambda: scene.now + 86_400,
    )
    with ahead:
        ahead.reserve(Decimal(11), task="acme")


def _used_up(scene: Scene) -> None:
    scene.spend(100)


def _settled_twice(scene: Scene) -> None:
    held = scene.budget.reserve(Decimal(60), task="acme")
    held.settle(Decimal(50))
    held.settle(Decimal(5))


def _refunded_after_settlement(scene: Scene) -> None:
    held = scene.budget.reserve(Decimal(60), task="acme")
    held.settle(Decimal(50))
    held.refund()


def _used_after_its_lease(scene: Scene) -> None:
    scene.budget.reserve(Decimal(60), task="acme", id="job", lease_seconds=60)
    scene.now += 61
    scene.budget.levels()
    scene.budget.reserve(Decimal(60), task="acme", id="job", lease_seconds=60)


def _late_settlement_counts(scene: Scene) -> None:
    held = scene.budget.reserve(Decimal(60), task="acme", lease_seconds=60)
    scene.now += 61
    scene.budget.levels()
    held.settle(Decimal(60))
    scene.spend(41)


def _deleted(scene: Scene) -> None:
    scene.spend(60)
    scene.budget.close()
    for file in scene.path.parent.glob("budget.db*"):
        file.unlink()
    scene.budget = scene.open()


def _deleted_while_open(scene: Scene) -> None:
    scene.spend(60)
    for file in scene.path.parent.glob("budget.db*"):
        file.unlink()
    scene.spend(60)


def _older_copy(scene: Scene) -> None:
    scene.spend(10)
    scene.budget.close()
    copy = scene.path.with_name("copy.db")
    shutil.copy(scene.path, copy)
    scene.budget = scene.open()
    scene.spend(80)
    scene.budget.close()
    copy.replace(scene.path)
    scene.budget = scene.open()


def _older_content_in_place(scene: Scene) -> None:
    scene.spend(10)
    scene.budget.close()
    before = scene.path.read_bytes()
    scene.budget = scene.open()
    scene.spend(80)
    scene.budget.close()
    scene.path.write_bytes(before)
    scene.budget = scene.open()


def _model_of_another_phase(scene: Scene) -> None:
    scene.budget.reserve(Decimal(1), tokens=100, task="acme", provider="openai", model="o9-pro")


def _provider_of_nobody(scene: Scene) -> None:
    scene.budget.reserve(Decimal(1), tokens=100, task="acme", provider="elsewhere", model="gpt-4o")


def _tokens_of_a_provider(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.budget.reserve(Decimal(1), tokens=40_001, task=name, provider="openai", model="gpt-4o")


def _within(scene: Scene) -> None:
    scene.spend(40, "acme/search/rank/run-1")
    scene.spend(40, "acme/search/rank/run-2")


def _next_day(scene: Scene) -> None:
    scene.at("2026-03-28 23:59")
    scene.spend(90)
    scene.at("2026-03-29 03:00")  # a day of 23 hours
    scene.spend(70)


def _refund_gives_back(scene: Scene) -> None:
    scene.budget.reserve(Decimal(90), task="acme").refund()
    scene.spend(70)


def _lease_gives_back(scene: Scene) -> None:
    scene.budget.reserve(Decimal(90), task="acme", lease_seconds=60)
    scene.now += 61
    scene.spend(70)


def _told_twice(scene: Scene) -> None:
    held = scene.budget.reserve(Decimal(60), task="acme")
    held.settle(Decimal(50))
    held.settle(Decimal(50))
    scene.spend(20)


def _allowed_model(scene: Scene) -> None:
    scene.budget.reserve(Decimal(1), tokens=100, task="acme", provider="openai", model="gpt-4o").settle(tokens=80)


def _opened_again(scene: Scene) -> None:
    scene.spend(60)
    scene.budget.close()
    scene.budget = scene.open()
    scene.spend(20)


SPECIMENS = (
    Specimen("more than the day has", _case(_more_than_the_day), "BUDGET-CAP.no-room"),
    Specimen("what another one has reserved", _case(_while_reserved), "BUDGET-CAP.no-room"),
    Specimen("a team over its week, the company within each day", _case(_team_over_days), "BUDGET-CAP.no-room"),
    Specimen("a run over its own cap", _case(_run_over_its_own), "BUDGET-CAP.no-room"),
    Specimen("less than the least unit, over the cap", _case(_a_hair_over), "BUDGET-CAP.no-room"),
    Specimen("after more was spent than reserved", _case(_after_an_excess), "BUDGET-CAP.no-room"),
    Specimen("the hour that comes twice", _case(_the_hour_that_comes_twice), "BUDGET-CAP.no-room"),
    Specimen("first and last hour of a day of 25", _case(_the_last_hour_of_25), "BUDGET-CAP.no-room"),
    Specimen("a clock set back over midnight", _case(_a_clock_set_back_over_midnight), "BUDGET-CAP.no-room"),
    Specimen("a caller whose clock says tomorrow", _case(_a_caller_who_lives_in_tomorrow), "BUDGET-CAP.no-room"),
    Specimen("spent after the lease, then more", _case(_late_settlement_counts), "BUDGET-CAP.no-room"),
    Specimen("a provider's tokens over two tasks", _case(_tokens_of_a_provider, _MODELS), "BUDGET-CAP.no-room"),
    Specimen("a model the phase does not list", _case(_model_of_another_phase, _MODELS), "BUDGET-CAP.model"),
    Specimen("a provider the phase does not list", _case(_provider_of_nobody, _MODELS), "BUDGET-CAP.model"),
    Specimen("a pipeline when the day is used up", _case(_used_up), "BUDGET-CAP.exhausted"),
    Specimen("settled twice, the second time for less", _case(_settled_twice), "BUDGET-CAP.settled-twice"),
    Specimen("refunded after it was settled", _case(_refunded_after_settlement), "BUDGET-CAP.settled-twice"),
    Specimen("used again after its lease", _case(_used_after_its_lease), "BUDGET-CAP.settled-twice"),
    Specimen("a store that was deleted", _case(_deleted), "BUDGET-CAP.store-lost"),
    Specimen("a store that was deleted while open", _case(_deleted_while_open), "BUDGET-CAP.store-lost"),
    Specimen("an older copy in its place", _case(_older_copy), "BUDGET-CAP.store-lost"),
    Specimen("older content in the same file", _case(_older_content_in_place), "BUDGET-CAP.store-lost"),
    Specimen("within every cap", _case(_within)),
    Specimen("the day after, with 23 hours", _case(_next_day)),
    Specimen("after a refund", _case(_refund_gives_back)),
    Specimen("after a lease is over", _case(_lease_gives_back)),
    Specimen("told of the same settlement twice", _case(_told_twice)),
    Specimen("a model the phase lists", _case(_allowed_model, _MODELS)),
    Specimen("closed and opened again", _case(_opened_again)),
)
