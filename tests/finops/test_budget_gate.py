"""Forecast, gate, plans and notes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from companyos.config import Budget, Settings
from companyos.controls import prove
from companyos.decision import Verdict
from companyos.errors import UserError
from companyos.finops import (
    Coverage,
    DayCost,
    Period,
    PlanError,
    RemediationPlan,
    SqliteCostStore,
    cost_note,
    forecast_costs,
    forecast_period,
    gate,
    judge,
    period_at,
)
from companyos.finops.plugin import FINOPS_GATE
from companyos.finops.samples import AS_OF, plant_overspend, sample_path
from companyos.ports import Receipt

MONDAY = date(2024, 9, 30)
WEEK = Period("week", MONDAY, MONDAY + timedelta(days=7))
BUDGET = Settings().finops.budgets[0]
PLAN = RemediationPlan("ops", ("turn it off",), date(2024, 10, 31))


def at(day, hour=0):
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def costs(amounts, *, until, currency="USD"):
    """One cost a day, the last on the day before `until`."""
    first = until - timedelta(days=len(amounts))
    return [DayCost(first + timedelta(days=n), currency, Decimal(amount), 1) for n, amount in enumerate(amounts)]


def covered(through, **more):
    return Coverage("sha256:aa", ("sha256:bb",), 10, None, through, ("USD",), **more)


def made(amounts, *, until=MONDAY + timedelta(days=3), as_of=None, through=None, extra=(), **more):
    return forecast_costs(
        [*costs(amounts, until=until), *extra],
        period=WEEK,
        currency="USD",
        as_of=as_of or at(until),
        coverage=covered(through or at(until), **more),
    )


def given(point, upper=None, spent="0"):
    """A forecast with these very figures."""
    return replace(made([30] * 40), spent=Decimal(spent), point=Decimal(point), upper=Decimal(upper or point))


def test_steady_costs_are_forecast_as_steady():
    """Thirty a day is 210 a week, and a history without surprises has a bound without margin."""
    forecast = made([30] * 40)

    assert (Decimal(210), Decimal(210), Decimal(90)) == (forecast.point, forecast.upper, forecast.spent)
    assert ("empirical_quantile", 4, 40) == (forecast.method, forecast.open_days, forecast.history_days)


def test_weekends_are_learnt():
    """Costs that halve at weekends are forecast to do so again, better than a flat mean would."""
    amounts = [20 if (WEEK.start - timedelta(days=40) + timedelta(days=n)).weekday() >= 5 else 40 for n in range(43)]

    forecast = made(amounts)

    assert abs(forecast.point - 240) < 6  # a flat mean says 257
    assert forecast.upper >= forecast.point


def test_surprises_in_the_history_widen_the_bound():
    """Dear days that came unannounced before may come again."""
    calm = made([30] * 60)
    rough = made([90 if n % 5 == 0 else 15 for n in range(60)])

    assert rough.upper - rough.point > 10
    assert calm.upper == calm.point


@pytest.mark.parametrize(("days", "method"), [(6, "too_little_history"), (7, "dearest_day"), (20, "dearest_day")])
def test_little_history_widens_the_bound_or_denies_a_forecast(days, method):
    """Less than a week is no forecast; less than a month takes the dearest day for every open day."""
    forecast = made([*([30] * (days - 1)), 50])

    assert method == forecast.method
    if method == "too_little_history":
        assert (None, None) == (forecast.point, forecast.upper)
    else:
        assert forecast.upper >= forecast.spent + 4 * 50


def test_a_whole_week_on_record_needs_no_forecast():
    """When every day is reported, point and bound are the exact sum."""
    end = WEEK.end

    forecast = forecast_costs(
        costs(["1.10"] * 30, until=end), period=WEEK, currency="USD", as_of=at(end), coverage=covered(at(end))
    )

    assert ("all_reported", Decimal("7.70"), Decimal("7.70")) == (forecast.method, forecast.point, forecast.upper)


def test_a_day_that_is_partly_reported_counts_for_the_more_of_both():
    """An unfinished day that is already dear is not forgotten, and one that is still cheap is filled up."""
    until = MONDAY + timedelta(days=3)
    dear = made([30] * 40, extra=[DayCost(until, "USD", Decimal(100), 1)], as_of=at(until, 12))
    cheap = made([30] * 40, extra=[DayCost(until, "USD", Decimal(1), 1)], as_of=at(until, 12))

    assert Decimal(280) == dear.point
    assert Decimal(210) == cheap.point


def test_a_missing_day_is_unknown_and_not_free():
    """A day without any charge inside the reported range is forecast, not taken for zero."""
    lines = [line for line in costs([30] * 43, until=MONDAY + timedelta(days=3)) if line.day != MONDAY]

    forecast = forecast_costs(
        lines, period=WEEK, currency="USD", as_of=at(MONDAY, 72 % 24), coverage=covered(at(MONDAY + timedelta(days=3)))
    )
    later = replace(forecast, as_of=at(MONDAY + timedelta(days=3)))

    assert Decimal(210) == forecast.point
    assert later.point == forecast.point


def test_nothing_after_as_of_is_known():
    """Data that reach beyond the moment of asking do not count as reported."""
    forecast = made([30] * 40, as_of=at(MONDAY + timedelta(days=1)))

    assert 6 == forecast.open_days


def test_the_forecast_is_a_function_of_its_arguments():
    """The same arguments give the same figures, whatever the order of the lines."""
    lines = costs([n % 7 * 10 for n in range(50)], until=MONDAY + timedelta(days=2))
    arguments = {"period": WEEK, "currency": "USD", "as_of": at(MONDAY + timedelta(days=2))}
    arguments["coverage"] = covered(at(MONDAY + timedelta(days=2)))

    assert forecast_costs(lines, **arguments) == forecast_costs(lines[::-1], **arguments)


@pytest.mark.parametrize(
    ("kind", "moment", "start", "end"),
    [
        ("day", "2024-10-05T23:59:59+00:00", "2024-10-05", "2024-10-06"),
        ("week", "2024-10-06T23:59:59+00:00", "2024-09-30", "2024-10-07"),
        ("week", "2024-10-07T01:00:00+02:00", "2024-09-30", "2024-10-07"),
        ("month", "2024-12-31T12:00:00+00:00", "2024-12-01", "2025-01-01"),
        ("month", "2024-02-29T12:00:00+00:00", "2024-02-01", "2024-03-01"),
    ],
)
def test_periods_are_utc(kind, moment, start, end):
    """Weeks start on Monday; a moment in another zone belongs to the UTC period."""
    period = period_at(kind, datetime.fromisoformat(moment))

    assert (start, end) == (period.start.isoformat(), period.end.isoformat())


@pytest.mark.parametrize(
    ("point", "upper", "plan", "verdict", "reason"),
    [
        ("300", None, None, Verdict.ALLOW, "budget.within"),
        ("345", None, None, Verdict.ALLOW, "budget.within"),
        ("345.000001", None, None, Verdict.DENY, "budget.over_target"),
        ("345.000001", None, PLAN, Verdict.ALLOW, "budget.over_target"),
        ("400", "500", PLAN, Verdict.ALLOW, "budget.over_target"),
        ("400", "500.000001", PLAN, Verdict.DENY, "budget.over_ceiling"),
        ("500", "500", None, Verdict.DENY, "budget.over_target"),
        ("500.000001", None, PLAN, Verdict.DENY, "budget.over_ceiling"),
        ("200", "600", None, Verdict.DENY, "budget.over_ceiling"),
    ],
)
def test_the_limits_of_the_gate_are_exact(point, upper, plan, verdict, reason):
    """Target plus 15 % and ceiling may be reached but not passed; a plan helps against the target only."""
    decision = gate(BUDGET, given(point, upper), remediation_plan=plan)

    assert (verdict, reason) == (decision.verdict, decision.reason)


def test_over_the_ceiling_asks_for_a_change_of_scope_or_capacity():
    """The obligation says by how much and until when; the facts hold figures as text, method and digest."""
    decision = gate(BUDGET, given("510", "620.5"))

    (obligation,) = decision.obligations
    assert "scope_or_capacity_change" == obligation.id
    assert ("120.50", "2024-10-07") == (obligation.properties["over_by"], obligation.properties["until"])
    assert ("510.00", "620.50", "sha256:aa", "empirical_quantile") == tuple(
        decision.facts[name] for name in ("forecast", "upper_bound", "extract", "method")
    )
    json.dumps(decision.to_dict())


GAPS = {
    "stale": ({"as_of": at(MONDAY + timedelta(days=6, hours=0), 1)}, "the data end at 2024-10-03 00:00 UTC"),
    "other currency": ({"extra": costs([5], until=MONDAY, currency="EUR")}, "charges in EUR"),
    "silent source": ({"silent_sources": ("Azure, account 7",)}, "charges of Azure, account 7 have stopped"),
    "rejected rows": ({"rows_rejected": 2}, "2 rows could not be ingested"),
}


@pytest.mark.parametrize("name", GAPS)
def test_what_may_hide_costs_cannot_pass(name):
    """Stale data, other currencies, a provider gone silent and rejected rows leave the gate undetermined."""
    arguments, message = GAPS[name]

    decision = gate(BUDGET, made([10] * 40, **arguments))

    assert (Verdict.UNDETERMINED, "budget.no_data") == (decision.verdict, decision.reason)
    assert message in decision.message


def daily(amount, until, *, since=date(2024, 8, 1), **more):
    """Rows of one cost a day from `since` to the day before `until`."""
    days = [since + timedelta(days=n) for n in range((until - since).days)]
    return [charge(day, amount) | more for day in days]


def charge(day, amount, **more):
    month = day.replace(day=1)
    period = {"BillingPeriodStart": month, "BillingPeriodEnd": (month + timedelta(days=32)).replace(day=1)}
    period |= {"ChargePeriodStart": day, "ChargePeriodEnd": day + timedelta(days=1)}
    return {name: f"{value}T00:00:00Z" for name, value in period.items()} | {"BilledCost": str(amount)} | more


SUNDAY = date(2024, 10, 6)
OTHER = {"BillingAccountId": "acc-2"}


def judged(store, path, **more):
    store.ingest(path)
    return judge([BUDGET], store, as_of=at(SUNDAY, 6), **more)


def test_the_slowest_source_decides_up_to_when_costs_are_known(focus_file, store):
    """What one account has not reported for two days is forecast, though another has reported all."""
    rows = daily(10, SUNDAY) + daily(50, SUNDAY - timedelta(days=2), **OTHER)

    decision = judged(store, focus_file(*rows))

    (part,) = decision.facts["parts"]
    assert ("budget.over_target", "420.00", 3) == (
        decision.reason,
        part["facts"]["forecast"],
        part["facts"]["open_days"],
    )


SILENCES = {
    "an account of the same provider": (OTHER, date(2024, 9, 26)),
    "another provider": ({"ProviderName": "Azure"}, date(2024, 9, 20)),
    "for 27 days": (OTHER, date(2024, 9, 9)),
}


@pytest.mark.parametrize("name", SILENCES)
def test_a_source_gone_silent_leaves_a_gap(focus_file, store, name):
    """A provider or an account that used to report daily and stopped hides costs, whoever else is fresh."""
    source, until = SILENCES[name]

    decision = judged(store, focus_file(*daily(10, SUNDAY), *daily(20, until, **source)))

    assert "budget.no_data" == decision.reason
    assert "have stopped arriving" in decision.message


SILENCES_OF_NO_ACCOUNT = {
    "given up four weeks ago": daily(60, date(2024, 9, 8), **OTHER),
    "bought from once": [charge(date(2024, 9, 12), 60, **OTHER)],
    "used once a week": [charge(date(2024, 9, 3) + timedelta(days=7 * n), 1, **OTHER) for n in range(4)],
}


@pytest.mark.parametrize("name", SILENCES_OF_NO_ACCOUNT)
def test_a_source_that_never_was_steady_or_is_given_up_leaves_none(focus_file, store, name):
    """A single purchase, weekly use and an account of long ago do not hold up the gate."""
    decision = judged(store, focus_file(*daily(30, SUNDAY), *SILENCES_OF_NO_ACCOUNT[name]))

    assert "budget.within" == decision.reason


@pytest.mark.parametrize("category", ["Credit", "Adjustment", "Refund", "Usage"])
def test_a_credit_does_not_hide_an_overspend(focus_file, store, category):
    """Whatever lowers the bill, the ceiling is also held against what was charged, and both figures are told."""
    rows = [*daily(90, SUNDAY), charge(date(2024, 10, 1), -600, ChargeCategory=category)]

    decision = judged(store, focus_file(*rows))

    facts = decision.facts["parts"][0]["facts"]
    assert "budget.over_ceiling" == decision.reason
    assert ("-60.00", "540.00", "630.00") == (
        facts["spent"],
        facts["before_credits"]["spent"],
        facts["before_credits"]["forecast"],
    )
    assert "630.00 before credits is over the ceiling" in decision.message
    assert "130.00" == decision.obligations[0].properties["over_by"]


def test_a_credit_in_the_history_does_not_lower_the_forecast(focus_file, store):
    """The target is held against the charges too."""
    rows = [*daily(58, SUNDAY), charge(date(2024, 9, 27), -5000, ChargeCategory="Credit")]

    decision = judged(store, focus_file(*rows))

    assert "budget.over_target" == decision.reason
    assert "forecast USD 406.00" in decision.message


def test_without_credits_both_views_agree(focus_file, store):
    """The facts hold the same figures twice, and the message names one."""
    decision = judged(store, focus_file(*daily(30, SUNDAY)))

    facts = decision.facts["parts"][0]["facts"]
    assert facts["before_credits"] == {
        name: facts[name] for name in ("spent", "forecast", "lower_bound", "upper_bound")
    }
    assert "before credits" not in decision.message


def test_what_is_already_spent_is_refused_even_when_data_are_missing():
    """Gaps in the data do not soften a ceiling that is passed already."""
    decision = gate(BUDGET, made([600] * 3, rows_rejected=1))

    assert "budget.over_ceiling" == decision.reason
    assert "1800" in decision.message.replace(",", "")


def test_no_data_at_all_is_undetermined(store):
    """An empty store says nothing about costs; nor does a list of no budgets."""
    decision = judge([BUDGET], store, as_of=AS_OF)

    assert (Verdict.UNDETERMINED, "budget.no_data") == (decision.verdict, decision.reason)
    assert "no cost data have been ingested" in decision.message
    assert Verdict.UNDETERMINED is judge([], store, as_of=AS_OF).verdict


def test_a_forecast_for_another_budget_is_not_judged():
    """Currency and period of forecast and budget must agree."""
    other = Budget(name="llm", period="month", currency="EUR", target=Decimal(450), ceiling=Decimal(12000))

    assert "budget.no_data" == gate(other, given("10")).reason


def test_a_moment_without_a_time_zone_is_refused_in_words(store):
    """Every front door that takes a moment says what is wrong with a naive one."""
    store.ingest(sample_path())
    naive = datetime(2024, 10, 5)  # noqa: DTZ001 - the very thing to refuse

    for call in (
        lambda: judge([BUDGET], store, as_of=naive),
        lambda: cost_note(store, [BUDGET], as_of=naive),
        lambda: cost_note(store, [], as_of=naive),
        lambda: period_at("week", naive),
        lambda: made([30] * 40, as_of=naive),
    ):
        with pytest.raises(UserError, match="has no time zone"):
            call()


def test_every_budget_must_pass(store):
    """One small budget that is exceeded refuses, whatever the others say."""
    store.ingest(sample_path())
    daily = Budget(name="daily", period="day", target=Decimal(1), ceiling=Decimal(2))

    assert "budget.within" == judge([BUDGET], store, as_of=AS_OF).reason
    for budgets in ([BUDGET, daily], [daily, BUDGET]):
        assert "budget.over_ceiling" == judge(budgets, store, as_of=AS_OF).reason


def test_a_pass_that_rests_on_a_plan_says_so(focus_file, store):
    """The reason of the whole is that of the budget which needed the plan, in whatever order they stand."""
    store.ingest(focus_file(*daily(58, SUNDAY)))
    roomy = Budget(name="roomy", target=Decimal(900), ceiling=Decimal(1000))

    for budgets in ([BUDGET], [BUDGET, roomy], [roomy, BUDGET]):
        decision = judge(budgets, store, as_of=at(SUNDAY, 6), remediation_plan=PLAN)
        assert (Verdict.ALLOW, "budget.over_target") == (decision.verdict, decision.reason)


def test_the_sample_passes_and_a_planted_overspend_does_not(tmp_path):
    """The demo's two cases, through the front door."""
    verdicts = []
    for name, extract in (("clean", sample_path()), ("over", plant_overspend(tmp_path / "over.csv"))):
        with SqliteCostStore(tmp_path / name) as store:
            store.ingest(extract)
            verdicts.append(judge([BUDGET], store, as_of=AS_OF).reason)

    assert ["budget.within", "budget.over_ceiling"] == verdicts


