"""The published examples: OpenSLO's own, and those that Sloth publishes together with what it makes of them.

How ours and Sloth's rules compare: names of series are the same, labels begin with `slo_` instead of `sloth_`; the
windows recorded are the same; targets, budgets and limits are equal as numbers; every alert has the same windows at
the same limits, alternatives joined alike. And both files are run by promtool over the same series, good days and
bad: at every tick that is looked at error ratios are equal to 1e-12 and burn rates to 1e-9 (Sloth's budget of 0.1 %
is 0.0009999999999999432), and the same alerts fire.
What differs on purpose: ours records nothing where there was no traffic (Sloth: NaN), takes a missing series of good
or bad events for none of them (Sloth: no data), weighs events in the period (Sloth: five-minute means, the same under
steady traffic), and adds an alert on missing data.
"""

from __future__ import annotations

import re

import pytest
import yaml

from companyos.observability.slo import compile_rules, read_files
from tests.observability.slo.texts import SHARED, alerts, events, recorded, rules_of, slo

pytestmark = [pytest.mark.outside, pytest.mark.service("promtool")]

EXAMPLES = (
    "budgeting-method/occurences-slo.yaml",
    "budgeting-method/ratio-timeslices.yaml",
    "budgeting-method/timeslices-slo.yaml",
    "treat-low-traffic-as-equally-important/timeslices-slo.yaml",
)
OURS, THEIRS = '{slo_id=~".+"}', '{sloth_id=~".+"}'
METRIC = "http_request_duration_seconds_count"
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")


def of_example(name):
    """The rules of one of OpenSLO's examples."""
    return compile_rules(read_files([SHARED / "openslo" / "examples" / name]))


def sloth_rules(name):
    """What Sloth made of an example: its text, and the rules in it."""
    content = (SHARED / "sloth" / name).read_text()
    (document,) = (item for item in yaml.safe_load_all(content) if item)
    # promtool takes one document a file.
    return content.partition("\n---\n")[2] or content, [rule for group in document["groups"] for rule in group["rules"]]


def from_v1alpha():
    """Ours of Sloth's OpenSLO example."""
    return compile_rules(read_files([SHARED / "sloth" / "openslo-getting-started.yml"]))


def from_prometheus_v1():
    """Ours of the same SLO as Sloth's `getting-started.yml`, written as OpenSLO v1 from its fields."""
    source = yaml.safe_load((SHARED / "sloth" / "getting-started.yml").read_text())
    (theirs,) = source["slos"]
    queries = theirs["sli"]["events"]
    written = slo(
        events(bad=queries["error_query"], total=queries["total_query"]),
        service=source["service"],
        objectives=[{"targetPercent": theirs["objective"]}],
    )
    written["metadata"] |= {"name": theirs["name"], "labels": source["labels"]}
    return rules_of(written)


PAIRS = [
    pytest.param(from_v1alpha, "openslo-getting-started.rules.yml", id="openslo"),
    pytest.param(from_prometheus_v1, "getting-started.rules.yml", id="prometheus"),
]


