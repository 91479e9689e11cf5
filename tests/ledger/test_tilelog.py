"""Logs exported as static tiles: what is written, what is refused, and what each kind of damage is called."""

from __future__ import annotations

import hashlib
import inspect
import random
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from companyos.errors import CompanyOSError
from companyos.ledger import (
    Checkpoint,
    CheckpointInvalidError,
    EntryAlteredError,
    EntryInvalidError,
    EntryMissingError,
    RolledBackError,
    SplitViewError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
    tilelog,
)
from companyos.ledger.checkpoint import Consistency
from companyos.ledger.merkle import Frontier, leaf_hash
from companyos.signing import NoteVerifier, PrivateKey

ORIGIN = "test.example/log"
KEY = PrivateKey.generate()
VERIFIER = NoteVerifier(ORIGIN, KEY.public)
PROGRAM = Path(__file__).parents[2] / "docs" / "tlog_verify.py"


def test_the_program_is_short_and_stands_alone():
    """The program that checks an exported log is one that a reader can read, and uses nothing of ours."""
    code = PROGRAM.read_text("utf-8").split('"""', 2)[2]

    assert "companyos" not in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 60


def raws(size, salt=""):
    """Entries of different lengths, made on demand."""
    return (f'{{"n":{number},"x":"{salt}{"y" * (number % 7)}"}}'.encode() for number in range(size))


def head(size, salt=""):
    """The checkpoint of the log of that size."""
    frontier = Frontier()
    for raw in raws(size, salt):
        frontier.push(leaf_hash(raw))
    return Checkpoint(ORIGIN, size, frontier.root())


def export(directory, size, salt=""):
    """The log of that size, exported."""
    return tilelog.write(directory, raws(size, salt), head(size, salt).sign(KEY), [VERIFIER])


def everything(directory):
    """All entries of an exported log, verified."""
    checkpoint, _, entries = tilelog.read(directory, [VERIFIER])
    return checkpoint, list(entries)


def files(directory):
    """Every file, by its path from the root of the log."""
    return {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}


