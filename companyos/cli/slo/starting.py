"""`companyos slo init`: a file of objectives to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from companyos.cli.output import write_whole
from companyos.cli.slo.files import STREAM
from companyos.errors import UserError

__all__ = ("init",)


@click.command()
@click.option("--kind", type=click.Choice(["api", "frontend", "worker"]), required=True, help="What the service is.")
@click.option("--service", required=True, metavar="NAME", help="Its name, as `service_name` in its metrics.")
@click.option("-o", "--output", default=STREAM, metavar="FILE", help="Where to write it; by default to stdout.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(kind: str, service: str, output: str, *, force: bool) -> int:
    """Write the playbook's objectives for a kind of service, as an OpenSLO file."""
    from companyos.observability.slo.kits import render

    text = render(kind, service)
    if output == STREAM:
        click.echo(text, nl=False)
        return 0
    target = Path(output)
    if target.exists() and not force:
        raise UserError(f"{target} is there already", hint="name another file, or add --force to write over it")
    write_whole(target, text)
    click.echo(f"{target}: written. Next:", err=True)
    click.echo(f"  companyos slo simulate {target}    when its alerts would wake somebody", err=True)
    click.echo(
        f"  companyos slo compile {target} -o {target.stem}.rules.yaml    rules to load into Prometheus", err=True
    )
    return 0
