"""`companyos slo simulate`: incidents and a healthy month against burn-rate alerts, before anybody is woken by them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option, write_whole
from companyos.cli.slo.files import STREAM, read_documents, show_warnings
from companyos.errors import UserError, printable
from companyos.observability.slo.simulate.incidents import INCIDENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.observability.slo.simulate import SubjectOutcome
    from companyos.observability.slo.simulate.rulefile import RuleGroup
    from companyos.observability.slo.simulate.simulation import Options, Run

__all__ = ("simulate",)

HEALTHY = "healthy"
_NAMES = (*INCIDENTS, HEALTHY)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="RULES_OR_SLO_FILE...")
@click.option("--incident", "names", multiple=True, type=click.Choice(_NAMES), help="Only this; may be repeated.")
@click.option(
    "--traffic",
    type=click.FloatRange(1e-6, 1e9),
    default=10.0,
    show_default=True,
    help="Requests a second, on average.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of chance in the healthy month.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write timelines as a web page.")
@click.option(
    "--promtool",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each incident as a test of `promtool test rules`.",
)
@json_option
def simulate(
    *,
    files: tuple[str, ...],
    names: tuple[str, ...],
    traffic: float,
    seed: int,
    page: Path | None,
    directory: Path | None,
    as_json: bool,
) -> int:
    """Replay incidents and 30 healthy days against the alerts of rule files, or of OpenSLO files compiled on the fly.

    For each alert: when it fires, when it ends, what the mathematics of burn rates says to that, and how much of the
    error budget is gone by then. Exit status: 0 all is well, 1 an incident that must page does not, or one that must
    not does, or a healthy month pages; 2 a file is wrong; 3 the rules cannot be simulated.
    """
    from companyos.observability.slo.simulate import Options
    from companyos.observability.slo.simulate import simulate as run

    chosen = names or _NAMES
    options = Options(
        tuple(incident for incident in INCIDENTS.values() if incident.name in chosen), HEALTHY in chosen, traffic, seed
    )
    groups = _read(files)
    found = run(groups, options, progress=_progress, watch=_writer(directory))
    if page is not None:
        from companyos.observability.slo.simulate.picture import web_page

        write_whole(page, web_page(found))
    findings = [finding for outcome in found for finding in outcome.findings]
    if as_json:
        echo_json({"objectives": [outcome.to_dict() for outcome in found], "findings": findings})
    else:
        for outcome in found:
            _show(outcome, options)
        for finding in findings:
            click.echo(f"{click.style('finding', fg='red')}  {printable(finding)}")
    return 1 if findings else 0


def _progress(text: str) -> None:
    # A line that overwrites itself is for a person who waits; a log has no use for it.
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{printable(text)}", err=True, nl=False)


def _writer(directory: Path | None) -> Callable[[str, Run], None]:
    from companyos.observability.slo.simulate.promtool import write_test

    def write(name: str, run: Run) -> None:
        if directory is None:
            return
        place = (
            directory / "".join(char if char.isalnum() or char in "-_" else "_" for char in run.subject.slo_id) / name
        )
        try:
            write_test(
                place, run.subject.rules, run.inputs, run.done, step_ms=run.step_ms, value_ticks_ms=[run.until_ms]
            )
        except OSError as error:
            raise UserError(f"cannot write to {place}", got=error.strerror, hint="name a writable directory") from error

    return write


def _read(files: Sequence[str]) -> list[RuleGroup]:
    """The groups of all files; those of OpenSLO are compiled, together, as one set."""
    from companyos.observability.slo import compile_rules
    from companyos.observability.slo.simulate import read_rules

    texts = {name: _text(name) for name in files}
    of_slo = [name for name, text in texts.items() if _is_openslo(text)]
    groups = [group for name, text in texts.items() if name not in of_slo for group in read_rules(text, name=name)]
    if of_slo:
        documents = read_documents(of_slo)
        show_warnings(documents.warnings)
        groups += read_rules(compile_rules(documents).to_yaml(), name=" + ".join(of_slo))
    return groups


def _text(name: str) -> str:
    if name == STREAM:
        raise click.UsageError("name files: standard input is not read here")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {name}", got=error, hint="name a rule file or an OpenSLO file") from error


def _is_openslo(text: str) -> bool:
    return any(line.startswith("apiVersion:") for line in text.splitlines())


def _show(outcome: SubjectOutcome, options: Options) -> None:
    from companyos.observability.slo.simulate.picture import bars, duration

    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    objective = f"{outcome.objective * 100:.6g} % over {outcome.period_days:g} d"
    title = f"{outcome.slo_id}: {objective}, {options.traffic_rps:g} requests/s"
    click.echo(click.style(printable(title), bold=True))
    rows: list[Sequence[object]] = []
    for incident in outcome.incidents:
        errors, *lines = bars(incident)
        verdict = "paged" if incident.paged else "no page"
        mark = verdict if incident.as_expected else f"{verdict.upper()}, must {incident.expected}"
        spent = f"{incident.budget_spent:.1%}" if incident.budget_spent else ""
        rows.append((incident.name, mark, "", "", "", "", spent, errors))
        rows += [
            (
                "",
                f"{alert.severity} {alert.key or alert.name}",
                duration(alert.detection_seconds),
                _expected(alert.expected_detection_seconds, alert.computable),
                duration(alert.reset_seconds),
                _expected(alert.expected_reset_seconds, alert.computable),
                "" if alert.budget_spent is None else f"{alert.budget_spent:.1%}",
                line,
            )
            for alert, line in zip(incident.alerts, lines, strict=True)
        ]
    if rows:
        headings = ("INCIDENT", "ALERT", "DETECTED", "BY MATHS", "RESET", "BY MATHS", "BUDGET SPENT", "TIMELINE")
        echo_table(headings, rows)
    if outcome.healthy is not None:
        one = outcome.healthy
        firings = ", ".join(f"{severity} {name} {count}" for name, severity, count in one.firings)
        click.echo(
            printable(f"{one.days} healthy days: {one.false_pages} false pages ({firings}; {one.requests} requests)")
        )
    for warning in outcome.warnings:
        click.echo(f"warning: {printable(outcome.slo_id)}: {printable(warning)}", err=True)


def _expected(seconds: float | None, computable: bool) -> str:
    from companyos.observability.slo.simulate.picture import duration

    return duration(seconds) if computable else "?"
