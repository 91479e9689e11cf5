"""`companyos authz test`: run the tests of policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos import config
from companyos.cli.isolated import deadline_option
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.authz.policytests import Outcome

__all__ = ("test",)

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command("test")
@click.argument("paths", nargs=-1, type=_DIRECTORY, metavar="[PATH]...")
@click.option("--stage", help="Stage of policies laid out by stage; by default authz.stage, or prod.")
@click.option("--junit", "report", type=_FILE, help="Write a JUnit report to this file.")
@deadline_option
@json_option
def test(*, paths: tuple[Path, ...], stage: str | None, report: Path | None, deadline: float, as_json: bool) -> int:
    """Run the test cases of policy directories (tests/*.yaml).

    Without PATH it runs those of the policies that companyos.yaml names, or of the built-in ones. The suffix of the
    policies, .rego or .cedar, says which engine is asked. What is not answered before the deadline has failed. Exits
    0 if all pass, 1 if one fails, 3 if there is none.
    """
    from companyos.authz.engines.embedded import recipe_for
    from companyos.authz.engines.isolated import IsolatedEngine
    from companyos.authz.layout import PLAYBOOK, find_places
    from companyos.authz.policytests import junit, read_cases, run_cases

    named, stage, configured = _configured(paths, stage)
    asked = {path.resolve() for path in named} or {PLAYBOOK}
    places = [
        place
        for place in find_places(named or (PLAYBOOK,), stage=stage)
        # What others extend has its own tests, and is tightened by those who extend it.
        if place.directory != PLAYBOOK or PLAYBOOK in asked
    ]
    cases = read_cases(places)
    with IsolatedEngine(recipe_for(named, stage=stage, default=configured), seconds=deadline) as engine:
        outcomes = run_cases(engine, cases)
    if report is not None:
        _write(report, junit(outcomes))
    _show(outcomes, as_json=as_json)
    if not outcomes:
        return 3
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _configured(paths: Sequence[Path], stage: str | None) -> tuple[tuple[Path, ...], str, str]:
    """The directories, the stage, and the engine where the directories do not say which."""
    from companyos.authz.engines.embedded import SUFFIXES

    found = config.find(Path.cwd())
    settings = config.load(found).authz
    if not paths and settings.engine not in SUFFIXES:
        raise UserError(
            "only policies of an embedded engine can be tested here",
            got=f"authz.engine: {settings.engine}",
            expected=", ".join(SUFFIXES),
            hint="name directories of policies: companyos authz test PATH",
        )
    if settings.bundle is not None and not paths:
        raise click.UsageError(
            "the policies in force are a bundle, whose tests passed before it was promoted: name PATHS"
        )
    root = Path.cwd() if found is None else found.parent
    named = tuple(paths) or tuple(root / path for path in settings.policies)
    return named, stage or settings.stage, settings.engine


def _write(report: Path, text: str) -> None:
    try:
        report.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {report}", got=error.strerror, hint="choose a writable directory") from error


def _show(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    failed = sum(not outcome.passed for outcome in outcomes)
    if as_json:
        cases = [outcome.to_dict() for outcome in outcomes]
        echo_json({"passed": len(outcomes) - failed, "failed": failed, "cases": cases})
        return
    if outcomes:
        rows = [("pass" if item.passed else "FAIL", item.case.file, item.case.name, item.problem) for item in outcomes]
        echo_table(("RESULT", "FILE", "CASE", "PROBLEM"), rows)
    click.echo(
        f"{len(outcomes) - failed} passed, {failed} failed" if outcomes else "nothing was tested: no cases found"
    )
