"""Costs go to who answers for them: all of them, to the last digit, by rules that say where they stand."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companyos.cli import main
from companyos.finops import AllocationError, exact_sum
from companyos.finops.allocation import AllocationRules, allocate, split_exactly
from companyos.finops.samples import sample_path
from companyos.finops.slices import Slice

D = Decimal
RULES = """
rules:
  - name: support
    match: {category: Support}
    to: {pool: overhead}
  - name: network
    match: {service: "Net*"}
    to: {pool: network}
  - name: crm
    match: {"tag:application": [crm, crm-api], account: acc-1}
    to: {team: sales, feature: crm, cost-center: CRM}
  - name: own-tag
    match: {"tag:team": "*"}
    to: {team: "{tag:team}"}
  - name: nobody
    match: {region: moon}
    to: {team: lunar}
pools:
  overhead: {split: proportional}
  network: {over: team, split: metric, metric: x_bytes}
"""


@pytest.fixture
def rules(tmp_path):
    """Rules read from a file."""

    def make(text: str = RULES) -> AllocationRules:
        path = tmp_path / "allocation.yaml"
        path.write_text(text, encoding="utf-8")
        return AllocationRules.load(path)

    return make


CHARGES = (
    {"Tags": '{"application": "crm"}', "BilledCost": "10.00", "x_bytes": "1"},
    {"Tags": '{"application": "crm-api", "team": "data"}', "BilledCost": "20.00", "x_bytes": "1"},
    {"Tags": '{"team": "data"}', "BilledCost": "30.00", "x_bytes": "4"},
    {"Tags": '{"team": "data"}', "BilledCost": "-5.00"},
    {"ServiceName": "Network", "BilledCost": "1.00", "x_bytes": "100"},
    {"ServiceCategory": "Support", "BilledCost": "0.1000001", "Tags": '{"team": "data"}'},
    {"BilledCost": "2.50"},
    {"BilledCost": "7", "BillingCurrency": "EUR", "Tags": '{"team": "data"}'},
)


def by_key(made):
    """Amounts by receiver and currency."""
    return {(line.key, line.currency): line.amount for line in made.lines}


def test_every_cent_finds_its_receiver(focus_file, store, rules):
    """Rules in order, pools by direct cost and by metric, exact parts, and a line for what nobody gets."""
    store.ingest(focus_file(*CHARGES))

    made = allocate(store, rules(), "team")

    assert by_key(made) == {
        ("data", "EUR"): D(7),
        ("sales", "USD"): D(30) + D("0.33") + D("0.0545455"),  # the digit that is left goes to the larger remainder
        ("data", "USD"): D(25) + D("0.67") + D("0.0454546"),
        ("(unallocated)", "USD"): D("2.5"),
    }
    assert {line.currency: line.amount for line in store.total()} == {
        currency: exact_sum(line.amount for line in made.lines if line.currency == currency)
        for currency in ("EUR", "USD")
    }
    assert [line.share_percent for line in made.lines if line.key == "(unallocated)"] == [D("4.27")]
    assert made.unused == ("nobody (line 15)",)
    assert dict(made.lines[1].pools) == {"network": D("0.33"), "overhead": D("0.0545455")}


def test_a_pool_of_another_dimension_is_passed_over(focus_file, store, rules):
    """By feature the pool over teams says nothing; its charges go on to the next rule, here to nobody."""
    store.ingest(focus_file(*CHARGES))

    made = allocate(store, rules(), "feature")

    assert by_key(made)["crm", "USD"] == D("30.1000001")
    assert by_key(made)["(unallocated)", "USD"] == D("28.5")


POOLS = {
    "even": ("{over: team, split: even, among: [a, b, c]}", {"a": "0.34", "b": "0.33", "c": "0.33"}),
    "fixed": (
        "{over: team, split: fixed, shares: {a: 50, b: 12.5}}",
        {"a": "0.50", "b": "0.12", "(unsplit p)": "0.38"},
    ),
    "nobody has costs": ("{over: team, split: proportional, among: [z]}", {"(unsplit p)": "1.00"}),
    "no metric": ("{over: team, split: metric, metric: x_none}", {"(unsplit p)": "1.00"}),
    "into a pool": (
        "{over: team, split: even, among: [a, 'pool:q']}\n  q: {over: team, split: fixed, shares: {b: 100}}",
        {"a": "0.50", "b": "0.50"},
    ),
}


@pytest.mark.parametrize("name", POOLS)
def test_each_way_to_share_a_pool(focus_file, store, rules, name):
    """What a pool cannot share out stays under its name, and is said."""
    pool, expected = POOLS[name]
    store.ingest(focus_file({"BilledCost": "1.00", "ServiceName": "Pool"}))

    made = allocate(
        store, rules(f"rules: [{{name: p, match: {{service: Pool}}, to: {{pool: p}}}}]\npools:\n  p: {pool}\n")
    )

    assert {line.key: line.amount for line in made.lines} == {key: D(part) for key, part in expected.items()}
    assert bool(made.unsplit) == (name in {"nobody has costs", "no metric"})


def test_quantities_of_different_units_are_no_weight(focus_file, store, rules):
    """Gigabytes and hours are not added; `where` takes one of them."""
    own = {"Tags": '{"team": "a"}', "ConsumedUnit": "GB", "ConsumedQuantity": "3"}
    store.ingest(
        focus_file(
            own,
            own | {"ConsumedUnit": "Hours", "ServiceName": "Disks"},
            own | {"Tags": '{"team": "b"}', "ConsumedQuantity": "1"},
            {"ServiceName": "Pool", "BilledCost": "4"},
        )
    )
    text = """
