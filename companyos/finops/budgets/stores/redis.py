"""Budgets in Redis 7 or Valkey: one script does every change, and knows whether the server has forgotten something.

The script's text holds the epoch, and only who makes the store anew loads it. A server that was restarted, or a replica
that took over, does not know the script any more: from then on every call answers `lost`, in the very step in which it
would have changed something. All counters are fields of one hash, so that they are there together or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, deque
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.errors import ConfigError
from companyos.finops.budgets.errors import BudgetStoreError
from companyos.finops.budgets.interface import Event, Level, Mark, Outcome, Purged, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.finops.budgets.interface import Charge, Fence, Snapshot

__all__ = ("RedisBudgetStore",)

_PARTS = ("main", "reservations", "leases", "journal")
_SEPARATOR = "\x1f"
_SCRIPT = files(__package__).joinpath("budget.lua").read_text(encoding="utf-8")


class RedisBudgetStore:
    """A budget on a Redis or Valkey server; as durable as that server, and never silently less.

    `timeout_seconds` bounds every call. The server must not evict keys (`maxmemory-policy noeviction`): what it evicts
    is noticed, and refused.

    Raises:
        ConfigError: the URL is none of Redis.
        MissingExtraError: redis-py is not installed.
    """

    def __init__(self, url: str, name: str, *, timeout_seconds: float = 10.0) -> None:
        redis = require("redis", extra="finops-budgets")
        self._errors = (redis.exceptions.RedisError, OSError, ValueError)
        self._unknown_script = redis.exceptions.NoScriptError
        self._refused = redis.exceptions.ResponseError
        self._broken = (redis.exceptions.ConnectionError, OSError)
        self._changed_meanwhile = redis.exceptions.WatchError
        # A call that is sent twice is safe: by its id, the second changes nothing.
        retry = redis.retry.Retry(require("redis.backoff", extra="finops-budgets").NoBackoff(), 1)
        try:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds, retry=retry
            )
        except ValueError as error:
            raise ConfigError("no URL of a Redis", got=url, expected="redis://HOST:PORT/0") from error
        # Braces: a cluster keeps the four keys on one node, as a script needs them.
        self._keys = [f"companyos:budget:{{{name}}}:{part}".encode() for part in _PARTS]
        self._digests: dict[str, str] = {}
        self._head = (b"", b"")
        self._idle: deque[Any] = deque()
        self._process = os.getpid()

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().disconnect()
        self._redis.close()

    def mark(self) -> Mark | None:
        """What the store says of itself; not whole if the server does not know the script of its epoch."""
        with self._translated():
            epoch, seq = self._redis.hmget(self._keys[0], "epoch", "seq")
            if epoch is None:
                return None
            (known,) = self._redis.script_exists(self._digest(epoch.decode()))
        return Mark(epoch.decode(), int(seq or 0), bool(known))

    def create(self, epoch: str, snapshot: Snapshot, *, replaces: str | None) -> bool:
        """Make it anew."""
        main, reservations, leases, _ = self._keys
        with self._translated(), self._redis.pipeline() as pipe:
            pipe.watch(main)
            found = pipe.hget(main, "epoch")
            if (None if found is None else found.decode()) != replaces:
                return False
            pipe.script_load(_text(epoch))
            pipe.multi()
            pipe.delete(*self._keys)
            pipe.hset(main, mapping=_counters(epoch, snapshot))
            for record in snapshot.records:
                pipe.hset(reservations, record.id, _stored(record))
                if record.status == "open":
                    pipe.zadd(leases, {record.id: record.lease_until})
            try:
                pipe.execute()
            except self._changed_meanwhile:
                return False
        return True

    def reserve(
        self,
        name: str,
        charges: Sequence[Charge],
        *,
        body: str,
        content: str,
        lease_seconds: float,
        fence: Fence,
    ) -> Outcome:
        """Take every charge, or none."""
        return self._run(fence, "reserve", name, body, content, lease_seconds, *_flat(charges))

    def settle(self, name: str, actual: Sequence[Charge], *, body: str, fence: Fence) -> Outcome:
        """Put what was spent in the place of what was reserved."""
        spent = json.dumps([[charge.key, charge.amount] for charge in actual])
        return self._run(fence, "settle", name, body, spent, 0, *_flat(actual))

    def refund(self, name: str, *, fence: Fence) -> Outcome:
        """Give back what was reserved."""
        return self._run(fence, "refund", name)

    def expire(self, *, fence: Fence) -> Outcome:
        """Give back what is reserved longer than its lease."""
        return self._run(fence, "expire")

    def acknowledge(self, events: Sequence[Event], *, fence: Fence) -> Outcome:
        """Those events are on the ledger."""
        arguments: list[Any] = []
        for event in events:
            weights = event.weights
            arguments += [event.seq, len(weights), *(part for weight in weights for part in weight)]
        return self._run(fence, "acknowledge", *arguments)

    def find(self, name: str) -> Record | None:
        """A reservation."""
        with self._translated():
            found = self._redis.hget(self._keys[1], name)
        return None if found is None else _record(name, found)

    def levels(self) -> list[Level]:
        """How full each level is."""
        with self._translated():
            found = {key.decode(): value for key, value in self._redis.hgetall(self._keys[0]).items()}
        levels = []
        for key in sorted(field[2:] for field in found if field.startswith("i:")):
            limit, unit, start, end = json.loads(found[f"i:{key}"])
            spent, reserved = int(found.get(f"s:{key}", 0)), int(found.get(f"r:{key}", 0))
            levels.append(Level(key, spent, reserved, limit, unit, start, end))
        return levels

    def open_records(self) -> list[Record]:
        """The reservations that are open."""
        with self._translated():
            ids = self._redis.zrange(self._keys[2], 0, -1)
            found = self._redis.hmget(self._keys[1], ids) if ids else []
        return [_record(id_.decode(), text) for id_, text in zip(ids, found, strict=True) if text is not None]

    def pending(self, limit: int) -> list[Event]:
        """The oldest events that are not yet known to be on the ledger."""
        with self._translated():
            found = self._redis.zrange(self._keys[3], 0, limit - 1)
        return [_event(text) for text in found]

    def purge(self, before: float, *, fence: Fence, dry_run: bool) -> Purged:
        """Forget what is over. What is over never opens again, so it need not be looked at and removed in one step."""
        mark = self.mark()
        if mark is None or not mark.whole or mark.epoch != fence.epoch or mark.seq < fence.seen:
            return Purged(True, {}, 0)
        removed: Counter[str] = Counter()
        kept = 0
        seen: set[bytes] = set()  # a scan may come to the same field twice
        with self._translated():
            for name, text in self._redis.hscan_iter(self._keys[1], count=500):
                record = _record(name.decode(), text)
                if name in seen or record.status == "open":
                    continue
                seen.add(name)
                if not record.is_past(before):
                    kept += 1
                    continue
                removed[record.status] += 1
                if not dry_run:
                    self._redis.hdel(self._keys[1], name)
        return Purged(False, dict(removed), kept)

    def now(self) -> float:
        """The server's clock."""
        with self._translated():
            seconds, micros = self._redis.time()
        return float(seconds + micros / 1e6)

    def _run(self, fence: Fence, *arguments: Any) -> Outcome:
        packed = _SEPARATOR.join((str(fence.seen), *map(str, arguments))).encode()
        with self._translated():
            try:
                answer = self._call(self._digest(fence.epoch).encode(), packed)
            except self._unknown_script:
                return Outcome("lost")
        status, now, seq, first, waiting, lease, found, *levels = answer.decode().split(" ")
        pairs = tuple(zip(map(int, levels[::2]), map(int, levels[1::2]), strict=True))
        known = None if found == "-" else found
        return Outcome(status, float(now), int(seq), first == "1", int(waiting), float(lease), known, pairs)  # type: ignore[arg-type] # the script's words

    def _call(self, digest: bytes, packed: bytes) -> bytes:
        """One EVALSHA, written as the protocol has it: what redis-py does around a command costs as much as the call.

        A connection that broke is replaced once; the same call again changes nothing that the first one did.
        """
        keys = self._head[0] if self._head[1] == digest else self._begin_of(digest)
        command = b"%b$%d\r\n%b\r\n" % (keys, len(packed), packed)
        if self._process != os.getpid():  # forked: the parent's connections are not ours
            self._idle, self._process = deque(), os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._sent(self._redis.connection_pool.make_connection(), command)
        try:
            return self._sent(connection, command)
        except self._broken:
            return self._sent(self._redis.connection_pool.make_connection(), command)

    def _sent(self, connection: Any, command: bytes) -> bytes:
        try:
            connection.send_packed_command([command], check_health=False)
            answer = connection.read_response()
        except self._refused:
            self._idle.append(connection)  # an answer was read to its end
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append(connection)
        return bytes(answer)

    def _begin_of(self, digest: bytes) -> bytes:
        parts = (b"EVALSHA", digest, b"4", *self._keys)
        head = b"*8\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self._head = head, digest
        return head

    def _digest(self, epoch: str) -> str:
        if epoch not in self._digests:
            # SHA-1 is the name by which the protocol knows scripts, and protects nothing.
            self._digests[epoch] = hashlib.sha1(_text(epoch).encode(), usedforsecurity=False).hexdigest()
        return self._digests[epoch]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise BudgetStoreError("the store of the budget does not answer", got=error) from error


