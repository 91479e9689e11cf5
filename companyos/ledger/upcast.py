"""Upcasters: entries of old versions as they would be written today.

The version of what happened is the last word of its type: `order.placed` is version 1, `order.placed.v2` version 2.
It is part of the entry, so it is under the tree, and it is known even where a payload was dropped.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from companyos.errors import ConfigError, UnverifiableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.ports import Entry

    Step = Callable[[dict[str, Any]], Mapping[str, Any]]

__all__ = ("UpcastError", "Upcasters")

_VERSIONED = re.compile(r"(.+)\.v([2-9]|[1-9][0-9]{1,8})")


class UpcastError(UnverifiableError):
    """An entry of an old version cannot be read as one of today."""

    code = "ledger.upcast_failed"

    def __init__(self, what: str, *, index: int, **details: object) -> None:
        self.index = index
        """The entry's index."""
        super().__init__(f"{what} (entry {index})", got=details.get("got"), expected=details.get("expected"))


class Upcasters:
    """For each type of entry the steps from version to version, chained up to the newest.

    A step is a function from the data of one version to that of the next. It gets a copy of its own, and must depend
    on nothing else. A personal value that it moves to another place in the data can no longer be revealed.
    """

    def __init__(self) -> None:
        self._steps: dict[str, list[Step]] = {}

    def register(self, type: str, *, from_version: int) -> Callable[[Step], Step]:  # noqa: A002 - the CloudEvents name
        """Decorate the step of `type` (its name without version) from `from_version` to the next version.

        Raises:
            ConfigError: the step before it is missing, or this one is there already.
        """

        def keep(step: Step) -> Step:
            steps = self._steps.setdefault(type, [])
            if from_version != len(steps) + 1 or _VERSIONED.fullmatch(type):
                raise ConfigError(
                    f"upcasters of {type} have a hole, or two of one version",
                    got=f"from_version={from_version}",
                    expected=f"the name without version, and from_version={len(steps) + 1}",
                )
            steps.append(step)
            return step

        return keep

    def upcast(self, entry: Entry) -> Entry:
        """The entry as of the newest version, its type included; as it is, if its type has no steps.

        Data that was dropped stays None.

        Raises:
            UpcastError: a step failed, or the entry is newer than all steps.
        """
        versioned = _VERSIONED.fullmatch(entry.type)
        name, version = (versioned[1], int(versioned[2])) if versioned else (entry.type, 1)
        steps = self._steps.get(name)
        if not steps:
            return entry
        newest = len(steps) + 1
        if version > newest:
            raise UpcastError(f"{entry.type} is newer than this code", index=entry.index, expected=f"up to v{newest}")
        data = entry.data
        for number, step in enumerate(steps[version - 1 :], version):
            data = data if data is None else _taken(step, data, f"{name} from version {number}", entry.index)
        return replace(entry, type=f"{name}.v{newest}", data=data)


def _taken(step: Step, data: Mapping[str, Any], what: str, index: int) -> Mapping[str, Any]:
    try:
        result = step(copy.deepcopy(dict(data)))
    except Exception as error:
        raise UpcastError(f"the upcaster of {what} failed", index=index, got=f"{error!r}") from error
    if not isinstance(result, Mapping):
        raise UpcastError(f"the upcaster of {what} gives no object", index=index, got=type(result).__name__)
    return result
