"""The ledger: append, and what else writes to a log."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from companyos.ledger import entry as entries
from companyos.ledger.checkpoint import Checkpoint
from companyos.ledger.connection import driver_connection
from companyos.ledger.erasure import ERASED, erasures_source, pseudonym_of, tombstone_id, tombstones
from companyos.ledger.errors import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryInvalidError,
    EntryMissingError,
    EntryRefusedError,
    IdReusedError,
    NotPlacedError,
    PersonUnknownError,
    ProofInvalidError,
    StoreUnreadableError,
)
from companyos.ledger.keyring import Keyring
from companyos.ledger.merkle import leaf_hash
from companyos.ledger.people import People
from companyos.ledger.placement import CLOCK_TOLERANCE, Placer, checked_tree, same
from companyos.ledger.preparation import DETACHED_LIMIT, Draft, Preparer
from companyos.ledger.reading import Reader
from companyos.ledger.retention import DEFAULT_DAYS, Retained, drop, expired
from companyos.ledger.sequencer import Sequencer
from companyos.ledger.url import key_directory, open_store
from companyos.ports import Pending, Receipt, is_idle
from companyos.signing import NoteVerifier, rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from companyos.ledger.stores.interface import Deposit, Row, Store
    from companyos.ledger.witness import Cosigned, Witness
    from companyos.ports import Entry, Personal
    from companyos.signing import PublicKey

    Validator = Callable[[str, Mapping[str, Any]], str | None]
    Listener = Callable[[Entry], None]

__all__ = ("Ledger",)

_OTHER_ID = "use a new id for new content; the same id is for a repeated append of the same content"


class Ledger(Reader):
    """An append-only Merkle log that anyone with its public key can verify.

    Make one with `Ledger.open`, which reads and writes, or `Ledger.open_readonly`, which needs only the public key.
    Usable from any number of threads, tasks and processes; use it as a context manager, or `close` it.
    """

    def __init__(
        self,
        store: Store,
        keys: Keyring,
        people: People | None = None,
        *,
        detached_limit: int = DETACHED_LIMIT,
        clock_tolerance: timedelta | None = CLOCK_TOLERANCE,
        retention_days: Mapping[str, int] = DEFAULT_DAYS,
        validators: Sequence[Validator] = (),
        listeners: Sequence[Listener] = (),
    ) -> None:
        super().__init__(store, keys)
        self._people = people
        self._validators = tuple(validators)
        self._listeners = tuple(listeners)
        self._retention = dict(retention_days)
        self._preparer = None if people is None else Preparer(keys.origin, people, detached_limit)
        self._sequencer = Sequencer(Placer(store, keys, tolerance=clock_tolerance, placed=self._tell).commit)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        origin: str = "companyos.local/log",
        key: str | None = None,
        keystore: Path | None = None,
        detached_limit: int = DETACHED_LIMIT,
        clock_tolerance: timedelta | None = CLOCK_TOLERANCE,
        retention_days: Mapping[str, int] = DEFAULT_DAYS,
        validators: Sequence[Validator] = (),
        listeners: Sequence[Listener] = (),
    ) -> Ledger:
        """Open the log at `url`, making it if it is not there.

        `url` is `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://…`. Without `key` (a key URI) and
        `keystore` (a path), both are made in `<file name>.keys/` beside the log; for a log that has entries nothing is
        made, because new keys cannot stand in for lost ones. With a clock more than `clock_tolerance` behind the newest
        entry nothing is appended; None takes any time. `retention_days` says for how many days the payloads of each
        class are kept. `validators` may refuse an entry by returning a sentence; `listeners` are told of each entry
        once it is durable, and must not raise.

        Raises:
            StoreUnreadableError: the store cannot be opened.
            KeyUnusableError: the signing key cannot be used.
        """
        uri = key or f"file:{key_directory(url) / 'ledger.pem'}"
        people_at = keystore or key_directory(url) / "people.db"
        store = open_store(url)
        try:
            new = store.head() is None
            keys = Keyring.open(origin, uri, create=new)
            people = People(people_at, create=new)
        except BaseException:
            store.close()
            raise
        log = cls(
            store,
            keys,
            people,
            detached_limit=detached_limit,
            clock_tolerance=clock_tolerance,
            retention_days=retention_days,
            validators=validators,
            listeners=listeners,
        )
        try:
            log._apply_tombstones()
        except BaseException:
            log.close()
            raise
        return log

    @classmethod
    def open_readonly(
        cls,
        url: str,
        keys: Sequence[PublicKey],
        *,
        past: Sequence[PublicKey] = (),
        origin: str = "companyos.local/log",
    ) -> Ledger:
        """Open an existing log for reading and verifying, knowing nothing but its public keys.

        One of `keys` must have signed the head; `past` are retired keys, whose checkpoints count as anchors only.

        Raises:
            StoreUnreadableError: there is no log, or it cannot be read.
            KeyUnusableError: `keys` is empty, or one of them cannot sign checkpoints.
        """
        keyring = Keyring(origin, keys=keys, past=past)
        return cls(open_store(url, create=False, readonly=True), keyring)

    def close(self) -> None:
        """Finish what is being appended, release the store and forget all keys."""
        self._sequencer.close()
        super().close()
        if self._people is not None:
            self._people.close()

    @overload
    def append(
        self,
        type: str,
        data: Mapping[str, Any],
        *,
        id: str | None = None,
        source: str | None = None,
        stream: str | None = None,
        subject: str | Personal | None = None,
        detach: bool = False,
        retention: str | None = None,
        connection: None = None,
    ) -> Receipt: ...

    @overload
    def append(
        self,
        type: str,
        data: Mapping[str, Any],
        *,
        id: str | None = None,
        source: str | None = None,
        stream: str | None = None,
        subject: str | Personal | None = None,
        detach: bool = False,
        retention: str | None = None,
        connection: object,
    ) -> Pending: ...

    def append(
        self,
        type: str,  # noqa: A002 - the CloudEvents attribute is called so
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - the CloudEvents attribute is called so
        source: str | None = None,
        stream: str | None = None,
        subject: str | Personal | None = None,
        detach: bool = False,
        retention: str | None = None,
        connection: object = None,
    ) -> Receipt | Pending:
        """Append one entry and return when it is on the disk, in its place, under a signed checkpoint.

        Ids are unique per `source` (default: the log's origin). The same id with the same type, stream, subject and
        data again gives the same receipt. `Personal` values are stored encrypted. A payload is kept beside the log,
        with a commitment in the entry, if `detach` is set, if it belongs to a class of `retention`, or if it does not
        fit into an entry.

        With `connection`, the entry becomes part of the transaction that this connection of the caller's is in: it is
        logged if and only if that commits. The `Pending` that is returned tells `wait` what to wait for.

        Raises:
            EntryInvalidError: not JSON, an unusable attribute, a reserved key; `PayloadTooLargeError` if too large.
            EntryRefusedError: a validator refused it.
            IdReusedError: the id is taken by an entry with other content.
            ClockBackwardsError: the clock is well behind the newest entry.
            StoreUnreadableError: it could not be made durable; nothing was written.
            LedgerDamagedError: the log is not as it was last signed; nothing was written.
        """
        (deposit,) = self._prepare((Draft(type, data, id, source, stream, subject, detach, retention),))
        if connection is not None:
            return self._deposit(deposit, driver_connection(connection))
        return self._sequencer.submit((deposit,))[0]

    def append_many(self, drafts: Iterable[Draft]) -> list[Receipt]:
        """Append several entries in their order and in one commit, all of them or, if one is refused, none.

        Raises:
            UserError: as `append`.
        """
        return self._sequencer.submit(self._prepare(tuple(drafts)))

    async def aappend(
        self,
        type: str,  # noqa: A002 - the CloudEvents attribute is called so
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - the CloudEvents attribute is called so
        source: str | None = None,
        stream: str | None = None,
        subject: str | Personal | None = None,
        detach: bool = False,
        retention: str | None = None,
    ) -> Receipt:
        """`append` for a task: tasks that append at the same time share commits, and no commit holds up the event loop.

        A person who is named for the first time is given a key at once, which takes a write to the key store.
        A task that is cancelled while it waits may find its entry in the log all the same.

        Raises:
            UserError: as `append`.
        """
        (deposit,) = self._prepare((Draft(type, data, id, source, stream, subject, detach, retention),))
        return (await self._sequencer.asubmit((deposit,)))[0]

    async def aappend_many(self, drafts: Iterable[Draft]) -> list[Receipt]:
        """`append_many` for a task.

        Raises:
            UserError: as `append`.
        """
        return await self._sequencer.asubmit(self._prepare(tuple(drafts)))

    def sequence(self) -> None:
        """Give what was appended with `connection=`, and is committed by now, its place.

        Every append does so too; call it where nothing else is appended.

        Raises:
            StoreUnreadableError: it could not be done now; nothing is lost.
        """
        self._sequencer.submit(())

    def wait(self, pending: Pending, *, timeout_seconds: float = 30.0) -> Receipt:
        """The receipt of an entry that was appended with `connection=`, once its transaction is committed.

        Raises:
            NotPlacedError: its transaction is not committed in time, or was rolled back.
            IdReusedError: its id is taken by an entry with other content.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self._found(pending)
            if found is None:
                self.sequence()
                found = self._found(pending)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise NotPlacedError(
                    f"entry {pending.id} is not in the log",
                    got=f"nothing for {timeout_seconds} s",
                    expected="the transaction in which it was appended to be committed",
                )
            time.sleep(0.01)

    def cosign(self, witness: Witness) -> Cosigned:
        """Have a witness cosign the newest checkpoint, which is an anchor from then on, and keep the cosignature.

        A witness that has seen nothing of the log yet takes it as it is.

        Raises:
            WitnessUnavailableError: no answer, or none in the protocol.
            WitnessRefusedError: it does not know the log, or does not trust its key.
            RolledBackError: it has cosigned a longer log.
            SplitViewError: it has cosigned another history of the log.
            EntryMissingError: the log is empty.
        """
        from companyos.ledger.witness import merged, size_of

        done = witness.cosign(self.checkpoint(), self._consistency, old_size=size_of(self.cosigned()))
        with self._store.batch() as batch:
            batch.set_cosigned(merged(done.note, self.cosigned()))
        return done

    def retain(self, *, dry_run: bool = False) -> Retained:
        """Drop the detached payloads that have outlived their class, with their salts; every proof still verifies.

        An entry `companyos.ledger.payloads_dropped` says so. With `dry_run`, only what would be dropped is returned.

        Raises:
            StoreUnreadableError: it could not be done wholly; doing it again does the rest.
        """
        found = expired(self._store, self._retention)
        if found.payloads and not dry_run:
            self.append("companyos.ledger.payloads_dropped", found.to_dict())
            drop(self._store, found)
        return found

    def erase(self, person: str, *, reason: str) -> Receipt:
        """Make every personal value of `person` unreadable for good, here and in every copy of the log.

        A tombstone is logged first, and whoever opens the log applies it, so an erasure that was cut short is finished,
        and a key store from before it is brought up to date. Named again, the person gets a new pseudonym.

        Raises:
            PersonUnknownError: nothing was ever appended about them.
            StoreUnreadableError: the key store could not be written; opening the log finishes what was begun.
        """
        if self._people is None:
            raise StoreUnreadableError("this ledger is open for reading only", hint="open it with Ledger.open")
        pseudonym = self._people.pseudonym_of(person)
        if pseudonym is None:
            raise PersonUnknownError(
                "nothing is kept about this person",
                hint="they were erased already, or another id was appended with: give that one",
            )
        key = erasures_source(self.origin), tombstone_id(pseudonym)
        row = self._store.find([key]).get(key)
        if row is None:
            draft = Draft(ERASED, {"reason": reason}, key[1], key[0], subject=pseudonym)
            receipt = self._sequencer.submit(self._prepare((draft,), ours=True))[0]
        else:
            receipt = self._receipt(row)
        # By the pseudonym: another process may have applied the tombstone, and named the person anew, in the meantime.
        self._people.bury([pseudonym])
        return receipt

    def reveal(self, entry: Entry) -> Entry:
        """The entry with its personal values decrypted.

        Raises:
            ErasedError: a data subject's key is gone, or the key store is not at hand.
        """
        if self._people is None:
            raise StoreUnreadableError("this ledger is open without its key store", hint="open it with Ledger.open")
        context = (self.origin, entry.source, entry.id)
        return replace(entry, data=_reveal(entry.data, self._people, context, ""))

    def rotate_key(self) -> PublicKey:
        """Replace the log's key (a `file:` key) by a new one, and return the new public half.

        The head is signed by both keys before the old one goes, so a crash at any moment leaves a log that verifies.
        Checkpoints that the old key signed stay good anchors, but nothing more can be signed with it.

        Raises:
            KeyUnusableError: the key is not a file, or cannot be replaced.
            LedgerDamagedError: the log is not as it was last signed; nothing was changed.
        """
        keys = self._keys
        with rotation(keys.uri or "") as (old, new, put):
            while True:
                with self._store.batch() as batch:
                    keys.refresh()
                    tree, note = checked_tree(batch, keys, None, None)
                    if note is None or _signed_by(note, NoteVerifier(self.origin, new.public)):
                        put()
                        break
                    batch.set_head(Checkpoint(self.origin, tree.size, tree.root()).sign(old, new))
        keys.refresh()
        return new.public

    def _apply_tombstones(self) -> None:
        """Destroy the keys of whoever was erased, as far as this key store does not know of it."""
        if self._people is None:
            return
        rows = self._store.of_source(erasures_source(self.origin))
        found = {pseudonym_of(row.id): row for row in rows}
        living = self._people.living(found)
        self._people.bury(tombstones(self, [found[name] for name in living]))

    def _prepare(self, drafts: Sequence[Draft], *, ours: bool = False) -> list[Deposit]:
        if self._preparer is None:
            raise StoreUnreadableError("this ledger is open for reading only", hint="open it with Ledger.open")
        for draft in drafts:
            if draft.source == erasures_source(self.origin) and not ours:
                raise EntryInvalidError("this source is the ledger's own", got=draft.source, hint="use Ledger.erase")
            if draft.retention is not None and str(draft.retention) not in self._retention:
                raise EntryInvalidError(
                    "no such retention class", got=draft.retention, expected=", ".join(sorted(self._retention))
                )
        deposits = self._preparer.prepare(drafts)
        if self._validators:
            for draft in drafts:
                self._validate(draft)
        return deposits

    def _validate(self, draft: Draft) -> None:
        for validator in self._validators:
            if is_idle(validator):
                continue
            try:
                refusal = validator(draft.type, copy.deepcopy(draft.data))
            except Exception as error:  # noqa: BLE001 - whatever a validator raises is a refusal
                refusal = f"the validator failed: {error}"
            if refusal:
                raise EntryRefusedError(f"a validator refused the entry {draft.type}", got=refusal)

    def _deposit(self, deposit: Deposit, connection: object) -> Pending:
        key = deposit.source, deposit.id
        row = self._store.find([key]).get(key)
        if row is None:
            self._store.deposit_with(connection, [deposit])
            return Pending(deposit.id, deposit.source, deposit.leaf)
        # An id that is taken is told of now, while the caller can still undo the transaction.
        if not same(row, deposit):
            raise IdReusedError(f"id {row.id} is taken by entry {row.index}, which has other content", hint=_OTHER_ID)
        return Pending(row.id, row.source, self._receipt(row).leaf_hash)

    def _receipt(self, row: Row) -> Receipt:
        """The receipt of an entry that was found by its id, which nothing signs, once it is proved to be in the log.

        Raises:
            EntryAlteredError: it is not.
        """
        try:
            size = self.prove(row.index).verify(row.raw, [self.verifier]).size
        except (ProofInvalidError, EntryMissingError) as error:
            raise EntryAlteredError("the entry with this id is not one that was logged", index=row.index) from error
        return Receipt(row.id, row.index, leaf_hash(row.raw), size)

    def _found(self, pending: Pending) -> Receipt | None:
        row = self._store.find([(pending.source, pending.id)]).get((pending.source, pending.id))
        if row is None:
            return None
        if row.leaf != pending.digest:
            refusal = self._store.refusal(pending.source, pending.id, pending.digest)
            if refusal:
                raise IdReusedError(refusal, hint=_OTHER_ID)
            if refusal is None:
                return None
        return self._receipt(row)

    def _tell(self, rows: list[Row]) -> None:
        listeners = [listener for listener in self._listeners if not is_idle(listener)]
        if listeners:
            for row in rows:
                entry = self._decode(row)
                for listener in listeners:
                    listener(entry)


def _signed_by(note: bytes, verifier: NoteVerifier) -> bool:
    try:
        Checkpoint.verify(note, [verifier])
    except CheckpointInvalidError:
        return False
    return True


def _reveal(value: Any, people: People, context: tuple[str, str, str], path: str) -> Any:
    if isinstance(value, dict):
        if entries.PERSONAL in value:
            return people.open(value[entries.PERSONAL], (*context, path))
        return {key: _reveal(inner, people, context, f"{path}/{_pointer(key)}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_reveal(inner, people, context, f"{path}/{number}") for number, inner in enumerate(value)]
    return value


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
