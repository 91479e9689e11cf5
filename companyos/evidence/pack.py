"""Evidence packs: one file that proves, offline and with public keys alone, what was checked before a release.

A pack holds the evidence itself (test results, findings, bill of materials, cost note), entries of the ledger with
their proofs of inclusion, and a signed in-toto statement over the digests of all of it. The digests are also an entry
of the ledger, made before the checkpoint that the pack carries: the evidence existed when the log says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.canonical import canonical_bytes
from companyos.errors import UserError
from companyos.evidence import claim as claims
from companyos.evidence.claim import CHECKPOINT, ENTRIES, ENTRY_TYPE, PREDICATE_TYPE, STATEMENT, SUMMARY, Claim
from companyos.evidence.container import is_member_name, pack_bytes, unpack_bytes
from companyos.evidence.errors import MemberInvalidError, PackAlteredError
from companyos.evidence.files import published, read_file
from companyos.evidence.summary import check_summary, not_supplied, summarise
from companyos.ledger import EntryMissingError
from companyos.signing import Envelope, SignatureInvalidError, Statement, TrustedKey, TrustPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from companyos.ledger import Ledger
    from companyos.signing import PublicKey, Signer

__all__ = ("Pack", "PackReport")

MAX_LOGGED_BYTES = 60_000
"""Largest list of digests that is logged: it must lie inside the ledger entry, not beside it."""


@dataclass(frozen=True, slots=True)
class PackReport:
    """What a pack establishes; every figure was computed from its members."""

    claim: Claim
    """What the evidence is about, and when it was signed."""
    logged: datetime
    """When the ledger says the evidence was collected; aware, UTC."""
    signers: tuple[str, ...]
    """Ids of the trusted keys that signed it."""
    tree_size: int
    """Size of the ledger at the checkpoint that the pack carries."""
    entries: tuple[tuple[int, str], ...]
    """Index and type of each ledger entry whose inclusion is proved."""
    evidence: tuple[str, ...]
    """Names of the members that are evidence."""
    summary: Mapping[str, Any]
    """Figures by kind of evidence, and the version of the figures."""

    @property
    def not_supplied(self) -> tuple[str, ...]:
        """Kinds of evidence that this version of companyos expects and the pack does not hold."""
        return tuple(not_supplied(self.evidence))

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            **self.claim.to_dict(),
            "logged": self.logged.isoformat(),
            "signers": list(self.signers),
            "tree_size": self.tree_size,
            "entries": [{"index": index, "type": kind} for index, kind in self.entries],
            "evidence": list(self.evidence),
            "summary": dict(self.summary),
            "not_supplied": list(self.not_supplied),
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

        The pack is verified before its file appears, whole or not at all. What can be refused is refused before
        anything is logged.

        Raises:
            MemberInvalidError: a piece of evidence is not in its format, or has a name that it may not have.
            EntryMissingError: there is no such ledger entry.
            UserError: the subject, the revision or the path cannot be used.
            LedgerDamagedError: the ledger is not as it was signed; likewise the errors of `verify`.
        """
        wanted = _wanted(ledger, entries)
        logged = {"subject": subject, "revision": revision, "members": claims.evidence_digests(evidence)}
        _check_given(logged, evidence)
        summary = summarise(evidence)
        with published(path) as put:
            index = ledger.append(ENTRY_TYPE, logged).index
            members = {**evidence, SUMMARY: canonical_bytes(summary), **_ledger_members(ledger, {*wanted, index})}
            members[STATEMENT] = _statement(subject, revision, ledger.origin, index, members).sign([signer]).to_bytes()
            data = pack_bytes(members)
            report = _verify(data, _own_policy(signer, ledger), datetime.now(UTC))
            put(data)
        return report

    @staticmethod
    def verify(path: Path, trust: TrustPolicy, *, at: datetime | None = None) -> PackReport:
        """Check every claim of a pack with nothing but the file and a trust policy; no network, nothing is run.

        Keys of the role `evidence` may sign packs, keys of the role `ledger` checkpoints. Both must have counted when
        the ledger says that the evidence was logged, the evidence key also when it says that it signed. `at` is when
        the pack is judged (aware; default: now): one signed later than that is refused.

        Raises:
            PackInvalidError: not a pack, a bit outside of its members was changed, or a newer companyos is needed.
            PackAlteredError: a member, a digest, a proof, a time or a figure is not what was signed.
            SignatureInvalidError: a signature does not hold.
            UntrustedError: nobody whom the policy trusts signed.
        """
        moment = datetime.now(UTC) if at is None else at
        if moment.tzinfo is None:
            raise UserError("the time to judge a pack at has no time zone", got=moment, expected="an aware datetime")
        return _verify(read_file(path), trust, moment)

    @staticmethod
    def members(path: Path) -> dict[str, bytes]:
        """The members of a pack in the right form, with nothing verified yet.

        Raises:
            PackInvalidError: it is not a pack.
        """
        return unpack_bytes(read_file(path))


