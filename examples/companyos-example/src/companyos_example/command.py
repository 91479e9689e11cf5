"""A command: how many entries of each type the ledger holds."""

from __future__ import annotations

from collections import Counter

import click

from companyos.company import Company

__all__ = ("ledger_types",)


@click.command()
def ledger_types() -> None:
    """Count ledger entries by type."""
    with Company.open() as company:
        count = Counter(entry.type for entry in company.ledger.read())
    for name, number in sorted(count.items()):
        click.echo(f"{number:6}  {name}")
