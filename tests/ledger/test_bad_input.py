"""Bad input and bad times: each a named error, with the log intact and verifying afterwards."""

from __future__ import annotations

import collections
import contextlib
import enum
import json
import os
import shutil
import subprocess
import sys
import types
import uuid
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from companyos.canonical import canonical_bytes
from companyos.ledger import (
    CheckpointInvalidError,
    ClockBackwardsError,
    Draft,
    EntryInvalidError,
    IdReusedError,
    Ledger,
    PayloadTooLargeError,
)
from companyos.ledger.entry import timestamp
from companyos.ledger.merkle import leaf_hash
from companyos.signing import NoteVerifier, PrivateKey
from tests.ledger.conftest import ORIGIN
from tests.services import not_run


class Text(str):
    """Text that shows itself as other text."""

    __slots__ = ()

    def __str__(self) -> str:
        return 'other","x":"'

    def encode(self, *_: object) -> bytes:
        """Other bytes."""
        return b'other"'


class Number(int):
    """A number that shows itself as something else."""

    def __str__(self) -> str:
        return '0,"x":0'

    __repr__ = __str__


class Large(int):
    """A number that is smaller than any limit, or so it says."""

    def __le__(self, _: object) -> bool:
        return True

    __ge__ = __le__


class Real(float):
    """A number that shows itself as something else, and says that it equals everything."""

    def __repr__(self) -> str:
        return "0x"

    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = float.__hash__


class Twice(dict):
    """An object that has a key twice."""

    def items(self) -> list[tuple[str, int]]:
        """Two values of one key."""
        return [("x", 1), ("x", 2)]


class Items(list):
    """An array that holds other things than it says."""

    def __iter__(self):
        return iter([float("nan")])


class Word(enum.StrEnum):
    """Text by another name."""

    A = "a"


class Count(enum.IntEnum):
    """A number by another name."""

    ONE = 1


class Kind(enum.Enum):
    """A name without a value that JSON has."""

    A = "a"


class Pair(NamedTuple):
    """An array with names."""

    a: int
    b: int


