"""Giving entries their place: one transaction in which the tree grows and its new state is signed."""

from __future__ import annotations

import functools
import hmac
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from companyos.canonical import NotCanonicalError, parse
from companyos.ledger import entry as entries
from companyos.ledger.checkpoint import Checkpoint
from companyos.ledger.erasure import erasures_source
from companyos.ledger.errors import (
    ClockBackwardsError,
    EntryAlteredError,
    EntryMissingError,
    IdReusedError,
    ProofInvalidError,
    StoreBusyError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.merkle import leaf_hash, root_from_path
from companyos.ledger.stores.interface import Refusal, Row, TakenError
from companyos.ledger.tree import Nodes, Tree
from companyos.ports import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.ledger.keyring import Keyring
    from companyos.ledger.sequencer import Ticket
    from companyos.ledger.stores.interface import Batch, Deposit, Payload, Store

    Key = tuple[str, str]

__all__ = ("CLOCK_TOLERANCE", "Placer", "checked_tree", "same", "unsound")

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far the clock may be behind the newest entry's time before an append is refused."""
_ATTEMPTS = 3
"""Transactions begun for the same tickets: on a guess, then for real, and once more if a connection is lost."""
_SHARE_SECONDS = 30
_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.004
_row = functools.partial(tuple.__new__, Row)  # what `_make` does, without a call of Python's for each
_TAKE = 4096
"""Deposits of others that are given their place in one transaction."""


class Placer:
    """Commits tickets, each whole or not at all. Not for two threads at once."""

    def __init__(
        self, store: Store, keys: Keyring, *, tolerance: timedelta | None, placed: Callable[[list[Row]], None]
    ) -> None:
        self._store = store
        self._keys = keys
        self._tolerance = tolerance
        self._placed = placed
        self._tree: Tree | None = None
        self._head: bytes | None = None
        self._signed: bytes | None = None
        self._newest: tuple[int, datetime] | None = None
        self._tried: list[Row] = []
        self._unsure: set[Row] = set()

    def commit(self, tickets: list[Ticket]) -> None:
        """Put receipts or an error on each ticket, and tell of the entries once they are durable."""
        begun = time.monotonic()
        try:
            rows = self._write(tickets, wait=False)
        except StoreBusyError:
            # As long as asking took, times two: a store that is far away is not asked all the time.
            rows = self._share(tickets, pause=2 * (time.monotonic() - begun))
        finally:
            self._unsure.clear()
        if rows:
            self._placed(rows)

    def _share(self, tickets: list[Ticket], *, pause: float) -> list[Row]:
        """Another process is writing: what is deposited goes into its next commit or, if it has none, into ours."""
        self._store.deposit([ticket.deposits[0] for ticket in tickets if len(ticket.deposits) == 1])
        deadline = time.monotonic() + _SHARE_SECONDS
        while True:
            time.sleep(max(pause, _PAUSE_SECONDS))
            tickets = self._not_placed(tickets)
            if not tickets:
                return []
            try:
                return self._write(tickets, wait=time.monotonic() > deadline, look=True)
            except StoreBusyError as error:
                if time.monotonic() > deadline:
                    raise StoreBusyError(
                        "another process is writing the ledger, and does not end",
                        got=f"nothing placed within {_SHARE_SECONDS} s",
                        expected=f"a place for {', '.join(t.deposits[0].id for t in tickets[:3] if t.deposits)}",
                        hint="it is left with whoever writes next: append again with the same id, never with a new one",
                    ) from error
            pause = max(pause, min(1.5 * pause, _LONGEST_PAUSE_SECONDS))

    def _not_placed(self, tickets: list[Ticket]) -> list[Ticket]:
        """Give receipts to those whose deposit another process has placed, under the tree, and return the others."""
        found = self._store.find([(t.deposits[0].source, t.deposits[0].id) for t in tickets if len(t.deposits) == 1])
        placed = {row.leaf: row for row in found.values()}
        mine = [ticket for ticket in tickets if ticket.deposits and ticket.deposits[0].leaf in placed]
        if not mine:
            return tickets
        note = self._store.head() or b""
        if note != self._head or self._tree is None:
            self._keys.refresh()
            signed = Checkpoint.verify(note, self._keys.current)
            tree = self._tree or Tree()
            self._tree, self._head = None, None
            tree = tree.catch_up(self._store, signed.size)
            if tree.root() != signed.root:
                raise TreeAlteredError("the entries do not give the signed root", got=tree.root().hex())
            self._tree, self._head = tree, note
        nodes = Nodes(self._store, self._tree)
        for ticket in mine:
            row = placed[ticket.deposits[0].leaf]
            if row.index < self._tree.size and nodes(0, row.index) == row.leaf == leaf_hash(row.raw):
                ticket.receipts = [Receipt(row.id, row.index, row.leaf, self._tree.size)]
        return [ticket for ticket in tickets if not ticket.receipts]

    def _write(self, tickets: list[Ticket], *, wait: bool, look: bool = False) -> list[Row]:
        for _ in range(_ATTEMPTS):
            try:
                return self._attempt(tickets, wait=wait, look=look)
            except TakenError:
                self._unsure.update(self._tried)
                look = True
            finally:
                self._tried = []
        raise StoreUnreadableError(
            "nobody knows whether this append was committed",
            expected="a connection that lasts until the server has answered",
            hint="append again with the same ids: what was committed gives its receipt, and nothing is doubled",
        )

    def _attempt(self, tickets: list[Ticket], *, wait: bool, look: bool) -> list[Row]:
        """One transaction; with `look`, ids are looked up before anything is written."""
        grown = False
        try:
            # Who was to give deposits their place must not overlook any.
            guess = not look and all(ticket.deposits for ticket in tickets)
            with self._store.batch(wait=wait, guess=guess) as batch:
                tree = self._checked_tree(batch)
                plan = _Plan(batch, tree, self._keys.origin)
                self._check_clock(batch, tree.size)
                plan.place(tickets, batch.waiting(_TAKE), look=look)
                size, self._tried = tree.size + len(plan.rows), plan.rows
                if plan.rows:
                    grown = True
                    tiles = tree.extend([row.leaf for row in plan.rows])
                    batch.add(plan.rows, tiles, plan.payloads)
                    head = self._keys.sign_head(Checkpoint(self._keys.origin, tree.size, tree.root()))
                    batch.set_head(head)
                    self._head = self._signed = head
        except BaseException:
            if grown:
                # By what was not committed.
                self._tree = self._head = self._signed = self._newest = None
            raise
        if plan.rows:
            self._newest = size, entries.time_of(plan.rows[-1].raw)
        for ticket, found in plan.receipts:
            ticket.receipts = [Receipt(row.id, row.index, row.leaf, size) for row in found]
        if not self._unsure:
            return plan.rows
        # What turns out to have been committed when the connection was lost was not told of yet.
        found_again = {row for _, found in plan.receipts for row in found if row in self._unsure}
        return sorted(found_again.union(plan.rows))

    def _checked_tree(self, batch: Batch) -> Tree:
        # Whoever rotates the key signs the head anew: while it is the one that we signed, the key is ours.
        if self._signed is None or batch.head() != self._signed:
            self._keys.refresh()
        self._tree, self._head = checked_tree(batch, self._keys, self._tree, self._head)
        return self._tree

    def _check_clock(self, batch: Batch, size: int) -> None:
        """Entries say when things happened: with a clock that went back, they would say it wrongly for good."""
        if self._tolerance is None or not size:
            return
        if self._newest is None or self._newest[0] != size:
            self._newest = size, _time_of_entry(batch, size - 1)
        now, newest = datetime.now(UTC), self._newest[1]
        if newest > now + self._tolerance:
            raise ClockBackwardsError(
                "the clock went back",
                got=entries.timestamp(now),
                expected=f"the newest entry's time, {entries.timestamp(newest)}, or later",
                hint="set the clock; if it was wrong before and is right now, append once with accept_clock",
            )


class _Plan:
    """What one transaction will add, and which receipt belongs to whom."""

    def __init__(self, batch: Batch, tree: Tree, origin: str) -> None:
        self._origin = origin
        self._batch = batch
        self._nodes = Nodes(batch, tree)
        self._tree = tree
        self._known: dict[Key, Row] = {}
        self.rows: list[Row] = []
        self.payloads: list[Payload] = []
        self.receipts: list[tuple[Ticket, list[Row]]] = []

    def place(self, tickets: Sequence[Ticket], waiting: Sequence[Deposit], *, look: bool) -> None:
        """Give every deposit its index, those that waited first."""
        tickets = [ticket for ticket in tickets if ticket.error is None]
        mine = [deposit for ticket in tickets for deposit in ticket.deposits]
        if not waiting and not look and len({(deposit[1], deposit[0]) for deposit in mine}) == len(mine):
            # No id twice among them; should one be in the log already, the store says so, and we look.
            self._all_new(tickets)
            return
        self._known = self._batch.find({(str(d.source), str(d.id)) for d in (*waiting, *mine)})
        if waiting:
            self._admit(waiting)
        for ticket in tickets:
            try:
                self.receipts.append((ticket, self._whole(ticket.deposits)))
            except (IdReusedError, EntryAlteredError) as error:
                ticket.error = error

    def _all_new(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            start = self._tree.size + len(self.rows)
            *columns, _ = zip(*ticket.deposits, strict=True) if ticket.deposits else ((),) * 6
            rows = list(map(_row, zip(count(start), *columns, strict=False)))
            self.rows += rows
            self.payloads += [deposit.payload for deposit in ticket.deposits if deposit.payload is not None]
            self.receipts.append((ticket, rows))

    def _admit(self, waiting: Sequence[Deposit]) -> None:
        refusals = []
        for deposit in waiting:
            reason = unsound(deposit, erasures_source(self._origin)) or self._refused(deposit)
            if reason is not None:
                refusals.append(Refusal(str(deposit.id), str(deposit.source), _bytes(deposit.leaf), reason))
        self._batch.taken(waiting, refusals)

    def _refused(self, deposit: Deposit) -> str | None:
        """Place a deposit; otherwise why it has no place of its own, empty if the same is logged already."""
        try:
            (row,) = self._whole([deposit])
        except (IdReusedError, EntryAlteredError) as error:
            return error.message
        return None if row.leaf == deposit.leaf else ""

    def _whole(self, deposits: Sequence[Deposit]) -> list[Row]:
        """The rows of deposits that are taken all or not at all."""
        start, kept = len(self.rows), len(self.payloads)
        added = []
        try:
            found = []
            for deposit in deposits:
                key = deposit.source, deposit.id
                row = self._known.get(key)
                if row is None:
                    row = Row(self._tree.size + len(self.rows), *deposit[:5])
                    self.rows.append(row)
                    self._known[key] = row
                    added.append(key)
                    if deposit.payload is not None:
                        self.payloads.append(deposit.payload)
                else:
                    self._check_same(row, deposit)
                found.append(row)
        except BaseException:
            del self.rows[start:], self.payloads[kept:]
            for key in added:
                del self._known[key]
            raise
        return found

    def _check_same(self, row: Row, deposit: Deposit) -> None:
        """An entry with this id is there already: is it this one, and is it under the tree?

        It was found by its id column, which nothing signs: without the proof, a planted row could swallow an append.
        """
        if row.index < self._tree.size and not self._genuine(row):
            raise EntryAlteredError("the entry with this id is not one that was logged", index=row.index)
        if not same(row, deposit):
            raise IdReusedError(
                f"id {row.id} is taken by entry {row.index}, which has other content",
                hint="use a new id for new content; the same id is for a repeated append of the same content",
            )

    def _genuine(self, row: Row) -> bool:
        try:
            path = self._nodes.path(row.index, self._tree.size)
            root = root_from_path(row.index, self._tree.size, leaf_hash(row.raw), path)
            value = entries.decode(row.index, row.raw)
        except (ProofInvalidError, NotCanonicalError, EntryMissingError):
            return False
        return root == self._tree.root() and (value.id, value.source) == (row.id, row.source)


def checked_tree(batch: Batch, keys: Keyring, tree: Tree | None, head: bytes | None) -> tuple[Tree, bytes | None]:
    """The tree as it is stored, held against the signed head: never sign over a past that is not the one signed before.

    `tree` and `head` are what this process knows of both; a head that it verified or signed needs no second look.

    Raises:
        LedgerDamagedError: the log is not as it was last signed.
    """
    note, size = batch.head(), batch.size()
    if note is None and size:
        raise TailDroppedError("the log has entries but no checkpoint")
    if note is None:
        return Tree(), None
    if note == head and tree is not None and tree.size == size:
        return tree, note
    signed = Checkpoint.verify(note, keys.current)
    if size < signed.size:
        raise TailDroppedError("entries are missing at the end", index=size, expected=f"{signed.size} entries")
    if size > signed.size:
        raise TreeAlteredError("entries lie beyond the signed checkpoint", index=signed.size, got=size)
    grown = Tree.load(batch, size) if tree is None else tree.catch_up(batch, size)
    if grown.root() != signed.root:
        raise TreeAlteredError("the entries do not give the signed root", got=grown.root().hex())
    return grown, note


def unsound(deposit: Deposit, reserved: str) -> str:
    """Why what was deposited cannot be an entry; empty if it can.

    Whoever can write where deposits wait could leave anything there, and an entry is for good.
    """
    try:
        value = parse(deposit.raw)
        named = (value["id"], value["source"]) == (deposit.id, deposit.source) and deposit.source != reserved
        entries.decode(0, deposit.raw)
        whole = leaf_hash(deposit.raw) == deposit.leaf and len(deposit.raw) <= entries.MAX_ENTRY_BYTES
        timed = entries.time_of(deposit.raw).tzinfo is not None
        kept = deposit.payload
        commit = entries.dataref(deposit.raw)
        right = kept is None or (commit == kept.commit == entries.commitment(kept.salt, kept.payload))
        sound = named and whole and timed and right and isinstance(deposit.sameness, bytes)
    except (NotCanonicalError, KeyError, TypeError, ValueError, AttributeError):
        sound = False
    return "" if sound else "what was deposited is not an entry of this log"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def same(row: Row, deposit: Deposit) -> bool:
    """Whether an entry is the one that is appended again: all but the time equal, judged over plain data."""
    if deposit.sameness:
        return hmac.compare_digest(row.sameness, deposit.sameness)
    # Neither ciphertext nor a commitment in it: the bytes tell, and the tree vouches for them.
    mine, theirs = (entries.without_time(raw) for raw in (deposit.raw, row.raw))
    return mine == theirs


def _time_of_entry(batch: Batch, index: int) -> datetime:
    try:
        return entries.time_of(batch.raw(index) or b"")
    except NotCanonicalError as error:
        raise EntryAlteredError("an entry cannot be read", index=index, got=error.got) from error
