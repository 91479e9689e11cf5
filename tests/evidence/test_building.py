"""Building packs: verified before they appear, beside other writers, and without a trace when refused."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest

from companyos.errors import IntegrityError, UserError
from companyos.evidence import MemberInvalidError, Pack
from companyos.ledger import EntryMissingError, Ledger
from companyos.signing import PrivateKey, TrustedKey, TrustPolicy

TESTS = {"tests/unit.xml": b"<testsuite><testcase/></testsuite>"}


@pytest.fixture
def ledger(tmp_path):
    """A ledger with a few entries."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        for number in range(20):
            opened.append("companyos.test", {"number": number})
        yield opened


def build(path, ledger, **changed):
    """Build a pack, with something changed."""
    given = {"subject": "orders", "evidence": TESTS, "entries": [0], "signer": PrivateKey.generate()}
    return Pack.build(path, ledger=ledger, **(given | changed))


@pytest.mark.parametrize(
    "name",
    [
        "summary.json",
        "statement.dsse.json",
        "ledger/approval.json",
        "ledger/checkpoint",
        "tests/a.tlog-proof",
        "../escape",
        "tests/Unit.xml",
        "tests/a b.xml",
        "",
    ],
)
def test_names_that_evidence_may_not_have(tmp_path, ledger, name):
    """It is a mistake in usage, found before anything is logged or written."""
    with pytest.raises(MemberInvalidError, match="cannot have this name") as caught:
        build(tmp_path / "out" / "a.cpack", ledger, evidence={**TESTS, name: b"{}"})
    assert (caught.value.exit_status, len(ledger), (tmp_path / "out").exists()) == (2, 20, False)


@pytest.mark.parametrize(
    "changed", [{"subject": ""}, {"subject": "a\x1b[2K"}, {"revision": ""}, {"revision": "a\n"}], ids=str
)
def test_a_subject_that_nobody_could_read(tmp_path, ledger, changed):
    """What a pack is about is printable text."""
    with pytest.raises(UserError, match="cannot be this"):
        build(tmp_path / "a.cpack", ledger, **changed)
    assert len(ledger) == 20


def test_too_many_digests_for_an_entry(tmp_path, ledger):
    """The ledger entry must hold the digests itself; what does not fit is refused before it is logged."""
    evidence = {f"approvals/{number:04}.json": b"{}" for number in range(1000)}
    with pytest.raises(MemberInvalidError, match="too many pieces"):
        build(tmp_path / "a.cpack", ledger, evidence=evidence)
    assert len(ledger) == 20


@pytest.mark.parametrize("entries", [[20], [-1], [0, 99]])
def test_entries_that_are_not_there(tmp_path, ledger, entries):
    """They are missed before anything is logged."""
    with pytest.raises(EntryMissingError):
        build(tmp_path / "a.cpack", ledger, entries=entries)
    assert len(ledger) == 20


def test_a_damaged_ledger_gives_no_pack(tmp_path, ledger):
    """An entry that was altered in the store is found before the file appears."""
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("""UPDATE entry SET raw = replace(raw, '"number":0', '"number":9') WHERE idx = 0""")
    database.close()
    with pytest.raises(IntegrityError):
        build(tmp_path / "out" / "a.cpack", ledger)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("place", ["taken", "taken/a.cpack", "taken/deep/a.cpack", "directory"])
def test_a_place_that_cannot_be_written(tmp_path, ledger, place):
    """A file where a directory belongs, or the reverse, is said in one sentence, and nothing is logged."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "taken").write_text("x")
    if place == "taken":
        place = f"taken{os.sep}x"
    with pytest.raises(UserError, match="cannot write"):
        build(tmp_path / place, ledger)
    assert ((tmp_path / "taken").read_text(), len(ledger)) == ("x", 20)
    assert list((tmp_path / "directory").iterdir()) == []


def test_a_pack_is_replaced_whole(tmp_path, ledger):
    """A second build to the same place replaces the first, leaves no draft, and honours the umask."""
    path = tmp_path / "out" / "a.cpack"
    build(path, ledger)
    before = path.read_bytes()
    build(path, ledger)
    assert (path.read_bytes() == before, [file.name for file in path.parent.iterdir()]) == (False, ["a.cpack"])
    assert path.stat().st_mode & 0o400


def test_on_a_ledger_that_others_write_to(tmp_path, ledger):
    """All entries are proved under one checkpoint, however many are appended meanwhile."""
    signer = PrivateKey.generate()
    script = (
        "import sys\n"
        "from companyos.ledger import Ledger\n"
        f"ledger = Ledger.open('sqlite:///{tmp_path}/ledger.db')\n"
        "while True:\n"
        "    ledger.append('companyos.other', {})\n"
        "    print('.', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            report = build(tmp_path / "a.cpack", ledger, entries=range(20), signer=signer)
        finally:
            writer.kill()
    keys = (("evidence", signer.public), ("ledger", ledger.verifier.key))
    trust = TrustPolicy(keys=tuple(TrustedKey(name=r, public_key=k.pem, roles=frozenset({r})) for r, k in keys))
    assert Pack.verify(tmp_path / "a.cpack", trust) == report
    assert len(report.entries) == 21
