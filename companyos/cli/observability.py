"""`companyos observability`: look at log lines that a service wrote."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from companyos.cli.output import echo_decision, json_option

__all__ = ("observability",)


@click.group()
def observability() -> None:
    """Check what services write."""


@observability.command("check-logs")
@click.argument("files", type=click.File("rb"), nargs=-1, required=True, metavar="FILE...")
@click.option("--redact", "words", multiple=True, metavar="WORD", help="Withheld words, such as tenants; repeatable.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Further internal hosts, such as *.acme.example.")
@click.option("--fields-only", is_flag=True, help="Check the fields of lines only, not what they hold.")
@json_option
def check_logs(
    files: tuple[IO[bytes], ...], words: tuple[str, ...], hosts: tuple[str, ...], *, fields_only: bool, as_json: bool
) -> int:
    """Check log lines (JSON, one a line; - is stdin): their fields, and that nothing in them should have been masked.

    Findings name the field and never its value; what `observability.redact` names is looked for as well. Exit status: 0
    nothing found, 1 findings, 3 there was nothing to check.
    """
    from companyos import config
    from companyos.decision import combine
    from companyos.observability.logfile import check_fields, check_log
    from companyos.observability.redaction import INTERNAL_HOSTS, Redactor

    configured = config.load(config.find(Path.cwd())).observability.redact
    net = Redactor((*configured, *words), hosts=(*INTERNAL_HOSTS, *hosts))
    found = [
        check_fields(file, file.name) if fields_only else check_log(file, file.name, redactor=net) for file in files
    ]
    return echo_decision(found[0] if len(found) == 1 else combine(found, reason="log.clean"), as_json=as_json)
