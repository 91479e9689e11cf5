"""How long payloads are kept: dropped when their class says so, beyond recovery, and every proof still verifies."""

from __future__ import annotations

import threading

import pytest

from companyos.config import LedgerSection
from companyos.ledger import Draft, EntryInvalidError, Ledger
from companyos.ledger.retention import DEFAULT_DAYS
from companyos.signing import NoteVerifier
from tests.ledger.ledger_workers import STORES, place_of

DAYS = {"telemetry": 0, "audit": 2557}
MARK = "a-mark-that-is-nowhere-else"


@pytest.fixture(params=STORES)
def place(request):
    """Where a log is kept, on either store."""
    return place_of(request)


@pytest.fixture
def ledger(place):
    """A log with payloads of two classes, one that is detached without a class, and one that is not."""
    with place.open(retention_days=DAYS) as log:
        for number in range(3):
            log.append("request.traced", {"n": number, "mark": MARK}, retention="telemetry", id=f"t-{number}")
        log.append("release.approved", {"by": "cto"}, retention="audit")
        log.append("note.kept", {"n": 1}, detach=True)
        log.append("note.inside", {"n": 2})
        yield log


def test_what_outlived_its_class_is_dropped(ledger):
    """Payloads of an expired class go, others stay, and an entry says how many went."""
    proofs = [ledger.prove(index) for index in range(6)]
    anchor = ledger.checkpoint()

    assert ledger.retain(dry_run=True).payloads == {"telemetry": 3}
    assert [entry.data is None for entry in ledger.read()] == [False] * 6
    found = ledger.retain()

    assert found.payloads == {"telemetry": 3}
    *entries, told = ledger.read()
    assert [entry.data is None for entry in entries] == [True, True, True, False, False, False]
    assert (told.type, told.data["telemetry"]["payloads"]) == ("companyos.ledger.payloads_dropped", 3)
    assert ledger.verify(against=anchor, deep=True).dropped_payloads == 3
    for index, proof in enumerate(proofs):
        assert proof.verify(ledger.raw(index), [NoteVerifier(ledger.origin, ledger.verifier.key)]).size == 6
    assert ledger.retain().payloads == {}
    assert len(ledger) == 7


def test_a_repeated_append_is_still_the_same(ledger):
    """An append whose payload was dropped, repeated, gives its receipt, and does not bring the payload back."""
    ledger.retain()

    assert ledger.append("request.traced", {"n": 1, "mark": MARK}, retention="telemetry", id="t-1").index == 1
    assert next(ledger.read(1)).data is None


def test_unknown_class(ledger):
    """A class that nobody set a time for is refused, and nothing is kept for ever by mistake."""
    with pytest.raises(EntryInvalidError, match="no such retention class"):
        ledger.append("a.b", {}, retention="for-ever")
    with pytest.raises(EntryInvalidError):
        ledger.append_many([Draft("a.b", {}), Draft("a.b", {}, retention="for-ever")])
    assert len(ledger) == 6


def test_nothing_is_left_in_the_files(tmp_path):
    """No file of the log holds a dropped payload: not the database, its write-ahead log, nor the deposits' file."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger.open(url, retention_days=DAYS) as one, Ledger.open(url, retention_days=DAYS) as other:
        threads = [
            threading.Thread(
                target=lambda log=log, who=who: [
                    log.append("request.traced", {"n": n, "mark": MARK}, retention="telemetry", id=f"{who}-{n}")
                    for n in range(40)
                ]
            )
            for who, log in enumerate((one, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        one._store.deposit([one._prepare([Draft("a.b", {"mark": MARK}, id="waits", retention="telemetry")])[0]])
        one.sequence()
        assert any(MARK.encode() in file.read_bytes() for file in tmp_path.iterdir() if file.is_file())

        assert one.retain().payloads == {"telemetry": 81}

        for file in tmp_path.iterdir():
            assert not file.is_file() or MARK.encode() not in file.read_bytes(), file
        assert one.verify(deep=True).dropped_payloads == 81


def test_the_settings_say_the_same():
    """The classes of companyos.yaml are those of the ledger."""
    assert LedgerSection().retention_days == dict(DEFAULT_DAYS)