def program(directory, key=VERIFIER.vkey):
    """The stand-alone verifier, run on an exported log."""
    return subprocess.run(
        [sys.executable, "-I", str(PROGRAM), str(directory), key],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A log of 70,000 entries, exported: every level of tiles has something in it."""
    directory = tmp_path_factory.mktemp("tiles")
    export(directory, 70_000)
    return directory


@pytest.fixture
def small(tmp_path):
    """A log of 600 entries, exported: two full tiles and a partial one."""
    export(tmp_path / "log", 600)
    return tmp_path / "log"


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000])
def test_what_is_written_is_read_back(tmp_path, size):
    """At sizes around every edge of a tile, entries and checkpoint come back as they were, to us and to the program."""
    export(tmp_path, size)

    assert everything(tmp_path) == (head(size), list(raws(size)))
    done = program(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"ok: all {size} entries of {ORIGIN}\n"), done.stderr


def test_a_key_is_not_taken_for_a_path(tmp_path):
    """A verifier key whose base64 holds a double slash, which a path would fold into one, verifies like any other."""
    keys = (PrivateKey.generate() for _ in range(100_000))
    key, verifier = next((k, v) for k in keys if "//" in (v := NoteVerifier(ORIGIN, k.public)).vkey)
    tilelog.write(tmp_path, raws(3), head(3).sign(key), [verifier])

    assert (program(tmp_path, verifier.vkey).returncode, program(tmp_path).returncode) == (0, 1)


def test_the_example_of_the_specification(exported):
    """A log of 70,000 has 273 full tiles and one of 112 at level 0, one full and one of 17 above, one of 1 on top."""
    names = set(files(exported)) - {"checkpoint"}
    expected = {tilelog.tile_path(level, n) for level in (0, None) for n in range(273)}
    expected |= {tilelog.tile_path(level, 273, 112) for level in (0, None)}
    expected |= {"tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"}

    assert expected == names
    assert (exported / "tile/0/000").stat().st_size == 8192
    assert (exported / "tile/0/273.p/112").stat().st_size == 112 * 32


def test_a_large_log_reads_back(exported):
    """All of 70,000 entries are the ones that were written, to us and to the program."""
    checkpoint, _, entries = tilelog.read(exported, [VERIFIER])

    assert checkpoint == head(70_000)
    assert all(read == raw for read, raw in zip(entries, raws(70_000), strict=True))
    assert program(exported).returncode == 0


def test_hashes_of_each_level(exported):
    """A hash in a tile is that of the 256^level entries below it, as RFC 6962 defines it."""
    for level, index in ((0, 300), (1, 5), (1, 272), (2, 0)):
        span = 256**level
        frontier = Frontier()
        for raw in list(raws(70_000))[index * span : (index + 1) * span]:
            frontier.push(leaf_hash(raw))
        tile = {(0, 1): "tile/0/001", (1, 0): "tile/1/000", (1, 1): "tile/1/001.p/17", (2, 0): "tile/2/000.p/1"}
        content = (exported / tile[level, index // 256]).read_bytes()
        assert frontier.root() == content[index % 256 * 32 :][:32]


def test_a_bundle_is_prefixed_entries(small):
    """A bundle is each entry after its length in two bytes."""
    expected = b"".join(len(raw).to_bytes(2, "big") + raw for raw in list(raws(600))[512:])

    assert expected == (small / "tile/entries/002.p/88").read_bytes()


def test_a_ledger_exports(ledger, tmp_path):
    """Entries and checkpoint of a real log, with its own key, make a directory that the program accepts."""
    for number in range(300):
        ledger.append("a.b", {"n": number})
    tilelog.write(tmp_path / "log", (ledger.raw(i) for i in range(300)), ledger.checkpoint(), [ledger.verifier])
    command = [sys.executable, "-I", str(PROGRAM), str(tmp_path / "log"), ledger.verifier.vkey]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (0, "ok: all 300 entries of test.example/log\n"), done.stderr


def test_growth_adds_only_what_is_new(tmp_path):
    """Exported again after it grew, no file that was full is touched; partial ones stay until the full one is there."""
    export(tmp_path, 300)
    before = {name: path.stat().st_mtime_ns for name, path in files(tmp_path).items()}
    export(tmp_path, 400)
    grown = {name: path.stat().st_mtime_ns for name, path in files(tmp_path).items()}
    partial = {f"tile/{kind}/001.p/{width}" for kind in ("0", "entries") for width in (44, 144)}

    assert {name: at for name, at in grown.items() if name in before and name != "checkpoint"} == {
        name: at for name, at in before.items() if name != "checkpoint"
    }
    assert partial <= set(grown)
    export(tmp_path, 600)
    assert not any(name.startswith(("tile/0/001.p", "tile/entries/001.p")) for name in files(tmp_path))
    assert everything(tmp_path) == (head(600), list(raws(600)))


def test_an_earlier_checkpoint_reads_with_the_full_tiles(tmp_path):
    """A reader who has an earlier checkpoint takes the full tile where the partial one is gone."""
    export(tmp_path, 300)
    note = (tmp_path / "checkpoint").read_bytes()
    export(tmp_path, 600)
    (tmp_path / "checkpoint").write_bytes(note)

    assert everything(tmp_path) == (head(300), list(raws(300)))
    assert program(tmp_path).returncode == 0


def test_random_growth(tmp_path):
    """Whatever the steps in which a log is exported, the same log comes out."""
    seed = random.SystemRandom().randrange(2**32)
    sizes = sorted(random.Random(seed).sample(range(1200), 8))
    for size in sizes:
        export(tmp_path, size)
        assert everything(tmp_path) == (head(size), list(raws(size))), f"seed {seed}"


def test_entries_that_are_not_those_of_the_checkpoint(tmp_path):
    """Too few, too many or other entries than the note signs: refused, and nothing is left behind."""
    for wrong in (raws(299), raws(301), raws(300, "other")):
        with pytest.raises(TreeAlteredError):
            tilelog.write(tmp_path, wrong, head(300).sign(KEY), [VERIFIER])
        assert files(tmp_path) == {}
    with pytest.raises(CheckpointInvalidError):
        tilelog.write(tmp_path, raws(3), head(3).sign(PrivateKey.generate()), [VERIFIER])
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_a_later_or_another_history(small):
    """An export never goes back, never over another history, another log or a checkpoint by an unknown key."""
    before = {name: path.read_bytes() for name, path in files(small).items()}
    other = PrivateKey.generate()
    unknown = Checkpoint(ORIGIN, 700, head(700).root).sign(other)

    with pytest.raises(RolledBackError):
        export(small, 599)
    for size in (600, 700):
        with pytest.raises(SplitViewError):
            export(small, size, "other")
    with pytest.raises(CheckpointInvalidError):
        tilelog.write(small, raws(700), unknown, [NoteVerifier(ORIGIN, other.public)])
    elsewhere = NoteVerifier("other.example/log", KEY.public)
    note = Checkpoint("other.example/log", 700, head(700).root).sign(KEY)
    with pytest.raises(SplitViewError):
        tilelog.write(small, raws(700), note, [elsewhere, VERIFIER])
    assert before == {name: path.read_bytes() for name, path in files(small).items()}


def test_growth_over_a_damaged_directory(small):
    """What was altered in the directory is not published again: the export names it."""
    for name, index in (("tile/entries/001", 256), ("tile/0/000", 0)):
        path = small / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(EntryAlteredError) as caught:
            export(small, 700)
        assert caught.value.index == index
        path.write_bytes(content)


def test_what_is_missing_comes_back(small):
    """A file that was lost is written again by the next export."""
    (small / "tile/entries/001").unlink()
    export(small, 600)

    assert everything(small)[1] == list(raws(600))


def test_an_entry_too_large_for_a_bundle(tmp_path):
    """65,535 bytes are an entry, one more is refused."""
    for length in (65_535, 65_536):
        entry, frontier = b"x" * length, Frontier()
        frontier.push(leaf_hash(entry))
        note = Checkpoint(ORIGIN, 1, frontier.root()).sign(KEY)
        if length == 65_535:
            tilelog.write(tmp_path / str(length), [entry], note, [VERIFIER])
            assert everything(tmp_path / str(length))[1] == [entry]
        else:
            with pytest.raises(EntryInvalidError):
                tilelog.write(tmp_path / str(length), [entry], note, [VERIFIER])


def flip(place):
    """Damage: one bit of a file, at `place`."""

    def damage(path):
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    return damage


def cut(count):
    """Damage: the last bytes of a file are gone."""
    return lambda path: path.write_bytes(path.read_bytes()[:-count])


def longer(path):
    """Damage: bytes added to a file."""
    path.write_bytes(path.read_bytes() + b"\0\x01z")


def emptied(path):
    """Damage: a file of no bytes."""
    path.write_bytes(b"")


DAMAGE = {
    "an entry of a full bundle": ("tile/entries/000", flip(2 + 5), EntryAlteredError, 0),
    "an entry of the partial bundle": ("tile/entries/002.p/88", flip(-3), EntryAlteredError, 599),
    "an entry in the middle": ("tile/entries/001", flip(2000), EntryAlteredError, range(256, 512)),
    "a leaf hash": ("tile/0/001", flip(32 * 10), TreeAlteredError, 266),
    "a leaf hash at the edge": ("tile/0/002.p/88", flip(32 * 3), TreeAlteredError, 515),
    "a hash above": ("tile/1/000.p/2", flip(32), TreeAlteredError, 256),
    "a tile missing": ("tile/0/001", Path.unlink, EntryMissingError, 256),
    "the tile at the edge missing": ("tile/0/002.p/88", Path.unlink, EntryMissingError, 512),
    "a tile above missing": ("tile/1/000.p/2", Path.unlink, EntryMissingError, 0),
    "a tile cut off": ("tile/0/001", cut(40), TreeAlteredError, 256 + 254),
    "a tile too long": ("tile/0/001", longer, TreeAlteredError, 512),
    "a tile emptied": ("tile/0/000", emptied, TreeAlteredError, 0),
    "a bundle missing": ("tile/entries/001", Path.unlink, EntryMissingError, 256),
    "a bundle cut off": ("tile/entries/001", cut(1), EntryMissingError, 511),
    "a bundle too long": ("tile/entries/001", longer, EntryAlteredError, 511),
    "a bundle emptied": ("tile/entries/000", emptied, EntryMissingError, 0),
    "the newest bundle missing": ("tile/entries/002.p/88", Path.unlink, TailDroppedError, 512),
    "the newest bundle cut off": ("tile/entries/002.p/88", cut(3), TailDroppedError, 599),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_has_its_name_and_its_place(small, name):
    """Each kind of damage is named, with the first bad index; no bad entry is handed on; the program refuses it too."""
    path, damage, error, index = DAMAGE[name]
    damage(small / path)
    _, _, entries = tilelog.read(small, [VERIFIER])
    handed = []

    with pytest.raises(error) as caught:
        handed.extend(entries)

    assert type(caught.value) is error
    assert caught.value.index in index if isinstance(index, range) else caught.value.index == index
    assert handed == list(raws(600))[: len(handed)]
    done = program(small)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


DEEP = {
    "an entry": ("tile/entries/156", flip(-1), EntryAlteredError, 40_191),
    "a leaf hash": ("tile/0/156", flip(0), TreeAlteredError, 39_936),
    "a hash of a full tile above": ("tile/1/000", flip(32 * 7), TreeAlteredError, 7 * 256),
    "a hash of the partial tile above": ("tile/1/001.p/17", flip(32 * 2), TreeAlteredError, 65_536 + 512),
    "the hash on top": ("tile/2/000.p/1", flip(5), TreeAlteredError, 0),
    "a full tile above missing": ("tile/1/000", Path.unlink, EntryMissingError, 0),
}


@pytest.mark.parametrize("name", DEEP)
def test_damage_in_a_log_of_three_levels(exported, tmp_path, name):
    """In a large log, too, an altered entry is found to the index, a tile to its first entry."""
    path, damage, error, index = DEEP[name]
    shutil.copytree(exported, tmp_path / "log")
    damage(tmp_path / "log" / path)

    with pytest.raises(error) as caught:
        everything(tmp_path / "log")

    assert (type(caught.value), caught.value.index) == (error, index)
    assert program(tmp_path / "log").returncode == 1


@pytest.mark.soak
def test_a_million_entries(tmp_path):
    """A million entries export, read back and are accepted by the program."""
    export(tmp_path, 1_000_000)

    assert sum(1 for _ in tilelog.read(tmp_path, [VERIFIER])[2]) == 1_000_000
    assert program(tmp_path).returncode == 0


def test_entry_and_tile_altered_together(small):
    """An entry changed together with its hash is found by the tile above, and the program finds it."""
    bundle, tile = small / "tile/entries/001", small / "tile/0/001"
    content = bytearray(bundle.read_bytes())
    first = int.from_bytes(content[:2], "big")
    content[4] ^= 1
    bundle.write_bytes(content)
    hashes = bytearray(tile.read_bytes())
    hashes[:32] = hashlib.sha256(b"\0" + content[2 : 2 + first]).digest()
    tile.write_bytes(hashes)

    with pytest.raises(EntryAlteredError) as caught:
        everything(small)

    assert caught.value.index == 256
    assert program(small).returncode == 1


def test_a_checkpoint_of_another_tree(small):
    """Tiles that are sound among themselves under a checkpoint of another tree of the same size are refused."""
    (small / "checkpoint").write_bytes(head(600, "other").sign(KEY))

    with pytest.raises(TreeAlteredError) as caught:
        everything(small)

    assert caught.value.index is None
    assert program(small).returncode == 1


def test_a_checkpoint_beyond_the_tiles(small):
    """A checkpoint of a longer log than the tiles hold is refused."""
    (small / "checkpoint").write_bytes(head(700).sign(KEY))

    with pytest.raises((EntryMissingError, TailDroppedError)):
        everything(small)
    assert program(small).returncode == 1


@pytest.mark.parametrize(
    "spoil", [Path.unlink, flip(3), flip(-10), emptied], ids=["missing", "text", "signature", "empty"]
)
def test_a_checkpoint_that_is_none(small, spoil):
    """A checkpoint missing, altered or emptied is refused by name, before any entry."""
    spoil(small / "checkpoint")

    with pytest.raises(CheckpointInvalidError):
        tilelog.read(small, [VERIFIER])
    assert program(small).returncode == 1


def test_no_log_at_all(tmp_path):
    """An empty directory, none, and a file are no exported log, and that is no finding about one."""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(StoreUnreadableError):
            tilelog.read(place, [VERIFIER])
    with pytest.raises(StoreUnreadableError):
        export(tmp_path / "file", 3)


def test_every_changed_byte_is_found(tmp_path):
    """Whatever byte of an exported log is changed, reading it to its end fails."""
    export(tmp_path, 9)
    chosen = files(tmp_path)
    passed = []
    for name, path in chosen.items():
        content = path.read_bytes()
        for place in range(len(content)):
            flip(place)(path)
            try:
                everything(tmp_path)
                passed.append((name, place))
            except CompanyOSError:
                pass
            path.write_bytes(content)

    assert passed == []


WORKER = (
    inspect.getsource(raws)
    + """
import resource, sys, time
from pathlib import Path
from companyos.ledger import RolledBackError, StoreUnreadableError, tilelog
from companyos.signing import NoteVerifier

directory, size, stop, wait, limit, vkey = sys.argv[1:]
if limit != "-1":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))

