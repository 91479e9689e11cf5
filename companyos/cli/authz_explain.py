"""`companyos authz explain`: why a request is decided as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.cli.access_request import read_request, request_options, spelled_out
from companyos.cli.isolated import deadline_option, say_late
from companyos.cli.output import echo_decision, echo_json, json_option
from companyos.decision import Decision
from companyos.errors import UserError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

__all__ = ("explain",)

_MARKS = {"held": "+", "failed": "-", "not reached": " "}


@click.command("explain")
@request_options
@click.option("--all", "show_all", is_flag=True, help="Show every rule of the slice, not only those that nearly fired.")
@deadline_option
@json_option
def explain(
    *,
    subject: str | None,
    action: str | None,
    resource: str | None,
    environment: str | None,
    file: IO[str] | None,
    show_all: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Say which rules decide a request, what held and what failed, and what would turn the decision around.

    Nothing is recorded. Exits 0 if the decision could be explained, whatever it is, and 3 if it could not be made, or
    not before the deadline.
    """
    from companyos.authz import EngineError, request_from_dict
    from companyos.authz.metering import MeterTimeoutError

    request = read_request(file, subject=subject, action=action, resource=resource, environment=environment)
    request_from_dict(spelled_out(request))
    try:
        explanation = _explanation(request, deadline)
    except EngineError as error:
        click.echo(f"the policies could not be evaluated: {printable(str(error.got))}", err=True)
        return 3
    except MeterTimeoutError:
        say_late(deadline)
        late = Decision.undetermined("policy.timeout", "the policies did not answer in time")
        return echo_decision(late, as_json=as_json)
    if as_json:
        echo_json(explanation)
    else:
        for line in _lines(explanation, show_all=show_all):
            click.echo(printable(line))
    return 0


def _explanation(request: Any, deadline: float) -> Any:
    """The explanation as a JSON object, worked out in a process that is ended when its time is up."""
    from companyos.authz.engines.embedded import SUFFIXES, configured_recipe
    from companyos.authz.metering import Limits, metered

    found = config.find(Path.cwd())
    section = config.load(found).authz
    if section.bundle is not None:
        return _of_bundle(request, found)
    recipe = configured_recipe(section, found.parent if found else Path.cwd())
    if recipe is None:
        raise UserError("only an embedded engine can explain itself", got=section.engine, expected=", ".join(SUFFIXES))
    argument = {"recipe": dataclasses.asdict(recipe), "request": request}
    return metered("companyos.authz.explain:explain_in_child", argument, Limits(deadline), what="the explanation")


def _of_bundle(request: Any, found: Path | None) -> Any:
    """The same of a bundle in force, in this process: it was metered before it was promoted."""
    from companyos.authz import request_from_dict
    from companyos.authz.bundles import BundleEngine
    from companyos.authz.explain import explain
    from companyos.company import Company

    with Company.open(found) as company:
        engine = company.engine
    assert isinstance(engine, BundleEngine)  # noqa: S101 - that is what the setting makes
    return explain(engine.policies, request_from_dict(request)).to_dict()


def _lines(explanation: Mapping[str, Any], *, show_all: bool) -> Iterator[str]:
    yield f"{explanation['decision'].upper()}  {explanation['reason']}"
    yield f"  why: {explanation['message']}"
    yield from (f"  obligation: {item['id']}" for item in explanation["obligations"])
    yield from (f"  decided by: {place}" for place in explanation["decided_by"])
    part = explanation["slice"]
    facts = ", ".join(f"{name} = {value}" for name, value in part["facts"].items() if value is not None)
    yield f"  evaluated: {part['rules']} of {part['of']} rules ({facts})"
    shown = [rule for rule in explanation["rules"] if show_all or rule["fired"] or _is_near(rule)]
    if shown:
        yield ""
    for rule in shown:
        outcome = "fired" if rule["fired"] else "did not fire"
        yield f"{rule['kind']} {rule['id'] or '(an id worked out)'}  {rule['place']}  {outcome}"
        for item in rule["conditions"]:
            yield f"  {_MARKS[item['state']]} {item['line']}: {item['text']}"
    yield ""
    yield from _flips(explanation)


def _is_near(rule: Mapping[str, Any]) -> bool:
    """Whether something held before a condition failed."""
    return any(condition["state"] == "held" for condition in rule["conditions"][:1])


def _flips(explanation: Mapping[str, Any]) -> Iterator[str]:
    other = "deny" if explanation["decision"] == "allow" else "allow"
    if not explanation["would_change_it"]:
        yield f"No change of one or two attributes was found that would {other} it."
        return
    yield f"It would be {'denied' if other == 'deny' else 'allowed'} with"
    for flip in explanation["would_change_it"]:
        obliged = ", ".join(flip["obligations"])
        more = f", obliging to {obliged}" if obliged and other == "allow" else ""
        yield f"  {' and '.join(map(_change, flip['changes']))}  ({flip['reason']}{more})"


def _change(change: Mapping[str, Any]) -> str:
    if "to" not in change:
        return f"{change['attribute']} left out"
    return f"{change['attribute']} = {change['to']!r}"
