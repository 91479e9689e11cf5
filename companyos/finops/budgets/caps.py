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

    from companyos.finops.budgets.windows import Kind

__all__ = ("Cap", "Slots", "parts_of")

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_PARTS = 8
_MOST_KNOWN = 4096
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


class Slots:
    """What applies to a task, worked out once and kept until one of its windows is over."""

    def __init__(self, caps: tuple[Cap, ...], zone: ZoneInfo, allowance: Callable[[Cap], int]) -> None:
        self._caps, self._zone, self._allowance = caps, zone, allowance
        self._known: dict[tuple[tuple[str, ...], str | None], tuple[Charge, ...]] = {}

    def charges(
        self, path: tuple[str, ...], amounts: Mapping[str, int], provider: str | None, now: float
    ) -> tuple[Charge, ...]:
        """What a reservation of those amounts (units by `tokens` or currency) takes, of every cap that applies.

        Raises:
            BudgetRequestError: no cap applies, so that nothing would hold it; or one of which the amount is not said.
        """
        slots = self._known.get((path, provider))
        if slots is None or not all(one.start <= now < one.end for one in slots):
            slots = self._look(path, provider, now)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path, provider] = slots
        try:
            return tuple(one._replace(amount=amounts[one.unit]) for one in slots)
        except KeyError:
            raise _unsaid(slots, amounts) from None

    def _look(self, path: tuple[str, ...], provider: str | None, now: float) -> tuple[Charge, ...]:
        found: dict[str, Charge] = {}
        for cap in self._caps:
            level = cap.level(path, provider)
            if level is None:
                continue
            span = window_at(now, cap.period, self._zone)
            key = f"{level}:{cap.unit}:{cap.period}{f':{span.label}' if span.label else ''}"
            slot = Charge(key, 0, cap.limit, cap.unit, span.start, span.end, self._allowance(cap))
            known = found.get(key)
            # Two patterns may mean the same level; the narrower cap holds.
            found[key] = slot if known is None or slot.limit < known.limit else known
        if not found:
            task = "/".join(path)
            what = "no cap applies to the task, so nothing would be held"
            raise BudgetRequestError(what, got=task, expected="a level of the policy")
        return tuple(found[key] for key in sorted(found))


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


def _unsaid(slots: tuple[Charge, ...], amounts: Mapping[str, int]) -> BudgetRequestError:
    """A cap applies, and the reservation does not say how much it takes of it."""
    one = next(slot for slot in slots if slot.unit not in amounts)
    return BudgetRequestError(
        f"the cap {one.key} is in {one.unit}, and the reservation does not say how much",
        got=", ".join(sorted(amounts)),
        expected="tokens=…" if one.unit == TOKENS else f"an amount in {one.unit}",
    )
