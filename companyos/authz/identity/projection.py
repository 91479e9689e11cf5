"""The tables follow the log: what is in them is what the entries up to a position say.

Unlike a `companyos.ledger.Projection`, this one appends, too: whoever makes a change holds the lock on the position,
brings the tables up to date, tries the change, appends it, and applies it as an entry like any other, in one
transaction. So a change is judged by what it will be applied to, and the tables never hold what is not in the log. One
that was cut short between the two is in the log; the next who opens the store, or changes it, applies it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.authz.identity.applying import Applier
from companyos.authz.identity.entries import changed, is_ours, rest_of
from companyos.authz.identity.errors import (
    IdentityBehindError,
    IdentityConflictError,
    IdentityInvalidError,
    UnknownSubjectError,
)
from companyos.authz.identity.tables import tables
from companyos.ledger import EntryMissingError, ErasedError
from companyos.ledger.erasure import ERASED, erasures_source, pseudonym_of
from companyos.ledger.merkle import leaf_hash

if TYPE_CHECKING:
    from companyos.ledger import Ledger
    from companyos.ports import Entry

__all__ = ("Follower", "wipe")

ENTRIES_PER_TRANSACTION = 20_000
_REBUILD = "companyos identity rebuild"


class Follower:
    """Applies a log to the tables on a connection, in its transaction, from where they stand."""

    def __init__(self, connection: Any, ledger: Ledger) -> None:
        self._connection = connection
        self._ledger = ledger
        self._store = tables().store
        self._applier = Applier(connection)
        self._unreadable: set[str] = set()
        self._errors = require("sqlalchemy", extra="identity").exc
        found = connection.execute(self._store.select().with_for_update()).mappings().one_or_none()
        if found is None:
            raise IdentityBehindError("the identity store has lost its position in the log", hint=_REBUILD)
        self.position: int = found["position"]
        """How many entries of the log the tables reflect."""
        self.rejected: list[int] = []
        """Entries that were passed over now, because they do not fit."""
        self._last: tuple[int | None, str | None] = (found["last_index"], found["last_leaf"])
        self._is_new = found["origin"] is None
        self._require_same_log(found["origin"])

    def catch_up(self, limit: int | None = None, *, until: int | None = None) -> bool:
        """Apply what the log holds beyond the position; False if it stopped at `limit` entries, with more to come.

        Entries from `until` on are left alone.

        Raises:
            IdentityBehindError: the log is another one, or an entry cannot be read and no erasure says why.
        """
        start = self.position
        while True:
            before = self.position
            for entry in self._ledger.read(self.position, until):
                rest = self._take(entry)
                self.position = entry.index + 1
                enough = limit is not None and self.position >= start + limit
                if enough and not rest and not self._unreadable:
                    self._settle()
                    return False
            if self.position == before:
                break
        if self._unreadable:
            # Whoever is erased has a tombstone in the log before the key goes.
            raise IdentityBehindError(
                f"entries about {len(self._unreadable)} subjects cannot be read, and no erasure says why",
                hint="restore the key store of the ledger",
            )
        if self.position != start or self._is_new:
            self._settle()
        return True

    def _take(self, entry: Entry) -> int:
        if entry.type == ERASED and entry.source == erasures_source(self._ledger.origin):
            gone = pseudonym_of(entry.id)
            self._unreadable.discard(gone)
            self._applier.forget(gone)
            self._last = entry.index, None
            return 0
        if not is_ours(entry):
            return 0
        try:
            change = changed(self._ledger, entry)
            with self._connection.begin_nested():
                pseudonym = entry.subject or ""
                self._applier.apply(change, index=entry.index, time=entry.time, pseudonym=pseudonym)
        except ErasedError:
            self._unreadable.add(entry.subject or "")
        except (IdentityInvalidError, IdentityConflictError, UnknownSubjectError) as error:
            self._reject(entry, error.what)
        except self._errors.IntegrityError:
            self._reject(entry, "a constraint of the tables does not hold")
        self._last = entry.index, None
        return rest_of(entry)

    def _reject(self, entry: Entry, why: str) -> None:
        """Pass over an entry that we would not have written: it must not stop those that follow for ever."""
        self.rejected.append(entry.index)
        self._connection.execute(tables().rejected.insert().values(entry_index=entry.index, why=why))

    def _settle(self) -> None:
        index, leaf = self._last
        if index is not None and leaf is None:
            leaf = leaf_hash(self._ledger.raw(index)).hex()
            self._last = index, leaf
        values = {"origin": self._ledger.origin, "position": self.position, "last_index": index, "last_leaf": leaf}
        self._connection.execute(self._store.update().values(**values))

    def _require_same_log(self, origin: str | None) -> None:
        index, leaf = self._last
        if origin is not None and origin != self._ledger.origin:
            raise IdentityBehindError(
                "the identity store reflects another log", got=origin, expected=self._ledger.origin, hint=_REBUILD
            )
        if self.position > len(self._ledger):
            raise IdentityBehindError(
                "the log is shorter than what the identity store reflects",
                got=f"{len(self._ledger)} entries",
                expected=f"at least {self.position}",
                hint="restore the log; or, if it is the right one: companyos identity rebuild",
            )
        if index is None:
            return
        try:
            same = leaf_hash(self._ledger.raw(index)).hex() == leaf
        except EntryMissingError:
            same = False
        if not same:
            raise IdentityBehindError(f"entry {index} is not the one that the identity store reflects", hint=_REBUILD)


def wipe(connection: Any) -> None:
    """Forget everything that came out of the log, so that the next to catch up begins at entry 0."""
    known = tables()
    connection.execute(known.store.delete())
    for table in (known.bindings, known.attributes, known.roles, known.subjects, known.bundles, known.rejected):
        connection.execute(table.delete())
    connection.execute(known.store.insert().values(id=1, position=0))