def slow():
    for number, raw in enumerate(raws(int(size))):
        if number == int(stop):
            print("half", flush=True)
            time.sleep(float(wait))
        yield raw

try:
    tilelog.write(Path(directory), slow(), sys.stdin.buffer.read(), [NoteVerifier.from_vkey(vkey)])
except RolledBackError:
    sys.exit(1)
except StoreUnreadableError:
    sys.exit(3)
"""
)


def exporting(directory, size, *, stop=-1, wait=60, limit=-1):
    """A process that exports the log of that size, waits before entry `stop`, and may write `limit` bytes a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, *map(str, (directory, size, stop, wait, limit)), VERIFIER.vkey],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdin.write(head(size).sign(KEY))
    process.stdin.close()
    return process


def test_an_export_killed_in_the_middle(tmp_path):
    """A killed export leaves the directory as it was, and the next one cleans up after it."""
    export(tmp_path, 300)
    with exporting(tmp_path, 600, stop=590) as process:
        assert process.stdout.readline() == b"half\n"
        process.kill()

    assert everything(tmp_path) == (head(300), list(raws(300)))
    assert list(tmp_path.glob(".export-*"))
    export(tmp_path, 600)
    assert everything(tmp_path) == (head(600), list(raws(600)))
    assert list(tmp_path.glob(".export-*")) == []


