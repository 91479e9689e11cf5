"""The panels of service level objectives, over the series that compiled rules record.

The records are those that Sloth made common: `slo:objective:ratio`, `slo:error_budget:ratio`,
`slo:current_burn_rate:ratio`, `slo:period_burn_rate:ratio`, `slo:period_error_budget_remaining:ratio`.
"""

from __future__ import annotations

from companyos.observability.dashboards.interface import Panel, Query, Row, Threshold

__all__ = ("objectives_row",)


def objectives_row(*services: str) -> Row:
    """Compliance table, burn-down of the error budget and burn rate of every objective of the services."""
    where = _selector(services)
    return Row("Service level objectives", (_compliance(where), _burn_down(where), _burn_rate(where)))


def _selector(services: tuple[str, ...]) -> str:
    if len(services) == 1:
        return f'{{slo_service="{services[0]}"}}'
    # What a name may hold (see check_name) is plain in a regular expression, except for the dot.
    return f'{{slo_service=~"{"|".join(name.replace(".", "[.]") for name in services)}"}}'


def _each(record: str, where: str) -> str:
    return f"max by (slo_id) ({record}{where})"


def _compliance(where: str) -> Panel:
    spent = f"{_each('slo:period_burn_rate:ratio', where)} * {_each('slo:error_budget:ratio', where)}"
    firing = f'count by (slo_id) (ALERTS{{alertstate="firing",{where[1:-1]}}})'
    return Panel(
        "SLO compliance",
        "One line an objective: what was promised, what was kept over the whole period, how much of the error budget is"
        " left, how fast it burns now (1 spends it exactly in the period), and how many of its alerts fire.",
        "short",
        (
            Query(_each("slo:objective:ratio", where), "Objective"),
            Query(f"1 - {spent}", "Kept"),
            Query(_each("slo:period_error_budget_remaining:ratio", where), "Budget left"),
            Query(_each("slo:current_burn_rate:ratio", where), "Burn rate"),
            Query(f"{firing} or 0 * {_each('slo:objective:ratio', where)}", "Alerts firing"),
        ),
        kind="table",
        key="slo_id",
        units=("percentunit", "percentunit", "percentunit", "short", "short"),
        width=24,
        height=6,
    )


def _burn_down(where: str) -> Panel:
    return Panel(
        "Error budget left",
        "The part of the error budget of the period that is not spent; below 0 the objective is missed.",
        "percentunit",
        (Query(_each("slo:period_error_budget_remaining:ratio", where), "{{slo_id}}"),),
        thresholds=(Threshold(0),),
    )


def _burn_rate(where: str) -> Panel:
    return Panel(
        "Burn rate",
        "How fast the error budget is spent: at 1 it lasts exactly for the period, above it does not.",
        "short",
        (Query(_each("slo:current_burn_rate:ratio", where), "{{slo_id}}"),),
        thresholds=(Threshold(1),),
        minimum=0,
    )
