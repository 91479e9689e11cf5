"""A piece of infrastructure as the rules see it, whatever it was written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Policy", "Resource", "Unread", "folded")


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked of infrastructure."""

    required: tuple[str, ...] = ("CostCenter",)
    """Keys of tags (labels) that everything that costs money carries, with a value."""
    longest: timedelta = timedelta(hours=4)
    """The longest lifetime of a preview."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, workload or service."""

    address: str
    """Its name in its file, such as `aws_instance.web` or `Deployment/web`."""
    path: str
    """The file, relative, with forward slashes."""
    line: int | None
    """Where it begins, counted from 1; None where the format has no lines."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Its tags, labels and annotations, with those that it inherits."""
    unresolved: tuple[str, ...] = ()
    """Expressions that may add tags and cannot be evaluated here."""
    on_spot: bool | None = None
    """Whether it runs on spot capacity; None where that is no question."""
    keeps_state: bool = False
    """Whether it holds data that a stopped machine would lose."""
    lives_in: str | None = None
    """What bounds its lifetime instead, such as its namespace."""
    folds_keys: bool = False
    """Whether its kind of tags knows lower case only, so that CostCenter may be `cost_center`."""

    def tag(self, key: str) -> str | None:
        """The value of a tag; None if there is none, or an empty one."""
        if self.folds_keys:
            found = [value for name, value in self.tags.items() if folded(name) == folded(key)]
            return next((value for value in found if value.strip()), None)
        value = self.tags.get(key, "")
        return value if value.strip() else None


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be checked."""

    path: str
    """The file."""
    why: str
    """Why not."""


def folded(key: str) -> str:
    """A key without case, hyphens, underscores and what stands before a slash."""
    return key.rpartition("/")[2].casefold().replace("-", "").replace("_", "")