def test_exports_killed_at_random(tmp_path):
    """Killed while its files move into place, an export leaves the log as it was or as it was to be, and sound."""
    seed = random.SystemRandom().randrange(2**32)
    chance, size = random.Random(seed), 0
    for target in range(300, 3000, 300):
        with exporting(tmp_path, target, stop=target - 1, wait=0) as process:
            assert process.stdout.readline() == b"half\n"
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
        if (tmp_path / "checkpoint").exists():
            checkpoint, entries = everything(tmp_path)
            assert checkpoint.size in {size, target}, f"seed {seed}"
            assert (checkpoint, entries) == (head(checkpoint.size), list(raws(checkpoint.size))), f"seed {seed}"
            size = checkpoint.size
    export(tmp_path, 3000)

    assert everything(tmp_path) == (head(3000), list(raws(3000)))
    assert list(tmp_path.glob(".export-*")) == []


def test_a_full_disk(small):
    """Where the disk takes no more, the export says so, and the log is as it was."""
    before = {name: path.read_bytes() for name, path in files(small).items()}
    with exporting(small, 2000, limit=4096) as process:
        assert process.wait(60) == 3

    assert before == {name: path.read_bytes() for name, path in files(small).items()}


def test_entries_that_break_off(small):
    """An error of whoever supplies the entries goes through, and the log is as it was."""
    before = {name: path.read_bytes() for name, path in files(small).items()}

    def broken():
        yield from raws(650)
        raise KeyError

    with pytest.raises(KeyError):
        tilelog.write(small, broken(), head(700).sign(KEY), [VERIFIER])
    assert before == {name: path.read_bytes() for name, path in files(small).items()}


