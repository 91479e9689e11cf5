"""Options that several commands have; nothing here is slow to import."""

from __future__ import annotations

import click

__all__ = ("ledger_url_option",)

ledger_url_option = click.option(
    "--url", help="Store of the log, sqlite:///… or postgresql://…; default: that of companyos.yaml."
)
