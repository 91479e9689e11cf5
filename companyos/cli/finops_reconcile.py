"""`companyos finops reconcile`: an invoice for language models against what the ledger has settled."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_setting import setting
from companyos.cli.output import echo_decision, echo_table, json_option
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from companyos.finops.reconciliation import Reconciliation

__all__ = ("reconcile",)


@click.command()
@click.argument("invoice", type=click.Path(path_type=Path))
@click.option(
    "--by", type=click.Choice(["class", "day", "model"]), default="class", show_default=True, help="How to add up."
)
@click.option("--provider", help="Only what was settled with this provider.")
@click.option("--currency", help="Of a CSV invoice without a column currency.")
@click.option("--rates", "rates_path", type=click.Path(path_type=Path), help="CSV with date, from, to, rate.")
@click.option("--prices", "prices_path", type=click.Path(path_type=Path), help="CSV with from, model, per_1k_tokens.")
@click.option("--tolerance", default="0.01", show_default=True, help="How much may be unexplained, or unknown.")
@json_option
def reconcile(
    *,
    invoice: Path,
    by: str,
    provider: str | None,
    currency: str | None,
    rates_path: Path | None,
    prices_path: Path | None,
    tolerance: str,
    as_json: bool,
) -> int:
    """Explain every difference between INVOICE (FOCUS, or CSV with day, model, tokens, amount) and the ledger.

    Exits 1 when something stays unexplained or is asked for usage that the ledger does not know, 3 when the invoice
    cannot be read or the ledger does not verify.
    """
    from companyos.finops.rates import Rates
    from companyos.finops.reconciliation import PriceList, read_invoice, reconcile_ledger

    limit = _limit(tolerance)
    lines = read_invoice(invoice, currency=currency)
    with setting(None) as found:
        ledger = found.ledger()
        if ledger is None:
            raise ConfigError("there is no ledger without a companyos.yaml", expected="a companyos.yaml here or above")
        made = reconcile_ledger(
            ledger,
            lines,
            provider=provider,
            rates=None if rates_path is None else Rates.load(rates_path),
            prices=None if prices_path is None else PriceList.load(prices_path),
        )
    if not as_json:
        _echo(made, by)
    return echo_decision(made.assess(limit), as_json=as_json)


def _limit(text: str) -> Decimal:
    from companyos.finops.money import parse_number

    try:
        limit, _ = parse_number(text, ".")
    except ValueError as error:
        raise ConfigError("no tolerance", got=text, expected="an amount such as 0.01") from error
    return limit


def _echo(made: Reconciliation, by: str) -> None:
    click.echo(f"{made.first_day} to {made.last_day}, {made.currency}: the invoice minus the ledger")
    groups: dict[str, list[Decimal]] = {}
    for one in made.differences:
        key = {"class": one.kind, "day": one.day.isoformat(), "model": one.model}[by]
        groups.setdefault(key, []).append(one.amount)
    rows = [(key, len(own), f"{sum(own, Decimal(0)):,f}") for key, own in groups.items()]
    echo_table((by, "differences", "amount"), [*rows, ("all", len(made.differences), f"{made.difference:,f}")])
    if made.offset_hours:
        click.echo(f"the provider's days begin {made.offset_hours:+} hours from UTC's", err=True)