def test_a_week_of_the_sample_costs_between_200_and_260(store):
    """Every week of the sample lies well below the target."""
    store.ingest(sample_path())

    weeks = [line.amount for line in store.total(by="week")]
    assert 6 == len(weeks)
    assert all(200 < amount < 260 for amount in weeks)


def test_the_decision_is_left_in_the_ledger(store):
    """The entry holds the decision, and the decision the id of the entry."""
    kept = []

    class Log:
        def append(self, type, data, *, id=None, source=None, stream=None, subject=None):  # noqa: A002
            kept.append((type, data))
            return Receipt("entry-1", 0, b"", 1)

    store.ingest(sample_path())
    decision = judge([BUDGET], store, as_of=AS_OF, ledger=Log())

    assert "entry-1" == decision.audit_id
    ((kind, data),) = kept
    assert ("companyos.finops.gate", "allow", "budget.within") == (kind, data["decision"], data["reason"])


def test_the_control_proves_itself():
    """Every planted violation is caught by its rule and no clean case is refused."""
    proof = prove(FINOPS_GATE)

    assert (proof.planted, 0) == (proof.caught, proof.false_alarms)
    assert proof.holds


def test_a_plan_is_read_from_yaml(tmp_path):
    """Owner, actions and a due date make a plan; its digest is that of the file."""
    path = tmp_path / "plan.yaml"
    path.write_text("owner: ops\nactions: [resize the pool]\ndue: 2024-10-20\nbudget: all-costs\n")

    plan = RemediationPlan.load(path)

    assert ("ops", ("resize the pool",), date(2024, 10, 20)) == (plan.owner, plan.actions, plan.due)
    assert plan.digest.startswith("sha256:")
    assert plan.covers("all-costs", date(2024, 10, 20))
    assert not plan.covers("all-costs", date(2024, 10, 21))
    assert not plan.covers("llm", date(2024, 10, 1))
    assert plan.covers("all-costs", date(2024, 7, 22))
    assert not plan.covers("all-costs", date(2024, 7, 21))  # 91 days before it is due


