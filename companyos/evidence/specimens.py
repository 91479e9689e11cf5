"""Planted violations of the evidence pack: every way to tamper that verification must catch, and a clean pack."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from companyos.canonical import canonical_bytes
from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding
from companyos.errors import UserError
from companyos.evidence.claim import ENTRIES, PREDICATE_TYPE, STATEMENT, SUMMARY, Claim, subjects
from companyos.evidence.container import pack_bytes, unpack_bytes
from companyos.evidence.pack import Pack
from companyos.ledger import Ledger
from companyos.ledger.url import key_directory
from companyos.signing import Envelope, PrivateKey, Statement, TrustedKey, TrustPolicy
from companyos.signing.keys import P256_ORDER

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.signing.keys import Algorithm

__all__ = ("CONTROL", "PackCase")

RULES = {
    "evidence.pack_invalid": "The file is not in the one form a pack has.",
    "evidence.pack_altered": "Members, proofs, figures or logged digests are not those that were signed.",
    "signing.invalid": "A signature or an envelope does not hold.",
    "signing.untrusted": "Nobody whom the trust policy accepts signed the pack.",
    "ledger.checkpoint_invalid": "The checkpoint is not by the trusted ledger.",
    "ledger.proof_invalid": "A ledger entry is not the one that was logged.",
}


@dataclass(frozen=True, slots=True)
class PackCase:
    """A pack and the policy to verify it with."""

    path: Path
    """The file."""
    trust: TrustPolicy
    """Whom to trust."""


@dataclass(frozen=True, slots=True)
class _World:
    """A clean pack and the keys that made it."""

    path: Path
    signer: PrivateKey
    ledger_key: PrivateKey

    def trust(self) -> TrustPolicy:
        return _policy(self.signer, self.ledger_key)


def _policy(signer: PrivateKey, ledger_key: PrivateKey) -> TrustPolicy:
    keys = (("evidence", signer), ("ledger", ledger_key))
    return TrustPolicy(keys=tuple(TrustedKey(name=r, public_key=k.public.pem, roles=frozenset({r})) for r, k in keys))


def _world(scratch: Path, algorithm: Algorithm = "ed25519") -> _World:
    signer = PrivateKey.generate(algorithm)
    evidence = {
        "tests/unit.xml": b"<testsuite><testcase name='a'/></testsuite>",
        "sbom/app.cdx.json": b'{"bomFormat":"CycloneDX","components":[{"name":"a"}]}',
    }
    url = f"sqlite:///{scratch / 'ledger.db'}"
    with Ledger.open(url) as ledger:
        for number in range(3):
            ledger.append("specimen.event", {"number": number})
        path = scratch / "clean.cpack"
        Pack.build(path, subject="specimen", evidence=evidence, ledger=ledger, entries=range(3), signer=signer)
    return _World(path, signer, PrivateKey.load(f"file:{key_directory(url) / 'ledger.pem'}"))


Tamper = Callable[[dict[str, bytes], _World], dict[str, bytes]]
Signatures = tuple[tuple[str, bytes], ...]


def _tampered(name: str, violates: str, tamper: Tamper, algorithm: Algorithm = "ed25519") -> Specimen:
    def build(scratch: Path) -> PackCase:
        world = _world(scratch, algorithm)
        members = tamper(unpack_bytes(world.path.read_bytes()), world)
        world.path.write_bytes(pack_bytes(members))
        return PackCase(world.path, world.trust())

    return Specimen(name, build, violates)


def _resigned(
    members: dict[str, bytes], signer: PrivateKey, created: datetime | None = None, *, twice: bool = False
) -> dict[str, bytes]:
    """The members with a new, valid statement over whatever they are now."""
    claim = Claim.read(Envelope.from_bytes(members[STATEMENT]).payload)
    claim = replace(claim, created=created or claim.created)
    listed = subjects(members)
    statement = Statement(listed * 2 if twice else listed, PREDICATE_TYPE, claim.to_dict())
    return {**members, STATEMENT: statement.sign([signer]).to_bytes()}


def _other_results(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    return {**members, "tests/unit.xml": b"<testsuite><testcase name='b'/></testsuite>"}


def _other_results_resigned(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    return _resigned(_other_results(members, world), world.signer)


def _added_member(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    return {**members, "approvals/ceo.json": b"{}"}


def _removed_member(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    return {name: content for name, content in members.items() if not name.startswith("sbom/")}


def _prettier_summary(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    figures = json.loads(members[SUMMARY]) | {"tests": {"passed": 1000, "failed": 0, "skipped": 0}}
    return _resigned({**members, SUMMARY: canonical_bytes(figures)}, world.signer)


def _rewritten_entry(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    lines = members[ENTRIES].replace(b'"number":1', b'"number":7')
    return _resigned({**members, ENTRIES: lines}, world.signer)


def _forged_signature(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    envelope = Envelope.from_bytes(members[STATEMENT])
    forged = tuple((key_id, bytes([raw[0] ^ 1]) + raw[1:]) for key_id, raw in envelope.signatures)
    return {**members, STATEMENT: Envelope(envelope.payload_type, envelope.payload, forged).to_bytes()}


def _foreign_signer(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    return _resigned(members, PrivateKey.generate())


def _other_version(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    figures = json.loads(members[SUMMARY]) | {"version": 999}
    return _resigned({**members, SUMMARY: canonical_bytes(figures)}, world.signer)


def _slipped_under_ledger(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    return _resigned({**members, "ledger/approval.json": b"{}"}, world.signer)


def _unproved_entry(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    return _resigned({**members, ENTRIES: members[ENTRIES] + b'{"type":"specimen.approved"}'}, world.signer)


def _listed_twice(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    return _resigned(members, world.signer, twice=True)


def _with_signatures(members: dict[str, bytes], change: Callable[[str, bytes], Signatures]) -> dict[str, bytes]:
    envelope = Envelope.from_bytes(members[STATEMENT])
    ((key_id, raw),) = envelope.signatures
    return {**members, STATEMENT: replace(envelope, signatures=change(key_id, raw)).to_bytes()}


def _cosigned_by_nobody(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    return _with_signatures(members, lambda key_id, raw: ((key_id, raw), ("approved by everybody", b"x")))


def _signed_twice(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    return _with_signatures(members, lambda key_id, raw: ((key_id, raw), (key_id, raw)))


def _respelt_signature(members: dict[str, bytes], _: _World) -> dict[str, bytes]:
    def change(key_id: str, raw: bytes) -> Signatures:
        r, s = decode_dss_signature(raw)
        return ((key_id, encode_dss_signature(r, P256_ORDER - s)),)

    return _with_signatures(members, change)


def _future(members: dict[str, bytes], world: _World) -> dict[str, bytes]:
    return _resigned(members, world.signer, datetime.now(UTC) + timedelta(days=1))


def _stolen(put_back: timedelta) -> Callable[[Path], PackCase]:
    """A key that was revoked an hour before the evidence was logged, and a claim to have signed before that."""

    def build(scratch: Path) -> PackCase:
        world = _world(scratch)
        logged = Pack.verify(world.path, world.trust()).logged
        members = _resigned(unpack_bytes(world.path.read_bytes()), world.signer, logged - put_back)
        world.path.write_bytes(pack_bytes(members))
        evidence, ledger = world.trust().keys
        revoked = evidence.model_copy(update={"revoked_at": logged - timedelta(hours=1)})
        return PackCase(world.path, TrustPolicy(keys=(revoked, ledger)))

    return build


def _foreign_ledger(scratch: Path) -> PackCase:
    world = _world(scratch)
    return PackCase(world.path, _policy(world.signer, PrivateKey.generate()))


def _flipped(offset: Callable[[bytes], int]) -> Callable[[Path], PackCase]:
    def build(scratch: Path) -> PackCase:
        world = _world(scratch)
        data = bytearray(world.path.read_bytes())
        data[offset(bytes(data))] ^= 1
        world.path.write_bytes(data)
        return PackCase(world.path, world.trust())

    return build


def _clean(scratch: Path) -> PackCase:
    world = _world(scratch)
    return PackCase(world.path, world.trust())


def _check(case: PackCase) -> Decision:
    try:
        report = Pack.verify(case.path, case.trust)
    except UserError as error:
        return Decision.denied(error.code, error.what, findings=[Finding(error.code, error.what)])
    return Decision.allowed("evidence.verified", facts=report.to_dict())


CONTROL = Control(
    id="EVIDENCE-PACK",
    title="Evidence that is not what was signed and logged",
    check=_check,
    rules=RULES,
    subject="pack",
    docs="evidence.md",
    specimens=(
        Specimen("a bit in a member flipped", _flipped(lambda data: data.index(b"testcase")), "evidence.pack_invalid"),
        Specimen("a time stamp in the zip changed", _flipped(lambda _: 10), "evidence.pack_invalid"),
        Specimen("a comment at the end", _flipped(lambda data: len(data) - 2), "evidence.pack_invalid"),
        _tampered("test results swapped", "evidence.pack_altered", _other_results),
        _tampered("test results swapped by the signer", "evidence.pack_altered", _other_results_resigned),
        _tampered("an approval slipped in", "evidence.pack_altered", _added_member),
        _tampered("the bill of materials left out", "evidence.pack_altered", _removed_member),
        _tampered("figures made prettier by the signer", "evidence.pack_altered", _prettier_summary),
        _tampered("a ledger entry rewritten by the signer", "ledger.proof_invalid", _rewritten_entry),
        _tampered("a signature forged", "signing.invalid", _forged_signature),
        _tampered("signed by a stranger", "signing.untrusted", _foreign_signer),
        Specimen("the checkpoint of another ledger", _foreign_ledger, "ledger.checkpoint_invalid"),
        _tampered("a summary of a version nobody knows", "evidence.pack_invalid", _other_version),
        _tampered("an approval slipped in beside the proofs", "evidence.pack_altered", _slipped_under_ledger),
        _tampered("a ledger entry without a proof", "evidence.pack_altered", _unproved_entry),
        _tampered("each member listed twice", "evidence.pack_altered", _listed_twice),
        _tampered("a signature added that nobody can check", "evidence.pack_altered", _cosigned_by_nobody),
        _tampered("the same signature twice", "evidence.pack_altered", _signed_twice),
        _tampered("the signature in its other spelling", "evidence.pack_altered", _respelt_signature, "ecdsa-p256"),
        _tampered("signed tomorrow", "evidence.pack_altered", _future),
        Specimen("signed with a revoked key", _stolen(timedelta()), "signing.untrusted"),
        Specimen("signed with a revoked key, put back", _stolen(timedelta(hours=2)), "evidence.pack_altered"),
        Specimen("a pack as it was built", _clean),
    ),
)
