"""Reserving, settling and refunding, through the front door."""

from __future__ import annotations

from decimal import Decimal

import pytest

from companyos.controls import prove
from companyos.finops import (
    Budget,
    BudgetConflictError,
    BudgetPolicy,
    BudgetRefusedError,
    BudgetRequestError,
    BudgetUnknownError,
)
from companyos.finops.budgets import assess, differences, read_history
from companyos.finops.budgets.stores.sqlite import SqliteBudgetStore
from companyos.finops.plugin import BUDGET_CAP

TASK = "acme/search/rank/run-1"


def types(scene):
    """What is on the ledger, without the common beginning."""
    return [entry.type.removeprefix("companyos.finops.budget.") for entry in scene.ledger.read()]


def test_the_control_proves_itself():
    """Everything planted is refused by its rule, and nothing clean is."""
    proof = prove(BUDGET_CAP)

    assert [one for one in proof.results if not one.passed] == []
    assert (proof.caught, proof.clean) == (22, 7)


def test_a_reservation_takes_from_every_level(scene, used):
    """Company, team and run each hold what is reserved, and what is settled takes its place."""
    held = scene.budget.reserve(Decimal("12.50"), task=TASK)
    levels = ["acme:EUR:day", "acme:EUR:month", "acme/search:EUR:week", f"{TASK}:EUR:total"]
    assert used(scene.budget) == dict.fromkeys(levels, (0, Decimal("12.5")))

    held.settle(Decimal("7.25"))
    assert used(scene.budget) == dict.fromkeys(levels, (Decimal("7.25"), 0))


def test_a_refusal_takes_nothing_and_is_a_decision_on_the_ledger(scene, used):
    """The refusal names the level, the room it has and what was asked; its entry is on the ledger."""
    with pytest.raises(BudgetRefusedError) as refused:
        scene.budget.reserve(Decimal(61), task=TASK)

    decision = refused.value.decision
    assert (decision.reason, decision.allow) == ("budget.exceeded", False)
    assert [found.message for found in decision.findings] == [
        f"{TASK}:EUR:total: 60.00 EUR left of 60.00 EUR, 61.00 EUR asked for"
    ]
    assert [one.id for one in decision.obligations] == ["scope_or_capacity_change"]
    assert decision.audit_id in {entry.id for entry in scene.ledger.read()}
    assert all(one == (0, 0) for one in used(scene.budget).values())


def test_every_step_is_on_the_ledger(scene):
    """Reserved, settled, refunded and expired, each an entry, and the sums of store and ledger agree."""
    scene.budget.reserve(Decimal(5), task="acme").settle(Decimal(4))
    scene.budget.reserve(Decimal(5), task="acme").refund()
    scene.budget.reserve(Decimal(5), task="acme", lease_seconds=60)
    scene.now += 61
    levels = scene.budget.levels()

    assert types(scene) == ["opened", "reserved", "settled", "reserved", "refunded", "reserved", "expired"]
    assert differences(levels, read_history(scene.ledger.read(), "companyos/finops/budgets/company")) == []


def test_a_block_that_ends_without_a_settlement_gives_back(scene, used):
    """As a context manager a reservation is refunded if it was not settled, also by an exception."""
    with pytest.raises(ZeroDivisionError), scene.budget.reserve(Decimal(5), task="acme"):
        _ = 1 // 0
    with scene.budget.reserve(Decimal(5), task="acme") as held:
        held.settle(Decimal(3))

    assert used(scene.budget)["acme:EUR:day"] == (3, 0)


def test_more_than_reserved_is_counted_and_closes_the_budget(scene, used):
    """What was really spent is never lost: the excess is recorded, and nothing is given out until it fits again."""
    scene.budget.reserve(Decimal(90), task="acme").settle(Decimal("130.5"))
    assert used(scene.budget)["acme:EUR:day"] == (Decimal("130.5"), 0)
    with pytest.raises(BudgetRefusedError, match=r"0\.00 EUR left"):
        scene.budget.reserve(Decimal("0.01"), task="acme")

    settled = next(entry for entry in scene.ledger.read() if entry.type.endswith("settled"))
    assert [units for _, units in settled.data["over"]] == [4_050_000_000] * 2
    scene.at("2026-03-03 12:00")
    scene.spend(10)