def test_tiles_left_by_a_killed_export_of_another_history(tmp_path):
    """Files beyond the checkpoint, which nothing vouches for, are replaced."""
    export(tmp_path / "other", 600, "other")
    export(tmp_path / "log", 300)
    for name in ("tile/0/001", "tile/entries/001", "tile/0/002.p/88"):
        (tmp_path / "log" / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "other" / name, tmp_path / "log" / name)
    export(tmp_path / "log", 600)

    assert everything(tmp_path / "log") == (head(600), list(raws(600)))


def test_memory_stays_flat(tmp_path):
    """Exporting and reading eight times as many entries takes no more memory."""
    peaks = []
    for size in (5_000, 40_000):
        note = head(size).sign(KEY)
        tracemalloc.start()
        tilelog.write(tmp_path / str(size), raws(size), note, [VERIFIER])
        assert sum(1 for _ in tilelog.read(tmp_path / str(size), [VERIFIER])[2]) == size
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] + 200_000


def test_progress_is_told(tmp_path):
    """Whoever waits for a long export hears of it."""
    told = []
    tilelog.write(tmp_path, raws(9000), head(9000).sign(KEY), [VERIFIER], progress=told.append)

    assert told == [4096, 8192]


def test_proofs_out_of_tiles(exported):
    """Consistency from any earlier size is proved out of the exported tiles alone."""
    note = (exported / "checkpoint").read_bytes()
    for size in (1, 2, 255, 256, 257, 4096, 65_535, 65_536, 65_537, 69_999, 70_000):
        path = tuple(tilelog.prove_consistency(exported, size, 70_000))
        assert Consistency(size, path, note).verify(head(size), [VERIFIER]).size == 70_000


def test_exports_at_the_same_time(tmp_path):
    """Of exports that run at once into one directory, none leaves an older checkpoint over a newer one."""
    export(tmp_path, 10)
    started = [exporting(tmp_path, size) for size in (200, 600, 400, 600, 300)]
    for process in started:
        with process:
            assert process.wait(60) in {0, 1}

    assert everything(tmp_path) == (head(600), list(raws(600)))
