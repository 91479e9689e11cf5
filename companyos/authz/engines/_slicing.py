"""From a request to the modules that have to be evaluated for it, by a look into a table, however many there are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from companyos.authz.engines._guards import contributing, slice_of
from companyos.authz.engines._references import reached
from companyos.authz.interface import PolicyError
from companyos.authz.slices import DIMENSIONS, KEYS, Slice, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.authz.engines._syntax import Module

__all__ = ("Members", "Slicing")

Members = frozenset[int]
"""The modules of a slice, by their places in the order of the modules."""
MAX_ENTRIES = 64
"""Most combinations of values that one rule takes in the table; a rule with more is evaluated more often."""
MAX_REMEMBERED = 65_536
"""Most combinations of facts whose modules are remembered."""
SCOPES = ("domain", "service")
"""What says to which part of the company a resource belongs."""


class Slicing:
    """The proven slices of a set of modules, the fixed combination left aside."""

    def __init__(self, modules: Sequence[Module], data: Mapping[str, Any], declared: Mapping[str, Slice]) -> None:
        """Infer what each module applies to.

        Raises:
            PolicyError: a module can say something outside of the slice that is declared for it.
        """
        self._modules = modules
        self._slices = [_inferred(module, data, declared.get(module.file, Slice())) for module in modules]
        self._reached = reached(modules)
        self._known: tuple[set[str], ...] = tuple(set() for _ in DIMENSIONS)
        self._tables: dict[tuple[int, ...], dict[tuple[str | None, ...], set[int]]] = {}
        self._remembered: dict[tuple[str | None, ...], Members] = {}
        for place, slices in enumerate(self._slices):
            for item in slices:
                self._enter(place, item)
        self.always: Members = self._closed(self._tables.get((), {}).get((), set()))
        """The modules that every request needs."""
        self.scopes = _scopes(modules)
        """`domain`, `service` or both: what some policy reads, so that no request may leave it out and escape."""

    def members(self, key: Sequence[Any]) -> Members:
        """The modules to evaluate for a request with these four facts."""
        known = self._known
        facts = (
            key[0] if key[0].__class__ is str and key[0] in known[0] else None,
            key[1] if key[1].__class__ is str and key[1] in known[1] else None,
            key[2] if key[2].__class__ is str and key[2] in known[2] else None,
            key[3] if key[3].__class__ is str and key[3] in known[3] else None,
        )
        found = self._remembered.get(facts)
        return self._find(facts) if found is None else found

    def slices(self, place: int) -> tuple[Slice, ...]:
        """What the module at a place applies to: the union of these."""
        return self._slices[place]

    def _find(self, facts: tuple[str | None, ...]) -> Members:
        matched: set[int] = set()
        for dimensions, table in self._tables.items():
            matched |= table.get(tuple(facts[number] for number in dimensions), set())
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        members = self._remembered[facts] = self._closed(matched)
        return members

    def _closed(self, matched: Iterable[int]) -> Members:
        return frozenset().union(*(self._reached[place] for place in matched))

    def _enter(self, place: int, item: Slice) -> None:
        values = _coarse(item).values()
        for known, held in zip(self._known, values, strict=True):
            known.update(held or ())
        dimensions = tuple(number for number, held in enumerate(values) if held is not None)
        table = self._tables.setdefault(dimensions, {})
        for combination in itertools.product(*(sorted(held) for held in values if held is not None)):
            table.setdefault(combination, set()).add(place)


def _coarse(item: Slice) -> Slice:
    """The slice, or a larger one with fewer combinations."""
    values = list(item.values())
    while _count(values) > MAX_ENTRIES:
        values[max(range(len(values)), key=lambda number: len(values[number] or ()))] = None
    return Slice.of(values)


def _count(values: Iterable[frozenset[str] | None]) -> int:
    count = 1
    for held in values:
        count *= 1 if held is None else len(held)
    return count


def _inferred(module: Module, data: Mapping[str, Any], declared: Slice) -> tuple[Slice, ...]:
    found = []
    for rule in contributing(module):
        item = slice_of(rule, data)
        for key, values in item.outside(declared).items():
            raise PolicyError(
                f"{module.file}:{rule.line} can fire outside of the slice declared for it",
                got=f"{key}: {describe(values)}",
                expected=f"{key}: {', '.join(declared.to_dict()[key])}",
                hint=f"begin the rule with the guard `{_example(key, declared)}`, or widen the slice in metadata.yaml",
            )
        if not item.is_empty():
            found.append(item)
    return tuple(dict.fromkeys(found))


def _example(key: str, declared: Slice) -> str:
    values = declared.to_dict()[key]
    return f'input.{DIMENSIONS[KEYS.index(key)]} == "{values[0] if values else "…"}"'


def _scopes(modules: Iterable[Module]) -> tuple[str, ...]:
    read = {path[2] for module in modules for path in module.inputs if path[:2] == ("input", "resource") and path[2:]}
    return tuple(name for name in SCOPES if name in read)
