"""What a pack claims, and the checks that hold it against the members."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from companyos.canonical import parse, sha256_hex
from companyos.evidence.errors import PackAlteredError, PackInvalidError
from companyos.ledger import Checkpoint, Proof
from companyos.signing import NoteVerifier, ResourceDescriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.signing import PublicKey, Statement

__all__ = (
    "CHECKPOINT",
    "ENTRIES",
    "ENTRY_TYPE",
    "MAX_SKEW",
    "PREDICATE_TYPE",
    "STATEMENT",
    "SUMMARY",
    "Claim",
    "ProvedEntry",
    "check_entries",
    "check_members",
    "check_times",
    "collected_entry",
    "evidence_digests",
    "evidence_of",
    "is_reserved",
    "member",
    "proof_name",
    "read_entries",
    "subjects",
)

PREDICATE_TYPE = "https://github.com/companyos/companyos/blob/main/docs/evidence.md#pack-v1"
"""Kind of claim that a pack's statement makes."""
ENTRY_TYPE = "companyos.evidence.collected"
"""Type of the ledger entry that holds the digests of the evidence."""
STATEMENT = "statement.dsse.json"
SUMMARY = "summary.json"
ENTRIES = "ledger/entries.jsonl"
CHECKPOINT = "ledger/checkpoint"
MAX_SKEW = timedelta(minutes=5)
"""How far the clock of a signer may be ahead of that of a verifier."""
_LEDGER = "ledger/"
_PROOF = ".tlog-proof"
_ORIGIN = re.compile(r"[^\s+]+")


@dataclass(frozen=True, slots=True)
class Claim:
    """The predicate of a pack's statement."""

    subject: str
    """What the evidence is about."""
    revision: str | None
    """Its revision, if it was given."""
    created: datetime
    """When the pack was signed, as its signer says; aware, UTC."""
    origin: str
    """The ledger whose checkpoint the pack carries."""
    evidence_entry: int
    """Index of the ledger entry that holds the digests of the evidence."""

    @classmethod
    def read(cls, payload: bytes) -> Claim:
        """The claim inside a statement's bytes; believe it only once the statement's signature was verified.

        Raises:
            PackInvalidError: there is no such claim in it, or not in the one form that it has.
        """
        try:
            predicate = parse(payload)["predicate"]
            claim = cls(
                subject=_text(predicate["subject"]),
                revision=None if predicate["revision"] is None else _text(predicate["revision"]),
                created=_moment(predicate["created"]),
                origin=_text(predicate["origin"]),
                evidence_entry=_index(predicate["evidence_entry"]),
            )
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise PackInvalidError("the statement makes no claim about a pack", got=repr(error)) from error
        if claim.to_dict() != predicate or not _ORIGIN.fullmatch(claim.origin):
            raise PackInvalidError("the claim about the pack is not in its one form", got=repr(predicate))
        return claim

    def to_dict(self) -> dict[str, Any]:
        """The predicate as a JSON object."""
        return {
            "subject": self.subject,
            "revision": self.revision,
            "created": self.created.isoformat(),
            "origin": self.origin,
            "evidence_entry": self.evidence_entry,
        }


@dataclass(frozen=True, slots=True)
class ProvedEntry:
    """A ledger entry in a pack, with its proof."""

    raw: bytes
    """The canonical bytes of the entry."""
    proof: Proof
    """The proof of its inclusion."""
    type: str
    """What happened."""
    time: datetime
    """When the ledger says it was appended; aware, UTC."""
    data: Any
    """Its payload, if that is inside the entry."""

    @classmethod
    def read(cls, raw: bytes, proof: Proof) -> ProvedEntry:
        """The entry in `raw`, whose proof has still to be verified.

        Raises:
            PackAlteredError: it is not a ledger entry.
        """
        try:
            value = parse(raw)
            return cls(raw, proof, _text(value["type"]), _moment(value["time"]), value.get("data"))
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise PackAlteredError("a ledger entry is malformed", got=repr(error)) from error


def member(members: Mapping[str, bytes], name: str) -> bytes:
    """A member that every pack has.

    Raises:
        PackInvalidError: it is missing.
    """
    if name not in members:
        raise PackInvalidError(f"the pack has no {name}", expected="a pack made by companyos pack build")
    return members[name]


def proof_name(index: int) -> str:
    """What the proof of a ledger entry is called in a pack."""
    return f"{_LEDGER}{index:010}{_PROOF}"


def is_reserved(name: str) -> bool:
    """Whether only the pack itself may have a member of this name, not the evidence."""
    return name in {STATEMENT, SUMMARY} or name.startswith(_LEDGER) or name.endswith(_PROOF)


