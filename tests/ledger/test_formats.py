"""Checkpoints and proofs: the C2SP formats, checked by a stand-alone program that imports nothing of ours."""

from __future__ import annotations

import base64
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st

from companyos.errors import CompanyOSError
from companyos.ledger import Checkpoint, CheckpointInvalidError, EntryMissingError, Ledger, Proof, ProofInvalidError
from companyos.signing import KeyUnusableError, NoteVerifier, PrivateKey, sign_note

ORIGIN = "test.example/log"
PROGRAM = Path(__file__).parents[2] / "docs" / "tlog_proof.py"
KEY = PrivateKey.generate()
VERIFIER = NoteVerifier(ORIGIN, KEY.public)


@pytest.fixture
def seven(ledger):
    """A log of seven entries."""
    for number in range(7):
        ledger.append("a.b", {"n": number}, detach=number == 4)
    return ledger


@pytest.fixture(scope="module")
def check():
    """The check of the stand-alone program, as a function."""
    return runpy.run_path(str(PROGRAM))["check"]


def _run(directory, entry, proof, vkey):
    (directory / "entry.json").write_bytes(entry)
    (directory / "entry.tlog-proof").write_text(proof, "utf-8")
    command = [sys.executable, "-I", str(PROGRAM), "entry.json", "entry.tlog-proof", vkey]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_program_has_nothing_of_ours():
    """The stand-alone program stays small, and its only import beyond the standard library is `cryptography`."""
    text = PROGRAM.read_text("utf-8")

    assert "companyos" not in text
    assert len([line for line in text.splitlines() if line.strip()]) < 85


def test_program_accepts_our_proofs(seven, tmp_path):
    """The program run in a process of its own accepts an exported entry with its proof and the log's key."""
    done = _run(tmp_path, seven.raw(5), seven.prove(5).to_text(), seven.verifier.vkey)

    assert (done.returncode, done.stdout) == (0, f"ok: entry 5 of {ORIGIN}, which had 7 entries\n"), done.stderr


def test_program_refuses(seven, tmp_path):
    """The program exits 1 on another entry, another key and a forged proof, and says why."""
    proof, vkey = seven.prove(5).to_text(), seven.verifier.vkey
    other = NoteVerifier(ORIGIN, PrivateKey.generate().public).vkey

    for entry, text, key, why in (
        (seven.raw(4), proof, vkey, "not entry 5"),
        (seven.raw(5), proof.replace("index 5", "index 4"), vkey, "not entry 4"),
        (seven.raw(5), proof, other, "not signed by"),
        (seven.raw(5), proof.replace(f"{ORIGIN}\n7\n", f"{ORIGIN}\n8\n"), vkey, "signature"),
        (seven.raw(5), "hello", vkey, "not a tlog-proof"),
    ):
        done = _run(tmp_path, entry, text, key)
        assert done.returncode == 1
        assert why in done.stderr
        assert "Traceback" not in done.stderr


def test_every_proof_by_both_verifiers(seven, check):
    """Every entry is proved at every size, to our verifier and to the stand-alone one."""
    vkey = seven.verifier.vkey
    for size in range(7, 12):
        for index in range(size):
            proof = seven.prove(index)
            assert Proof.from_text(proof.to_text()) == proof
            assert proof.verify(seven.raw(index), [seven.verifier]).size == size
            assert check(seven.raw(index), proof.to_text(), vkey).startswith("ok")
        seven.append("a.b", {"size": size})


def test_every_changed_byte_of_a_proof_is_refused(seven, check):
    """No single changed byte of a proof file survives either verifier."""
    data, entry, vkey = seven.prove(5).to_text().encode(), seven.raw(5), seven.verifier.vkey
    passed = []
    for position in range(len(data)):
        for flip in (1, 0x20):
            spoilt = data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
            try:
                text = spoilt.decode()
                Proof.from_text(text).verify(entry, [seven.verifier])
                passed.append(("ours", position, flip))
            except (CompanyOSError, UnicodeDecodeError):
                pass
            try:
                check(entry, spoilt.decode(), vkey)
                passed.append(("program", position, flip))
            except (ValueError, IndexError, InvalidSignature):
                pass

    assert passed == []


def test_form_of_a_checkpoint(seven):
    """A checkpoint is origin, size and root on a line each, signed under the origin as key name."""
    origin, size, root, blank, signature, end = seven.checkpoint().decode().split("\n")

    assert (origin, size, blank, end) == (ORIGIN, "7", "", "")
    assert base64.b64decode(root) == seven.head().root
    assert signature.startswith(f"\u2014 {ORIGIN} ")
    assert Checkpoint.verify(seven.checkpoint(), [seven.verifier]) == seven.head()


def test_form_of_a_proof(seven):
    """A proof is a header, the index, the hashes, an empty line and the checkpoint verbatim."""
    head, _, note = seven.prove(5).to_text().partition("\n\n")

    assert head.split("\n")[:2] == ["c2sp.org/tlog-proof@v1", "index 5"]
    assert [len(base64.b64decode(line)) for line in head.split("\n")[2:]] == [32, 32, 32]
    assert note.encode() == seven.checkpoint()


