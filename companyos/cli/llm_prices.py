"""`companyos llm prices`: what models cost, from which source, and as of when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.output import echo_json, echo_table, json_option

if TYPE_CHECKING:
    from datetime import date

    from companyos.company import Company
    from companyos.llm.prices import ListedPrices, ModelPrice

__all__ = ("prices",)

HEADINGS = ("provider", "model", "currency", "input", "output", "cache read", "cache write", "context", "checked")


@click.command()
@click.option("--model", help="Only this model; exits 3 if nobody knows its price.")
@click.option("--provider", help="Only this provider.")
@click.option("--at", "day", type=click.DateTime(["%Y-%m-%d"]), help="Prices of that day (UTC); default: today.")
@click.option("--batch", is_flag=True, help="Of a batch; with --model and --provider.")
@json_option
@click.pass_obj
def prices(
    company: Company,
    *,
    model: str | None,
    provider: str | None,
    day: datetime | None,
    batch: bool,
    as_json: bool,
) -> int:
    """Show list prices per million tokens: the company's own first, then the shipped ones.

    Exit status: 0 there are prices, 3 there is none, or the list is too old to be used.
    """
    if batch and not (model and provider):
        raise click.UsageError("--batch needs --model and --provider")
    at = (day or datetime.now(UTC)).date()
    listed = company.llm_prices
    if model and provider:
        found = [listed.find(provider, model, at=at, batch=batch)]
    else:
        found = [one for one in listed.models(at) if provider in {None, one.provider}]
        found = [one for one in found if model is None or _is_called(listed, one, model, at)]
    if as_json:
        echo_json([_as_json(one) for one in found])
    elif found:
        echo_table(HEADINGS, [row for one in found for row in _rows(one)])
    if not found:
        click.echo("nobody knows a price for that, or the list is too old to be used", err=True)
    return 0 if found else 3


def _is_called(listed: ListedPrices, price: ModelPrice, model: str, day: date) -> bool:
    from companyos.llm.errors import UnknownModelError

    try:
        return listed.find(price.provider, model, at=day).model == price.model
    except UnknownModelError:
        return False


def _rows(price: ModelPrice) -> list[tuple[object, ...]]:
    return [
        (
            price.provider,
            price.model if rates.above == 0 else f"  above {rates.above} tokens",
            price.currency,
            f"{rates.input:f}",
            f"{rates.output:f}",
            f"{rates.cache_read:f}",
            f"{rates.cache_write:f}",
            price.context_tokens or "-",
            price.checked,
        )
        for rates in price.rates
    ]


def _as_json(price: ModelPrice) -> dict[str, Any]:
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return {
        "provider": price.provider,
        "model": price.model,
        "currency": price.currency,
        "context_tokens": price.context_tokens,
        "per_million_tokens": [
            {"above_input_tokens": rates.above} | {name: f"{getattr(rates, name):f}" for name in names}
            for rates in price.rates
        ],
        "source": price.source,
        "checked": price.checked.isoformat(),
    }