def evidence_of(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The members that are evidence."""
    return {name: content for name, content in sorted(members.items()) if not is_reserved(name)}


def evidence_digests(members: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 by name of the members that are evidence, as the ledger entry holds them."""
    return {name: sha256_hex(content) for name, content in evidence_of(members).items()}


def subjects(members: Mapping[str, bytes]) -> tuple[ResourceDescriptor, ...]:
    """What the statement of a pack is about: all its other members by name, in order."""
    names = sorted(members.keys() - {STATEMENT})
    return tuple(ResourceDescriptor(name, {"sha256": sha256_hex(members[name])}) for name in names)


def check_members(statement: Statement, members: Mapping[str, bytes]) -> None:
    """Return if the statement is about exactly these members, each once and in order.

    Raises:
        PackAlteredError: it is not.
    """
    expected = subjects(members)
    if statement.subject == expected:
        return
    signed = {repr(descriptor.name): repr(descriptor.digest) for descriptor in statement.subject}
    present = {repr(descriptor.name): repr(descriptor.digest) for descriptor in expected}
    wrong = sorted(name for name in signed.keys() | present.keys() if signed.get(name) != present.get(name))
    raise PackAlteredError(
        "members are not those that were signed", got=", ".join(wrong) or "a member is listed twice, or out of order"
    )


def read_entries(members: Mapping[str, bytes]) -> tuple[ProvedEntry, ...]:
    """The ledger entries of a pack with their proofs, in the order of their indexes; not verified yet.

    Raises:
        PackAlteredError: entries and proofs do not match, or the pack holds more of the ledger than those.
        ProofInvalidError: a proof is malformed.
    """
    *lines, rest = member(members, ENTRIES).split(b"\n")
    proofs = sorted((_proof(name, members[name]) for name in _proof_names(members)), key=lambda proof: proof.index)
    if rest or len(lines) != len(proofs):
        raise PackAlteredError(
            "ledger entries and proofs do not match",
            got=f"{len(lines)} lines, {len(rest)} bytes behind the last of them, {len(proofs)} proofs",
        )
    return tuple(ProvedEntry.read(line, proof) for line, proof in zip(lines, proofs, strict=True))


def collected_entry(claim: Claim, entries: Iterable[ProvedEntry]) -> ProvedEntry:
    """The entry that says which evidence was collected; not verified yet.

    Raises:
        PackAlteredError: the pack does not hold it.
    """
    for entry in entries:
        if entry.proof.index == claim.evidence_entry and entry.type == ENTRY_TYPE:
            return entry
    raise PackAlteredError(
        "the pack lacks the ledger entry of its evidence", expected=f"{ENTRY_TYPE} at {claim.evidence_entry}"
    )


def check_entries(
    claim: Claim, members: Mapping[str, bytes], entries: Iterable[ProvedEntry], keys: Iterable[PublicKey]
) -> Checkpoint:
    """The pack's checkpoint, if every entry is proved under it and the evidence is what was logged.

    Raises:
        PackAlteredError: a proof leads elsewhere, or the evidence is not what the ledger says was collected.
        ProofInvalidError: a proof does not hold.
        CheckpointInvalidError: the checkpoint is not signed by a trusted ledger key.
    """
    verifiers = [NoteVerifier(claim.origin, key) for key in keys if key.algorithm == "ed25519"]
    proved = tuple(entries)
    head = Checkpoint.verify(member(members, CHECKPOINT), verifiers)
    for entry in proved:
        if entry.proof.checkpoint != members[CHECKPOINT]:
            raise PackAlteredError("a proof does not lead to the pack's checkpoint", got=entry.proof.index)
        entry.proof.verify(entry.raw, verifiers)
    logged = {"subject": claim.subject, "revision": claim.revision, "members": evidence_digests(members)}
    if collected_entry(claim, proved).data != logged:
        raise PackAlteredError("the evidence is not what the ledger says was collected")
    return head


def check_times(claim: Claim, logged: datetime, at: datetime) -> None:
    """Return if the pack says it was signed after its evidence was `logged` and not after `at`, when it is judged.

    The time in a claim is only what the signer says. One who signs with a stolen key cannot make the pack older than
    the ledger entry that it must carry.

    Raises:
        PackAlteredError: the times contradict each other.
    """
    if claim.created < logged:
        raise PackAlteredError(
            "the pack says it was signed before its evidence was logged",
            got=claim.created,
            expected=f"from {logged} on",
        )
    if claim.created > at + MAX_SKEW:
        raise PackAlteredError("the pack says it was signed in the future", got=claim.created, expected=f"before {at}")


def _proof_names(members: Mapping[str, bytes]) -> list[str]:
    names = [name for name in members if name.startswith(_LEDGER) and name not in {ENTRIES, CHECKPOINT}]
    foreign = sorted({name for name in names if not name.endswith(_PROOF)} | {n for n in members if _misplaced(n)})
    if foreign:
        raise PackAlteredError("the pack holds what is neither evidence nor proof", got=", ".join(foreign))
    return names


def _misplaced(name: str) -> bool:
    return name.endswith(_PROOF) and not name.startswith(_LEDGER)


def _proof(name: str, content: bytes) -> Proof:
    try:
        proof = Proof.from_text(content.decode())
    except UnicodeDecodeError as error:
        raise PackAlteredError(f"{name} is not a proof", got=error) from error
    if proof_name(proof.index) != name:
        raise PackAlteredError(f"{name} is the proof of another entry", got=proof.index)
    return proof


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise TypeError(f"{value!r} where text belongs")
    return value


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return moment.astimezone(UTC)


def _index(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} where an index belongs")
    return value
