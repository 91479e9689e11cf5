"""The command itself: the steps in order, and the table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from companyos._extras import require
from companyos.cli.demo import birth, judgement, proof
from companyos.cli.demo.stage import Stage, StepFailedError
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import UserError

__all__ = ("demo",)

STEPS = (
    ("scaffold the service orders", birth.scaffold),
    ("install it with this companyos", birth.install),
    ("run its tests, and smoke tests on the running service", birth.run_tests),
    ("follow one request through log, span and ledger", birth.follow_one_request),
    ("deny an export of EU personal data from a US resource", judgement.deny_export),
    ("run the guardrails on the clean tree", judgement.guard),
    ("plant a secret and a stub in a copy", judgement.plant_faults),
    ("ingest a FOCUS bill and judge the forecast", judgement.judge_costs),
    ("build and sign the evidence pack", proof.build_pack),
    ("verify pack and ledger with public keys alone", proof.verify_pack),
    ("tamper with copies at random places", proof.tamper),
)


NEEDS = {
    "regorus": "authz",
    "openfeature": "flags",
    "opentelemetry.sdk": "observability",
    "cyclonedx_py": "supplychain",
}
"""Modules that some step needs, and the extra that brings each: said before the first step, not at the fifth."""


@click.command()
@click.argument("dest", required=False, type=click.Path(path_type=Path))
@json_option
def demo(dest: Path | None, as_json: bool) -> int:
    """Run the main job from end to end in DEST (default: a fresh temporary directory)."""
    for module, extra in NEEDS.items():
        require(module, extra=extra)
    stage = Stage(_directory(dest), lambda line: click.echo(line, err=True))
    click.echo(f"the demo plays in {stage.root}", err=True)
    try:
        for step, act in STEPS:
            stage.play(step, act)
    except StepFailedError:
        _show(stage, as_json=as_json)
        raise
    _show(stage, as_json=as_json)
    return 0


def _directory(dest: Path | None) -> Path:
    if dest is None:
        return Path(tempfile.mkdtemp(prefix="companyos-demo-"))
    try:
        dest.mkdir(parents=True, exist_ok=True)
        if any(dest.iterdir()):
            raise UserError("the demo's directory is not empty", got=dest, hint="choose a new directory")
    except OSError as error:
        raise UserError("the demo's directory cannot be used", got=error, hint="choose a writable place") from error
    return dest.resolve()


def _show(stage: Stage, *, as_json: bool) -> None:
    if as_json:
        echo_json(
            {
                "steps": [
                    {"step": o.step, "result": o.result, "seconds": round(o.seconds, 2), "passed": o.passed}
                    for o in stage.outcomes
                ],
                "look_at": stage.look_at,
            }
        )
        return
    rows = [(number, f"{o.seconds:.1f} s", o.step, o.result) for number, o in enumerate(stage.outcomes, 1)]
    total = sum(outcome.seconds for outcome in stage.outcomes)
    click.echo()
    echo_table(("step", "time", "what", "result"), [*rows, ("", f"{total:.1f} s", "in all", "")])
    click.echo("\nlook at")
    for name, path in stage.look_at.items():
        click.echo(f"  {name}: {path}")
