"""From a request to the rules that have to be evaluated for it, by a look into a table, however many there are."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from companyos.authz.engines._guards import CONTRIBUTES, slice_of
from companyos.authz.engines._references import reached
from companyos.authz.interface import PolicyError
from companyos.authz.slices import DIMENSIONS, KEYS, Slice, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.authz.engines._syntax import Module, Rule

__all__ = ("Members", "Slicing")

Members = frozenset[int]
"""The rules of a slice, by their places in the order of all rules."""
MAX_ENTRIES = 64
"""Most combinations of values that one rule takes in the table; a rule with more is evaluated more often."""
MAX_REMEMBERED = 65_536
"""Most combinations of facts whose rules are remembered."""
SCOPES = ("domain", "service")
"""What says to which part of the company a resource belongs."""


class Slicing:
    """The proven slices of all rules: every one that decides, with whatever it needs, wherever that is written."""

    def __init__(self, modules: Sequence[Module], data: Mapping[str, Any], declared: Mapping[str, Slice]) -> None:
        """Infer what each rule applies to; the first module is the fixed combination.

        Raises:
            PolicyError: a rule can fire outside of the slice that is declared for its file.
        """
        self._owners = [module for module in modules for _ in module.rules]
        self._rules = [rule for module in modules for rule in module.rules]
        # The fixed combination reads whatever was evaluated: that it mentions every opinion needs none of them.
        fixed = [replace(rule, references=frozenset()) for rule in modules[0].rules]
        self._reached = reached([*fixed, *self._rules[len(fixed) :]])
        self._known: tuple[set[str], ...] = tuple(set() for _ in DIMENSIONS)
        self._tables: dict[tuple[int, ...], dict[tuple[str | None, ...], set[int]]] = {}
        self._remembered: dict[tuple[str | None, ...], Members] = {}
        self._slices: dict[int, Slice] = {}
        for place, rule in enumerate(self._rules):
            if rule.path[:4] in CONTRIBUTES:
                self._enter(place, _inferred(rule, self._owners[place].file, data, declared))
        self.everything: Members = frozenset(range(len(self._rules)))
        """All rules."""
        fixed_places = set(range(len(fixed)))
        self.always: Members = self._closed(self._tables.get((), {}).get((), set())) | fixed_places
        """The rules that every request needs."""
        self.scopes = _scopes(modules)
        """`domain`, `service` or both: what some policy reads, so that no request may leave it out and escape."""

    def members(self, key: Sequence[Any]) -> Members:
        """The rules to evaluate for a request with these four facts."""
        known = self._known
        facts = (
            key[0] if key[0].__class__ is str and key[0] in known[0] else None,
            key[1] if key[1].__class__ is str and key[1] in known[1] else None,
            key[2] if key[2].__class__ is str and key[2] in known[2] else None,
            key[3] if key[3].__class__ is str and key[3] in known[3] else None,
        )
        found = self._remembered.get(facts)
        return self._find(facts) if found is None else found

    def rules(self, members: Members) -> list[tuple[Module, Rule]]:
        """Rules by their places, each with the module it is in, in order."""
        return [(self._owners[place], self._rules[place]) for place in sorted(members)]

    def applies_to(self, place: int) -> Slice | None:
        """What a rule that decides applies to; None for one that only helps others."""
        return self._slices.get(place)

    def texts(self, members: Members) -> list[tuple[str, str]]:
        """The files that hold these rules, without the others, by name."""
        chosen: dict[str, set[int]] = {}
        for module, rule in self.rules(members):
            chosen.setdefault(module.file, set()).add(rule.start)
        files = {module.file: module for module, _ in self.rules(members)}
        return [(file, module.only(chosen[file])) for file, module in files.items()]

    def _find(self, facts: tuple[str | None, ...]) -> Members:
        matched: set[int] = set()
        for dimensions, table in self._tables.items():
            matched |= table.get(tuple(facts[number] for number in dimensions), set())
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        members = self._remembered[facts] = self._closed(matched) | self.always
        return members

    def _closed(self, matched: Iterable[int]) -> Members:
        return frozenset().union(*(self._reached[place] for place in matched))

    def _enter(self, place: int, item: Slice) -> None:
        self._slices[place] = item
        if item.is_empty():
            return
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


def _inferred(rule: Rule, file: str, data: Mapping[str, Any], declared: Mapping[str, Slice]) -> Slice:
    item, allowed = slice_of(rule, data), declared.get(file, Slice())
    for key, values in item.outside(allowed).items():
        raise PolicyError(
            f"{file}:{rule.line} can fire outside of the slice declared for it",
            got=f"{key}: {describe(values)}",
            expected=f"{key}: {', '.join(allowed.to_dict()[key])}",
            hint=f"begin the rule with the guard `{_example(key, allowed)}`, or widen the slice in metadata.yaml",
        )
    return item


def _example(key: str, declared: Slice) -> str:
    values = declared.to_dict()[key]
    return f'input.{DIMENSIONS[KEYS.index(key)]} == "{values[0] if values else "…"}"'


def _scopes(modules: Iterable[Module]) -> tuple[str, ...]:
    inputs = (path for module in modules for rule in module.rules for path in rule.inputs)
    read = {path[2] for path in inputs if path[:2] == ("input", "resource") and len(path) > 2}
    return tuple(name for name in SCOPES if name in read)
