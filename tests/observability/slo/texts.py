"""OpenSLO files as tests write them, what comes of them, and the same series for two sets of rules."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from companyos.observability.slo import compile_rules, read
from tests.services import available

SHARED = Path(__file__).resolve().parents[4] / "shared" / "conformance"
TOTAL = 'sum(rate(requests_total{job="a"}[{{.window}}]))'
BAD = 'sum(rate(requests_total{job="a",code="500"}[{{.window}}]))'
GOOD = 'sum(rate(requests_total{job="a",code!="500"}[{{.window}}]))'
SELECTOR = '{slo_id="shop-up"}'


def metric(query):
    """A metric of a Prometheus."""
    return {"metricSource": {"type": "Prometheus", "spec": {"query": query}}}


def events(**queries):
    """An SLI of events, by the queries for good or bad, and total."""
    return {"ratioMetric": {"counter": True} | {key: metric(query) for key, query in queries.items()}}


def thing(kind, name, spec, **metadata):
    """An object of openslo/v1."""
    return {"apiVersion": "openslo/v1", "kind": kind, "metadata": {"name": name} | metadata, "spec": spec}


def slo(sli=None, *, target=0.999, duration="30d", method="Occurrences", objective=None, **spec):
    """The SLO `up` of the service `shop`."""
    whole = {
        "service": "shop",
        "indicator": {"metadata": {"name": "sli"}, "spec": sli or events(bad=BAD, total=TOTAL)},
        "timeWindow": [{"duration": duration, "isRolling": True}],
        "budgetingMethod": method,
        "objectives": [{"target": target} | (objective or {})],
    } | spec
    return thing("SLO", "up", {key: value for key, value in whole.items() if value is not None})


def policy(threshold=2, lookback="1h", *, name="fast", severity="page", after="0m", annotations=None, **spec):
    """An AlertPolicy with its condition inline."""
    condition = {"kind": "burnrate", "threshold": threshold, "lookbackWindow": lookback, "alertAfter": after}
    metadata = {"name": f"{name}-burn"} | ({"annotations": annotations} if annotations else {})
    held = {"kind": "AlertCondition", "metadata": metadata, "spec": {"severity": severity, "condition": condition}}
    return thing("AlertPolicy", name, {"conditions": [held]} | spec)


def text(*things):
    """Objects as the bytes of a file."""
    return "\n---\n".join(json.dumps(item, indent=1, ensure_ascii=False) for item in things).encode()


def rules_of(*things):
    """What the objects compile to."""
    return compile_rules(read({"slo.yaml": text(*things)}))


def recorded(rules):
    """Expressions by the names of the recorded series."""
    return {rule.name: rule.expr for group in rules.groups for rule in group.rules if not rule.alert}


def alerts(rules):
    """Alerts by their `slo_alert`."""
    return {rule.labels["slo_alert"]: rule for group in rules.groups for rule in group.rules if rule.alert}


class Bench:
    """`promtool test rules` over rule files and series, in one directory."""

    def __init__(self, directory):
        self.directory = directory
        self.promtool = available("promtool")

    def check(self, content):
        """What `promtool check rules` refuses; empty if it takes the file."""
        place = self.directory / "checked.yaml"
        place.write_text(content, encoding="utf-8")
        return self.promtool.refuses(place)

    def complaint(self, files, series, expected, *, interval="1m"):
        """What differs from what is expected: (minute, expression, value or None) each."""
        names = []
        for number, content in enumerate(files):
            names.append(f"rules{number}.yaml")
            (self.directory / names[-1]).write_text(content, encoding="utf-8")
        tests = [
            {
                "expr": expression,
                "eval_time": f"{minute}m",
                "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
            }
            for minute, expression, value in expected
        ]
        # Without an order promtool takes groups as they fall, and what one reads of another may be a tick old.
        order = [group["name"] for content in files for group in yaml.safe_load(content)["groups"]]
        whole = {
            "rule_files": names,
            "group_eval_order": order,
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": interval,
                    "input_series": [{"series": name, "values": values} for name, values in series.items()],
                    "promql_expr_test": tests,
                }
            ],
        }
        place = self.directory / "test.yaml"
        place.write_text(json.dumps(whole), encoding="utf-8")
        return self.promtool.complaint(place)