ROOT = base64.b64encode(bytes(32)).decode()
BAD_CHECKPOINTS = {
    "another origin": f"other.example/log\n7\n{ROOT}\n",
    "size missing": f"{ORIGIN}\n{ROOT}\n",
    "size with a zero in front": f"{ORIGIN}\n07\n{ROOT}\n",
    "negative size": f"{ORIGIN}\n-7\n{ROOT}\n",
    "size in other digits": f"{ORIGIN}\n\u0667\n{ROOT}\n",
    "endless size": f"{ORIGIN}\n{'9' * 30}\n{ROOT}\n",
    "root too short": f"{ORIGIN}\n7\nAAAA\n",
    "root not Base64": f"{ORIGIN}\n7\n****\n",
    "empty extension line": f"{ORIGIN}\n7\n{ROOT}\n\nmore\n",
    "another note": "hello\n",
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_bad_checkpoints(name):
    """A note that the log's key did sign, but that is no checkpoint of the log, is refused as such."""
    note = sign_note(BAD_CHECKPOINTS[name], ORIGIN, KEY)

    with pytest.raises(CheckpointInvalidError) as caught:
        Checkpoint.verify(note, [VERIFIER])

    assert caught.value.code == "ledger.checkpoint_invalid"


NOTE = Checkpoint(ORIGIN, 1, bytes(32)).sign(KEY).decode()
BAD_PROOFS = {
    "empty": "",
    "another header": f"c2sp.org/tlog-proof@v2\nindex 0\n\n{NOTE}",
    "no index": f"c2sp.org/tlog-proof@v1\n\n{NOTE}",
    "negative index": f"c2sp.org/tlog-proof@v1\nindex -1\n\n{NOTE}",
    "index with a zero in front": f"c2sp.org/tlog-proof@v1\nindex 00\n\n{NOTE}",
    "extra data": f"c2sp.org/tlog-proof@v1\nextra YQ==\nindex 0\n\n{NOTE}",
    "short hash": f"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n{NOTE}",
    "not Base64": f"c2sp.org/tlog-proof@v1\nindex 0\n****\n\n{NOTE}",
    "no checkpoint": "c2sp.org/tlog-proof@v1\nindex 0\n",
}


@pytest.mark.parametrize("name", BAD_PROOFS)
def test_bad_proofs(name):
    """What is not a proof file is refused by name."""
    with pytest.raises(ProofInvalidError):
        Proof.from_text(BAD_PROOFS[name])


@given(st.text(max_size=200) | st.text(alphabet="c2sp.org/tlog-proof@v1\nindex 0A=", max_size=80))
def test_proof_parser_never_crashes(text):
    """Any text is either a proof or refused with an error of ours."""
    try:
        proof = Proof.from_text(text)
    except ProofInvalidError:
        return
    with pytest.raises(CompanyOSError):
        proof.verify(b"", [VERIFIER])


def test_proof_of_another_log(seven, tmp_path):
    """A proof under another log's key, or of another entry, does not verify."""
    proof = seven.prove(3)
    with pytest.raises(CheckpointInvalidError):
        proof.verify(seven.raw(3), [VERIFIER])
    with pytest.raises(ProofInvalidError):
        proof.verify(seven.raw(2), [seven.verifier])
    with pytest.raises(ProofInvalidError):
        replace(proof, index=2).verify(seven.raw(3), [seven.verifier])
    with pytest.raises(ProofInvalidError):
        replace(proof, path=proof.path[:-1]).verify(seven.raw(3), [seven.verifier])


READER = """
import sys
from companyos.ledger import Ledger
from companyos.signing import PublicKey

url, key, anchor = sys.argv[1:]
with Ledger.open_readonly(url, [PublicKey.load(key)], origin="test.example/log") as ledger:
    verified = ledger.verify(against=open(anchor, "rb").read())
    ledger.prove(6).verify(ledger.raw(6), [ledger.verifier])
    print(verified.size, verified.anchored, sum(entry.data["n"] for entry in ledger.read()))
    try:
        ledger.append("a.b", {})
    except Exception as error:
        print(error.code)
"""


def test_reader_with_only_the_public_key(seven, url, tmp_path):
    """A separate process verifies, proves and reads with only the public key, while the log is open for writing."""
    key = tmp_path / "copy.pub"
    key.write_text(seven.verifier.key.pem)
    (tmp_path / "anchor").write_bytes(seven.checkpoint())
    command = [sys.executable, "-c", READER, url, f"file:{key}", str(tmp_path / "anchor")]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "7 True 21\nledger.store_unreadable\n"), done.stderr


def test_reader_needs_a_key_and_a_log(url, tmp_path):
    """Reading without any public key, or where there is no log, is refused; nothing is made."""
    with Ledger.open(url, origin=ORIGIN):
        pass
    with pytest.raises(KeyUnusableError):
        Ledger.open_readonly(url, [])
    with pytest.raises(CompanyOSError, match="no ledger at"):
        Ledger.open_readonly(f"sqlite:///{tmp_path / 'none.db'}", [KEY.public])
    assert not (tmp_path / "none.db").exists()


def test_reader_of_an_empty_log(url):
    """An empty log opened with its public key verifies with size 0 and proves nothing."""
    with Ledger.open(url, origin=ORIGIN) as ledger:
        key = ledger.verifier.key
    with Ledger.open_readonly(url, [key], origin=ORIGIN) as reader:
        assert reader.verify().size == 0
        with pytest.raises(EntryMissingError):
            reader.prove(0)
