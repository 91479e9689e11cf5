"""`companyos llm`: what models cost, and how well requests are routed."""

from __future__ import annotations

import click

from companyos.cli.llm_prices import prices

__all__ = ("llm",)


@click.group()
def llm() -> None:
    """Language models: prices and routing."""


llm.add_command(prices)
