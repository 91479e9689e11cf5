"""`companyos new`: a repository from a golden template."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, json_option

if TYPE_CHECKING:
    from companyos.scaffold import Created

__all__ = ("new",)


@click.command()
@click.argument("kind")
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--data", "-d", "pairs", multiple=True, metavar="NAME=VALUE", help="Answer a question of the template.")
@click.option("--defaults", is_flag=True, help="Ask nothing; what --data does not answer takes its default.")
@click.option(
    "--companyos-wheel",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The companyos wheel to vendor and pin; default: the one installed here.",
)
@click.option("--no-git", is_flag=True, help="Do not make a Git repository of it.")
@click.option("--dry-run", is_flag=True, help="Only show which files it would have.")
@json_option
def new(  # noqa: PLR0917 - click passes by keyword
    kind: str,
    dest: Path,
    pairs: tuple[str, ...],
    defaults: bool,
    companyos_wheel: Path | None,
    no_git: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Make a new repository of KIND (api) at DEST.

    Questions are asked only on a terminal; elsewhere the defaults are taken.
    """
    from companyos import scaffold

    created = scaffold.new(
        kind,
        dest,
        _answers(pairs),
        companyos_wheel=companyos_wheel,
        ask=not defaults and sys.stdin.isatty() and sys.stderr.isatty(),
        use_git=not no_git,
        dry_run=dry_run,
        progress=lambda step: click.echo(f"… {step}", err=True),
    )
    if as_json:
        echo_json(created.to_dict())
    elif dry_run:
        click.echo("\n".join(created.files))
    else:
        _show(created, dest)
    return 0


def _answers(pairs: tuple[str, ...]) -> dict[str, str]:
    answers = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--data {pair!r} is not NAME=VALUE")
        answers[name] = value
    return answers


def _show(created: Created, dest: Path) -> None:
    click.echo(f"{created.kind} repository at {created.path}: {len(created.files)} files")
    click.echo(f"  template: {created.template.tag} ({created.template.commit[:12]})")
    click.echo(f"  companyos: {created.pin.source}, sha256 {created.pin.sha256[:12]}…")
    click.echo("next steps:")
    for step in (f"cd {shlex.quote(str(dest))}", "make setup", "make test", "make smoke", "make dev"):
        click.echo(f"  {step}")
