"""A log that leaves and comes back: exported, imported, cosigned, and verified against a witness."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from companyos.ledger import (
    Draft,
    EntryAlteredError,
    EntryMissingError,
    Ledger,
    LedgerDamagedError,
    RolledBackError,
    SplitViewError,
    tilelog,
)
from companyos.ledger.imports import load
from companyos.ledger.url import open_store
from companyos.ledger.witness import Witness, WitnessServer, WitnessState, WitnessUnavailableError
from companyos.signing import NoteVerifier, PrivateKey
from companyos.signing.cosignature import CosignatureVerifier, Cosigner

ORIGIN = "shop.example/log"
PROGRAM = Path(__file__).parents[2] / "docs" / "tlog_verify.py"


def _filled(url, count, key=None, keystore=None):
    log = Ledger.open(url, origin=ORIGIN, key=key, keystore=keystore)
    log.append_many(Draft("order.placed", {"n": n}, id=f"o-{n}") for n in range(len(log), count))
    return log


@pytest.fixture
def ledger(tmp_path):
    """A log of three tiles and some."""
    with _filled(f"sqlite:///{tmp_path / 'ledger.db'}", 800) as log:
        yield log


def _witness(tmp_path, log, name="w1"):
    cosigner = Cosigner.ed25519(f"witness.example/{name}", PrivateKey.load_or_create(f"file:{tmp_path / name}.pem"))
    server = WitnessServer(WitnessState(tmp_path / f"{name}.db", cosigner, [log.verifier]))
    return server, Witness("", cosigner.verifier)


@pytest.fixture
def witness(tmp_path, ledger):
    """A witness that serves, and knows the log's key."""
    server, known = _witness(tmp_path, ledger)
    with server:
        yield Witness(server.url, known.verifier)


def _load(directory, url, verifier):
    store = open_store(url)
    try:
        return load(directory, store, (verifier,))
    finally:
        store.close()


def test_export_and_import(ledger, tmp_path):
    """An exported log, imported, has the same entries and root; its copy goes on where the keys are at hand."""
    ledger.export(tmp_path / "tiles")
    copy = f"sqlite:///{tmp_path / 'copy.db'}"

    assert _load(tmp_path / "tiles", copy, ledger.verifier) == ledger.head()

    with Ledger.open_readonly(copy, [ledger.verifier.key], origin=ORIGIN) as log:
        assert log.verify(against=ledger.checkpoint(), deep=True).size == 800
        assert log.checkpoint() == ledger.checkpoint()
        assert log.prove(500).verify(ledger.raw(500), [ledger.verifier]).size == 800
    shutil.copytree(tmp_path / "ledger.db.keys", tmp_path / "copy.db.keys")
    with _filled(copy, 900) as log:
        assert log.append("order.placed", {"n": 3}, id="o-3").index == 3
        log.verify(against=ledger.checkpoint())


def test_import_goes_on(ledger, tmp_path):
    """A copy follows the log: a second import adds what is new, also after one that was cut short."""
    copy = f"sqlite:///{tmp_path / 'copy.db'}"
    ledger.export(tmp_path / "tiles")
    _load(tmp_path / "tiles", copy, ledger.verifier)
    _filled(f"sqlite:///{tmp_path / 'ledger.db'}", 6000).close()
    ledger.export(tmp_path / "tiles")

    def stop(size):
        raise KeyboardInterrupt

    store = open_store(copy)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "tiles", store, (ledger.verifier,), progress=stop)
    store.close()
    with Ledger.open_readonly(copy, [ledger.verifier.key], origin=ORIGIN) as log, pytest.raises(LedgerDamagedError):
        log.verify()

    assert _load(tmp_path / "tiles", copy, ledger.verifier).size == 6000
    assert _load(tmp_path / "tiles", copy, ledger.verifier).size == 6000
    with Ledger.open_readonly(copy, [ledger.verifier.key], origin=ORIGIN) as log:
        assert log.verify(against=ledger.checkpoint(), deep=True).size == 6000


def test_import_of_another_history(ledger, tmp_path):
    """A store that holds another history, or a later state, is left as it is."""
    ledger.export(tmp_path / "tiles")
    key = f"file:{tmp_path / 'ledger.db.keys' / 'ledger.pem'}"
    keystore = tmp_path / "ledger.db.keys" / "people.db"
    for name, count, error in (("other", 5, SplitViewError), ("later", 801, RolledBackError)):
        url = f"sqlite:///{tmp_path / name}.db"
        with Ledger.open(url, origin=ORIGIN, key=key, keystore=keystore) as log:
            log.append_many(Draft("order.placed", {"n": -n}, id=f"o-{n}") for n in range(count))
            before = log.checkpoint()
        with pytest.raises(error):
            _load(tmp_path / "tiles", url, ledger.verifier)
        with Ledger.open_readonly(url, [ledger.verifier.key], origin=ORIGIN) as log:
            assert log.verify(against=before).size == count