def _verify(data: bytes, trust: TrustPolicy, at: datetime) -> PackReport:
    members = unpack_bytes(data)
    envelope = Envelope.from_bytes(claims.member(members, STATEMENT))
    claim = Claim.read(envelope.payload)
    entries = claims.read_entries(members)
    # Which keys count is asked of the ledger's clock, whose entry is proved below under one of these very keys: the
    # time in the claim is the signer's own word.
    logged = claims.collected_entry(claim, entries).time
    claims.check_times(claim, logged, at)
    later = trust.keys_for("evidence", at=claim.created)
    keys = [key for key in trust.keys_for("evidence", at=logged) if key in later]
    claims.check_members(Statement.verify(envelope, keys, predicate_type=PREDICATE_TYPE), members)
    _check_signatures(envelope, keys)
    head = claims.check_entries(claim, members, entries, trust.keys_for("ledger", at=logged))
    evidence = claims.evidence_of(members)
    return PackReport(
        claim=claim,
        logged=logged,
        signers=tuple(sorted(key_id for key_id, _ in envelope.signatures)),
        tree_size=head.size,
        entries=tuple((entry.proof.index, entry.type) for entry in entries),
        evidence=tuple(evidence),
        summary=check_summary(evidence, claims.member(members, SUMMARY)),
    )


def _check_signatures(envelope: Envelope, keys: Iterable[PublicKey]) -> None:
    """Anybody could add a signature that nobody checks, and so change the file unseen."""
    try:
        envelope.require_only(keys)
    except SignatureInvalidError as error:
        raise PackAlteredError(f"the pack's {error.what}", got=error.got, expected=error.expected) from error


def _wanted(ledger: Ledger, entries: Iterable[int]) -> set[int]:
    wanted, size = set(entries), len(ledger)
    for index in sorted(wanted):
        if not 0 <= index < size:
            raise EntryMissingError(f"no entry {index} in the log", got=index, expected=f"less than {size}")
    return wanted


def _check_given(logged: Mapping[str, Any], evidence: Mapping[str, bytes]) -> None:
    for what in ("subject", "revision"):
        text = logged[what]
        if text is not None and not (text and text.isprintable()):
            raise UserError(f"the {what} of a pack cannot be this", got=repr(text), expected="printable text")
    for name in evidence:
        if not is_member_name(name) or claims.is_reserved(name):
            raise MemberInvalidError(
                "evidence cannot have this name",
                got=repr(name),
                expected="lower-case letters, digits, `.`, `_`, `-` and `/`, and none of the pack's own names",
                hint="rename the file",
            )
    if len(canonical_bytes(logged)) > MAX_LOGGED_BYTES:
        raise MemberInvalidError(
            "too many pieces of evidence for one ledger entry",
            got=len(evidence),
            expected=f"digests of at most {MAX_LOGGED_BYTES} bytes in all",
            hint="put several results into one file",
        )


def _statement(subject: str, revision: str | None, origin: str, index: int, members: Mapping[str, bytes]) -> Statement:
    (entry,) = (entry for entry in claims.read_entries(members) if entry.proof.index == index)
    # A clock that was set back in between must not make the signature older than what it is about.
    claim = Claim(subject, revision, max(datetime.now(UTC), entry.time), origin, index)
    return Statement(claims.subjects(members), PREDICATE_TYPE, claim.to_dict())


def _ledger_members(ledger: Ledger, indexes: set[int]) -> dict[str, bytes]:
    note = ledger.checkpoint()  # one for all: others may append meanwhile
    ordered = sorted(indexes)
    members = {claims.proof_name(i): ledger.prove(i, checkpoint=note).to_text().encode() for i in ordered}
    members[ENTRIES] = b"".join(ledger.raw(index) + b"\n" for index in ordered)
    members[CHECKPOINT] = note
    return members


def _own_policy(signer: Signer, ledger: Ledger) -> TrustPolicy:
    keys = (("evidence", signer.public), ("ledger", ledger.verifier.key))
    return TrustPolicy(
        keys=tuple(TrustedKey(name=role, public_key=key.pem, roles=frozenset({role})) for role, key in keys)
    )
