"""`companyos finops advise`: what could cost less."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_setting import day_option, setting, store_option
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import COULD_NOT_CHECK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

__all__ = ("advise",)


@click.command()
@store_option
@day_option("--from", "start", help="First UTC day; default: 28 days before the last.")
@day_option("--to", "end", help="The UTC day after the last; default: up to when every source has reported.")
@click.option(
    "--discount",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    help="What a commitment takes off on-demand prices, in percent; default: what committed charges show.",
)
@click.option("--require", "required", multiple=True, metavar="TAG", help="Required tags; default: CostCenter.")
@json_option
def advise(
    *,
    store: Path | None,
    start: date | None,
    end: date | None,
    discount: float | None,
    required: Sequence[str],
    as_json: bool,
) -> int:
    """Show commitments, idle resources, quiet nights and weekends, and untagged spending, by what they cost a month.

    Exits 0, or 3 when one of them could not be told from the columns that are there.
    """
    from companyos.finops.advice import advise as advised

    share = None if discount is None else Decimal(str(discount)) / 100
    with setting(store) as found, found.costs() as costs:
        made = advised(costs, start, end, discount=share, required=tuple(required) or ("CostCenter",))
    if as_json:
        echo_json(made.to_dict())
    else:
        rows = [
            (one.kind, one.subject, one.currency, f"{one.monthly:,.2f}", one.confidence, one.rows, one.why)
            for one in made.advice
        ]
        echo_table(("kind", "subject", "currency", "a month", "confidence", "charges", "why"), rows)
        click.echo(f"# {made.window.start} to {made.window.end}, {len(made.advice)} pieces of advice", err=True)
        for one in made.undetermined:
            click.echo(f"undetermined: {one.kind}: {one.why}", err=True)
    return COULD_NOT_CHECK if made.undetermined else 0
