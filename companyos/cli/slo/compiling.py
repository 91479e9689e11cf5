"""`companyos slo compile` and `companyos slo validate`: OpenSLO in, rules of Prometheus out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.output import echo_json, echo_table, json_option, write_whole
from companyos.cli.slo.files import STREAM, read_documents, show_warnings, sources_argument
from companyos.errors import FINDINGS

if TYPE_CHECKING:
    from companyos.observability.slo import Rules

__all__ = ("compile_files", "validate")


@click.command("compile")
@sources_argument
@click.option("-o", "--output", default=STREAM, metavar="RULES", help="The rule file; by default stdout.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if RULES is not what would be written.")
@json_option
def compile_files(files: tuple[str, ...], output: str, *, check: bool, as_json: bool) -> int:
    """Compile OpenSLO files to recording and alerting rules of Prometheus.

    FILE may be - for standard input. The same input gives the same bytes. --json prints a summary, and the rules
    only go to the file. Exit status: 0 compiled, 1 --check found a difference, 2 something is wrong in a file.
    """
    from companyos.observability.slo import compile_rules

    if (check or as_json) and output == STREAM:
        raise click.UsageError("name the rule file: -o RULES")
    rules = compile_rules(read_documents(files))
    text = rules.to_yaml()
    changed = output == STREAM or _content(Path(output)) != text.encode()
    if output == STREAM:
        click.echo(text, nl=False)
    elif changed and not check:
        write_whole(Path(output), text)
    if as_json:
        echo_json(_summary(rules) | {"output": output, "changed": changed, "written": changed and not check})
    else:
        show_warnings(rules.warnings)
        _say(rules, output, changed=changed, check=check)
    return FINDINGS if check and changed else 0


@click.command()
@sources_argument
@click.option("--strict", is_flag=True, help="Warnings count as findings: exit with 1.")
@json_option
def validate(files: tuple[str, ...], *, strict: bool, as_json: bool) -> int:
    """Check OpenSLO files as `compile` does, and show the objectives and alerts that come of them.

    FILE may be - for standard input. Exit status: 0 valid, 1 warnings and --strict, 2 something is wrong in a file.
    """
    from companyos.observability.slo import compile_rules
    from companyos.observability.slo.durations import notation
    from companyos.observability.slo.rules import objectives, percent

    documents = read_documents(files)
    rules = compile_rules(documents)
    rows = [
        {
            "slo_id": item.slo_id,
            "objective": percent(item.objective),
            "period": notation(item.slo.window.seconds),
            "method": item.slo.method.value,
            "alerts": {
                f"{alert.severity} ({alert.key})": [window.text for window in alert.windows] for alert in item.alerts
            },
        }
        for item in objectives(documents)
    ]
    if as_json:
        echo_json(_summary(rules) | {"objectives": rows})
    else:
        show_warnings(rules.warnings)
        _table(rows)
    return FINDINGS if strict and rules.warnings else 0


def _table(rows: list[dict[str, Any]]) -> None:
    echo_table(
        ("OBJECTIVE", "TARGET %", "PERIOD", "METHOD", "BURN RATES THAT ALERT"),
        [
            (
                row["slo_id"],
                row["objective"],
                row["period"],
                row["method"],
                "; ".join(f"{name.partition(' ')[0]} {' or '.join(texts)}" for name, texts in row["alerts"].items())
                or "none",
            )
            for row in rows
        ],
    )


def _summary(rules: Rules) -> dict[str, Any]:
    alerts = sum(rule.alert for group in rules.groups for rule in group.rules)
    return {
        "slos": list(rules.slo_ids),
        "groups": len(rules.groups),
        "rules": sum(len(group.rules) for group in rules.groups),
        "alerts": alerts,
        "source": rules.digest,
        "warnings": [warning.to_dict() for warning in rules.warnings],
    }


def _say(rules: Rules, output: str, *, changed: bool, check: bool) -> None:
    if output == STREAM:
        return
    held = f"{len(rules.slo_ids)} objectives, {_summary(rules)['rules']} rules"
    state = "is not what would be compiled" if check and changed else "written" if changed else "unchanged"
    click.echo(f"{output}: {state} ({held})", err=True)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