def test_a_reservation_belongs_to_the_window_it_was_made_in(scene):
    """Reserved before midnight and settled after, it is counted on the day before."""
    scene.at("2026-03-02 23:59")
    held = scene.budget.reserve(Decimal(90), task="acme")
    scene.at("2026-03-03 00:01")
    held.settle()
    days = {one.key: one.spent // 10**8 for one in scene.budget.levels() if ":day:" in one.key}
    assert days == {"acme:EUR:day:2026-03-02": 90}

    scene.spend(90)
    days = {one.key: one.spent // 10**8 for one in scene.budget.levels() if ":day:" in one.key}
    assert days == {"acme:EUR:day:2026-03-02": 90, "acme:EUR:day:2026-03-03": 90}


@pytest.mark.parametrize("skew", [-90_000, -3600, 3600, 90_000])
def test_a_caller_whose_clock_is_wrong_spends_in_the_window_of_the_store(scene, skew):
    """Windows and leases go by the store's clock: callers a day ahead or behind share the day's cap."""
    store = SqliteBudgetStore(scene.path, clock=lambda: scene.now)
    with Budget(scene.policy, store, scene.ledger, clock=lambda: scene.now + skew) as skewed:
        held = skewed.reserve(Decimal(60), task="acme", lease_seconds=60)
        assert held.lease_until.timestamp() == scene.now + 60
        with pytest.raises(BudgetRefusedError):
            scene.budget.reserve(Decimal(41), task="acme")
        scene.now += 61
        scene.budget.reserve(Decimal(100), task="acme")


def test_the_same_id_is_the_same_reservation(scene, used):
    """A call that is made again, because its answer did not arrive, reserves once."""
    first = scene.budget.reserve(Decimal(5), task="acme", id="job-1")

    assert scene.budget.reserve(Decimal(5), task="acme", id="job-1") == first
    assert used(scene.budget)["acme:EUR:day"] == (0, 5)
    with pytest.raises(BudgetConflictError):
        scene.budget.reserve(Decimal(6), task="acme", id="job-1")


@pytest.mark.parametrize(
    "asked",
    [
        {"task": "acme"},
        {"amount": Decimal(0), "task": "acme"},
        {"amount": Decimal(-1), "task": "acme"},
        {"amount": Decimal("NaN"), "task": "acme"},
        {"amount": Decimal("Infinity"), "task": "acme"},
        {"amount": Decimal("1e999999"), "task": "acme"},
        {"amount": 2**63, "task": "acme"},
        {"amount": 1.5, "task": "acme"},
        {"amount": True, "task": "acme"},
        {"amount": 1, "task": ""},
        {"amount": 1, "task": "acme//x"},
        {"amount": 1, "task": "acme:x"},
        {"amount": 1, "task": "a/" * 9 + "a"},
        {"amount": 1, "task": "nobody"},
        {"amount": 1, "task": "acme", "currency": "USD"},
        {"amount": 1, "task": "acme", "currency": "eur"},
        {"tokens": 5, "task": "acme"},
        {"amount": 1, "tokens": -5, "task": "acme"},
        {"amount": 1, "task": "acme", "id": ""},
        {"amount": 1, "task": "acme", "id": "a\nb"},
        {"amount": 1, "task": "acme", "model": "a\x1fb"},
        {"amount": 1, "task": "acme", "lease_seconds": 0},
        {"amount": 1, "task": "acme", "lease_seconds": float("nan")},
    ],
)
def test_what_makes_no_sense_is_refused_by_name(scene, used, asked):
    """Amounts, paths, ids and leases that cannot be meant, and what no cap would hold; nothing is written."""
    with pytest.raises(BudgetRequestError):
        scene.budget.reserve(asked.pop("amount", None), **asked)
    assert used(scene.budget) == {}


def test_an_id_that_is_not_known_is_an_error(scene):
    """Nothing can be settled or refunded by an id that nobody reserved."""
    with pytest.raises(BudgetUnknownError):
        scene.budget.settle("nobody", Decimal(1))
    with pytest.raises(BudgetUnknownError):
        scene.budget.refund("nobody")


def test_units_that_were_not_reserved_cannot_be_settled(scene):
    """Tokens where money was reserved are an error."""
    with pytest.raises(BudgetRequestError):
        scene.budget.reserve(Decimal(1), task="acme").settle(tokens=5)


def test_tokens_and_money_in_one_reservation(make_scene, seed, used):
    """A provider's ceiling of tokens and the caps in EUR of the phase are taken, settled and refused together."""
    scene = make_scene(seed)
    model = {"provider": "openai", "model": "gpt-4o", "task": "acme/search"}
    scene.budget.reserve(Decimal(400), tokens=70_000, **model).settle(Decimal(300), tokens=60_000)
    assert used(scene.budget) == {
        "phase-1/openai:tokens:day": (60_000, 0),
        "phase-1:EUR:day": (300, 0),
        "phase-1:EUR:month": (300, 0),
    }

    with pytest.raises(BudgetRefusedError) as refused:
        scene.budget.reserve(Decimal(151), tokens=20_001, **model)
    assert len(refused.value.decision.findings) == 2
    other = {"provider": "local", "model": "anything", "task": "acme/search"}
    scene.budget.reserve(Decimal(150), tokens=100_000, **other)
    with pytest.raises(BudgetRequestError, match="tokens"):
        scene.budget.reserve(Decimal(1), **other)


@pytest.mark.parametrize(
    ("provider", "model"),
    [(None, None), ("openai", None), ("openai", "gpt-5"), ("mistral", "gpt-4o"), ("anthropic", "gpt-4o")],
)
def test_only_models_of_the_phase(make_scene, seed, provider, model):
    """What the phase does not list cannot be paid for, and the refusal is on the ledger."""
    scene = make_scene(seed)
    with pytest.raises(BudgetRefusedError) as refused:
        scene.budget.reserve(Decimal(1), tokens=1, task="acme", provider=provider, model=model)

    assert refused.value.decision.reason == "budget.model_not_allowed"
    assert types(scene)[-1] == "refused"


def test_alerts_come_once_at_the_threshold_and_once_when_full(scene):
    """At 80 % and at 100 % of a cap one alert each, on the ledger and to whoever listens, in whatever process."""
    heard = []
    budgets = [
        Budget(
            scene.policy,
            SqliteBudgetStore(scene.path, clock=lambda: scene.now),
            scene.ledger,
            clock=lambda: scene.now,
            on_alert=lambda finding: heard.append(finding.message.split(",")[0]),
        )
        for _ in range(2)
    ]
    for number, amount in enumerate((79, 1, 5, 15)):
        budgets[number % 2].reserve(Decimal(amount), task="acme").settle()
    for one in budgets:
        one.close()

    day = "acme:EUR:day:2026-03-02"
    assert heard == [f"{day}: 80.00 EUR of 100.00 EUR", f"{day}: 100.00 EUR of 100.00 EUR"]
    assert types(scene).count("alert") == 2


def test_a_pipeline_is_blocked_when_a_cap_is_used_up_unless_it_is_critical(scene):
    """A cap without room blocks what is not critical, by a decision on the ledger."""
    scene.spend(100)
    levels = scene.budget.levels()
    decisions = [assess(scene.policy, levels, scene.now, critical=critical) for critical in (False, True)]

    assert [one.reason for one in decisions] == ["budget.exhausted", "budget.critical"]
    assert scene.budget.record(decisions[0]).audit_id in {entry.id for entry in scene.ledger.read()}
    scene.at("2026-03-03 12:00")
    assert assess(scene.policy, scene.budget.levels(), scene.now).allow


def test_a_warning_comes_a_day_before_the_month_is_spent(scene):
    """Spending 60 a day of 1,000 a month is warned of from the first day on, days before the cap is reached."""
    warned = []
    for day in range(2, 18):
        scene.at(f"2026-03-{day:02} 12:00")
        scene.spend(60)
        scene.at(f"2026-03-{day:02} 23:00")
        found = assess(scene.policy, scene.budget.levels(), scene.now).findings
        warned += [day for one in found if one.rule == "BUDGET-NOTICE.projected" and ":month:" in one.message]
    with pytest.raises(BudgetRefusedError):
        scene.budget.reserve(Decimal(41), task="acme")

    assert warned == list(range(2, 18))


def test_a_surge_is_warned_of_before_the_pace_of_the_month_shows_it(scene):
    """After three quiet weeks, a dear day is enough to warn of the month, more than a day ahead."""

    def month_warned():
        found = assess(scene.policy, scene.budget.levels(), scene.now).findings
        return any(one.rule == "BUDGET-NOTICE.projected" and ":month:" in one.message for one in found)

    scene.at("2026-03-22 12:00")
    scene.spend(60)
    quiet = month_warned()
    scene.at("2026-03-23 12:00")
    scene.spend(95)

    assert (quiet, month_warned()) == (False, True)


def test_a_ledger_that_refuses_takes_the_reservation_back(scene, used, monkeypatch):
    """What cannot be put on the ledger is not given out."""
    from companyos.ledger import StoreUnreadableError

    def fail(_drafts):
        raise StoreUnreadableError("the disk is full")

    monkeypatch.setattr(scene.ledger, "append_many", fail)
    with pytest.raises(StoreUnreadableError):
        scene.budget.reserve(Decimal(5), task="acme")
    monkeypatch.undo()

    assert used(scene.budget)["acme:EUR:day"] == (0, 0)
    assert types(scene)[-2:] == ["reserved", "refunded"]


def test_with_an_allowance_entries_come_together(make_scene):
    """Where some may be unlogged, the ledger hears of several at once, and of all of them at the end."""
    from tests.finops.budgets.conftest import POLICY

    scene = make_scene(POLICY | {"unlogged_percent": 10})
    scene.spend(1)
    before = len(types(scene))
    for _ in range(4):
        scene.spend(1)
    assert len(types(scene)) == before
    scene.spend(9)
    assert len(types(scene)) == before + 10
    scene.budget.flush()
    assert len(types(scene)) == before + 11


def test_policies_differ_and_the_store_stays_one(scene):
    """A process with a narrower policy refuses what it must, on the same sums."""
    narrow = BudgetPolicy.parse({"timezone": "Europe/Berlin", "levels": {"acme": [{"period": "day", "limit": 10}]}})
    store = SqliteBudgetStore(scene.path, clock=lambda: scene.now)
    scene.spend(8)
    with Budget(narrow, store, scene.ledger, clock=lambda: scene.now) as budget, pytest.raises(BudgetRefusedError):
        budget.reserve(Decimal(3), task="acme")
