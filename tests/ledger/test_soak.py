"""The ledger at full size: a million entries, verified, proved from, damaged and exported."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from companyos.ledger import Draft, EntryAlteredError, Ledger

pytestmark = pytest.mark.soak

ORIGIN = "test.example/log"
ENTRIES = 1_000_000
TOGETHER = 10_000
PEAK = """
import resource, sys
from companyos.ledger import Ledger
from companyos.signing import PublicKey
key = PublicKey.load(f"file:{sys.argv[1]}.keys/ledger.pem.pub")
with Ledger.open_readonly(f"sqlite:///{sys.argv[1]}", [key], origin="test.example/log") as log:
    assert log.verify(deep=sys.argv[2] == "deep").size == int(sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A log of a million entries, and one of ten thousand beside it."""
    directory = tmp_path_factory.mktemp("million")
    for name, size in (("small.db", 10_000), ("large.db", ENTRIES)):
        with Ledger.open(f"sqlite:///{directory / name}", origin=ORIGIN) as log:
            for start in range(0, size, TOGETHER):
                log.append_many(Draft("order.placed", {"n": n}, id=f"o-{n}") for n in range(start, start + TOGETHER))
    return directory / "large.db"


def _peak_mb(path, how, size):
    command = [sys.executable, "-c", PEAK, str(path), how, str(size)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024


def test_a_million_entries_verify_in_constant_memory(path):
    """Verifying a million entries takes no more memory than ten thousand: at most 20 MB either way."""
    for how in ("quick", "deep"):
        small = _peak_mb(path.with_name("small.db"), how, 10_000)
        assert abs(_peak_mb(path, how, ENTRIES) - small) <= 20


def test_a_thousand_proofs(path):
    """Proofs from anywhere in a million entries hold, and an append goes on at the end."""
    numbers = random.Random(5)
    with Ledger.open(f"sqlite:///{path}", origin=ORIGIN) as log:
        for index in (numbers.randrange(ENTRIES) for _ in range(1000)):
            assert log.prove(index).verify(log.raw(index), [log.verifier]).size == ENTRIES
        assert log.append("order.placed", {"n": 3}, id="o-3").index == 3


def test_damage_in_a_million_entries(path, tmp_path):
    """The command names the first bad index and exits 1, with an anchor and without."""
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    shutil.copytree(f"{path}.keys", f"{copy}.keys")
    with Ledger.open(f"sqlite:///{copy}", origin=ORIGIN) as log:
        anchor = log.checkpoint()
    with closing(sqlite3.connect(copy)) as database:
        database.execute("UPDATE entry SET raw = CAST(replace(raw, '777777', '777778') AS BLOB) WHERE idx = 777777")
        database.commit()

    command = [sys.executable, "-m", "companyos", "ledger", "verify", "--url", f"sqlite:///{copy}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "first bad index 777777" in done.stdout
    with Ledger.open(f"sqlite:///{copy}", origin=ORIGIN) as log, pytest.raises(EntryAlteredError) as caught:
        log.verify(against=anchor)
    assert caught.value.index == 777777
