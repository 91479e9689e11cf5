"""`companyos config`: the settings in force, and their schema."""

from __future__ import annotations

from pathlib import Path

import click

from companyos import config as settings
from companyos.cli.output import echo_json

__all__ = ("config",)


@click.group()
def config() -> None:
    """Show the settings and their JSON Schema."""


@config.command()
def schema() -> None:
    """Print the JSON Schema of companyos.yaml."""
    echo_json(settings.json_schema())


@config.command()
@click.option("--file", "path", type=click.Path(path_type=Path), help="Another file than the nearest companyos.yaml.")
def show(path: Path | None) -> None:
    """Print the settings in force: defaults, file and environment together."""
    found = path or settings.find(Path.cwd())
    click.echo(f"# from {found or 'defaults only: no companyos.yaml here or above'}", err=True)
    echo_json(settings.load(found).model_dump(mode="json"))
