"""Planted flags that the control must catch, and clean ones that it must let through.

Dates are reckoned from today, so that the specimens do not expire themselves.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from companyos.controls import Specimen
from companyos.flags.checks import utc_today
from companyos.flags.definition import HORIZON_DAYS
from companyos.flags.reading import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ("SPECIMENS",)

_NESTED = "orders/feature-flags/prod/build/flags.yaml"
_CASED = "Feature-Flags/flags.YML"


def _flag(days: int = 30, **changes: Any) -> dict[str, Any]:
    metadata = {
        "description": "Shows the new checkout.",
        "owner": "team-orders",
        "expires": (utc_today() + timedelta(days=days)).isoformat(),
        "kind": "release",
        "issue": "https://tracker.example/orders/42",
    }
    metadata = {key: value for key, value in {**metadata, **changes}.items() if value is not None}
    return {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": metadata}


def _planted(name: str, make: Callable[[], Any], violates: str | None = None, *, path: str = DEFAULT_PATH) -> Specimen:
    def build(scratch: Path) -> Path:
        made = make()
        text = made if isinstance(made, str) else json.dumps({"flags": made}, indent=2)
        target = scratch / path
        target.parent.mkdir(parents=True)
        target.write_text(text, encoding="utf-8")
        return scratch

    return Specimen(name, build, violates and f"FLAG-EXPIRY.{violates}")


def _twice() -> str:
    one = json.dumps(_flag())
    return f'{{"flags": {{"new-checkout": {one}, "new-checkout": {one}}}}}'


SPECIMENS = (
    _planted("a flag that expired yesterday", lambda: {"f": _flag(-1)}, "expired"),
    _planted("a flag that expired a year ago", lambda: {"f": _flag(-365)}, "expired"),
    _planted("an expired flag among current ones", lambda: {"a": _flag(), "b": _flag(-2), "c": _flag()}, "expired"),
    _planted("an expired flag in a nested file", lambda: {"f": _flag(-1)}, "expired", path=_NESTED),
    _planted("an expired flag in a file of another case", lambda: {"f": _flag(-1)}, "expired", path=_CASED),
    _planted("a flag without owner", lambda: {"f": _flag(owner=None)}, "owner"),
    _planted("a flag owned by nobody", lambda: {"f": _flag(owner="TBD")}, "owner"),
    _planted("a flag owned by white space", lambda: {"f": _flag(owner="  ")}, "owner"),
    _planted("a flag without expiry", lambda: {"f": _flag(expires=None)}, "expires"),
    _planted("an expiry that is no date", lambda: {"f": _flag(expires="2026-02-30")}, "expires"),
    _planted("an expiry in words", lambda: {"f": _flag(expires="end of quarter")}, "expires"),
    _planted("an expiry that never comes", lambda: {"f": _flag(expires="9999-12-31")}, "horizon"),
    _planted("an expiry a day too far", lambda: {"f": _flag(HORIZON_DAYS + 1)}, "horizon"),
    _planted("a flag of unknown kind", lambda: {"f": _flag(kind="misc")}, "kind"),
    _planted("a flag without clean-up issue", lambda: {"f": _flag(issue=None)}, "issue"),
    _planted("an issue that is no link", lambda: {"f": _flag(issue="see the wiki")}, "issue"),
    _planted("a flag without description", lambda: {"f": _flag(description="")}, "description"),
    _planted("a default that is no variant", lambda: {"f": _flag() | {"defaultVariant": "maybe"}}, "shape"),
    _planted("variants of mixed types", lambda: {"f": _flag() | {"variants": {"on": True, "off": "no"}}}, "shape"),
    _planted("a misspelt key", lambda: {"f": _flag() | {"defaultVarient": "off"}}, "shape"),
    _planted("an unknown targeting operator", lambda: {"f": _flag() | {"targeting": {"iff": [True, "on"]}}}, "shape"),
    _planted("a flag defined twice", _twice, "duplicate"),
    _planted("no flags", dict),
    _planted("a file that only looks like one of flags", lambda: {"f": 1}, path="docs/feature-flags.yaml"),
    _planted("a current flag", lambda: {"f": _flag()}),
    _planted("a flag on its last day", lambda: {"f": _flag(0)}),
    _planted("a flag at the horizon", lambda: {"f": _flag(HORIZON_DAYS)}),
    _planted(
        "a flag with targeting",
        lambda: {
            "f": _flag(kind="experiment")
            | {"targeting": {"if": [{"ends_with": [{"var": "email"}, "@example.org"]}, "on", "off"]}}
        },
    ),
    _planted("a switch of texts", lambda: {"f": _flag() | {"variants": {"a": "x", "b": "y"}, "defaultVariant": "a"}}),
    Specimen("a tree without flags", lambda scratch: scratch),
)