TAKEN = {
    "text": (Text("x"), "x"),
    "number": (Number(3), 3),
    "real": (Real(1.5), 1.5),
    "enum of text": (Word.A, "a"),
    "enum of numbers": (Count.ONE, 1),
    "a key twice": (Twice(x=0), {"x": 2}),
    "ordered": (collections.OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
    "defaults": (collections.defaultdict(int, a=1), {"a": 1}),
    "named tuple": (Pair(1, 2), [1, 2]),
    "text as key": ({Text("x"): 1}, {"x": 1}),
    "enum as key": ({Word.A: 1}, {"a": 1}),
}
"""Values that are JSON by another name, and what is logged of them: what they are, not what they say."""
REFUSED = {
    "NaN": float("nan"),
    "NaN that says no": Real("nan"),
    "infinity": float("inf"),
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "memoryview": memoryview(b"x"),
    "2^53": 2**53,
    "2^60": 2**60,
    "2^60 that says less": Large(2**60),
    "lone surrogate": "a\udc80",
    "pair of lone surrogates": "\ud83d\ude00",
    "lone surrogate in a key": {"\ud800": 1},
    "enum": Kind.A,
    "datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "date": date(2026, 1, 1),
    "timedelta": timedelta(1),
    "uuid": uuid.UUID(int=0),
    "fraction": Fraction(1, 2),
    "complex": 1j,
    "path": Path("x"),
    "deque": collections.deque([1]),
    "range": range(3),
    "generator": (number for number in (1, 2)),
    "frozenset": frozenset({1}),
    "namespace": types.SimpleNamespace(a=1),
    "type": int,
    "function": len,
    "ellipsis": ...,
    "array that holds NaN": Items([1]),
    "true as key": {True: 1},
    "float as key": {1.5: 1},
    "bytes as key": {b"x": 1},
    "tuple as key": {(): 1},
    "enum as key": {Kind.A: 1},
}
"""Values that JSON cannot carry."""


@pytest.mark.parametrize("name", TAKEN)
def test_values_by_another_name(ledger, name):
    """Subclasses are logged as the JSON values that they are, in canonical form, whatever they say of themselves."""
    given, expected = TAKEN[name]

    ledger.append("a.b", {"value": given}, id="1")

    (entry,) = ledger.read()
    assert entry.data == {"value": expected}
    assert ledger.raw(0) == canonical_bytes(json.loads(ledger.raw(0)))
    assert ledger.verify(deep=True).size == 1


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_values_that_are_no_json(ledger, name, detach):
    """What JSON cannot carry is refused wherever it stands, with all that was to be appended with it."""
    ledger.append("a.b", {"good": 1})

    for data in ({"value": REFUSED[name]}, {"deep": [{"down": (1, REFUSED[name])}]}):
        with pytest.raises(EntryInvalidError) as caught:
            ledger.append_many([Draft("a.b", {"fine": 1}), Draft("a.b", data, detach=detach)])
        assert caught.value.exit_status == 2

    assert ledger.verify(deep=True).size == 1


def _held(path):
    return {file.name: file.stat().st_size for file in path.glob("ledger.db*")}


@pytest.mark.parametrize("detach", [False, True])
def test_a_payload_of_100_mb(ledger, tmp_path, detach):
    """A payload of 100 MB is too large, by that name; not a byte is written."""
    ledger.append("a.b", {"good": 1})
    before = _held(tmp_path)

    with pytest.raises(PayloadTooLargeError, match="at most 16777216 bytes") as caught:
        ledger.append_many([Draft("a.b", {"fine": 1}), Draft("a.b", {"x": "a" * 100_000_000}, detach=detach)])

    assert (caught.value.code, caught.value.exit_status) == ("ledger.payload_too_large", 2)
    assert _held(tmp_path) == before
    assert ledger.verify(deep=True).size == 1


def test_an_id_reused_within_one_batch(ledger):
    """Two entries of one batch with one id: the same content is one entry, other content refuses the whole batch."""
    same = [Draft("a.b", {"n": 1}, id="x"), Draft("a.b", {"n": 2}, id="y"), Draft("a.b", {"n": 1}, id="x")]

    assert [receipt.index for receipt in ledger.append_many(same)] == [0, 1, 0]
    with pytest.raises(IdReusedError):
        ledger.append_many([Draft("a.b", {}, id="new"), Draft("a.b", {"n": 3}, id="z"), Draft("a.b", {"n": 4}, id="z")])
    with pytest.raises(IdReusedError, match="taken by entry 1"):
        ledger.append_many([Draft("a.b", {}, id="new"), Draft("a.b", {"n": 9}, id="y")])

    assert [entry.id for entry in ledger.read()] == ["x", "y"]
    assert ledger.verify(deep=True).size == 2


def _append_ahead(url, ahead):
    """Append an entry as a machine does whose clock is ahead."""
    with Ledger.open(url, origin=ORIGIN) as ledger:
        (deposit,) = ledger._prepare([Draft("a.b", {"n": "ahead"}, id="ahead")])
        now = json.loads(deposit.raw)["time"]
        raw = deposit.raw.replace(now.encode(), timestamp(datetime.now(UTC) + ahead).encode())
        ledger._sequencer.submit([deposit._replace(raw=raw, leaf=leaf_hash(raw))])


def test_a_clock_that_jumps_back(url):
    """With a clock well behind the newest entry nothing is appended, until somebody says that it is right now."""
    _append_ahead(url, timedelta(hours=1))

    with Ledger.open(url, origin=ORIGIN) as ledger:
        for _ in range(2):
            with pytest.raises(ClockBackwardsError, match="the clock went back") as caught:
                ledger.append("a.b", {"n": 1}, id="1")
        assert (caught.value.code, caught.value.exit_status) == ("ledger.clock_backwards", 3)
        assert ledger.verify(deep=True).size == 1
    with Ledger.open(url, origin=ORIGIN, clock_tolerance=None) as ledger:
        assert ledger.append("a.b", {"n": 1}, id="1").index == 1
    with Ledger.open(url, origin=ORIGIN) as ledger:
        assert ledger.append("a.b", {"n": 2}, id="2").index == 2
        assert ledger.verify(deep=True).size == 3


def test_a_clock_that_is_a_little_behind(url):
    """Clocks of several machines differ a little: within the tolerance an entry may be older than the one before it."""
    _append_ahead(url, timedelta(seconds=20))

    with Ledger.open(url, origin=ORIGIN) as ledger:
        assert ledger.append("a.b", {"n": 1}).index == 1
        first, second = (entry.time for entry in ledger.read())
        assert second < first


FILLING = """
import resource, sys
from companyos.ledger import Draft, Ledger, StoreFullError
url, origin, limit = sys.argv[1:]
with Ledger.open(url, origin=origin) as ledger:
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        for batch in range(1000):
            drafts = [Draft("a.b", {"pad": "x" * 1000, "n": n}, id=f"{batch}-{n}") for n in range(50)]
            ledger.append_many(drafts)
            print(batch, flush=True)
    except StoreFullError as error:
        print(error.code, error.exit_status, error.hint)
"""


def _fill_up(url, limit):
    """Append batches of 50 until the disk is full; how many got receipts, and the last line that was said."""
    result = subprocess.run(
        [sys.executable, "-c", FILLING, url, ORIGIN, str(limit)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    *batches, last = result.stdout.splitlines()
    return len(batches), last


def _goes_on(url, batches):
    """The log holds exactly the batches with receipts, verifies, and takes the refused batch with the same ids."""
    with Ledger.open(url, origin=ORIGIN) as ledger:
        assert ledger.verify(deep=True).size == 50 * batches
        drafts = [Draft("a.b", {"pad": "x" * 1000, "n": n}, id=f"{batches}-{n}") for n in range(50)]
        assert [receipt.index for receipt in ledger.append_many(drafts)] == list(range(50 * batches, 50 * batches + 50))
        assert ledger.verify(deep=True).size == 50 * batches + 50


def test_a_limit_on_the_size_of_files(url):
    """A batch that would exceed a limit on files is refused whole, by name and with the next step."""
    batches, last = _fill_up(url, 2_000_000)

    assert batches > 3
    assert last.startswith("ledger.store_full 3 make room and append again with the same ids")
    _goes_on(url, batches)


@pytest.fixture
def little_disk(tmp_path):
    """A file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=3m", "companyos-test", str(place)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        not_run("mounting a small file system takes root and the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(little_disk, tmp_path):
    """A disk that is full in the middle of a batch refuses it whole; with room again the log goes on."""
    url = f"sqlite:///{little_disk / 'ledger.db'}"

    batches, last = _fill_up(url, 0)

    assert batches > 3
    assert last.startswith("ledger.store_full 3 make room")
    with Ledger.open_readonly(url, [_key(little_disk)], origin=ORIGIN) as ledger:
        assert ledger.verify(deep=True).size == 50 * batches
    shutil.copytree(little_disk, tmp_path / "larger")
    _goes_on(f"sqlite:///{tmp_path / 'larger' / 'ledger.db'}", batches)


def _key(folder):
    return PrivateKey.load(f"file:{folder / 'ledger.db.keys' / 'ledger.pem'}").public


def _lines(note):
    text, _, signatures = note.decode().partition("\n\n")
    return text, signatures


@pytest.mark.parametrize("alone", [True, False])
def test_an_unknown_key_id_in_a_note(ledger, tmp_path, alone):
    """A checkpoint signed by nobody known is no anchor; beside the known one an unknown signature changes nothing."""
    ledger.append("a.b", {})
    anchor = ledger.checkpoint()
    stranger = PrivateKey.load_or_create(f"file:{tmp_path / 'stranger.pem'}")
    theirs = ledger.head().sign(stranger)
    assert NoteVerifier(ORIGIN, stranger.public).hint != ledger.verifier.hint
    note = theirs if alone else anchor + _lines(theirs)[1].encode()

    expected = pytest.raises(CheckpointInvalidError) if alone else contextlib.nullcontext()
    with expected:
        assert ledger.verify(against=note).anchored

    assert ledger.verify(against=anchor, deep=True).anchored
