"""The expressions that the simulator evaluates: the part of PromQL that SLO rules are written in.

Each node knows its place in the text (`at`, characters from the beginning), so that an error can name it. Durations are
whole milliseconds, as in Prometheus.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

__all__ = (
    "Aggregate",
    "Binary",
    "Call",
    "Matcher",
    "Negated",
    "Node",
    "Number",
    "Selector",
    "Subquery",
    "walk",
)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: `=`, `!=`, `=~` or `!~`; a label that is not there counts as empty."""

    name: str
    """Of the label."""
    op: str
    """The operator."""
    value: str
    """What it is compared with."""
    pattern: re.Pattern[str] | None = None
    """The compiled expression of `=~` and `!~`, anchored by matching fully."""

    def matches(self, value: str) -> bool:
        """Whether a value of the label satisfies the condition."""
        if self.pattern is None:
            return (value == self.value) == (self.op == "=")
        return (self.pattern.fullmatch(value) is not None) == (self.op == "=~")


@dataclass(frozen=True, slots=True)
class Number:
    """A literal scalar."""

    at: int
    value: float
    """As a Go float64."""


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant vector, or a range vector if `range_ms` is there."""

    at: int
    name: str
    """The metric."""
    matchers: tuple[Matcher, ...]
    """Without the one on the name."""
    range_ms: int | None = None
    """How far back a range reaches."""
    offset_ms: int = 0
    """How much earlier than asked."""


@dataclass(frozen=True, slots=True)
class Subquery:
    """A range vector of what an instant vector was at each step."""

    at: int
    expr: Node
    """What is evaluated at each step."""
    range_ms: int
    """How far back it reaches."""
    step_ms: int | None
    """Between two evaluations; by default the global evaluation interval."""
    offset_ms: int = 0
    """How much earlier than asked."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the subset."""

    at: int
    name: str
    """Of the function."""
    args: tuple[Node, ...]
    """In order, of the types that the function takes."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`sum`, `avg`, `min`, `max`, `count` or `group` over label sets."""

    at: int
    op: str
    """Which."""
    expr: Node
    """Over what."""
    labels: frozenset[str] = frozenset()
    """Of `by` or `without`."""
    without: bool = False
    """Whether these labels go, rather than stay."""


@dataclass(frozen=True, slots=True)
class Negated:
    """Unary minus."""

    at: int
    expr: Node
    """What is negated."""


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions, with how their label sets meet."""

    at: int
    op: str
    """The operator."""
    left: Node
    """Left operand."""
    right: Node
    """Right operand."""
    to_bool: bool = False
    """Whether a comparison gives 0 or 1 instead of filtering."""
    on: bool = False
    """Whether `labels` are the only ones that count, rather than those that do not."""
    labels: frozenset[str] = frozenset()
    """Of `on` or `ignoring`."""
    group: str = ""
    """`left` or `right` for `group_left` and `group_right`: the side of many."""
    include: tuple[str, ...] = field(default=())
    """Labels that the result takes from the side of one."""


Node = Number | Selector | Subquery | Call | Aggregate | Negated | Binary


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, depth first."""
    yield node
    for each in fields(node):
        value = getattr(node, each.name)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, Number | Selector | Subquery | Call | Aggregate | Negated | Binary):
                yield from walk(child)
