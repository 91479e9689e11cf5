"""Evidence packs: verifiable offline, and nothing in them can change unseen."""

import io
import os
import random
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companyos.controls import prove
from companyos.errors import UserError
from companyos.evidence import MemberInvalidError, Pack, PackInvalidError
from companyos.evidence.container import pack_bytes, unpack_bytes
from companyos.evidence.specimens import CONTROL
from companyos.ledger import EntryMissingError, Ledger
from companyos.signing import PrivateKey, TrustedKey, TrustPolicy

EVIDENCE = {
    "tests/unit.xml": b"<testsuite><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>",
    "findings/check.sarif": b'{"version":"2.1.0","runs":[{"results":[{"level":"error"}]}]}',
    "sbom/app.cdx.json": b'{"bomFormat":"CycloneDX","components":[{"name":"a"},{"name":"b"}]}',
    "cost/gate.json": b'{"decision":"allow","reason":"budget.within"}',
    "cost/note.md": b"# Cost Notes",
}


def trust_of(signer, ledger):
    keys = (("evidence", signer.public), ("ledger", ledger.verifier.key))
    return TrustPolicy(keys=tuple(TrustedKey(name=r, public_key=k.pem, roles=frozenset({r})) for r, k in keys))


@pytest.fixture
def built(tmp_path):
    """A pack, its report, and the policy to verify it with."""
    signer = PrivateKey.generate()
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for number in range(4):
            ledger.append("companyos.test", {"number": number})
        report = Pack.build(
            tmp_path / "a.cpack",
            subject="orders",
            revision="abc",
            evidence=EVIDENCE,
            ledger=ledger,
            entries=[1, 3],
            signer=signer,
        )
        trust = trust_of(signer, ledger)
    return tmp_path / "a.cpack", report, trust


def test_verify_recomputes_what_build_said(built):
    """The report of the verifier equals the report of the builder, figure by figure."""
    path, report, trust = built
    assert Pack.verify(path, trust) == report
    assert report.summary["tests"] == {"passed": 1, "failed": 1, "skipped": 0}
    assert report.summary["findings"]["error"] == 1
    assert report.summary["sbom"] == {"components": 2}
    assert report.summary["cost"] == {"gates": [{"decision": "allow", "reason": "budget.within"}]}
    assert [index for index, _ in report.entries] == [1, 3, 4]


def test_what_is_missing_is_said(built):
    """Evidence that nobody supplied is listed, and never green."""
    assert built[1].not_supplied == ("dpia", "accessibility", "approvals", "vulnerabilities")
    assert built[1].to_dict()["not_supplied"] == ["dpia", "accessibility", "approvals", "vulnerabilities"]


def test_the_same_members_make_the_same_bytes():
    """The container has one form: order of insertion does not matter."""
    assert pack_bytes(EVIDENCE) == pack_bytes(dict(reversed(EVIDENCE.items())))
    assert unpack_bytes(pack_bytes(EVIDENCE)) == EVIDENCE


def test_any_flipped_bit_is_caught(built, tmp_path):
    """A bit flipped in any byte of the file makes verification fail; every byte is tried."""
    path, _, trust = built
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    data = path.read_bytes()
    copy = tmp_path / "copy.cpack"
    missed = []
    for offset in range(len(data)):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << chance.randrange(8)
        copy.write_bytes(flipped)
        try:
            Pack.verify(copy, trust)
            missed.append(offset)
        except UserError:
            continue
    assert missed == [], f"seed {seed}"


