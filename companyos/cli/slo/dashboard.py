"""`companyos slo dashboard`: Grafana dashboards made, checked against a Prometheus, and drawn from it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_decision, json_option, write_whole
from companyos.cli.slo.files import STREAM, read_documents

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.observability.dashboards import Dashboard, TimeRange
    from companyos.observability.slo import Documents

__all__ = ("dashboard", "seconds_of")

_AGO = re.compile(r"now(?:-(\d{1,6})([smhdw]))?")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_METRICS = {"worker": "messaging_process_duration_seconds", "api": "http_server_request_duration_seconds"}
"""What an objective's queries ask for, by the kind of service that exposes it."""


def seconds_of(_context: click.Context | None, _parameter: click.Parameter | None, value: str | None) -> float | None:
    """Unix seconds of `now`, `now-6h` (s, m, h, d, w), an ISO 8601 time (UTC where it names no zone), or Unix seconds.

    Raises:
        click.BadParameter: it is none of them.
    """
    if value is None:
        return None
    ago = _AGO.fullmatch(value)
    if ago:
        return time.time() - int(ago[1] or 0) * _UNIT_SECONDS.get(ago[2], 0)
    try:
        if re.fullmatch(r"\d{1,11}(\.\d+)?", value):
            return float(value)
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither now-6h nor an ISO 8601 time nor Unix seconds") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _options(command: Callable[..., int]) -> Callable[..., int]:
    """The options, in the order in which `--help` shows them."""
    for decorate in reversed(
        (
            click.argument("files", nargs=-1, metavar="[FILE]..."),
            click.option("--kind", type=click.Choice(["api", "worker", "frontend", "slo"]), help="Which starter pack."),
            click.option("--service", metavar="NAME", help="Its name, as `service_name` in its metrics."),
            click.option("--canary", default="canary", show_default=True, help="The canary's environment."),
            click.option(
                "--production", default="prod", show_default=True, help="The environment it is compared with."
            ),
            click.option(
                "--dependency",
                "dependencies",
                multiple=True,
                type=click.Choice(["http", "database", "none"]),
                help="Calls that the service measures; may be repeated (default: http and database).",
            ),
            click.option("--tag", "tags", multiple=True, help="A word to find the dashboard by; may be repeated."),
            click.option("-o", "--output", metavar="DASHBOARD", help="Where to write it; by default to stdout."),
            click.option("--check", is_flag=True, help="Ask whether every query has data."),
            click.option("--draw", metavar="SVG", help="Draw its panels, with the answers of the Prometheus."),
            click.option(
                "--note", default="", help="What the caption of the drawing adds, such as where data is from."
            ),
            click.option("--prometheus", "url", metavar="URL", help="Such as http://localhost:9090."),
            click.option("--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True),
            click.option(
                "--from",
                "start",
                callback=seconds_of,
                metavar="TIME",
                help="Such as now-6h, or a time (default: an hour before --to).",
            ),
            click.option("--to", "end", callback=seconds_of, metavar="TIME", default="now", show_default=True),
            click.option(
                "--scrape-interval",
                "scrape_seconds",
                type=click.FloatRange(0.1, 3600),
                default=15.0,
                show_default=True,
                help="Seconds, as in the data source's settings.",
            ),
            json_option,
        )
    ):
        command = decorate(command)
    return command


@dataclass(frozen=True, slots=True)
class _Wish:
    """Which dashboard is asked for."""

    files: tuple[str, ...]
    kind: str | None
    service: str | None
    canary: str
    production: str
    dependencies: tuple[str, ...]
    tags: tuple[str, ...]

    def text(self) -> str:
        """The dashboard as JSON: that of a file named `.json`, else one that is made."""
        from companyos.observability.dashboards import to_json

        if any(name.endswith(".json") for name in self.files):
            return self._read()
        return to_json(self._made())

    def _read(self) -> str:
        from companyos.observability.dashboards import DashboardError

        if len(self.files) > 1 or self.kind or self.service:
            raise click.UsageError("a dashboard (.json) is taken as it is: alone, without --kind and --service")
        try:
            return Path(self.files[0]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DashboardError(f"{self.files[0]} cannot be read", got=error) from error

    def _made(self) -> Dashboard:
        from companyos.observability.dashboards import DEPENDENCIES, objectives, starter_pack

        services, kind = [self.service] if self.service else [], self.kind
        if self.files:
            documents = read_documents(self.files)
            services = services or sorted({slo.service for slo in documents.slos})
            kind = kind or (_kind_of(documents) if len(services) == 1 else "slo")
        if not services or not kind:
            raise click.UsageError("name OpenSLO files, a dashboard (.json), or a --service with its --kind")
        if kind == "slo":
            return objectives(services, tags=self.tags)
        if len(services) > 1:
            raise click.UsageError(f"--service says which of {', '.join(services)} is meant")
        return starter_pack(
            kind,
            services[0],
            canary=self.canary,
            production=self.production,
            dependencies=[name for name in self.dependencies or DEPENDENCIES if name != "none"],
            tags=self.tags,
        )


def _kind_of(documents: Documents) -> str:
    """The kind of service that exposes what the objectives ask for; `slo` where that is nothing that is known."""
    from companyos.observability.slo import compile_rules

    rules = compile_rules(documents).to_yaml()
    return next((kind for kind, metric in _METRICS.items() if metric in rules), "slo")


@click.command()
@_options
def dashboard(
    *,
    files: tuple[str, ...],
    kind: str | None,
    service: str | None,
    canary: str,
    production: str,
    dependencies: tuple[str, ...],
    tags: tuple[str, ...],
    output: str | None,
    check: bool,
    draw: str | None,
    note: str,
    url: str | None,
    timeout: float,
    start: float | None,
    end: float,
    scrape_seconds: float,
    as_json: bool,
) -> int:
    """Make a Grafana dashboard; with --check and --draw, ask a Prometheus for the data of its panels.

    FILE is OpenSLO, or a dashboard whose name ends in .json. Without --kind it follows from the metric that the
    objectives ask for; files of several services give their objectives alone. --kind with --service needs no file.

    Exit status: 0 done, and --check found data for every query; 1 --check found a query that is refused; 2 something
    is wrong in the call or a file; 3 a query has no data, or the Prometheus does not answer.
    """
    text = _Wish(files, kind, service, canary, production, dependencies, tags).text()
    if output not in {None, STREAM}:
        write_whole(Path(str(output)), text)
        click.echo(f"{output}: written", err=True)
    elif output == STREAM or not (check or draw):
        click.echo(text, nl=False)
    if not (check or draw):
        return 0
    if url is None:
        raise click.UsageError("--check and --draw need --prometheus URL")
    from companyos.observability.dashboards import TimeRange

    asked = _Asked(text, url, timeout, TimeRange(end - 3600 if start is None else start, end, scrape_seconds))
    if draw:
        asked.draw(Path(draw), note)
    return asked.check(as_json=as_json) if check else 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A dashboard, and the Prometheus that is asked for its data."""

    text: str
    url: str
    timeout_seconds: float
    time: TimeRange

    def check(self, *, as_json: bool) -> int:
        from companyos.observability.dashboards import PrometheusOverTime, check, read

        return echo_decision(
            check(read(self.text), PrometheusOverTime(self.url, self.timeout_seconds), self.time), as_json=as_json
        )

    def draw(self, target: Path, note: str) -> None:
        from companyos.observability.dashboards import PrometheusOverTime, draw, read

        picture = draw(read(self.text), PrometheusOverTime(self.url, self.timeout_seconds), self.time, note=note)
        write_whole(target, picture)
        click.echo(f"{target}: drawn", err=True)
