"""Advice stands on charges, with amounts that can be worked out by hand; what data do not say is undetermined."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from companyos.cli import main
from companyos.errors import UserError
from companyos.finops import StoreError
from companyos.finops.advice import advise

D = Decimal
START, END = date(2024, 9, 2), date(2024, 9, 30)  # Monday to Sunday, four weeks


def charges(cost, quantity, *, days=28, **more):
    """A charge a day from `START`; `cost` and `quantity` may be functions of the day."""
    found = []
    for number in range(days):
        day = START + timedelta(days=number)
        amount = cost(day) if callable(cost) else cost
        used = quantity(day) if callable(quantity) else quantity
        found.append(
            {
                "ChargePeriodStart": f"{day}T00:00:00Z",
                "ChargePeriodEnd": f"{day + timedelta(days=1)}T00:00:00Z",
                "BilledCost": str(amount),
                "EffectiveCost": str(amount),
                "ListCost": str(amount),
                "PricingCategory": "Standard",
                "ConsumedQuantity": str(used),
                "ConsumedUnit": "Hours",
                "ResourceId": "r1",
                "RegionId": "eu",
                "Tags": '{"CostCenter": "CRM"}',
            }
            | more
        )
    return found


def weekend(day):
    """Whether it is Saturday or Sunday."""
    return day.weekday() >= 5


def kinds(made):
    """Advice by kind and subject."""
    return {(one.kind, one.subject): one for one in made.advice}


def test_a_commitment_is_worked_out_on_the_days_themselves(focus_file, store):
    """Ten a day on workdays and four at weekends: at 50 % off, ten costs 5 x 28 and saves 10 x 20 + 4 x 8."""
    store.ingest(focus_file(*charges(lambda day: 4 if weekend(day) else 10, 1)))

    advice = kinds(advise(store, START, END, discount=D("0.5")))["commitment", "Machines, eu"]

    assert advice.monthly == D("99.94")  # (232 - 140) x (365 / 12) / 28, rounded down
    assert (advice.confidence, advice.rows) == ("medium", 28)
    assert advice.facts == {
        "commitment_per_day_at_on_demand_price": "10.00",
        "cost_of_commitment_per_day": "5.00",
        "discount_percent": "50.00",
        "break_even_utilisation_percent": "50.00",
        "utilisation_percent": "82.86",
    }
    # At 20 % off ten a day saves 232 - 8 x 28 = 8, and four a day 4 x 28 - 3.2 x 28 = 22.4.
    low = kinds(advise(store, START, END, discount=D("0.2")))["commitment", "Machines, eu"]
    assert low.facts["commitment_per_day_at_on_demand_price"] == "4.00"
    assert low.monthly == D("24.33")


def test_the_discount_comes_from_committed_charges_or_from_nobody(focus_file, store):
    """What committed charges cost below list price; without them nothing is made up."""
    store.ingest(focus_file(*charges(10, 1)))
    (missing,) = (one for one in advise(store, START, END).undetermined if one.kind == "commitment")
    assert "Machines" in missing.why

    committed = charges(6, 1, days=2, PricingCategory="Committed", ListCost="10", BillingAccountId="two")
    store.ingest(focus_file(*committed, name="two.csv"))
    advice = kinds(advise(store, START, END))["commitment", "Machines, eu"]
    assert advice.facts["discount_percent"] == "40.00"


@pytest.mark.parametrize("usage", [0, "-1"])
def test_nothing_is_committed_to_nothing(focus_file, store, usage):
    """Neither to free usage nor to credits."""
    store.ingest(focus_file(*charges(usage, 1)))
    assert ("commitment", "Machines, eu") not in kinds(advise(store, START, END, discount=D("0.3")))


def test_idle_and_little_used_resources(focus_file, store):
    """Cost and no consumption; hardly any beside five like it; a cheap one and one that is used are left alone."""
    rows = []
    for number in range(6):
        rows += charges(2, 100, ResourceId=f"busy-{number}")
    rows += charges(3, 0, ResourceId="idle")
    rows += charges(2, "0.5", ResourceId="sleepy")
    rows += charges("0.01", "0.5", ResourceId="cheap")
    rows += charges(1, 0, ResourceId="half") + charges(1, 50, ResourceId="half", ConsumedUnit="GB")
    store.ingest(focus_file(*rows))

    found = kinds(advise(store, START, END, discount=D("0.3")))

    assert found["idle", "idle (Machines)"].monthly == D("91.25")  # 84 in 28 days
    assert found["little-used", "sleepy (Machines)"].monthly == D("60.83")
    assert {subject for kind, subject in found if kind in {"idle", "little-used"}} == {
        "idle (Machines)",
        "sleepy (Machines)",
    }
    assert found["idle", "idle (Machines)"].first.startswith("sha256:")


def test_weekends_that_are_paid_and_not_used(focus_file, store):
    """The weekend's cost is what switching off would save; a resource that rests and costs nothing then is fine."""
    rows = charges(5, lambda day: 0 if weekend(day) else 24, ResourceId="office")
    rows += charges(lambda day: 0 if weekend(day) else 5, lambda day: 0 if weekend(day) else 24, ResourceId="off")
    rows += charges(5, 24, ResourceId="always")
    store.ingest(focus_file(*rows))

    found = kinds(advise(store, START, END, discount=D("0.3")))

    assert [subject for kind, subject in found if kind == "weekends"] == ["office (Machines)"]
    assert found["weekends", "office (Machines)"].monthly == D("43.45")  # 5 x 8 in 28 days


