"""Evidence packs: one file that proves, offline and with public keys alone, what was checked before a release.

A pack holds the evidence itself (test results, findings, bill of materials, cost note), entries of the ledger with
their proofs of inclusion, and a signed in-toto statement over the digests of all of it. The digests are also an entry
of the ledger, made before the checkpoint that the pack carries: the evidence existed when the log says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.canonical import canonical_bytes, sha256_hex
from companyos.errors import UserError
from companyos.evidence import claim as claims
from companyos.evidence.claim import CHECKPOINT, ENTRIES, ENTRY_TYPE, PREDICATE_TYPE, STATEMENT, SUMMARY, Claim
from companyos.evidence.container import MAX_PACK_BYTES, pack_bytes, unpack_bytes
from companyos.evidence.errors import PackAlteredError, PackInvalidError
from companyos.evidence.summary import summarise
from companyos.ledger import Checkpoint
from companyos.signing import Envelope, ResourceDescriptor, Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from companyos.ledger import Ledger
    from companyos.signing import Signer, TrustPolicy

__all__ = ("Pack", "PackReport")


@dataclass(frozen=True, slots=True)
class PackReport:
    """What a pack establishes; every figure was computed from its members."""

    claim: Claim
    """What the evidence is about, and when it was signed."""
    signers: tuple[str, ...]
    """Ids of the trusted keys that signed it."""
    tree_size: int
    """Size of the ledger at the checkpoint that the pack carries."""
    entries: tuple[tuple[int, str], ...]
    """Index and type of each ledger entry whose inclusion is proved."""
    summary: Mapping[str, Any]
    """Figures by kind of evidence, and what was not supplied."""

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            **self.claim.to_dict(),
            "signers": list(self.signers),
            "tree_size": self.tree_size,
            "entries": [{"index": index, "type": kind} for index, kind in self.entries],
            "summary": dict(self.summary),
        }


class Pack:
    """Builds and verifies packs; it has no state."""

    @staticmethod
    def build(
        path: Path,
        *,
        subject: str,
        evidence: Mapping[str, bytes],
        ledger: Ledger,
        entries: Iterable[int],
        signer: Signer,
        revision: str | None = None,
    ) -> PackReport:
        """Write the pack of `evidence` (member name to content) and of ledger `entries` (indexes) to `path`.

        The file appears whole or not at all.

        Raises:
            MemberInvalidError: a piece of evidence is not in its format.
            PackInvalidError: a member name is not allowed.
            EntryMissingError: there is no such ledger entry.
        """
        summary = summarise(evidence)
        pack_bytes(evidence)  # refuses unusable names before anything is logged
        logged = {"subject": subject, "revision": revision, "members": claims.evidence_digests(evidence)}
        index = ledger.append(ENTRY_TYPE, logged).index
        members = {**evidence, SUMMARY: canonical_bytes(summary), **_ledger_members(ledger, {*entries, index})}
        claim = Claim(subject, revision, datetime.now(UTC), ledger.origin, index)
        members[STATEMENT] = _statement(claim, members).sign([signer]).to_bytes()
        _write(path, pack_bytes(members))
        return _report(
            claim, (signer.public.key_id,), members, Checkpoint.verify(members[CHECKPOINT], [ledger.verifier])
        )

    @staticmethod
    def verify(path: Path, trust: TrustPolicy) -> PackReport:
        """Check every claim of a pack with nothing but the file and a trust policy; no network, nothing is run.

        Keys of the role `evidence` may sign packs, keys of the role `ledger` checkpoints. The policy is judged at the
        time of signing.

        Raises:
            PackInvalidError: not a pack, or a bit outside of its members was changed.
            PackAlteredError: a member, a digest, a proof or a figure is not what was signed.
            SignatureInvalidError: a signature does not hold.
            UntrustedError: nobody whom the policy trusts signed.
        """
        members = unpack_bytes(_read(path))
        envelope = Envelope.from_bytes(claims.member(members, STATEMENT))
        claim = Claim.read(envelope.payload)
        keys = trust.keys_for("evidence", at=claim.created)
        claims.check_members(Statement.verify(envelope, keys, predicate_type=PREDICATE_TYPE), members)
        ledger_keys = trust.keys_for("ledger", at=claim.created)
        head = claims.check_entries(claim, members, claims.read_entries(members), ledger_keys)
        _check_summary(members)
        signers = {key_id for key_id, _ in envelope.signatures} & {key.key_id for key in keys}
        return _report(claim, signers, members, head)

    @staticmethod
    def members(path: Path) -> dict[str, bytes]:
        """The members of a pack in the right form, with nothing verified yet.

        Raises:
            PackInvalidError: it is not a pack.
        """
        return unpack_bytes(_read(path))


def _statement(claim: Claim, members: Mapping[str, bytes]) -> Statement:
    subjects = (ResourceDescriptor(name, {"sha256": sha256_hex(members[name])}) for name in sorted(members))
    return Statement(tuple(subjects), PREDICATE_TYPE, claim.to_dict())


def _ledger_members(ledger: Ledger, indexes: set[int]) -> dict[str, bytes]:
    proofs = {index: ledger.prove(index) for index in sorted(indexes)}
    checkpoints = {proof.checkpoint for proof in proofs.values()}
    if len(checkpoints) > 1:  # somebody appended meanwhile; all proofs must lead to one checkpoint
        return _ledger_members(ledger, indexes)
    members = {f"ledger/{index:010}.tlog-proof": proof.to_text().encode() for index, proof in proofs.items()}
    members[ENTRIES] = b"".join(ledger.raw(index) + b"\n" for index in proofs)
    members[CHECKPOINT] = checkpoints.pop()
    return members


def _check_summary(members: Mapping[str, bytes]) -> None:
    figures = summarise({name: content for name, content in members.items() if name != SUMMARY})
    if canonical_bytes(figures) != claims.member(members, SUMMARY):
        raise PackAlteredError("the pack's summary is not what its members give")


def _report(claim: Claim, signers: Iterable[str], members: Mapping[str, bytes], head: Checkpoint) -> PackReport:
    entries = tuple((entry.proof.index, str(entry.value["type"])) for entry in claims.read_entries(members))
    figures = summarise({name: content for name, content in members.items() if name != SUMMARY})
    return PackReport(claim, tuple(sorted(signers)), head.size, entries, figures)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_PACK_BYTES:
            raise PackInvalidError(f"{path} is too large", expected=f"at most {MAX_PACK_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}", got=error.strerror, hint="check the path") from error


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}", got=error.strerror, hint="choose a writable directory") from error
