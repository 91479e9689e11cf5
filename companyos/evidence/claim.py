"""What a pack claims, and the checks that hold it against the members."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.canonical import sha256_hex
from companyos.evidence.errors import PackAlteredError, PackInvalidError
from companyos.ledger import Checkpoint, Proof
from companyos.signing import NoteVerifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.signing import PublicKey, Statement

__all__ = (
    "CHECKPOINT",
    "ENTRIES",
    "ENTRY_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT",
    "SUMMARY",
    "Claim",
    "ProvedEntry",
    "check_entries",
    "check_members",
    "evidence_digests",
    "member",
    "read_entries",
)

PREDICATE_TYPE = "https://github.com/companyos/companyos/blob/main/docs/evidence.md#pack-v1"
"""Kind of claim that a pack's statement makes."""
ENTRY_TYPE = "companyos.evidence.collected"
"""Type of the ledger entry that holds the digests of the evidence."""
STATEMENT = "statement.dsse.json"
SUMMARY = "summary.json"
ENTRIES = "ledger/entries.jsonl"
CHECKPOINT = "ledger/checkpoint"


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
            PackInvalidError: there is no such claim in it.
        """
        try:
            predicate = json.loads(payload)["predicate"]
            return cls(
                subject=str(predicate["subject"]),
                revision=None if predicate["revision"] is None else str(predicate["revision"]),
                created=datetime.fromisoformat(predicate["created"]).astimezone(UTC),
                origin=str(predicate["origin"]),
                evidence_entry=int(predicate["evidence_entry"]),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise PackInvalidError("the statement makes no claim about a pack", got=error) from error

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
    value: Mapping[str, Any]
    """The entry as a JSON object."""


def member(members: Mapping[str, bytes], name: str) -> bytes:
    """A member that every pack has.

    Raises:
        PackInvalidError: it is missing.
    """
    if name not in members:
        raise PackInvalidError(f"the pack has no {name}", expected="a pack made by companyos pack build")
    return members[name]


def evidence_digests(members: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 by name of the members that are evidence, as the ledger entry holds them."""
    return {
        name: sha256_hex(content)
        for name, content in sorted(members.items())
        if name not in {STATEMENT, SUMMARY} and not name.startswith("ledger/")
    }


def check_members(statement: Statement, members: Mapping[str, bytes]) -> None:
    """Return if the statement is about exactly these members.

    Raises:
        PackAlteredError: it is not.
    """
    signed = {descriptor.name: descriptor.digest.get("sha256") for descriptor in statement.subject}
    present = {name: sha256_hex(content) for name, content in members.items() if name != STATEMENT}
    wrong = sorted(name for name in signed.keys() | present.keys() if signed.get(name) != present.get(name))
    if wrong:
        raise PackAlteredError("members are not those that were signed", got=", ".join(wrong))


def read_entries(members: Mapping[str, bytes]) -> list[ProvedEntry]:
    """The ledger entries of a pack with their proofs, not verified yet.

    Raises:
        PackAlteredError: entries and proofs do not match.
    """
    names = sorted(name for name in members if name.endswith(".tlog-proof"))
    lines = member(members, ENTRIES).split(b"\n")[:-1]
    if len(lines) != len(names):
        raise PackAlteredError("ledger entries and proofs do not match", got=f"{len(lines)} and {len(names)}")
    try:
        return [
            ProvedEntry(line, Proof.from_text(members[name].decode()), json.loads(line))
            for name, line in zip(names, lines, strict=True)
        ]
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise PackAlteredError("ledger entries are malformed", got=error) from error


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
    head = Checkpoint.verify(member(members, CHECKPOINT), verifiers)
    collected = None
    for entry in entries:
        if entry.proof.checkpoint != members[CHECKPOINT]:
            raise PackAlteredError("a proof does not lead to the pack's checkpoint", got=entry.proof.index)
        entry.proof.verify(entry.raw, verifiers)
        if entry.proof.index == claim.evidence_entry and entry.value.get("type") == ENTRY_TYPE:
            collected = entry.value.get("data")
    logged = {"subject": claim.subject, "revision": claim.revision, "members": evidence_digests(members)}
    if collected != logged:
        raise PackAlteredError("the evidence is not what the ledger says was collected")
    return head
