"""in-toto Statements v1: what is claimed about which artifacts.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.canonical import canonical_bytes, parse
from companyos.signing.dsse import INTOTO_PAYLOAD, Envelope
from companyos.signing.errors import SignatureInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.signing.interface import Signer, Verifier

__all__ = ("STATEMENT_TYPE", "ResourceDescriptor", "Statement")

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


@dataclass(frozen=True, slots=True)
class ResourceDescriptor:
    """One artifact, by name and digest."""

    name: str
    """Its name within the statement."""
    digest: Mapping[str, str]
    """Lower-case hexadecimal digests by algorithm; `sha256` is always there."""

    def to_dict(self) -> dict[str, Any]:
        """The descriptor as a JSON object."""
        return {"name": self.name, "digest": dict(self.digest)}


@dataclass(frozen=True, slots=True)
class Statement:
    """A claim (`predicate`) of a known kind (`predicate_type`) about artifacts (`subject`)."""

    subject: tuple[ResourceDescriptor, ...]
    """The artifacts."""
    predicate_type: str
    """URI of the kind of claim."""
    predicate: Mapping[str, Any] = field(default_factory=dict)
    """The claim, JSON values only."""

    def to_dict(self) -> dict[str, Any]:
        """The statement as a JSON object."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [descriptor.to_dict() for descriptor in self.subject],
            "predicateType": self.predicate_type,
            "predicate": dict(self.predicate),
        }

    def sign(self, signers: Iterable[Signer]) -> Envelope:
        """The statement in a DSSE envelope."""
        return Envelope.sign(INTOTO_PAYLOAD, canonical_bytes(self.to_dict()), signers)

    @classmethod
    def verify(cls, envelope: Envelope, verifiers: Iterable[Verifier], *, predicate_type: str) -> Statement:
        """The statement in `envelope`, if a trusted key signed it and it makes the expected kind of claim.

        Raises:
            SignatureInvalidError: a signature does not hold, or the payload is not such a statement.
            UntrustedError: no trusted key signed.
            NotCanonicalError: the payload is not canonical JSON.
        """
        value = parse(envelope.verify(verifiers, payload_type=INTOTO_PAYLOAD))
        try:
            statement = cls(
                tuple(ResourceDescriptor(item["name"], item["digest"]) for item in value["subject"]),
                value["predicateType"],
                value["predicate"],
            )
            same = statement.to_dict() == value
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SignatureInvalidError("payload is not an in-toto statement v1", got=error) from error
        if not same or statement.predicate_type != predicate_type:
            raise SignatureInvalidError(
                "statement is of another kind", got=statement.predicate_type, expected=predicate_type
            )
        return statement