def test_any_flipped_byte_of_a_member_is_caught_behind_a_mended_zip(built, tmp_path):
    """A tamperer who recomputes the checksums of the zip is caught by digests and signatures instead."""
    path, _, trust = built
    members = unpack_bytes(path.read_bytes())
    copy = tmp_path / "copy.cpack"
    for name, content in members.items():
        for offset in range(0, len(content), max(1, len(content) // 40)):
            changed = content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :]
            copy.write_bytes(pack_bytes({**members, name: changed}))
            with pytest.raises(UserError):
                Pack.verify(copy, trust)


def test_verification_needs_neither_network_nor_ledger(built, tmp_path):
    """A separate process with blocked sockets, no ledger and only public keys comes to the same result."""
    path, _, trust = built
    policy = tmp_path / "elsewhere" / "trust.yaml"
    policy.parent.mkdir()
    import yaml

    policy.write_text(yaml.safe_dump({"keys": [k.model_dump(mode="json", exclude_none=True) for k in trust.keys]}))
    for left in tmp_path.glob("ledger*"):
        left.rename(tmp_path / "elsewhere" / left.name)
    script = (
        "import socket, sys\n"
        "def refuse(*_a, **_k): raise OSError('network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from companyos.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "pack", "verify", str(path), "--trust", str(policy)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={"PATH": os.environ["PATH"]}
    )
    assert (run.returncode, "VERIFIED" in run.stdout) == (0, True), run.stderr


def test_a_key_of_another_role_does_not_count(built):
    """A ledger key may not sign packs."""
    path, _, trust = built
    swapped = TrustPolicy(
        keys=tuple(
            key.model_copy(update={"roles": frozenset({"ledger" if "evidence" in key.roles else "evidence"})})
            for key in trust.keys
        )
    )
    with pytest.raises(UserError, match="not signed by enough trusted keys"):
        Pack.verify(path, swapped)


def zip_bytes(*entries, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicates are what we want to make
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip",
        zip_bytes(("../escape", b"x")),
        zip_bytes(("/absolute", b"x")),
        zip_bytes(("a", b"x"), ("a", b"y")),
        zip_bytes(("a", b"0" * 10_000_000), compression=zipfile.ZIP_DEFLATED),
        zip_bytes(("a", b"x")),
        pack_bytes({"a": b"x"}) + b"trailing",
        pack_bytes({"a": b"x"})[:-3],
        pack_bytes({"a": b"x"}),
    ],
    ids=["empty", "text", "zip-slip", "absolute", "duplicate", "bomb", "other", "trailing", "cut", "not-ours"],
)
def test_what_is_not_a_pack_is_refused(tmp_path, data):
    """Each is an error with a name, and nothing of it is unpacked or run."""
    path = tmp_path / "x.cpack"
    path.write_bytes(data)
    with pytest.raises(PackInvalidError):
        Pack.verify(path, TrustPolicy())


def overlapping(count, size):
    """A zip of `count` stored members, each of which holds all members behind it and the same `size` bytes."""
    content, offset, directory = b"A" * size, 0, b""
    rows = []
    for number in reversed(range(count)):
        name, checksum = b"m%05d" % number, zlib.crc32(content)
        fields = (20, 0, 0, 0, 33, checksum, len(content), len(content), len(name), 0)
        rows.append((name, fields))
        content = struct.pack("<IHHHHHIIIHH", 0x04034B50, *fields) + name + content
    for name, fields in reversed(rows):
        row = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0x0314, *fields, 0, 0, 0, 0o100644 << 16, offset)
        directory += row + name
        offset += 30 + len(name)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(content), 0)
    return content + directory + end


def test_members_that_overlap_are_never_read():
    """A small file whose members share their bytes is refused by its directory, before memory is filled."""
    data = overlapping(60, 1_000_000)
    tracemalloc.start()
    with pytest.raises(PackInvalidError, match="does not lie right behind"):
        unpack_bytes(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(data)


def test_a_hostile_name_is_shown_but_never_sent_to_the_terminal():
    """Control characters in a member's name are spelt out."""
    data = zip_bytes(("\x1b[2K\r\x1b[32mVERIFIED\x1b[0m", b"x"), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(PackInvalidError) as caught:
        unpack_bytes(data)
    assert (caught.value.message.count("\x1b"), "VERIFIED" in caught.value.message) == (0, True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_crash_the_reader(tmp_path, data):
    """Whatever the bytes, the answer is a refusal by name."""
    path = tmp_path / "x.cpack"
    path.write_bytes(data)
    with pytest.raises(PackInvalidError):
        Pack.verify(path, TrustPolicy())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tests/a.xml", b"<html/>"),
        ("tests/a.xml", b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><testsuite/>"),
        ("findings/a.sarif", b'{"version":"2.0.0","runs":[]}'),
        ("findings/a.sarif", b"[]"),
        ("sbom/a.json", b'{"bomFormat":"SPDX"}'),
        ("cost/a.json", b"{"),
    ],
)
def test_evidence_in_the_wrong_format_is_refused_before_anything_is_logged(tmp_path, name, content):
    """A pack never holds what nobody could read, and a refused build leaves no trace."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.append("companyos.test", {})
        with pytest.raises(MemberInvalidError):
            Pack.build(
                tmp_path / "a.cpack",
                subject="s",
                evidence={name: content},
                ledger=ledger,
                entries=[0],
                signer=PrivateKey.generate(),
            )
        assert len(ledger) == 1
    assert not list(tmp_path.glob("*.cpack"))


def test_an_entry_that_does_not_exist(tmp_path):
    """A pack cannot prove what is not in the log."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, pytest.raises(EntryMissingError):
        Pack.build(
            tmp_path / "a.cpack", subject="s", evidence={}, ledger=ledger, entries=[99], signer=PrivateKey.generate()
        )


def test_the_control_proves_itself():
    """Every planted way to tamper is caught by the right rule, and a clean pack passes."""
    proof = prove(CONTROL)
    assert proof.to_dict() | {"seconds": 0} == {
        "control": "EVIDENCE-PACK",
        "caught": proof.planted,
        "planted": proof.planted,
        "false_alarms": 0,
        "clean": 1,
        "holds": True,
        "seconds": 0,
        "failures": [],
    }
