"""The ledger: append, prove, verify, replay."""

from __future__ import annotations

import copy
import hmac
import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from companyos.canonical import NotCanonicalError, canonical_bytes
from companyos.errors import ConfigError
from companyos.ledger import entry as entries
from companyos.ledger.checkpoint import Checkpoint, Proof
from companyos.ledger.entry import MAX_ENTRY_BYTES, Draft
from companyos.ledger.errors import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryMissingError,
    EntryRefusedError,
    IdReusedError,
    PayloadTooLargeError,
    ProofInvalidError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.keyring import Keyring
from companyos.ledger.merkle import Frontier, inclusion_path, leaf_hash, range_root, root_from_path, subtree_cover
from companyos.ledger.people import People
from companyos.ledger.stores import Row, SqliteStore
from companyos.ledger.verification import Verification, verify
from companyos.ports import Entry, Personal, Receipt
from companyos.signing import NoteVerifier, rotation
from companyos.signing.files import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from companyos.ledger.projection import Projection
    from companyos.ledger.stores import Batch, Store
    from companyos.signing import PublicKey

    Validator = Callable[[str, Mapping[str, Any]], str | None]
    Listener = Callable[[Entry], None]

__all__ = ("Ledger", "key_directory", "store_path")

DETACHED_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Identity:
    """Who a log is and how its entries are made."""

    keys: Keyring
    people: People | None = None
    detached_limit: int = DETACHED_LIMIT


