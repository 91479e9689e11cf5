"""`companyos prove`: every control meets its own specimens, and the score is printed."""

from __future__ import annotations

import difflib
import inspect
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option
from companyos.controls import Proof, SpecimenResult
from companyos.errors import COULD_NOT_CHECK, FINDINGS, ConfigError, MissingExtraError, printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from companyos.company import Company
    from companyos.config import Settings
    from companyos.controls import Control

__all__ = ("prove",)


@dataclass(frozen=True, slots=True)
class _Unproven:
    """A control of which nothing can be said."""

    control: str
    reason: str
    """Why, and the next step."""


def _complete(_context: click.Context, _argument: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the built-in controls and their rooms; no plugin is loaded for a key that is pressed."""
    from companyos.plugins import Plugins

    controls = Plugins().controls()
    return [name for name in (*controls, *_by_room(controls)) if name.startswith(incomplete)]


@click.command()
@click.argument("names", nargs=-1, metavar="[ID|ROOM]...", shell_complete=_complete)
@json_option
def prove(names: tuple[str, ...], *, as_json: bool) -> int:
    """Run the controls (all, or those named) over their planted violations and clean cases.

    A name is the id of a control, or of a room (`authz`, `guardrails`, a plugin's package) for all of its controls.

    Access is judged by the policies in force (`authz` in companyos.yaml), wherever they are. Exit status: 0 everything
    planted was caught and nothing clean was refused, 3 nothing went wrong but a control could not be proved, else 1.
    """
    from companyos import config
    from companyos.plugins import PluginError, Plugins, allowed_names

    found = config.find(Path.cwd())
    settings = config.load(found)
    plugins = Plugins(allowed_names(settings.plugins.allow))
    try:
        controls = plugins.controls()
    except PluginError:
        raise
    except ConfigError as error:
        # A control that lost a rule or its specimens cannot even be made: that is a proof that does not hold.
        click.echo(f"error[{error.code}]: {error.message}", err=True)
        return FINDINGS
    chosen = _select(controls, names)
    started = time.perf_counter()
    with ExitStack() as opened:
        unproven, elsewhere = _judge_policies_in_force(chosen, found, settings, opened)
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="prove") as pool:
            outcomes = list(pool.map(partial(_prove, elsewhere=elsewhere), chosen.values()))
    proofs = [outcome for outcome in outcomes if isinstance(outcome, Proof)]
    unproven += [outcome for outcome in outcomes if isinstance(outcome, _Unproven)]
    for lacking in unproven:
        for line in f"{lacking.control} is unproven: {lacking.reason}".splitlines():
            click.echo(printable(line), err=True)
    seconds = time.perf_counter() - started
    failed = any(not proof.holds for proof in proofs)
    holds = bool(proofs) and not failed and not unproven
    if as_json:
        reasons = {lacking.control: lacking.reason for lacking in unproven}
        shown = {"holds": holds, "controls": [proof.to_dict() for proof in proofs]}
        echo_json(_totals(proofs, seconds) | shown | {"unproven": sorted(reasons), "reasons": reasons})
    else:
        _show(proofs, unproven, seconds, holds=holds)
    if unproven and not failed:
        return COULD_NOT_CHECK
    return 0 if holds else FINDINGS


def _select(controls: Mapping[str, Control], names: Sequence[str]) -> dict[str, Control]:
    """The controls of these ids and rooms, each once; all of them if there are no names.

    Raises:
        ConfigError: a name is neither.
    """
    rooms = _by_room(controls)
    chosen: dict[str, Control] = {}
    for name in names or sorted(controls):
        ids = [name] if name in controls else rooms.get(name)
        if not ids:
            near = difflib.get_close_matches(name, [*controls, *rooms], n=1)
            raise ConfigError(
                "no such control, and no such room",
                got=name,
                expected=f"{', '.join(sorted(controls)) or 'no control at all'}; or a room: {', '.join(sorted(rooms))}",
                hint=f"did you mean {near[0]!r}?" if near else None,
            )
        chosen |= {identity: controls[identity] for identity in ids}
    return chosen


def _by_room(controls: Mapping[str, Control]) -> dict[str, list[str]]:
    """The ids of each room's controls: of the package that holds the check, here without `companyos`.

    A control that is named after a room, such as `AUTHZ-PDP-AUTH` in `server`, is one of that room's as well.
    """
    found: dict[str, list[str]] = {}
    for identity, control in sorted(controls.items()):
        function = inspect.unwrap(getattr(control.check, "func", control.check))
        module = getattr(function, "__module__", None) or type(function).__module__
        found.setdefault(module.removeprefix("companyos.").partition(".")[0], []).append(identity)
    for identity in controls:
        named = found.get(identity.partition("-")[0].lower(), [identity])
        if identity not in named:
            named.append(identity)
            named.sort()
    return found


def _judge_policies_in_force(
    chosen: dict[str, Control], found: Path | None, settings: Settings, opened: ExitStack
) -> tuple[list[_Unproven], frozenset[str]]:
    """Let the playbook's control judge the engine in force; where it cannot, take it out and say why.

    Beside that, the controls that judge what is elsewhere.
    """
    from companyos.authz.specimens.in_force import PolicyUnprovenError, control_in_force, is_elsewhere
    from companyos.authz.specimens.playbook import ID
    from companyos.company import Company

    section = settings.authz
    if ID not in chosen or not (section.policies or section.bundle or section.engine != "rego"):
        return [], frozenset()
    # It stays open until all is proved: what asks elsewhere needs its connections.
    company = opened.enter_context(Company.open(found))
    engine = company.engine
    try:
        chosen[ID] = control_in_force(engine, opened.enter_context(Company(_guarded(company), company.root)).engine)
    except PolicyUnprovenError as error:
        del chosen[ID]
        return [_Unproven(ID, error.message)], frozenset()
    return [], frozenset({ID} if is_elsewhere(engine) else ())


def _guarded(company: Company) -> Settings:
    """The settings, with policies of one's own in processes that are ended: one that loops is a finding, not a hang."""
    from companyos.authz.engines.embedded import configured_recipe

    section = company.settings.authz
    if section.bundle or configured_recipe(section, company.root) is None:
        return company.settings
    return company.settings.model_copy(update={"authz": section.model_copy(update={"isolation": "process"})})


def _prove(control: Control, *, elsewhere: Collection[str] = ()) -> Proof | _Unproven:
    """The control's score; what keeps it from being scored where what it needs is not there."""
    from companyos import controls
    from companyos.authz.specimens.in_force import PolicyUnprovenError, require_judged

    started = time.perf_counter()
    try:
        proof = controls.prove(control)
        if control.id in elsewhere:
            require_judged(proof)
    except (MissingExtraError, PolicyUnprovenError) as error:
        return _Unproven(control.id, error.message)
    except Exception as error:  # noqa: BLE001 - a control that crashes on a specimen proves nothing
        crash = SpecimenResult("all", f"{control.id}.crashed", passed=False, got=f"{type(error).__name__}: {error}")
        proof = Proof(control.id, (crash,), time.perf_counter() - started)
    state = "holds" if proof.holds else "does not hold"
    click.echo(f"{control.id} {state}: {proof.caught}/{proof.planted} in {proof.seconds:.1f} s", err=True)
    return proof


def _totals(proofs: list[Proof], seconds: float) -> dict[str, int | float]:
    return {
        "caught": sum(proof.caught for proof in proofs),
        "planted": sum(proof.planted for proof in proofs),
        "false_alarms": sum(proof.false_alarms for proof in proofs),
        "clean": sum(proof.clean for proof in proofs),
        "seconds": round(seconds, 3),
    }


def _show(proofs: list[Proof], unproven: list[_Unproven], seconds: float, *, holds: bool) -> None:
    for proof in proofs:
        for result in proof.results:
            if not result.passed:
                wanted = f"{result.violates} was not caught" if result.violates else "a clean case was refused"
                click.echo(printable(f"{proof.control}  {result.specimen}: {wanted}; got {result.got}"))
    rows = [
        (p.control, f"{p.caught}/{p.planted}", f"{p.false_alarms}/{p.clean}", f"{p.seconds:.1f}", _word(holds=p.holds))
        for p in proofs
    ]
    total = _totals(proofs, seconds)
    score = (f"{total['caught']}/{total['planted']}", f"{total['false_alarms']}/{total['clean']}")
    rows += [(it.control, "", "", "", "unproven") for it in unproven]
    said = "UNPROVEN" if unproven and all(proof.holds for proof in proofs) else _word(holds=holds)
    rows.append(("all", *score, f"{seconds:.1f}", said))
    echo_table(("CONTROL", "CAUGHT", "FALSE ALARMS", "SECONDS", "PROOF"), rows)


def _word(*, holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"
