"""`companyos finops export-llm`: our own spending on models as a FOCUS bill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_setting import day_option
from companyos.cli.options import ledger_url_option
from companyos.cli.output import echo_json, json_option, write_whole

if TYPE_CHECKING:
    from datetime import date

    from companyos.finops.focus_out import FocusVersion

__all__ = ("export_llm",)


@click.command("export-llm")
@day_option("--from", "start", help="First UTC day.")
@day_option("--to", "end", help="The UTC day after the last.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The CSV file.")
@click.option(
    "--focus-version", "version", type=click.Choice(["1.2", "1.4"]), default="1.2", show_default=True, help="Of FOCUS."
)
@ledger_url_option
@json_option
def export_llm(
    *, start: date | None, end: date | None, output: Path, version: FocusVersion, url: str | None, as_json: bool
) -> None:
    """Write what budgets settled as a FOCUS bill, read from the ledger; the same again is the same file."""
    from companyos.cli.ledger.place import reader
    from companyos.finops.focus_out import focus_csv, settled_spend

    with reader(url) as log:
        spend, moneyless = settled_spend(log.read(), start, end)
    write_whole(output, focus_csv(spend, version))
    if as_json:
        echo_json({"file": str(output), "focus_version": version, "rows": len(spend), "without_money": moneyless})
    else:
        click.echo(f"{output}: FOCUS {version}, {len(spend)} rows")
    if moneyless:
        click.echo(f"{moneyless} settlements held tokens and no money: they are in no row", err=True)
