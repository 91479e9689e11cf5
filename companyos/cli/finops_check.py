"""`companyos finops check`: tags, lifetimes and spot capacity, in infrastructure as code and in the bill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_setting import setting, store_option
from companyos.cli.output import echo_decision, json_option, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.decision import Decision

__all__ = ("check",)


@click.command()
@click.argument("paths", metavar="[PATH]...", type=click.Path(path_type=Path), nargs=-1)
@click.option("--require", "required", multiple=True, metavar="TAG", help="Required tags; default: CostCenter.")
@click.option("--costs", "with_costs", is_flag=True, help="Look at the ingested charges, too; without PATH only there.")
@click.option("--sarif", "sarif", type=click.Path(path_type=Path), metavar="FILE", help="Write SARIF 2.1.0 as well.")
@store_option
@json_option
def check(
    *,
    paths: Sequence[Path],
    required: Sequence[str],
    with_costs: bool,
    sarif: Path | None,
    store: Path | None,
    as_json: bool,
) -> int:
    """Check Terraform, Kubernetes manifests and compose files under each PATH (default: here) for required tags.

    Previews must end within four hours, and stateless CI workloads run on spot capacity. Exits 0 clean, 1 with
    findings, 3 when something could not be read or evaluated, or nothing was found.
    """
    from companyos.decision import combine
    from companyos.finops.infrastructure import Policy, check_infrastructure, check_spending_tags

    policy = Policy(required=tuple(required) or Policy().required)
    decisions = []
    if paths or not with_costs:
        decisions.append(check_infrastructure(paths or [Path()], policy))
    if with_costs:
        with setting(store) as found, found.costs() as costs:
            decisions.append(check_spending_tags(costs, policy.required))
    decision = decisions[0] if len(decisions) == 1 else combine(decisions, reason="finops.tagged")
    if sarif is not None:
        write_whole(sarif, _sarif(decision))
    status = echo_decision(decision, as_json=as_json)
    if not as_json:
        for one in (name for part in decisions for name in part.facts.get("unread", ())):
            click.echo(f"could not be checked: {one}", err=True)
    return status


def _sarif(decision: Decision) -> bytes:
    from companyos.finops.plugin import FINOPS_TAGS
    from companyos.guardrails.runner import Report, Result
    from companyos.guardrails.sarif import to_bytes

    return to_bytes(Report(Path(), (Result(FINOPS_TAGS, decision, 0.0),)))
