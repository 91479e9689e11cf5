"""`companyos finops allocate`: who answers for which costs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_bills import write_html
from companyos.cli.finops_setting import day_option, rules_of, rules_option, setting, store_option
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from datetime import date

    from companyos.finops.allocation import Allocation
    from companyos.finops.interface import Measure

__all__ = ("allocate",)


@click.command()
@store_option
@rules_option
@click.option(
    "--by", type=click.Choice(["team", "feature", "cost-center"]), default="team", show_default=True, help="To whom."
)
@day_option("--from", "start", help="First UTC day.")
@day_option("--to", "end", help="The UTC day after the last.")
@click.option("--measure", type=click.Choice(["billed", "effective"]), default="billed", show_default=True)
@click.option("--html", "html_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write this HTML file.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, amounts exact.")
@json_option
def allocate(
    *,
    store: Path | None,
    rules_path: Path | None,
    by: str,
    start: date | None,
    end: date | None,
    measure: Measure,
    html_path: Path | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Share costs out to teams, features or cost centres, to the last digit; what nobody gets is a line of its own."""
    from companyos.finops.allocation import allocate as allocated

    if as_csv and as_json:
        raise ConfigError("--csv and --json are two formats", expected="one of them")
    rules = rules_of(rules_path)
    with setting(store) as found, found.costs() as costs:
        made = allocated(costs, rules, by, start, end, measure=measure)
        extract = str(costs.coverage().digest)
        if html_path:
            from companyos.finops.charts import html_report

            days = costs.total(start, end, by="day", measure=measure)
            write_html(html_path, html_report(made.cost_lines(), days, by=by, measure=measure, extract=extract))
    if as_json:
        echo_json(made.to_dict() | {"extract": extract})
    elif as_csv:
        _echo_csv(made)
    else:
        headings = (by, "currency", "direct", "shared", measure, "share %", "charges")
        rows = [
            (
                line.key,
                line.currency,
                *(f"{part:,.2f}" for part in (line.direct, line.shared, line.amount)),
                "-" if line.share_percent is None else line.share_percent,
                line.rows,
            )
            for line in made.lines
        ]
        echo_table(headings, rows)
    for name in made.unused:
        click.echo(f"no charge fits rule {name}", err=True)
    for why in made.unsplit:
        click.echo(f"not shared out: {why}", err=True)


def _echo_csv(made: Allocation) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((made.by, "currency", "amount", "direct", "shared", "share_percent", "charges"))
    for line in made.lines:
        amounts = (format(part, "f") for part in (line.amount, line.direct, line.shared))
        writer.writerow((line.key, line.currency, *amounts, line.share_percent, line.rows))
    click.echo(text.getvalue(), nl=False)
