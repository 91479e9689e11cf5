"""How commands show their results: JSON for machines, a table for people, the same decision everywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from companyos.errors import UserError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from companyos.decision import Decision

__all__ = ("echo_decision", "echo_json", "echo_table", "json_option", "write_whole")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def echo_json(value: Any) -> None:
    """Print a value as indented JSON, readable, with what could drive a terminal escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    click.echo("\n".join(_escaped(line) for line in text.split("\n")))


def echo_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings, columns aligned, without borders, so that the output can be cut and grepped."""
    cells = [[printable(str(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def echo_decision(decision: Decision, *, as_json: bool = False) -> int:
    """Print a decision and return the exit status that goes with it."""
    if as_json:
        echo_json(decision.to_dict())
        return decision.exit_status
    colour = {"allow": "green", "deny": "red", "undetermined": "yellow"}[decision.verdict.value]
    click.echo(f"{click.style(decision.verdict.value.upper(), fg=colour)}  {printable(decision.reason)}")
    for line in _details(decision):
        click.echo(f"  {printable(line)}")
    return decision.exit_status


def write_whole(target: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old or the new one, never half of it.

    Raises:
        UserError: it cannot be written.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {target}", got=error.strerror, hint="name a file in a writable directory"
        ) from error


def _details(decision: Decision) -> Iterator[str]:
    for label, text in (("why", decision.message), ("audit id", decision.audit_id)):
        if text:
            yield f"{label}: {text}"
    for obligation in decision.obligations:
        yield f"obligation: {obligation.id} {json.dumps(dict(obligation.properties), sort_keys=True)}"
    for finding in decision.findings:
        if finding.rule == decision.reason and not finding.path and finding.message in (decision.message or ""):
            continue  # the reason itself, which stands above with more to it
        place = f"{finding.path or ''}{f':{finding.line}' if finding.line else ''}"
        yield f"{finding.severity.label}  {finding.rule}  {place}  {finding.message}"


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)
