"""What a policy applies to, as a set of requests: the words of a declared slice and of an inferred one.

A slice restricts four facts of a request; a request that none of a policy's slices holds cannot make it say anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.ports import AccessRequest

__all__ = ("DIMENSIONS", "KEYS", "Slice", "describe", "key_of")

DIMENSIONS = ("action", "resource.type", "resource.domain", "resource.service")
"""The facts of a request that slices may restrict, by their path below `input`."""
KEYS = ("actions", "resource_types", "domains", "services")
"""What the same are called in `metadata.yaml`."""

Values = frozenset[str] | None
"""The values that a fact may have; None stands for every value, and for none at all."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A set of requests: those in which each restricted fact has one of its values."""

    actions: Values = field(default=None)
    """Values of `action`."""
    resource_types: Values = field(default=None)
    """Values of `resource.type`."""
    domains: Values = field(default=None)
    """Values of `resource.domain`."""
    services: Values = field(default=None)
    """Values of `resource.service`."""

    @classmethod
    def of(cls, values: Iterable[Values]) -> Slice:
        """A slice from its four restrictions, in the order of `DIMENSIONS`."""
        return cls(*values)

    def values(self) -> tuple[Values, ...]:
        """The four restrictions, in the order of `DIMENSIONS`."""
        return (self.actions, self.resource_types, self.domains, self.services)

    def restrict(self, other: Slice) -> Slice:
        """What both hold."""
        return Slice.of(_both(mine, theirs) for mine, theirs in zip(self.values(), other.values(), strict=True))

    def is_empty(self) -> bool:
        """Whether no request at all is within."""
        return any(values is not None and not values for values in self.values())

    def holds(self, key: Sequence[str | None]) -> bool:
        """Whether a request with these four facts is within."""
        return all(values is None or fact in values for values, fact in zip(self.values(), key, strict=True))

    def outside(self, other: Slice) -> dict[str, Values]:
        """What is within this slice and not within `other`, by dimension; empty if `other` holds all of it."""
        if self.is_empty():
            return {}
        pairs = zip(KEYS, self.values(), other.values(), strict=True)
        return {
            key: None if mine is None else mine - theirs
            for key, mine, theirs in pairs
            if theirs is not None and (mine is None or not mine <= theirs)
        }

    def to_dict(self) -> dict[str, list[str]]:
        """The restrictions, as `metadata.yaml` declares them."""
        return {key: sorted(values) for key, values in zip(KEYS, self.values(), strict=True) if values is not None}


def key_of(request: AccessRequest) -> tuple[Any, Any, Any, Any]:
    """The four facts of a request, in the order of `DIMENSIONS`; None where one is not stated."""
    resource: Mapping[str, Any] = request.resource
    return request.action, resource.get("type"), resource.get("domain"), resource.get("service")


def describe(values: Values) -> str:
    """Values for a person."""
    return "every value" if values is None else ", ".join(sorted(values)) or "no value"


def _both(one: Values, other: Values) -> Values:
    if one is None or other is None:
        return other if one is None else one
    return one & other


assert len(fields(Slice)) == len(DIMENSIONS) == len(KEYS)  # noqa: S101 - three spellings of one list