def _text(epoch: str) -> str:
    return _SCRIPT.replace("EPOCH", epoch)


def _flat(charges: Sequence[Charge]) -> list[Any]:
    """Each charge as the script takes it; what stays the same from call to call is written once."""
    return [part for one in charges for part in (one.key, one.amount, _slot(*one[2:]))]


@lru_cache(maxsize=4096)
def _slot(limit: int, unit: str, start: int, end: int, allowance: int) -> str:
    return _SEPARATOR.join(map(str, (limit, start, end, allowance, json.dumps([limit, unit, start, end]))))


def _info(one: Charge | Level) -> str:
    return json.dumps([one.limit, one.unit, one.start, one.end])


def _counters(epoch: str, snapshot: Snapshot) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"epoch": epoch, "seq": 0, "waiting": 0}
    for one in snapshot.levels:
        fields |= {f"s:{one.key}": one.spent, f"r:{one.key}": one.reserved, f"u:{one.key}": 0, f"t:{one.key}": 1}
        fields[f"i:{one.key}"] = _info(one)
    return fields


def _stored(record: Record) -> str:
    actual = "" if record.actual is None else json.dumps([list(one) for one in record.actual])
    held = " ".join(f"{key} {units}" for key, units, *_ in record.body["charges"])
    body = json.dumps(dict(record.body))
    return _SEPARATOR.join((record.status, str(record.lease_until), record.content, actual, held, body))


def _record(name: str, text: bytes) -> Record:
    status, lease, content, spent, _, body = text.decode().split(_SEPARATOR, 5)
    actual = tuple((key, units) for key, units in json.loads(spent)) if spent else None
    return Record(name, status, float(lease), content, json.loads(body), actual)  # type: ignore[arg-type] # one of four


def _event(text: bytes) -> Event:
    seq, kind, name, at, known, spent, rest = text.decode().split(_SEPARATOR, 6)
    body = json.loads(rest)
    if kind == "settled":
        held = {charge[0]: charge[1] for charge in body["charges"]} if known == "1" else {}
        actual = json.loads(spent)
        over = [[key, units - held.get(key, 0)] for key, units in actual if units > held.get(key, 0)]
        body |= {"actual": actual, "over": over}
    return Event(int(seq), kind, name, float(at), body)
