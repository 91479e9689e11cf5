"""Which rules a rule cannot be judged without: those that it may refer to, and what those refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.authz.engines._syntax import WILD, Path, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ("Node", "reached", "tree_of")


class Node:
    """A place below `data`: the rules of exactly this path, and what lies beneath."""

    __slots__ = ("beneath", "here")

    def __init__(self) -> None:
        self.here: set[int] = set()
        """The rules of exactly this path."""
        self.beneath: dict[str, Node] = {}
        """What lies beneath, by name."""

    def add(self, path: Path, rule: int) -> None:
        """Enter a rule at its path."""
        node = self
        for part in path:
            node = node.beneath.setdefault(part, Node())
        node.here.add(rule)

    def matching(self, path: Path) -> Iterator[int]:
        """The rules that a reference may read: at its path, on the way to it, or beneath it."""
        yield from self.here
        if not path:
            for node in self.beneath.values():
                yield from node.matching(())
            return
        head, *rest = path
        beneath = self.beneath.values() if head == WILD else self._named(head)
        for node in beneath:
            yield from node.matching(tuple(rest))

    def _named(self, head: str) -> list[Node]:
        return [self.beneath[part] for part in (head, WILD) if part in self.beneath]


def tree_of(rules: Sequence[Rule]) -> Node:
    """All rules by their paths; each is called by its place in the sequence."""
    tree = Node()
    for place, rule in enumerate(rules):
        tree.add(rule.path, place)
    return tree


def reached(rules: Sequence[Rule]) -> list[frozenset[int]]:
    """For each rule, the places of all others that it needs, directly or through others, itself included.

    What is worked out at run time (`data.x[y]`) may be anything beneath; a rule that refers to `deny` needs every rule
    that adds to it.
    """
    tree = tree_of(rules)
    memo: dict[Path, frozenset[int]] = {}
    direct: list[set[int]] = []
    for place, rule in enumerate(rules):
        needed = {place}
        for path in rule.references:
            if path not in memo:
                memo[path] = frozenset(tree.matching(path))
            needed |= memo[path]
        direct.append(needed)
    return [frozenset(_spread(place, direct)) for place in range(len(rules))]


def _spread(start: int, direct: Sequence[set[int]]) -> set[int]:
    found, waiting = {start}, [start]
    while waiting:
        for place in direct[waiting.pop()] - found:
            found.add(place)
            waiting.append(place)
    return found