class Ledger:
    """An append-only Merkle log that anyone with its public key can verify.

    Make one with `Ledger.open`, which reads and writes, or `Ledger.open_readonly`, which needs only the public key.
    Usable from any number of threads and processes; use it as a context manager, or `close` it.
    """

    def __init__(
        self,
        store: Store,
        identity: _Identity,
        *,
        validators: Sequence[Validator] = (),
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._store = store
        self._identity = identity
        self._validators = tuple(validators)
        self._listeners = tuple(listeners)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        origin: str = "companyos.local/log",
        key: str | None = None,
        keystore: Path | None = None,
        detached_limit: int = DETACHED_LIMIT,
        validators: Sequence[Validator] = (),
        listeners: Sequence[Listener] = (),
    ) -> Ledger:
        """Open the log at `url` (`sqlite:///relative.db` or `sqlite:////absolute.db`), making it if it is not there.

        Without `key` (a key URI) and `keystore` (a path), both are made in `<file name>.keys/` beside the log; for a
        log that has entries nothing is made, because new keys cannot stand in for lost ones.
        `validators` may refuse an entry by returning a sentence; `listeners` are told of each entry once it is
        durable, and must not raise.

        Raises:
            StoreUnreadableError: the store cannot be opened.
            KeyUnusableError: the signing key cannot be used.
        """
        directory = key_directory(url)
        store = SqliteStore(store_path(url))
        try:
            new = store.head() is None
            keys = Keyring.open(origin, key or f"file:{directory / 'ledger.pem'}", create=new)
            people = People(keystore or directory / "people.db", create=new)
        except BaseException:
            store.close()
            raise
        identity = _Identity(keys, people, detached_limit)
        return cls(store, identity, validators=validators, listeners=listeners)

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
        return cls(SqliteStore(store_path(url), create=False, readonly=True), _Identity(keyring))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the store and forget all keys."""
        self._store.close()
        if self._identity.people is not None:
            self._identity.people.close()

    @property
    def origin(self) -> str:
        """The log's identity, first line of its checkpoints."""
        return self._identity.keys.origin

    @property
    def verifier(self) -> NoteVerifier:
        """The log's public key under its name."""
        return self._identity.keys.current[0]

    def __len__(self) -> int:
        head = self.head()
        return 0 if head is None else head.size

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
    ) -> Receipt:
        """Append one entry and return when it is on the disk, in its place, under a signed checkpoint.

        Ids are unique per `source` (default: the log's origin). The same id with the same type, stream, subject and
        data again gives the same receipt. `Personal` values are stored encrypted. A payload is kept beside the log,
        with a commitment in the entry, if `detach` is set or it does not fit into an entry.

        Raises:
            EntryInvalidError: not JSON, an unusable attribute, a reserved key; `PayloadTooLargeError` if too large.
            EntryRefusedError: a validator refused it.
            IdReusedError: the id is taken by an entry with other content.
            StoreUnreadableError: it could not be made durable; nothing was written.
            LedgerDamagedError: the log is not as it was last signed; nothing was written.
        """
        people = self._identity.people
        if people is None:
            raise StoreUnreadableError("this ledger is open for reading only", hint="open it with Ledger.open")
        about = people.pseudonym(subject.person) if isinstance(subject, Personal) else subject
        given = str(uuid.uuid4()) if id is None else id
        draft = Draft(given, self.origin if source is None else source, type, datetime.now(UTC), stream, about)
        same = entries.sameness(people.secret("sameness"), draft, subject, data)
        self._validate(type, data)
        with self._store.batch() as batch:
            frontier = self._checked_frontier(batch)
            known = batch.find(draft.source, draft.id)
            if known is not None:
                return self._repeated(known, same, frontier)
            row = self._place(batch, frontier, draft=draft, data=data, same=same, people=people, detach=detach)
        self._tell(row)
        return Receipt(draft.id, row.index, row.leaf, row.index + 1)

    def read(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Entries in order from `start` up to `end` (exclusive), personal values still encrypted.

        Without `end`, up to where the log ends now: what is appended while reading is not read.

        Raises:
            EntryAlteredError: an entry cannot be read at all; use `verify` to check those that can.
        """
        for row in self._store.rows(start, self._store.size() if end is None else end):
            yield self._decode(row)

    def raw(self, index: int) -> bytes:
        """The canonical bytes of one entry.

        Raises:
            EntryMissingError: there is none.
        """
        for row in self._store.rows(index, index + 1):
            return row.raw
        raise EntryMissingError(f"no entry {index} in the log", index=index)

    def reveal(self, entry: Entry) -> Entry:
        """The entry with its personal values decrypted.

        Raises:
            ErasedError: a data subject's key is gone, or the key store is not at hand.
        """
        from dataclasses import replace

        if self._identity.people is None:
            raise StoreUnreadableError("this ledger is open without its key store", hint="open it with Ledger.open")
        context = (self.origin, entry.source, entry.id)
        return replace(entry, data=_reveal(entry.data, self._identity.people, context, ""))

    def head(self) -> Checkpoint | None:
        """The newest checkpoint, its signature verified; None for an empty log."""
        note = self._store.head()
        return None if note is None else self._verified(note)

    def checkpoint(self) -> bytes:
        """The newest checkpoint as a signed note, to be kept elsewhere as an anchor.

        Raises:
            EntryMissingError: the log is empty.
        """
        note = self._store.head()
        if note is None:
            raise EntryMissingError("the log is empty: there is no checkpoint yet")
        return note

    def prove(self, index: int, *, checkpoint: bytes | None = None) -> Proof:
        """A proof that entry `index` is in the log, for anyone who has the public key.

        It leads to `checkpoint`, a note of this log (default: the newest), so that many proofs can share one.

        Raises:
            EntryMissingError: there is no such entry at that size.
        """
        note = self.checkpoint() if checkpoint is None else checkpoint
        size = self._verified(note).size
        if not 0 <= index < size:
            raise EntryMissingError(f"no entry {index} in the log", got=index, expected=f"less than {size}")
        return Proof(index, self._path(index, size), note)

    def verify(
        self, *, against: bytes | None = None, deep: bool = True, progress: Callable[[int], None] | None = None
    ) -> Verification:
        """Check every entry, the tree and the signature; `against` is an anchor, a checkpoint kept elsewhere.

        `deep` also checks that each entry is in canonical form and agrees with its index columns.

        Raises:
            LedgerDamagedError: each kind of damage by its own class, with the first bad index.
            StoreUnreadableError: the store could not be read.
        """
        keys = self._identity.keys
        keys.refresh()
        anchor = None if against is None else Checkpoint.verify(against, keys.anchors)
        return verify(self._store, keys.current, anchor=anchor, deep=deep, progress=progress)

    def rotate_key(self) -> PublicKey:
        """Replace the log's key (a `file:` key) by a new one, and return the new public half.

        The head is signed by both keys before the old one goes, so a crash at any moment leaves a log that verifies.
        Checkpoints that the old key signed stay good anchors, but nothing more can be signed with it.

        Raises:
            KeyUnusableError: the key is not a file, or cannot be replaced.
            LedgerDamagedError: the log is not as it was last signed; nothing was changed.
        """
        keys = self._identity.keys
        with rotation(keys.uri or "") as (old, new, put):
            while True:
                with self._store.batch() as batch:
                    frontier = self._checked_frontier(batch)
                    note = batch.head()
                    if note is None or _signed_by(note, NoteVerifier(self.origin, new.public)):
                        put()
                        break
                    batch.set_head(Checkpoint(self.origin, frontier.size, frontier.root()).sign(old, new))
        keys.refresh()
        return new.public

    def replay(self, projection: Projection, *, until: int | None = None) -> int:
        """Bring a projection up to date, each entry applied exactly once, in order; return its new position."""
        return projection.follow(self.read, until=until)

    def _validate(self, type: str, data: Mapping[str, Any]) -> None:  # noqa: A002 - as in append
        for validator in self._validators:
            try:
                refusal = validator(type, copy.deepcopy(data))
            except Exception as error:  # noqa: BLE001 - whatever a validator raises is a refusal
                refusal = f"the validator failed: {error}"
            if refusal:
                raise EntryRefusedError(f"a validator refused the entry {type}", got=refusal)

    def _place(
        self,
        batch: Batch,
        frontier: Frontier,
        *,
        draft: Draft,
        data: Mapping[str, Any],
        same: bytes,
        people: People,
        detach: bool,
    ) -> Row:
        raw = self._encode(batch, draft, data, people, detach=detach)
        row = Row(frontier.size, draft.id, draft.source, raw, leaf_hash(raw), same)
        batch.add(row, frontier.push(row.leaf))
        batch.set_head(Checkpoint(self.origin, frontier.size, frontier.root()).sign(self._identity.keys.signer))
        return row

    def _checked_frontier(self, batch: Batch) -> Frontier:
        """The tree as it stands, held against the signed head."""
        self._identity.keys.refresh()
        size = batch.size()
        frontier = Frontier(size, [batch.node(level, index) for level, index in subtree_cover(0, size)])
        self._check_head(batch.head(), size, frontier.root())
        return frontier

    def _verified(self, note: bytes) -> Checkpoint:
        """A checkpoint of this log, by its key of now; the key may have been rotated since we last looked."""
        keys = self._identity.keys
        try:
            return Checkpoint.verify(note, keys.current)
        except CheckpointInvalidError:
            if not keys.refresh():
                raise
            return Checkpoint.verify(note, keys.current)

    def _check_head(self, note: bytes | None, size: int, root: bytes) -> None:
        """Never sign over a past that is not the one signed before: that would make a forgery genuine."""
        if note is None and size:
            raise TailDroppedError("the log has entries but no checkpoint")
        if note is None:
            return
        head = Checkpoint.verify(note, self._identity.keys.current)
        if size < head.size:
            raise TailDroppedError("entries are missing at the end", index=size, expected=f"{head.size} entries")
        if size > head.size:
            raise TreeAlteredError("entries lie beyond the signed checkpoint", index=head.size, got=size)
        if root != head.root:
            raise TreeAlteredError("the entries do not give the signed root", got=root.hex())

    def _repeated(self, known: Row, same: bytes, frontier: Frontier) -> Receipt:
        """The receipt of an entry that is there already, once it is shown to be under the tree.

        It was found by its id column, which nothing signs: without the proof, a planted row could swallow an append.
        """
        if not hmac.compare_digest(known.sameness, same):
            raise IdReusedError(
                f"id {known.id} is taken by entry {known.index}, which has other content",
                hint="use a new id for new content; the same id is for a repeated append of the same content",
            )
        try:
            path = self._path(known.index, frontier.size)
            root = root_from_path(known.index, frontier.size, leaf_hash(known.raw), path)
            value = entries.decode(known.index, known.raw)
            genuine = root == frontier.root() and (value.id, value.source) == (known.id, known.source)
        except (ProofInvalidError, NotCanonicalError, EntryMissingError):
            genuine = False
        if not genuine:
            raise EntryAlteredError("the entry with this id is not one that was logged", index=known.index)
        return Receipt(known.id, known.index, known.leaf, frontier.size)

    def _path(self, index: int, size: int) -> tuple[bytes, ...]:
        return tuple(range_root(start, end, self._store.node) for start, end in inclusion_path(index, size))

    def _encode(self, batch: Batch, draft: Draft, data: Mapping[str, Any], people: People, *, detach: bool) -> bytes:
        def seal(personal: Personal, pointer: str) -> dict[str, Any]:
            return people.seal(personal, (self.origin, draft.source, draft.id, pointer))

        sealed = entries.map_personal(data, seal)
        raw = draft.encode(sealed)
        if len(raw) <= MAX_ENTRY_BYTES and not detach:
            return raw
        payload = canonical_bytes(sealed)
        limit = self._identity.detached_limit
        if len(payload) > limit:
            raise PayloadTooLargeError(
                "payload is too large",
                got=f"{len(payload)} bytes",
                expected=f"at most {limit} bytes",
                hint="store it elsewhere and log its digest, or raise ledger.detached_limit",
            )
        salt = os.urandom(32)
        commit = entries.commitment(salt, payload)
        batch.detach(commit, salt, payload)
        return draft.encode_detached(commit, len(payload))

    def _tell(self, row: Row) -> None:
        if self._listeners:
            entry = self._decode(row)
            for listener in self._listeners:
                listener(entry)

    def _decode(self, row: Row) -> Entry:
        try:
            commit = entries.dataref(row.raw)
            kept = None if commit is None else self._store.payload(commit)
            return entries.decode(row.index, row.raw, None if kept is None else kept[1])
        except NotCanonicalError as error:
            raise EntryAlteredError("an entry cannot be read", index=row.index, got=error.got) from error


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


def key_directory(url: str) -> Path:
    """Where `Ledger.open` makes the keys of the log at `url`, when it is not told otherwise."""
    return beside(store_path(url), ".keys")


def store_path(url: str) -> Path:
    """The file in which the log at `url` is kept.

    Raises:
        ConfigError: it is not a ledger URL.
    """
    scheme, separator, rest = url.partition(":///")
    if scheme != "sqlite" or not separator or not rest:
        raise ConfigError("not a ledger URL", got=url, expected="sqlite:///relative.db or sqlite:////absolute.db")
    return Path(rest)
