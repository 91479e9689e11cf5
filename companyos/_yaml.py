"""YAML as people write it in a file that others review: each key once, nothing by reference, not endlessly deep.

Readers of YAML differ in which of two equal keys counts, and a few lines of references unfold to gigabytes. Neither
has a place in a configuration or in a trust policy.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

__all__ = ("NotAllowedError", "StrictLoader")

MAX_DEPTH = 64
"""Deeper nesting is not one that people read."""


class NotAllowedError(yaml.MarkedYAMLError):
    """It is YAML, but not YAML that is read here."""


class StrictLoader(yaml.SafeLoader):
    """Safe YAML with unique keys, without anchors and aliases, and with bounded nesting.

    Raises:
        yaml.YAMLError: whatever is wrong with the text; a value that its own tag does not fit is an error with a place.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As in PyYAML, for what is allowed."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refusal("anchors and aliases are not read: write the value out", event.start_mark)
        if self._depth == MAX_DEPTH:
            raise _refusal(f"nested more than {MAX_DEPTH} deep", event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As in PyYAML, but a value that cannot be made (30 February) is an error with a place."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise _refusal(f"no value of type {node.tag.rpartition(':')[2]}: {error}", node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As in PyYAML, after a look at the keys."""
        self.flatten_mapping(node)
        seen: set[Hashable] = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise _refusal(f"the key {key!r} occurs a second time", name.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


def _refusal(problem: str, mark: yaml.Mark) -> NotAllowedError:
    return NotAllowedError(None, None, problem, mark)