BAD_PLANS = {
    "empty": "",
    "text": "we will do better",
    "no owner": "actions: [resize]\ndue: 2024-10-20",
    "no actions": "owner: a\nactions: []\ndue: 2024-10-20",
    "action without words": "owner: a\nactions: ['-']\ndue: 2024-10-20",
    "one action without words": "owner: a\nactions: [resize the pool, '1.']\ndue: 2024-10-20",
    "blank owner": "owner: ' '\nactions: [resize]\ndue: 2024-10-20",
    "blank action": "owner: a\nactions: [' ']\ndue: 2024-10-20",
    "no date": "owner: a\nactions: [resize]\ndue: soon",
    "a time": "owner: a\nactions: [resize]\ndue: 2024-10-20T10:00:00",
    "unknown key": "owner: a\nactions: [resize]\ndue: 2024-10-20\nwhen: now",
    "budget is a list": "owner: a\nactions: [resize]\ndue: 2024-10-20\nbudget: [a]",
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_plan_that_is_none_is_refused(tmp_path, name):
    """An empty or vague file is no plan."""
    path = tmp_path / "plan.yaml"
    path.write_text(BAD_PLANS[name])

    with pytest.raises(PlanError):
        RemediationPlan.load(path)


def test_a_plan_made_in_python_is_held_to_the_same():
    """No constructor leads around the words."""
    for owner, actions in (("ops", ()), ("ops", ("-",)), (" ", ("resize",))):
        with pytest.raises(PlanError):
            RemediationPlan(owner, actions, date(2024, 10, 20))


def test_a_plan_for_the_far_future_is_none_yet():
    """A due date beyond the horizon does not let anything pass, and the message says why."""
    decision = gate(BUDGET, given("400"), remediation_plan=replace(PLAN, due=date(9999, 12, 31)))

    assert (Verdict.DENY, "budget.over_target") == (decision.verdict, decision.reason)
    assert "due in more than 90 days" in decision.message


def test_a_plan_that_cannot_be_read_is_refused(tmp_path):
    """A missing file and one that is not text are errors of the plan."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "binary"):
        with pytest.raises(PlanError, match="cannot read"):
            RemediationPlan.load(tmp_path / name)


def test_cost_notes_say_the_same_to_people_and_machines(store):
    """The Markdown holds digest, forecast and verdict of the JSON."""
    store.ingest(sample_path())

    note = cost_note(store, [BUDGET], as_of=AS_OF)
    text, data = note.to_markdown(), json.loads(json.dumps(note.to_dict()))

    assert text.startswith("## Cost Notes\n")
    (budget,) = data["budgets"]
    assert data["extract"] == store.coverage().digest
    for value in (data["extract"], budget["facts"]["forecast"][:6], "**allow** `budget.within`", "USD 500.00"):
        assert value in text
    assert "Amazon Elastic Compute Cloud" == data["top_services"][0]["key"]


def test_names_in_cost_notes_cannot_break_the_table(focus_file, store):
    """A service called like Markdown or HTML stays text in its cell."""
    path = focus_file({"ServiceName": "a|b <img src=x>\n# [x](y) `z`"})
    store.ingest(path)

    text = cost_note(store, [BUDGET], as_of=datetime(2024, 9, 4, tzinfo=UTC)).to_markdown()

    assert "a\\|b \\<img src=x\\> \\# \\[x\\](y) \\`z\\`" in text
    assert "unknown" in text


def test_the_upper_bound_holds_about_as_often_as_it_says():
    """Over 100 weeks of random costs the bound is passed in at most a fifth of them, and is not needlessly wide."""
    import random

    chance = random.Random(11)
    passed, width, weeks = 0, Decimal(0), 100
    for _ in range(weeks):
        amounts = [Decimal(chance.gauss(30, 6)).quantize(Decimal("0.01")) for _ in range(70)]
        actual = sum(amounts[-7:])
        forecast = made(amounts[:-4])
        passed += actual > forecast.upper
        width += forecast.upper - forecast.point
    assert passed <= weeks // 5
    assert width / weeks < 40


def test_the_store_forecast_uses_what_the_store_holds(store):
    """The front door gives the same figures as the pure function over the same days."""
    store.ingest(sample_path())

    forecast = forecast_period(store, "week", "USD", AS_OF)

    assert (WEEK, 40, 2) == (forecast.period, forecast.history_days, forecast.open_days)
    assert store.coverage().digest == forecast.extract
