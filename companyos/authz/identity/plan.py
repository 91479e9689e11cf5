"""What has to change so that a store says what a file says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from companyos.authz.identity.entries import Change
from companyos.authz.identity.records import (
    Attribute,
    Binding,
    Bundle,
    Directory,
    Record,
    Role,
    Subject,
    completed,
    same,
    to_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ("Step", "plan")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan."""

    change: Change
    """What is to be done."""
    before: Record | None
    """What is there now."""

    @property
    def verb(self) -> str:
        """`add`, `change` or `remove`."""
        if self.change.verb == "removed":
            return "remove"
        return "add" if self.before is None else "change"

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Each field that changes: what it is, and what it will be."""
        if self.before is None or self.change.verb == "removed":
            return {}
        old, new = to_json(self.before), to_json(self.change.record)
        return {name: (old[name], new[name]) for name in new if old[name] != new[name]}

    def to_dict(self) -> dict[str, Any]:
        """The step as a JSON object."""
        record = self.change.record
        return {"do": self.verb, "what": record.kind, "record": to_json(record), "differences": self.differences}


def plan(there: Directory, wanted: Directory, now: datetime, *, prune: bool) -> tuple[Step, ...]:
    """The steps from what is there to what is wanted; what is wanted nowhere is removed only if `prune`.

    Bundles are what promotions made them: none is removed, and one that is there with this checksum is left as it is.
    An attribute that is wanted for so many seconds is put anew once it has expired, and left alone until then.
    """
    known = {(record.kind, record.key): record for record in there.records()}
    named = {(record.kind, record.key) for record in wanted.records()}
    gone = [record for place, record in known.items() if place not in named] if prune else []
    steps = [*_removals(gone), *_puts(known, wanted, now)]
    # Roles go last: whoever had them must have lost them first.
    steps += [Step(Change("removed", role), role) for role in gone if isinstance(role, Role)]
    return tuple(steps)


def _removals(gone: list[Record]) -> Iterator[Step]:
    subjects = {record.id for record in gone if isinstance(record, Subject)}
    for kind in (Binding, Attribute, Subject):
        for record in gone:
            # With a subject goes all that is its own.
            if isinstance(record, kind) and (kind is Subject or record.person not in subjects):
                yield Step(Change("removed", record), record)


def _puts(known: dict[tuple[str, tuple[str, ...]], Record], wanted: Directory, now: datetime) -> Iterator[Step]:
    for record in wanted.records():
        before = known.get((record.kind, record.key))
        if isinstance(record, Bundle) and isinstance(before, Bundle) and record.checksum == before.checksum:
            continue
        target = _target(record, before, now)
        if not same(target, before):
            yield Step(Change("put", target), before)


def _target(record: Record, before: Record | None, now: datetime) -> Record:
    """What a record of a file means where `before` is: lifetimes are not prolonged by reading the file again."""
    if isinstance(record, Attribute) and isinstance(before, Attribute):
        if record.expires_at is not None and record.expires_at == before.expires_at:
            return replace(record, ttl=before.ttl)
        if record.ttl is not None and record.ttl == before.ttl and before.is_live(now):
            return replace(record, expires_at=before.expires_at)
    return completed(record, before, now)