rules:
  - {name: pool, match: {service: Pool}, to: {pool: p}}
  - {name: own, match: {"tag:team": "*"}, to: {team: "{tag:team}"}}
pools:
  p: {over: team, split: metric, metric: ConsumedQuantity%s}
"""
    with pytest.raises(Exception, match="counts different things"):
        allocate(store, rules(text % ""))

    made = allocate(store, rules(text % ", where: {service: Machines}"))
    assert {line.key: line.shared for line in made.lines} == {"a": D(3), "b": D(1)}


WRONG = {
    "no rules": ("rules: []", 1),
    "more than there is": (RULES + "  p: {over: team, split: fixed, shares: {a: 60, b: 41}}\n", 20),
    "a circle": (
        RULES
        + "  p: {over: team, split: even, among: ['pool:q']}\n  q: {over: team, split: even, among: [a, 'pool:p']}\n",
        20,
    ),
    "itself": (RULES + "  p: {over: team, split: even, among: ['pool:p']}\n", 20),
    "no such pool": (RULES.replace("pool: network", "pool: nets"), 8),
    "an unknown key": (RULES.replace("region: moon", "planet: moon"), 16),
    "a number": (RULES.replace("region: moon", "account: 0123"), 16),
    "twice": (RULES.replace("name: nobody", "name: crm"), 15),
    "a key twice": (RULES.replace("{region: moon}", "{region: moon, region: mars}"), 16),
    "to nowhere": (RULES.replace("to: {team: lunar}", "to: {}"), 17),
    "to both": (RULES.replace("to: {team: lunar}", "to: {team: lunar, pool: overhead}"), 17),
    "a pool with a name of none": (RULES.replace("{split: proportional}", "{split: proportional, among: [a]}"), 19),
    "shares of an even pool": (RULES + "  p: {over: team, split: even, shares: {a: 1}}\n", 20),
    "a negative share": (RULES + "  p: {over: team, split: fixed, shares: {a: -5}}\n", 20),
    "no metric": (RULES.replace("metric: x_bytes", "metric: ServiceName"), 20),
    "everything": (RULES.replace("match: {region: moon}", "match: {}"), 15),
    "a receiver like a line of ours": (RULES.replace("team: lunar", "team: (unallocated)"), 17),
    "another dimension": (RULES + "  p: {over: feature, split: even, among: ['pool:network']}\n", 21),
    "no YAML": ("rules: [", 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_rules_that_contradict_themselves_are_refused_by_line(rules, name):
    """Nothing is allocated by half a file."""
    text, line = WRONG[name]
    with pytest.raises(AllocationError, match=rf"allocation.yaml, line ({line}|{line + 1}|{line - 1}):"):
        rules(text)


amounts = st.decimals(-(10**9), 10**9, places=6) | st.decimals(-5, 5, places=2)
weights = st.dictionaries(st.sampled_from("abcdefg"), st.decimals(0, 1000, places=3), min_size=1)


@given(amounts, weights.filter(lambda some: any(some.values())))
@settings(max_examples=60, deadline=None)
def test_parts_sum_to_the_whole_and_miss_their_share_by_less_than_a_digit(amount, shares):
    """To the last digit; in whatever order the weights come; nobody with a weight of zero gets anything."""
    parts = split_exactly(amount, shares)

    assert exact_sum(parts.values()) == amount
    assert parts == split_exactly(amount, dict(reversed(shares.items())))
    total = sum(shares.values())
    for name, share in shares.items():
        assert abs(parts[name] - amount * share / total) < D("0.01")
        assert share or not parts[name]


@pytest.mark.parametrize("shares", [{}, {"a": D(0)}, {"a": D(1), "b": D(-1)}])
def test_weights_that_are_none_split_nothing(shares):
    """No weight, no split."""
    with pytest.raises(ValueError, match="weights"):
        split_exactly(D(1), shares)


charges = st.lists(
    st.tuples(st.sampled_from(["Pool", "Base", "Other"]), st.sampled_from(["a", "b", "(none)"]), amounts), max_size=12
)


@given(charges, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_allocation_preserves_the_sum_whatever_the_order(tmp_path_factory, items, random):
    """Lines sum to the charges; the order of charges and a second run change nothing."""
    path = tmp_path_factory.mktemp("rules") / "allocation.yaml"
    path.write_text(
        """
