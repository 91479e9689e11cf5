"""`companyos marker`: say that a release happened, and see what it did."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.options import ledger_url_option
from companyos.cli.output import echo_json, echo_table, json_option, write_whole
from companyos.errors import UserError, printable

if TYPE_CHECKING:
    from companyos.observability.markers import Comparison

__all__ = ("marker",)

_HEADINGS = ("TIME", "SERVICE", "VERSION", "REVISION", "ENVIRONMENT", "KIND", "ID")


@click.group()
def marker() -> None:
    """Mark releases, and compare a service before and after one."""


@marker.command()
@click.option("--service", required=True, help="`service.name`.")
@click.option("--version", required=True, help="`service.version`.")
@click.option("--env", "environment", required=True, help="`deployment.environment.name`, such as prod or canary.")
@click.option("--revision", help="The commit it was built from.")
@click.option(
    "--kind", type=click.Choice(["deployed", "upgraded", "rolledback"]), default="deployed", show_default=True
)
@click.option("--artifact", help="What was deployed, as a package URL; default: pkg:generic/SERVICE@VERSION.")
@click.option("--at", help="When, as 2026-01-31T12:00:00Z; default: now.")
@json_option
@ledger_url_option
def add(url: str | None, at: str | None, *, as_json: bool, **given: Any) -> None:
    """Put a release marker on the ledger: a CDEvent, and an event in the log on standard error."""
    import sys

    from companyos import observability
    from companyos.cli.ledger.place import writer
    from companyos.observability.markers import Marker, mark

    made = Marker(**given, at=datetime.now(UTC) if at is None else _time(at))
    with (
        observability.setup(
            service=made.service, version=made.version, environment=made.environment, stream=sys.stderr
        ),
        writer(url) as log,
    ):
        receipt = mark(log, made)
    if as_json:
        echo_json({"index": receipt.index, "event": made.to_cdevent()})
    else:
        click.echo(made.id)


@marker.command("list")
@click.option("--service", help="Of this service only.")
@click.option("--env", "environment", help="Of this environment only.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "grafana", "openmetrics"]),
    default="table",
    show_default=True,
    help="grafana: bodies for /api/annotations; openmetrics: a gauge for the textfile collector.",
)
@ledger_url_option
def list_markers(url: str | None, service: str | None, environment: str | None, form: str) -> None:
    """Show the release markers, the newest last."""
    from companyos.cli.ledger.place import reader
    from companyos.observability.markers import annotation, exposition, markers

    with reader(url) as log:
        found = list(markers(log, service=service, environment=environment))
    if form == "json":
        echo_json([one.to_cdevent() for one in found])
    elif form == "grafana":
        echo_json([annotation(one) for one in found])
    elif form == "openmetrics":
        click.echo(exposition(found), nl=False)
    elif found:
        echo_table(
            _HEADINGS,
            [
                (f"{m.at:%FT%TZ}", m.service, m.version, (m.revision or "-")[:12], m.environment, m.kind, m.id)
                for m in found
            ],
        )
    else:
        click.echo("# no markers", err=True)


@marker.command()
@click.argument("name", metavar="MARKER")
@click.option("--prometheus", "address", required=True, metavar="URL", help="The Prometheus to ask.")
@click.option("--service", help="Look for the marker among those of this service only.")
@click.option("--window", default="30m", show_default=True, help="How long before and after: 90s, 30m, 2h.")
@click.option(
    "--objective",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    default=99.95,
    show_default=True,
    help="Share of good events that is promised, in percent.",
)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw before and after into this file.")
@json_option
@ledger_url_option
def compare(
    url: str | None,
    name: str,
    *,
    address: str,
    service: str | None,
    window: str,
    objective: float,
    svg: Path | None,
    as_json: bool,
) -> int:
    """Compare rate, errors, duration and the burn of the error budget before and after MARKER (an id, or `latest`).

    Exit status: 0 nothing got worse, 1 an incident, a latency spike, or a service that fails as it did before, 3 there
    is too little data to tell.
    """
    from companyos.cli.ledger.place import reader
    from companyos.observability.dashboards.prometheus import PrometheusOverTime
    from companyos.observability.markers import compare as compared
    from companyos.observability.markers import find_marker, picture

    with reader(url) as log:
        found_marker = find_marker(log, name, service=service)
    found = compared(
        found_marker, PrometheusOverTime(address), window_seconds=_seconds(window), objective=objective / 100
    )
    if svg is not None:
        write_whole(svg, picture.svg(found))
    if as_json:
        echo_json(found.to_dict())
    else:
        _show(found)
    return found.decision.exit_status


def _show(found: Comparison) -> None:
    from companyos.observability.markers import picture

    for line in picture.text(found).splitlines():
        click.echo(printable(line))
    word = {"allow": "STEADY", "deny": "WORSE", "undetermined": "UNDETERMINED"}[found.decision.verdict.value]
    if found.decision.reason == "release.failing":
        word = "FAILING"
    click.echo()
    click.echo(printable(f"{word}  {found.decision.reason}: {found.decision.message}"))
    for finding in found.decision.findings:
        click.echo(printable(f"  next: {finding.hint}"))


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError("not a time", got=text, expected="2026-01-31T12:00:00Z") from error
    if found.tzinfo is None:
        raise UserError("a time without a zone", got=text, expected="2026-01-31T12:00:00Z")
    return found.astimezone(UTC)


def _seconds(text: str) -> int:
    number, unit = text[:-1], {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    if unit is None or not number.isascii() or not number.isdigit() or len(number) > 6:
        raise UserError("not a length of time", got=text, expected="90s, 30m or 2h")
    return int(number) * unit
