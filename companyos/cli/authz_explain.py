"""`companyos authz explain`: why a request is decided as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.cli.access_request import read_request, request_options, spelled_out
from companyos.cli.output import echo_json, json_option
from companyos.errors import UserError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from companyos.authz.engines.rego import RegoEngine
    from companyos.authz.explain import Change, Explanation, Trace

__all__ = ("explain",)

_MARKS = {"held": "+", "failed": "-", "not reached": " "}


@click.command("explain")
@request_options
@click.option("--all", "show_all", is_flag=True, help="Show every rule of the slice, not only those that nearly fired.")
@json_option
def explain(
    *,
    subject: str | None,
    action: str | None,
    resource: str | None,
    environment: str | None,
    file: IO[str] | None,
    show_all: bool,
    as_json: bool,
) -> int:
    """Say which rules decide a request, what held and what failed, and what would turn the decision around.

    Nothing is recorded. Exits 0 if the decision could be explained, whatever it is, and 3 if it could not be made.
    """
    from companyos.authz import EngineError, request_from_dict
    from companyos.authz.explain import explain as take_apart

    request = read_request(file, subject=subject, action=action, resource=resource, environment=environment)
    asked = request_from_dict(spelled_out(request))
    try:
        explanation = take_apart(_engine(), asked)
    except EngineError as error:
        click.echo(f"the policies could not be evaluated: {printable(str(error.got))}", err=True)
        return 3
    if as_json:
        echo_json(explanation.to_dict())
    else:
        for line in _lines(explanation, show_all=show_all):
            click.echo(printable(line))
    return 0


def _engine() -> RegoEngine:
    from companyos.authz import RegoEngine
    from companyos.authz.bundles import BundleEngine
    from companyos.company import Company

    with Company.open(config.find(Path.cwd())) as company:
        engine = company.engine
    engine = engine.rego if isinstance(engine, BundleEngine) else engine
    if not isinstance(engine, RegoEngine):
        raise UserError("only the embedded Rego engine can explain itself", got=engine.name, expected="rego")
    return engine


def _lines(explanation: Explanation, *, show_all: bool) -> Iterator[str]:
    opinion = explanation.opinion
    yield f"{'ALLOW' if opinion.allow else 'DENY'}  {opinion.reason}"
    yield f"  why: {opinion.message}"
    yield from (f"  obligation: {item.id}" for item in opinion.obligations)
    for rule in explanation.deciding:
        yield f"  decided by: {rule.place}"
    facts = ", ".join(f"{name} = {value}" for name, value in explanation.facts.items() if value is not None)
    yield f"  evaluated: {explanation.evaluated} of {explanation.of} rules ({facts})"
    shown = [rule for rule in explanation.rules if show_all or rule.fired or _is_near(rule)]
    if shown:
        yield ""
    for rule in shown:
        outcome = "fired" if rule.fired else "did not fire"
        yield f"{rule.kind} {rule.id or '(an id worked out)'}  {rule.place}  {outcome}"
        for item in rule.conditions:
            yield f"  {_MARKS[item.state]} {item.line}: {item.text}"
    yield ""
    yield from _flips(explanation)


def _is_near(rule: Trace) -> bool:
    """Whether something held before a condition failed."""
    return rule.conditions[:1] != () and rule.conditions[0].state == "held"


def _flips(explanation: Explanation) -> Iterator[str]:
    other = "deny" if explanation.opinion.allow else "allow"
    if not explanation.flips:
        yield f"No change of one or two attributes was found that would {other} it."
        return
    yield f"It would be {'denied' if explanation.opinion.allow else 'allowed'} with"
    for flip in explanation.flips:
        more = f", obliging to {', '.join(flip.obligations)}" if flip.obligations and other == "allow" else ""
        yield f"  {' and '.join(map(_change, flip.changes))}  ({flip.reason}{more})"


def _change(change: Change) -> str:
    values: dict[str, Any] = change.to_dict()
    if "to" not in values:
        return f"{values['attribute']} left out"
    return f"{values['attribute']} = {values['to']!r}"