rules:
  - {name: pool, match: {service: Pool}, to: {pool: p}}
  - {name: base, match: {service: Base}, to: {pool: q}}
  - {name: own, match: {"tag:team": "*"}, to: {team: "{tag:team}"}}
pools:
  p: {over: team, split: even, among: [a, c, "pool:q"]}
  q: {over: team, split: proportional}
"""
    )
    read = AllocationRules.load(path)

    def run(charges):
        slices = [Slice(keys, "USD", amount, None, 1, "x#1") for *keys, amount in charges]
        return allocate(SimpleNamespace(slices=lambda *_, **__: slices), read)

    made = run(items)

    assert exact_sum(line.amount for line in made.lines) == exact_sum(amount for *_, amount in items)
    shuffled = list(items)
    random.shuffle(shuffled)
    assert run(shuffled) == made == run(items)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command in a directory with a store of the sample and rules."""
    monkeypatch.chdir(tmp_path)
    Path("allocation.yaml").write_text(
        "rules:\n"
        "  - {name: apps, match: {'tag:application': [orders, 'b*']}, to: {team: '{tag:application}'}}\n"
        "  - {name: gone, match: {service: Gone}, to: {team: x}}\n"
    )

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["finops", *arguments, "--store", "costs"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    call("ingest", str(sample_path()))
    return call


def test_the_command_allocates_in_every_format(run):
    """A table for people, CSV and JSON exact, HTML alone; what is unused goes to stderr."""
    code, table, err = run("allocate")
    assert (code, "(unallocated)" in table) == (0, True)
    assert "no charge fits rule gone (line 3)" in err

    _, text, _ = run("allocate", "--json", "--html", "a.html")
    made = json.loads(text)
    _, listed, _ = run("allocate", "--csv")
    assert {line["key"] for line in made["lines"]} == {row.split(",")[0] for row in listed.splitlines()[1:]}
    assert "(unallocated)" in Path("a.html").read_text()

    _, report, _ = run("report", "--by", "team", "--allocated", "--json")
    total = json.loads(run("report", "--by", "service", "--json")[1])["lines"]
    lines = json.loads(report)["lines"]
    assert exact_sum(D(line["amount"]) for line in lines) == exact_sum(D(line["amount"]) for line in total)


@pytest.mark.parametrize(
    "arguments",
    [
        ("allocate", "--csv", "--json"),
        ("allocate", "--rules", "none.yaml"),
        ("report", "--rules", "allocation.yaml"),
        ("report", "--allocated", "--by", "service"),
    ],
)
def test_wrong_calls_exit_2(run, arguments):
    """With what was expected."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "expected" in err
