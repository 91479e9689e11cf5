"""What the commands share: reading OpenSLO files or standard input, showing warnings, writing a file whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from companyos.observability.slo import Documents, Problem

__all__ = ("STREAM", "read_documents", "show_warnings", "sources_argument")

STREAM = "-"
"""Standard input, or standard output."""
sources_argument = click.argument("files", nargs=-1, required=True, metavar="FILE...")


def read_documents(files: Sequence[str]) -> Documents:
    """The OpenSLO files as one set; `-` is standard input."""
    from companyos.observability.slo import Problem, SloError, read

    contents: dict[str, bytes] = {}
    problems = []
    for name in files:
        try:
            contents[name] = sys.stdin.buffer.read() if name == STREAM else Path(name).read_bytes()
        except OSError as error:
            problems.append(Problem(name, 0, "", f"cannot be read: {error.strerror}"))
    if problems:
        raise SloError(problems)
    return read(contents)


def show_warnings(warnings: Iterable[Problem]) -> None:
    """One line each, on stderr."""
    for warning in warnings:
        click.echo(f"warning: {printable(str(warning))}", err=True)
