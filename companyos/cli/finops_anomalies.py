"""`companyos finops anomalies`: the days that cost what nobody expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from companyos.cli.finops_bills import SHORT_NAMES
from companyos.cli.finops_setting import as_of_option, setting, store_option
from companyos.cli.output import echo_json, echo_table, json_option

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from companyos.finops.anomalies import Anomalies

__all__ = ("anomalies",)

HEADINGS = (
    "severity",
    "kind",
    "group",
    "first day",
    "days",
    "currency",
    "cost",
    "expected",
    "over",
    "share",
    "moved most",
)


@click.command()
@store_option
@as_of_option
@click.option("--by", default="service", show_default=True, help="service, account, provider, region, …, or tag:KEY.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First UTC day to judge; default: four weeks back.")
@click.option("--fail", is_flag=True, help="Exit 1 when something is found, 3 when a group could not be judged.")
@json_option
def anomalies(
    *, store: Path | None, as_of: datetime, by: str, since: datetime | None, fail: bool, as_json: bool
) -> int:
    """Show days that cost what the days before did not let expect, the gravest first.

    Groups with too little history are named, never counted as ordinary. Without --fail this is a report and exits 0.
    """
    from companyos.finops import find_anomalies, judge_anomalies

    day = since.date() if since else None
    with setting(store) as found, found.costs() as costs:
        late = found.forecast.late_days
        report = find_anomalies(costs, as_of=as_of, by=SHORT_NAMES.get(by, by), since=day, late_days=late)
    if as_json:
        echo_json(report.to_dict())
    else:
        _echo(report)
    return judge_anomalies(report).exit_status if fail else 0


def _echo(report: Anomalies) -> None:
    if report.found:
        rows = [
            (
                one.severity.label,
                one.kind,
                one.key,
                one.first_day,
                one.days,
                one.currency,
                *(f"{amount:,.2f}" for amount in (one.cost, one.expected, one.excess)),
                f"{one.share * 100:.0f} %",
                f"{one.driver} {one.driver_amount:+,.2f}" if one.driver else "-",
            )
            for one in report.found
        ]
        echo_table(HEADINGS, rows)
    else:
        outcome = "every day as expected" if report.judged else "nothing can be said"
        click.echo(f"{report.judged} groups judged from {report.since} to {report.until}: {outcome}")
    if report.undetermined:
        click.echo(f"too little history to judge: {', '.join(report.undetermined)}", err=True)