def limits(expression):
    """Windows and limits of an alert, alternative by alternative: {((5m, 0.0144), (1h, 0.0144)), ...}."""
    found = re.findall(r"ratio_rate(\w+)\{[^}]*\} > \(([\d.]+) \* ([\d.]+)\)", expression)
    each = [(window, round(float(factor) * float(budget), 12)) for window, factor, budget in found]
    return {tuple(each[index : index + 2]) for index in range(0, len(each), 2)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_promtool_takes_what_comes_of_the_specifications_examples(name, bench):
    """Each example as published, its placeholders for queries included, compiles to a rule file."""
    assert not bench.check(of_example(name).to_yaml())


def test_occurrences_example():
    """A threshold of values under 500, two weeks, 99 %."""
    held = recorded(of_example(EXAMPLES[0]))
    assert held["slo:sli_point_error:ratio"] == "avg(((Any) >= -Inf) >= bool 500)"
    assert held["slo:objective:ratio"] == "vector(0.99)"
    assert "slo:sli_error:ratio_rate14d" in held


def test_ratio_timeslices_example():
    """The error ratio of each minute, averaged over two weeks."""
    rules = of_example(EXAMPLES[1])
    assert [group.interval for group in rules.groups] == [None, "1m"]
    assert "< bool" not in recorded(rules)["slo:sli_slice_error:ratio"]
    assert recorded(rules)["slo:sli_error:ratio_rate14d"].startswith("avg_over_time(slo:sli_slice_error:ratio{")


def test_timeslices_example():
    """Two objectives over a month of the calendar; a minute is good at 99 %."""
    rules = of_example(EXAMPLES[2])
    assert rules.slo_ids == (
        "web-availability-service-availability-internal-objective",
        "web-availability-service-availability-sla",
    )
    assert recorded(rules)["slo:sli_slice_error:ratio"].endswith("< bool 0.99")
    assert any("write 1M" in str(warning) for warning in rules.warnings)


def test_low_traffic_example():
    """A week of minutes that are good at 95 %: five minutes of budget."""
    held = recorded(of_example(EXAMPLES[3]))
    assert held["slo:sli_slice_error:ratio"].endswith("< bool 0.95")
    assert held["slo:error_budget:ratio"] == "vector(0.0005)"
    assert "slo:sli_error:ratio_rate7d" in held


@pytest.mark.parametrize(("make", "theirs"), PAIRS)
def test_what_is_recorded_has_the_same_names_and_numbers(make, theirs):
    """Series of Sloth's file are in ours; targets, budgets and periods are equal as numbers."""
    held = recorded(make())
    _, rules = sloth_rules(theirs)
    named = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    ours = {name.replace("companyos_", "sloth_") for name in held}
    assert named.keys() - ours == set()
    assert ours - named.keys() == {"slo:sli_bad:rate5m", "slo:sli_total:rate5m"}
    objective = float(held["slo:objective:ratio"][7:-1])
    assert objective == pytest.approx(float(named["slo:objective:ratio"][7:-1]), abs=1e-12)
    assert float(held["slo:error_budget:ratio"][7:-1]) == pytest.approx(1 - objective, abs=1e-12)
    assert held["slo:time_period:days"] == named["slo:time_period:days"]


@pytest.mark.parametrize(("make", "theirs"), PAIRS[1:])
def test_alerts_have_the_same_windows_and_limits(make, theirs):
    """Page and ticket: the same pairs of windows, at the same error ratios."""
    _, rules = sloth_rules(theirs)
    expected = {rule["labels"]["sloth_severity"]: limits(rule["expr"]) for rule in rules if "alert" in rule}
    found = alerts(make())
    assert {severity: limits(found[f"burn-{severity}"].expr) for severity in ("page", "ticket")} == expected
    assert len(expected["page"]) == len(expected["ticket"]) == 2


INCIDENTS = {
    "slightly bad": ("0+1000x420", "0+4x420"),
    "outage and recovery": ("0+1000x180 180000x20 180000+1000x220", "0+0x180 0+1000x20 20000x220"),
    "slow burn": ("0+1000x60 60000+990x360", "0+0x60 0+10x360"),
    "blips": ("0+1000x420", "0+0x60 0+30x5 150x100 150+30x5 300x250"),
}


@pytest.mark.parametrize(("make", "theirs"), PAIRS)
@pytest.mark.parametrize("incident", INCIDENTS)
def test_both_rule_files_record_and_alert_the_same(make, theirs, incident, bench):
    """Promtool runs both files over one series: values are equal, and so is what fires, tick by tick."""
    good, bad = INCIDENTS[incident]
    series = {f'{METRIC}{{job="myservice",code="{code}"}}': values for code, values in (("200", good), ("503", bad))}
    steady = incident == "slightly bad"
    names = [f"slo:sli_error:ratio_rate{window}" for window in (WINDOWS if steady else WINDOWS[:-1])]
    names += ["slo:current_burn_rate:ratio"]
    if steady:
        names += ["slo:period_burn_rate:ratio", "slo:period_error_budget_remaining:ratio"]
    expected = []
    for minute in (*range(10, 420, 37), 181, 182, 183, 199, 201, 206, 207):
        for name in names:
            near = 1e-9 if "burn_rate" in name or "budget" in name else 1e-12
            difference = f"abs(sum({name}{OURS}) - sum({name}{THEIRS})) <= bool {near}"
            expected.append((minute, difference, 1))
    for minute in range(5, 420, 5):
        for severity in ("page", "ticket"):
            ours = f'(count(ALERTS{{slo_alert="burn-{severity}",alertstate="firing"}}) or vector(0))'
            expected.append((minute, f"{ours} == bool ({sloth_firing(theirs, severity)} or vector(0))", 1))
    files = [make().to_yaml(), sloth_rules(theirs)[0]]
    assert bench.complaint(files, series, expected) == ""


def sloth_firing(theirs, severity):
    """Sloth's alerts of a severity that fire; its OpenSLO example has none, so its alert is written out here."""
    if theirs == "getting-started.rules.yml":
        return f'count(ALERTS{{sloth_severity="{severity}",alertstate="firing"}})'
    pairs = (("5m", "1h", 14.4), ("30m", "6h", 6)) if severity == "page" else (("2h", "1d", 3), ("6h", "3d", 1))
    each = [
        f"(sum(slo:sli_error:ratio_rate{short}{THEIRS}) > {factor} * 0.001"
        f" and sum(slo:sli_error:ratio_rate{long}{THEIRS}) > {factor} * 0.001)"
        for short, long, factor in pairs
    ]
    return f"count({' or '.join(each)})"
