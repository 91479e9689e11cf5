"""A rule file with the records of one objective over a short period, as compiled rules name them."""

from __future__ import annotations

import json

__all__ = ("records",)


def records(service: str, bad: str, total: str, *, target: float = 0.9995) -> str:
    """Rules for the objective `SERVICE-availability`: `bad` and `total` are selectors of counters."""
    labels = {"slo_id": f"{service}-availability", "slo_service": service, "slo_name": "availability"}
    mine = f'{{slo_id="{service}-availability"}}'
    short, long = (
        f"(sum(rate({bad}[{w}])) or 0 * sum(rate({total}[{w}]))) / sum(rate({total}[{w}]))" for w in ("5m", "1h")
    )
    rules = {
        "slo:sli_error:ratio_rate5m": short,
        "slo:sli_error:ratio_rate1h": long,
        "slo:objective:ratio": f"vector({target})",
        "slo:error_budget:ratio": f"vector(1 - {target})",
        "slo:time_period:days": "vector(1 / 24)",
        "slo:current_burn_rate:ratio": f"slo:sli_error:ratio_rate5m{mine} / on (slo_id) slo:error_budget:ratio{mine}",
        "slo:period_burn_rate:ratio": f"slo:sli_error:ratio_rate1h{mine} / on (slo_id) slo:error_budget:ratio{mine}",
        "slo:period_error_budget_remaining:ratio": f"1 - slo:period_burn_rate:ratio{mine}",
    }
    listed = [{"record": name, "expr": expr, "labels": labels} for name, expr in rules.items()]
    return json.dumps({"groups": [{"name": "slo", "rules": listed}]})
