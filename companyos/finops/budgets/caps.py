"""Caps, and what a reservation takes from those that apply to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from companyos.finops.budgets.errors import BudgetRequestError
from companyos.finops.budgets.interface import Charge
from companyos.finops.budgets.units import TOKENS
from companyos.finops.budgets.windows import window_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from zoneinfo import ZoneInfo

    from companyos.finops.budgets.windows import Kind, Window

__all__ = ("Cap", "Windows", "charges_for", "parts_of")

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_PARTS = 8
_MOST_CHARACTERS = 180
"""So that a level, its unit and its window fit into the id of an entry."""


class Cap(NamedTuple):
    """A limit on what is spent and reserved together in one window."""

    name: str
    """How the policy calls it."""
    pattern: tuple[str, ...]
    """The path it applies to, and all below; `*` is any one name, and each such name has a cap of its own."""
    unit: str
    """`tokens` or a currency."""
    period: Kind
    """The window."""
    limit: int
    """Units."""
    provider: str | None = None
    """Only what is asked of this provider."""

    def level(self, path: tuple[str, ...], provider: str | None) -> str | None:
        """The level that a task takes from under this cap; None if it does not apply."""
        if self.provider is not None and self.provider != provider:
            return None
        if len(self.pattern) > len(path):
            return None
        if any(want not in {"*", part} for want, part in zip(self.pattern, path, strict=False)):
            return None
        return "/".join(path[: len(self.pattern)]) if self.pattern else self.name


class Windows:
    """The running window of each kind, worked out once and kept until it is over."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._known: dict[Kind, Window] = {}

    def at(self, moment: float, kind: Kind) -> Window:
        """The window of a moment."""
        known = self._known.get(kind)
        if known is None or not known.start <= moment < known.end:
            known = self._known[kind] = window_at(moment, kind, self._zone)
        return known


def parts_of(path: str, *, pattern: bool = False) -> tuple[str, ...]:
    """The names of a path (`company/team/feature/run`).

    Raises:
        BudgetRequestError: empty, more than 8 names, or one that has other characters than letters, digits, `._-`.
    """
    parts = tuple(path.split("/"))
    fits = len(parts) <= _MOST_PARTS and len(path) <= _MOST_CHARACTERS
    if not fits or not all(_PART.fullmatch(part) or (pattern and part == "*") for part in parts):
        expected = f"1 to {_MOST_PARTS} names of letters, digits, '.', '_' and '-', joined by '/'"
        raise BudgetRequestError("no path of a task", got=path, expected=expected)
    return parts


def charges_for(
    caps: tuple[Cap, ...],
    path: tuple[str, ...],
    amounts: Mapping[str, int],
    provider: str | None,
    window: Callable[[Kind], Window],
    allowance: Callable[[Cap], int],
) -> tuple[Charge, ...]:
    """What a reservation of those amounts (units by `tokens` or currency) takes, of every cap that applies.

    Raises:
        BudgetRequestError: no cap applies, so that nothing would hold it; or one applies of which the amount is not said.
    """
    charges: dict[str, Charge] = {}
    for cap in caps:
        level = cap.level(path, provider)
        if level is None:
            continue
        if cap.unit not in amounts:
            given = "tokens=…" if cap.unit == TOKENS else f"an amount in {cap.unit}"
            raise BudgetRequestError(
                f"the cap {cap.name} is in {cap.unit}, and the reservation does not say how much",
                got=", ".join(sorted(amounts)) or "no amount",
                expected=given,
            )
        span = window(cap.period)
        key = f"{level}:{cap.unit}:{cap.period}{f':{span.label}' if span.label else ''}"
        charge = Charge(key, amounts[cap.unit], cap.limit, cap.unit, span.start, span.end, allowance(cap))
        known = charges.get(key)
        # Two patterns may mean the same level; the narrower cap holds.
        charges[key] = charge if known is None or charge.limit < known.limit else known
    if not charges:
        raise BudgetRequestError(
            "no cap applies to the task, so nothing would be held", got="/".join(path), expected="a level of the policy"
        )
    return tuple(charges[key] for key in sorted(charges))
