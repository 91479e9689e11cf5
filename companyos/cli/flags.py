"""`companyos flags`: are all feature flags owned and within their dates, and which are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos import config as settings
from companyos.cli.output import echo_decision, echo_json, echo_table, json_option
from companyos.flags.checks import check as check_flags
from companyos.flags.checks import utc_today
from companyos.flags.reading import load

if TYPE_CHECKING:
    from datetime import date, datetime

__all__ = ("flags",)

_path = click.argument("path", required=False, type=click.Path(path_type=Path))
_today = click.option(
    "--today", type=click.DateTime(["%Y-%m-%d"]), help="Judge as if it were this day (default: today, UTC)."
)


@click.group()
def flags() -> None:
    """Check and list feature flags."""


@flags.command()
@_path
@_today
@json_option
def check(path: Path | None, today: datetime | None, as_json: bool) -> int:
    """Refuse flags without owner or past their date. PATH: a file of flags or a tree (default: companyos.yaml)."""
    return echo_decision(check_flags(path or _configured(), today=_day(today)), as_json=as_json)


@flags.command(name="list")
@_path
@_today
@json_option
def list_flags(path: Path | None, today: datetime | None, as_json: bool) -> int:
    """List the flags of a file, with owner and expiry."""
    day = _day(today)
    rows = [
        {
            "key": flag.key,
            "state": str(flag.definition.get("state", "")),
            "default": str(flag.definition.get("defaultVariant", "")),
            "kind": flag.kind,
            "owner": flag.owner,
            "expires": flag.expires.isoformat() if flag.expires else "",
            "issue": flag.issue,
            "refused": refusal.rule if (refusal := flag.refusal(day)) else "",
        }
        for flag in load(path or _configured()).flags
    ]
    if as_json:
        echo_json(rows)
    else:
        headings = ("key", "state", "default", "kind", "owner", "expires", "refused")
        echo_table(headings, [[row[name] for name in headings] for row in rows])
    return 0


def _configured() -> Path:
    found = settings.find(Path.cwd())
    return (found.parent if found else Path.cwd()) / settings.load(found).flags.file


def _day(today: datetime | None) -> date:
    return utc_today() if today is None else today.date()
