"""`companyos check`: the controls over a tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option, write_whole
from companyos.errors import ConfigError, printable

if TYPE_CHECKING:
    from companyos.config import Settings
    from companyos.controls import Control
    from companyos.guardrails.runner import Report, Result

__all__ = ("check",)

_COLOURS = {"allow": "green", "deny": "red", "undetermined": "yellow"}


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option("--only", "only", multiple=True, metavar="ID", help="Run this control only; may be given again.")
@click.option(
    "--exclude", "exclude", multiple=True, metavar="GLOB", help="Do not look at these paths, besides the settings'."
)
@click.option(
    "--sarif", "sarif", type=click.Path(path_type=Path), metavar="FILE", help="Write SARIF 2.1.0 there as well."
)
@click.option(
    "--package-index", metavar="URL|DIR|FILE", help="Look packages up there instead of pip's configured index."
)
@click.option("--offline", is_flag=True, help="Do not use the network; what then cannot be looked up is undetermined.")
@json_option
def check(
    path: Path,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    sarif: Path | None,
    package_index: str | None,
    *,
    offline: bool,
    as_json: bool,
) -> int:
    """Run the controls over the tree at PATH (default: here).

    Exit status: 0 nothing found, 1 findings, 3 something could not be checked.
    """
    from companyos import config
    from companyos.guardrails.runner import run, select
    from companyos.guardrails.tree import TreeError

    if not path.is_dir():
        raise TreeError("nothing to check here", got=path, expected="a directory")
    settings = config.load(config.find(path))
    controls = select(_tree_controls(settings, package_index, offline=offline), only)
    report = run(path, controls, exclude=(*settings.guardrails.exclude, *exclude), progress=_progress)
    if sarif is not None:
        _write(report, sarif)
    if as_json:
        echo_json(report.to_dict())
    else:
        _show(report)
    return report.decision.exit_status


def _tree_controls(settings: Settings, package_index: str | None, *, offline: bool) -> dict[str, Control]:
    from companyos.guardrails.packages import open_index, packages_control
    from companyos.plugins import Plugins, allowed_names

    plugins = Plugins(allowed_names(settings.plugins.allow))
    controls = {name: control for name, control in plugins.controls().items() if control.subject == "tree"}
    where = package_index or settings.guardrails.package_index
    if "G03" in controls and (where or offline):
        controls["G03"] = packages_control(open_index(where, offline=offline))
    if not controls:
        raise ConfigError("there is no control over trees", hint="see `companyos plugins list`")
    return controls


def _progress(result: Result) -> None:
    click.echo(f"{result.control.id} {result.decision.verdict.value} in {result.seconds:.1f} s", err=True)


def _write(report: Report, target: Path) -> None:
    from companyos.guardrails.sarif import to_bytes

    write_whole(target, to_bytes(report))


def _show(report: Report) -> None:
    for result in report.results:
        for finding in result.decision.findings:
            place = f"{finding.path or ''}{f':{finding.line}' if finding.line else ''}"
            click.echo(printable(f"{place}  {finding.severity.label}  {finding.rule}  {finding.message}"))
    hints = {f.rule: f.hint for result in report.results for f in result.decision.findings if f.hint}
    for rule, hint in sorted(hints.items()):
        click.echo(printable(f"  {rule}: next: {hint}"))
    for result in report.results:
        _show_gaps(result)
    echo_table(
        ("CONTROL", "VERDICT", "FINDINGS", "SECONDS", "PREVENTS"),
        [
            (r.control.id, r.decision.verdict.value, len(r.decision.findings), f"{r.seconds:.1f}", r.control.title)
            for r in report.results
        ],
    )
    verdict = report.decision.verdict.value
    click.echo(click.style(verdict.upper(), fg=_COLOURS[verdict]))


def _show_gaps(result: Result) -> None:
    gaps = result.decision.facts.get("unchecked") or ()
    for gap in gaps or ([result.decision.message] if result.decision.verdict.value == "undetermined" else ()):
        click.echo(printable(f"{result.control.id} could not check: {gap}"))
    others = result.decision.facts.get("not_judged")
    if others:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in others.items())
        click.echo(f"note: {result.control.id} does not judge the code of these files: {counts}")
    for engine in result.decision.facts.get("engines", ()):
        if engine["status"] == "missing":
            hint = engine.get("next", "")
            click.echo(f"note: {result.control.id} ran without {engine['engine']} (optional); next: {hint}", err=True)
