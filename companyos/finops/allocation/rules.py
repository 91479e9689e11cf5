"""The rules by which costs are allocated, read from YAML; what contradicts itself is refused with its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from companyos.finops.slices import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from pathlib import Path

__all__ = ("DIMENSIONS", "POOL", "AllocationRules", "Match", "Pool", "Rule", "Split")

DIMENSIONS = ("team", "feature", "cost-center")
"""What costs can be allocated to."""
POOL = "pool:"
"""How a pool is named among the receivers of another one."""
Split = Literal["even", "proportional", "fixed", "metric"]
"""How a pool is shared out: in equal parts, by direct costs, by stated percentages, or by a usage metric."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which charges are meant: all keys must fit."""

    patterns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Key (as of `Sliceable.slices`) and the values of which one must fit; `*` and `?` stand for any text."""

    @property
    def keys(self) -> frozenset[str]:
        """The keys that are looked at."""
        return frozenset(key for key, _ in self.patterns)

    def fits(self, values: Mapping[str, str]) -> bool:
        """Whether charges with these values are meant; a missing value fits only `(none)` by name."""
        return all(_fits(values[key], patterns) for key, patterns in self.patterns)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: the first that fits and names the dimension decides."""

    name: str
    """Unique in the file."""
    line: int
    """Where it stands, counted from 1."""
    match: Match
    """Which charges it is for."""
    to: tuple[tuple[str, str], ...]
    """Dimension and receiver; `{KEY}` is that key's value of the charge."""
    pool: str | None = None
    """The pool that the costs go to instead."""

    def receiver(self, dimension: str, values: Mapping[str, str]) -> str | None:
        """Who gets charges with these values; None if the rule does not say."""
        target = dict(self.to).get(dimension)
        if target is None or not self.match.fits(values):
            return None
        if not target.startswith("{"):
            return target
        taken = values[target[1:-1]]
        return None if taken == NONE else taken

    @property
    def keys(self) -> frozenset[str]:
        """The keys of charges that it looks at."""
        return self.match.keys | {target[1:-1] for _, target in self.to if target.startswith("{")}


@dataclass(frozen=True, slots=True)
class Pool:
    """Costs that several share."""

    name: str
    """Unique in the file."""
    line: int
    """Where it stands, counted from 1."""
    split: Split
    """How it is shared out."""
    over: str | None = None
    """The dimension whose receivers share it; None for every dimension."""
    among: tuple[str, ...] = ()
    """Who shares it, `pool:NAME` for another pool; empty for everybody with direct costs."""
    shares: tuple[tuple[str, Decimal], ...] = ()
    """With `fixed`: percentages, together at most 100."""
    metric: str | None = None
    """With `metric`: the column that is added up by receiver."""
    where: Match = field(default_factory=Match)
    """With `metric`: only charges that fit are measured."""

    def is_for(self, dimension: str) -> bool:
        """Whether it is shared out among receivers of that dimension."""
        return self.over in {None, dimension}

    @property
    def receivers(self) -> tuple[str, ...]:
        """Who is named to share it."""
        return self.among or tuple(name for name, _ in self.shares)


@dataclass(frozen=True, slots=True)
class AllocationRules:
    """A whole file of rules.

    Raises:
        AllocationError: see `load`.
    """

    rules: tuple[Rule, ...]
    """In order."""
    pools: tuple[Pool, ...] = ()
    """In an order in which each pool comes before those that it gives to."""
    name: str = "allocation.yaml"
    """The file's name."""
    digest: str = ""
    """`sha256:<hex>` of the file."""

    @classmethod
    def load(cls, path: Path) -> AllocationRules:
        """Read the rules in a YAML file.

        Raises:
            AllocationError: it cannot be read, says something else than rules, gives away more than 100 %, or pools
                give to each other in a circle; with file and line.
        """
        from companyos.finops.allocation.reading import read_rules

        return read_rules(path)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key of charges that some rule or pool looks at, sorted."""
        return tuple(sorted({key for rule in self.rules for key in rule.keys}))


def _fits(value: str, patterns: tuple[str, ...]) -> bool:
    if value == NONE:
        return NONE in patterns
    return any(fnmatchcase(value, pattern) for pattern in patterns)