def test_import_of_damage(ledger, tmp_path):
    """Nothing of a damaged export is taken beyond the entries that were verified, and never its checkpoint."""
    ledger.export(tmp_path / "tiles")
    bundle = tmp_path / "tiles" / tilelog.tile_path(None, 1)
    bundle.write_bytes(bundle.read_bytes().replace(b'"n":300', b'"n":301'))

    with pytest.raises(EntryAlteredError) as caught:
        _load(tmp_path / "tiles", f"sqlite:///{tmp_path / 'copy.db'}", ledger.verifier)

    assert caught.value.index == 300
    store = open_store(f"sqlite:///{tmp_path / 'copy.db'}")
    assert store.head() is None
    store.close()


def test_the_program_reads_the_export(ledger, tmp_path):
    """The stand-alone program verifies the export with nothing of ours."""
    ledger.export(tmp_path / "tiles")

    command = [sys.executable, "-I", PROGRAM, tmp_path / "tiles", ledger.verifier.vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, "800 entries" in done.stdout) == (0, True), done.stderr


def test_consistency(ledger):
    """The log proves that it only grew, from any size on, and not from one that it never had."""
    old = ledger.head()
    ledger.append("order.placed", {"n": 800})

    proof = ledger.prove_consistency(800)

    assert proof.verify(old, [ledger.verifier]).size == 801
    assert ledger.prove_consistency(0).path == ()
    with pytest.raises(EntryMissingError):
        ledger.prove_consistency(802)


def test_cosigned(ledger, tmp_path, witness):
    """Witnesses' cosignatures are kept together with the checkpoint, and proofs can lead to it."""
    assert ledger.cosigned() is None
    ledger.cosign(witness)
    other, known = _witness(tmp_path, ledger, "w2")
    with other:
        ledger.cosign(Witness(other.url, known.verifier))

    note = ledger.cosigned()
    assert note.count(b"\n\xe2\x80\x94 ") == 3
    ledger.append("order.placed", {"n": 800})
    assert ledger.prove(3, checkpoint=note).verify(ledger.raw(3), [ledger.verifier]).size == 800
    assert ledger.verify(against=note).anchor_size == 800
    assert ledger.cosign(witness).known_size == 800


def test_a_witness_as_anchor(ledger, witness):
    """A log that continues what the witness saw is anchored there; without the witness, nothing is said to be good."""
    ledger.cosign(witness)
    ledger.append("order.placed", {"n": 800})

    found = ledger.verify(witness=witness)

    assert (found.size, found.anchored, found.anchor_size) == (801, True, 800)
    with pytest.raises(WitnessUnavailableError):
        ledger.verify(witness=Witness("http://127.0.0.1:9", witness.verifier, timeout_seconds=1))


@pytest.mark.parametrize(("size", "error"), [(700, RolledBackError), (800, SplitViewError), (900, SplitViewError)])
def test_the_key_and_the_database_are_not_enough(ledger, tmp_path, witness, size, error):
    """Whoever has the database and the log's key writes a history that verifies; the witness gives it away."""
    ledger.cosign(witness)
    url = f"sqlite:///{tmp_path / 'forged.db'}"
    key = f"file:{tmp_path / 'ledger.db.keys' / 'ledger.pem'}"
    with Ledger.open(url, origin=ORIGIN, key=key, keystore=tmp_path / "ledger.db.keys" / "people.db") as forged:
        forged.append_many(Draft("order.placed", {"n": 999 if n == 7 else n}, id=f"o-{n}") for n in range(size))
        assert forged.verify(deep=True).size == size

        with pytest.raises(error):
            forged.verify(witness=witness)
        with pytest.raises(error):
            forged.cosign(witness)


def test_restored_backup_is_seen_by_the_witness(ledger, tmp_path, witness):
    """A log restored from a backup is shorter than what the witness cosigned."""
    with sqlite3.connect(tmp_path / "ledger.db") as source, sqlite3.connect(tmp_path / "backup.db") as target:
        source.backup(target)
    ledger.append("order.placed", {"n": 800})
    ledger.cosign(witness)

    with Ledger.open_readonly(f"sqlite:///{tmp_path / 'backup.db'}", [ledger.verifier.key], origin=ORIGIN) as restored:
        assert restored.verify().size == 800
        with pytest.raises(RolledBackError) as caught:
            restored.verify(witness=witness)
    assert caught.value.index == 800


def test_witness_key_is_checked(ledger, witness):
    """A cosignature by somebody else counts for nothing."""
    stranger = PrivateKey.generate().public
    raw = NoteVerifier(witness.verifier.name, stranger).key.raw

    with pytest.raises(WitnessUnavailableError):
        ledger.cosign(Witness(witness.url, CosignatureVerifier(witness.verifier.name, raw)))
    assert ledger.cosigned() is None