def test_nights_need_hours(focus_file, store):
    """Charges by the hour show the night; charges by the day cannot."""
    rows = []
    for hour in range(24):
        used = 1 if 6 <= hour < 20 else 0
        start, end = (datetime(2024, 9, 2, tzinfo=UTC) + timedelta(hours=hour + more) for more in (0, 1))
        times = {"ChargePeriodStart": f"{start:%FT%TZ}", "ChargePeriodEnd": f"{end:%FT%TZ}"}
        rows += [one | times for one in charges(1, used, days=1)]
    store.ingest(focus_file(*rows))

    advice = kinds(advise(store, START, END, discount=D("0.3")))["nights", "r1 (Machines)"]

    assert advice.monthly == D("10.86")  # ten hours of the one night there is
    assert "nights" not in {one.kind for one in advise(store, START, END).undetermined}


def test_untagged_spending_has_its_amount(focus_file, store):
    """Without taxes and credits, as a share of what can be tagged."""
    rows = charges(1, 1) + charges(3, 1, Tags="", ResourceId="r2")
    rows += charges(9, 1, days=1, Tags="", ChargeCategory="Tax")
    store.ingest(focus_file(*rows))

    advice = kinds(advise(store, START, END, discount=D("0.3")))["untagged", "tag:CostCenter"]

    assert (advice.monthly, advice.rows) == (D("91.25"), 28)
    assert "75.0 %" in advice.why


def test_a_missing_column_is_named_and_nothing_invented(focus_file, store):
    """The base of FOCUS 1.0 has no resources, no tags, no pricing category."""
    store.ingest(focus_file(*({"ChargePeriodStart": "2024-09-03"},)))

    made = advise(store, START, END)

    assert made.advice == ()
    assert {one.kind: one.why for one in made.undetermined} == {
        "commitment": "no column PricingCategory in every file",
        "idle": "no column ConsumedQuantity, ConsumedUnit, ResourceId in every file",
        "weekends": "no column ConsumedQuantity, ConsumedUnit, ResourceId in every file",
        "nights": "no column ConsumedQuantity, ConsumedUnit, ResourceId in every file",
        "untagged": "no column Tags in every file",
    }


def test_quantities_that_are_not_there_are_undetermined(focus_file, store):
    """A resource without a quantity is not idle; too few days tell nothing."""
    store.ingest(focus_file(*charges(1, "")))

    assert "1 resources have charges without ConsumedQuantity" in {
        one.why for one in advise(store, START, END).undetermined
    }
    few = advise(store, START, date(2024, 9, 9)).undetermined
    assert {one.kind for one in few} == {"commitment", "idle", "weekends", "nights"}


def test_what_cannot_be_asked_is_refused(focus_file, store):
    """An empty store, days in the wrong order, a discount that is none."""
    with pytest.raises(StoreError):
        advise(store)
    store.ingest(focus_file(*charges(1, 1)))
    with pytest.raises(UserError, match="order"):
        advise(store, END, START)
    with pytest.raises(UserError, match="discount"):
        advise(store, discount=D(1))
    assert advise(store).window.end == END


def test_the_command_says_what_it_could_not_tell(tmp_path, focus_file, capsys):
    """A table and JSON; exit 3 while something is undetermined."""
    store = str(tmp_path / "costs")
    assert main(["finops", "ingest", str(focus_file(*charges(2, 0))), "--store", store]) == 0
    capsys.readouterr()

    assert main(["finops", "advise", "--store", store, "--discount", "30"]) == 3
    out, err = capsys.readouterr()
    assert "60.83" in out
    assert "undetermined: nights" in err

    assert main(["finops", "advise", "--store", store, "--json"]) == 3
    made = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in made["advice"]] == ["idle"]
