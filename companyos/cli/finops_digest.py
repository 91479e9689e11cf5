"""`companyos finops digest`: the week in money, for a chat, a mail, or a machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_setting import as_of_option, setting, store_option
from companyos.cli.output import echo_json, json_option, write_whole

if TYPE_CHECKING:
    from datetime import date

    from companyos.finops.digest import LedgerView
    from companyos.ledger import Ledger

__all__ = ("digest",)


@click.command()
@store_option
@as_of_option
@click.option("--week", metavar="YEAR-Wnn", help="Week of ISO 8601, such as 2026-W48; default: the last that is over.")
@click.option("--html", "html_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write this HTML file.")
@click.option("--md", "md_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write this Markdown file.")
@json_option
def digest(
    *,
    store: Path | None,
    as_of: datetime,
    week: str | None,
    html_path: Path | None,
    md_path: Path | None,
    as_json: bool,
) -> None:
    """Print the digest of a week: costs against target and before, what moved, budgets, unit costs, releases."""
    from companyos.finops.digest import build_digest, to_html, to_markdown, week_of

    period = week_of(week, as_of)
    with setting(store) as found, found.costs() as costs:
        made = build_digest(
            costs,
            found.budgets,
            week=period,
            as_of=as_of,
            ledger=_read(found.ledger(), as_of, period.end),
            setting=found.forecast,
        )
    for path, text in ((html_path, to_html), (md_path, to_markdown)):
        if path is not None:
            write_whole(path, text(made))
            click.echo(f"written {path}", err=True)
    if as_json:
        echo_json(made.to_dict())
    else:
        click.echo(to_markdown(made), nl=False)


def _read(ledger: Ledger | None, as_of: datetime, end: date) -> LedgerView | None:
    from companyos.finops.budgets import SOURCE
    from companyos.finops.digest import ledger_view

    if ledger is None:
        return None
    midnight = datetime(end.year, end.month, end.day, tzinfo=UTC)
    return ledger_view(ledger.read(), SOURCE, until=min(as_of, midnight))
