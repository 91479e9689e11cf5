"""What a witness remembers, and its decision on each request: https://c2sp.org/tlog-witness.

One row a log, in SQLite with `synchronous=FULL`. Comparing with the row, replacing it and cosigning are one write
transaction, so that of two requests at the same time, in one process or in several, the second one sees the first.
Nothing leaves before it is on the disk. A witness whose file is put back to an earlier copy can be made to sign a
second history: never restore it from a backup.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.ledger.checkpoint import Checkpoint, Consistency
from companyos.ledger.errors import CheckpointInvalidError, ProofInvalidError, StoreUnreadableError
from companyos.ledger.merkle import EMPTY_ROOT, verify_consistency
from companyos.signing import KeyUnusableError, Note, NoteVerifier, SignatureInvalidError, UntrustedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from companyos.signing.cosignature import Cosigner

__all__ = ("Answer", "WitnessState")

_TABLE = """CREATE TABLE IF NOT EXISTS heads (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers to one request."""

    status: int
    """HTTP status."""
    body: bytes = b""
    """Signature lines, or the size that the witness knows."""
    content_type: str = "text/plain; charset=utf-8"
    """Media type of the body."""


class WitnessState:
    """Cosigns checkpoints of the logs whose keys are in `logs`, each log known by the name of its keys.

    Raises:
        KeyUnusableError: a log's key is the cosigner's own: what is signed as the one would pass as the other.
        StoreUnreadableError: the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        cosigner: Cosigner,
        logs: Iterable[NoteVerifier],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.cosigner = cosigner
        self.clock = clock
        self.logs: dict[str, tuple[NoteVerifier, ...]] = {}
        for log in logs:
            if log.key.raw == cosigner.verifier.raw:
                raise KeyUnusableError("a witness cannot witness a log that signs with its key", got=log.vkey)
            self.logs[log.name] = (*self.logs.get(log.name, ()), log)
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_TABLE)
        except sqlite3.Error as error:
            raise StoreUnreadableError(f"cannot use the witness's file {path}", got=error) from error

    def add(self, body: bytes) -> Answer:
        """The answer to the body of one `add-checkpoint` request; 200 with a cosignature only once that is durable."""
        try:
            request = Consistency.from_text(body.decode())
            note = Note.parse(request.checkpoint)
            checkpoint = Checkpoint.from_text(note.text)
        except (UnicodeDecodeError, ProofInvalidError, SignatureInvalidError, CheckpointInvalidError):
            return Answer(400)
        if checkpoint.origin not in self.logs:
            return Answer(404)
        try:
            note.verify(self.logs[checkpoint.origin])
        except (SignatureInvalidError, UntrustedError):
            return Answer(403)
        if request.old_size > checkpoint.size:
            return Answer(400)
        try:
            with self._transaction() as connection:
                return self._decide(connection, request, checkpoint, note)
        except ProofInvalidError:
            return Answer(422)
        except SignatureInvalidError:
            return Answer(400)
        except sqlite3.Error:
            return Answer(503)

    def head(self, origin: str) -> bytes | None:
        """The newest checkpoint of a log that was cosigned, as a note; None if none was.

        Raises:
            StoreUnreadableError: the file cannot be read.
        """
        try:
            with contextlib.closing(self._connect()) as connection:
                row = connection.execute("SELECT note FROM heads WHERE origin = ?", (origin,)).fetchone()
        except sqlite3.Error as error:
            raise StoreUnreadableError(f"cannot use the witness's file {self.path}", got=error) from error
        return None if row is None else bytes(row[0])

    def _decide(
        self, connection: sqlite3.Connection, request: Consistency, checkpoint: Checkpoint, note: Note
    ) -> Answer:
        row = connection.execute("SELECT size, root FROM heads WHERE origin = ?", (checkpoint.origin,)).fetchone()
        size, root = row or (0, EMPTY_ROOT)
        another = checkpoint.size == size and checkpoint.root != root and not request.path
        if request.old_size != size or another:
            return Answer(409, f"{size}\n".encode(), "text/x.tlog.size")
        verify_consistency(size, root, checkpoint.size, checkpoint.root, request.path)
        cosigned = Note(note.text, (self.cosigner.cosign(note.text, int(self.clock())),))
        connection.execute(
            "INSERT INTO heads VALUES (?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE"
            " SET size = excluded.size, root = excluded.root, note = excluded.note",
            (checkpoint.origin, checkpoint.size, checkpoint.root, note.to_bytes()),
        )
        return Answer(200, cosigned.to_bytes().removeprefix(f"{note.text}\n".encode()))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # closed without a commit, a transaction is undone
            connection.execute("COMMIT")
