"""Which fields are to be masked: names, dotted paths, and `*`, compared as a reader would compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.authz._text import is_visible, plain
from companyos.authz.interface import ObligationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("EVERYTHING", "MASK", "Fields", "parts")

MASK = "***"
"""What a masked text becomes."""
EVERYTHING = "*"
_KEPT = frozenset({"id", "type"})
_REMEMBERED = 4096
"""How many names at their places are remembered, of data that may hold any number of them."""


class Fields:
    """The fields of one obligation, and which of them have matched something.

    Raises:
        ObligationError: a field's name is blank.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._paths = {_path(name): name for name in names}
        self.all = (EVERYTHING,) in self._paths
        """Whether every field but ids and types is to be masked."""
        self._matched: set[tuple[str, ...]] = set()
        self._known: dict[tuple[tuple[str, ...], str], bool] = {}

    def named(self, path: tuple[str, ...], name: str) -> bool:
        """Whether a name at `path`, or the beginning of one that is a dotted path itself, is to be masked."""
        known = self._known.get((path, name))
        if known is not None:
            return known
        own = parts(name)
        places = [(*path, *own[: length + 1]) for length in range(len(own))]
        found = {field for field in self._paths for place in places if place[-len(field) :] == field}
        self._matched |= found
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[path, name] = bool(found)
        return bool(found)

    @staticmethod
    def is_kept(name: str) -> bool:
        """Whether a scalar of this name stays where everything is masked."""
        return plain(name) in _KEPT

    def unmatched(self) -> list[str]:
        """The fields that have matched nothing so far: perhaps they are misspelt."""
        return [name for path, name in self._paths.items() if path not in self._matched and path != (EVERYTHING,)]


def parts(name: str) -> tuple[str, ...]:
    """The parts of a name that is a dotted path, in their plain spelling, without what cannot be seen."""
    if not is_visible(name):
        name = "".join(character for character in name if is_visible(character))
    return tuple(part.strip() for part in plain(name).split("."))


def _path(name: str) -> tuple[str, ...]:
    path = parts(name)
    if not all(path) or not is_visible(name):
        raise ObligationError("a field to mask has a blank name", got=repr(name), expected="a name or a dotted path")
    return path
