"""`companyos residency`: where prompts may go, and where they went."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option, write_whole
from companyos.company import Company
from companyos.decision import combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from companyos.decision import Decision
    from companyos.llm.residency import Share

__all__ = ("residency",)


@click.group()
def residency() -> None:
    """Keep prompts where they may be processed: vendors, endpoints, attestations."""


@residency.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--csv", "target", type=click.Path(path_type=Path), help="Also write the distribution as CSV there.")
@click.option("--at", "day", type=click.DateTime(["%Y-%m-%d"]), help="Judge as of that day (UTC); default: today.")
@json_option
def check(file: Path | None, target: Path | None, day: datetime | None, *, as_json: bool) -> int:
    """Judge the vendors of FILE and every call on the ledger.

    FILE is that of companyos.yaml if not given. Exit status: 0 all is well, 1 a violation, 3 it could not be judged: a
    vendor has not attested what cannot be seen from outside, or the ledger cannot be read.
    """
    from companyos.llm.residency import ResidencyPolicy, distribution, judge_flags, to_csv

    now = datetime.now(UTC)
    with Company.open(Path.cwd()) as company:
        policy = ResidencyPolicy.load(file or company.root / company.settings.llm.residency)
        calls = company.ledger.read() if company.has_ledger else ()
        shares = distribution(policy, calls, (day or now).date())
    flags = judge_flags(policy)
    decision = combine((flags, *(share.decision for share in shares)), reason="LLM-RESIDENCY.held")
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, to_csv(shares, now))
    if as_json:
        shown = {"decision": decision.verdict.value, "reason": decision.reason, "enforcement": flags.to_dict()}
        echo_json(shown | {"vendors": [share.to_dict() for share in shares]})
    else:
        _show(shares, flags)
    return decision.exit_status


def _show(shares: Sequence[Share], flags: Decision) -> None:
    rows = [
        (
            share.vendor,
            share.endpoint,
            share.region or "unknown",
            share.requests,
            share.attested_until or "-",
            share.decision.verdict.value,
        )
        for share in shares
    ]
    echo_table(("vendor", "endpoint", "region", "requests", "attested until", "verdict"), rows)
    for name, decision in (*((share.vendor, share.decision) for share in shares), ("enforcement", flags)):
        for line in _reasons(decision):
            click.echo(f"{name}: {line}")


def _reasons(decision: Decision) -> Iterable[str]:
    for finding in decision.findings:
        yield f"{finding.rule}  {finding.message}" + (f"  next: {finding.hint}" if finding.hint else "")
    if not decision.allow and not decision.findings:
        yield f"{decision.reason}  {decision.message}"
