"""Checks histories of concurrent clients against the two contracts of the state fabric.

A history is a list of operations, each with the moment of its call and of its answer on one clock. Payloads are unique,
so what a read returned tells which write it saw, even if that write was never acknowledged.

Strong operations must be linearizable for each key. Versions give the order of writes, which makes the search simple:
every operation gets the lowest version that it can have, and no operation may have a lower one than another that ended
before it began. `search` is the slow and obvious method, to which the tests hold the fast one.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as changed
from itertools import groupby
from operator import attrgetter
from typing import Any

WRITES = ("save", "delete")


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client did, and what came of it."""

    client: int
    kind: str
    """`save`, `delete`, `strong` or `cached`."""
    key: str
    begun: float
    ended: float
    """Infinite for a write of which nobody knows whether it was made."""
    value: Any = None
    """The payload written or read; None for nothing."""
    version: int | None = None
    """None where the client could not know it: deletes, reads of nothing, writes without an answer."""
    degraded: bool = False

    @property
    def known(self):
        """Whether the operation was answered."""
        return self.ended != float("inf")


def check(operations, lease_seconds, *, shared_cache=True):
    """Every violation of the contracts, as sentences; empty for a history that keeps them.

    With a cache that all clients share, a cached read must show every write that was acknowledged before it began;
    otherwise every write that was acknowledged a lease before.
    """
    found = []
    for key, group in groupby(sorted(operations, key=attrgetter("key", "begun")), key=attrgetter("key")):
        history, gone = resolve(list(group))
        strong = [one for one in history if one.kind != "cached"]
        acknowledged = [one for one in history if one.kind in {*WRITES, "cached"} and not one.degraded]
        found += [f"{key}: {text}" for text in unwritten(history)]
        found += [f"{key}: {text}" for text in disorder(strong, gone)]
        found += [f"{key}: {text}" for text in going_back(history, gone)]
        found += [f"{key}: {text}" for text in too_old(history, history, gone, lease_seconds)]
        if shared_cache:
            writes = [one for one in acknowledged if one.kind in WRITES]
            found += [f"{key}: after its acknowledgement, {text}" for text in too_old(writes, acknowledged, gone, 0)]
    return found


def resolve(history):
    """The history with the versions that follow from it, and since when there may have been nothing at which versions.

    Unanswered writes that nobody saw are left out, for they may not have been made. An unanswered delete may have any
    version that no other write is known to have.
    """
    seen = {one.value: one.version for one in history if one.kind in {"strong", "cached"} and one.value is not None}
    resolved, doubtful = [], False
    for one in history:
        if one.kind in WRITES and one.version is None:
            doubtful = doubtful or one.kind == "delete"
            if one.value is not None and one.value in seen:
                resolved.append(changed(one, version=seen[one.value]))
        else:
            resolved.append(one)
    gone = {0: float("-inf")} | {one.version: one.begun for one in resolved if one.kind == "delete"}
    if doubtful:
        taken = {one.version for one in resolved if one.kind in WRITES}
        gone |= dict.fromkeys(set(range(1, max(taken, default=0) + 2)) - taken, float("-inf"))
    return resolved, gone


def unwritten(history):
    """Reads of values that nobody wrote under that version."""
    written = {one.version: one.value for one in history if one.kind in WRITES}
    for one in history:
        if one.kind not in WRITES and one.value is not None and written.get(one.version) != one.value:
            yield f"client {one.client} read {one.value!r} as version {one.version}, which was not written so"


def disorder(history, gone):
    """Operations that no order explains in which each takes effect between its call and its answer."""
    given = {}
    newest, last = 0, None
    for one, ended in past(history):
        for before in ended:
            if given[id(before)] > newest:
                newest, last = given[id(before)], before
        version = one.version
        if version is None:  # a read of nothing: the first delete that can explain it
            version = min((removed for removed in gone if removed >= newest), default=-1)
        given[id(one)] = version
        if version < newest or (version == newest and one.kind in WRITES):
            yield f"{one} after {last}, which had version {newest}"


def going_back(history, gone):
    """Clients that were shown an older version than before, by whatever kind of read."""
    newest = {}
    for one in sorted(history, key=attrgetter("ended")):
        if one.known:
            before = newest.get(one.client, 0)
            version = one.version if one.version is not None else nothing_since(gone, before, one.ended)
            if version < before:
                yield f"client {one.client} went back from version {before} to {version}: {one}"
            newest[one.client] = max(before, version if one.version is not None else 0)


def too_old(evidence, history, gone, lease_seconds):
    """Cached reads of something that was overwritten, by that evidence, more than a lease before they began."""
    cached = [one for one in history if one.kind == "cached" and not one.degraded]
    newest = 0
    for one, ended in past(cached, evidence, lease_seconds):
        newest = max([newest, *(before.version for before in ended if before.version and not before.degraded)])
        version = one.version if one.version is not None else nothing_since(gone, newest, one.ended)
        if version < newest:
            yield f"client {one.client} read version {version}, but {newest} was there before: {one}"


def past(history, evidence=None, seconds=0.0):
    """Each operation in the order of beginnings, with the ones that ended that long before, each told once."""
    ends = sorted((one for one in evidence or history if one.known), key=attrgetter("ended"))
    at = 0
    for one in sorted(history, key=attrgetter("begun")):
        first = at
        while at < len(ends) and ends[at].ended < one.begun - seconds:
            at += 1
        yield one, ends[first:at]


def nothing_since(gone, version, moment):
    """The newest version at which there may have been nothing by that moment, if not older than a version; else -1."""
    return max((removed for removed, begun in gone.items() if removed >= version and begun <= moment), default=-1)


def search(history):
    """Whether the strong operations of one key are linearizable, by trying every order (Wing and Gong)."""
    tried = set()

    def explains(left, value):
        if not any(one.known for one in left):
            return True
        state = (frozenset(map(id, left)), value)
        if state in tried:
            return False
        tried.add(state)
        first = min(one.ended for one in left)
        for one in left:
            if one.begun > first:
                continue
            rest = [other for other in left if other is not one]
            after = one.value if one.kind in WRITES else value
            if (one.kind in WRITES or one.value == value) and explains(rest, after):
                return True
        return False

    return explains([one for one in history if one.kind != "cached"], None)
