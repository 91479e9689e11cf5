"""Taking an exported log into a store: a copy that verifies, and goes on where its key is at hand."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from companyos.canonical import NotCanonicalError
from companyos.ledger import entry as entries
from companyos.ledger import tilelog
from companyos.ledger.errors import EntryAlteredError, IdReusedError, RolledBackError, SplitViewError
from companyos.ledger.merkle import leaf_hash
from companyos.ledger.stores.interface import Row, TakenError
from companyos.ledger.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from companyos.ledger.checkpoint import Checkpoint
    from companyos.ledger.stores.interface import Store
    from companyos.signing import NoteVerifier

__all__ = ("load",)

_TOGETHER = 4096


def load(
    directory: Path,
    store: Store,
    verifiers: tuple[NoteVerifier, ...],
    *,
    progress: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Bring `store`, which is empty or holds an earlier state of the log, to the exported state.

    Every entry is verified before it is written. Cut short, it can be done again; until it is done, the log has entries
    beyond its checkpoint, and says so when it is verified.

    Raises:
        LedgerDamagedError: the export is damaged, each kind by its own class.
        SplitViewError: the store holds another history.
        RolledBackError: the store holds a later state.
        StoreUnreadableError: the directory cannot be read, or the store not written.
    """
    checkpoint, note, raws = tilelog.read(directory, verifiers)
    there = store.size()
    if there > checkpoint.size:
        raise RolledBackError("the export is older than the log", index=checkpoint.size, got=there)
    tree = Tree()
    for start in range(0, there, _TOGETHER):
        tree.extend(_same(store, list(islice(raws, min(_TOGETHER, there - start))), start))
    while some := list(islice(raws, _TOGETHER)):
        rows = [_row(index, raw) for index, raw in enumerate(some, tree.size)]
        try:
            with store.batch() as batch:
                batch.add(rows, tree.extend([row.leaf for row in rows]), [])
                if tree.size == checkpoint.size:
                    batch.set_head(note)
        except TakenError as error:
            raise IdReusedError(
                "an id in the export is taken by another entry", got=f"among {rows[0].index} ff"
            ) from error
        if progress is not None:
            progress(tree.size)
    if there == checkpoint.size:
        with store.batch() as batch:
            batch.set_head(note)
    return checkpoint


def _same(store: Store, raws: list[bytes], start: int) -> list[bytes]:
    """The leaf hashes of what is in the store already, which must be what is exported."""
    leaves = [leaf_hash(raw) for raw in raws]
    if [leaf_hash(raw) for raw in store.raws(start, start + len(raws))] != leaves:
        raise SplitViewError("the store holds another history of the log", index=start)
    return leaves


def _row(index: int, raw: bytes) -> Row:
    try:
        value = entries.decode(index, raw)
    except NotCanonicalError as error:
        raise EntryAlteredError("an entry cannot be read", index=index, got=error.got) from error
    return Row(index, value.id, value.source, raw, leaf_hash(raw), b"")
