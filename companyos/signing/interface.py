"""What signs and what verifies: local keys now, KMS and keyless identities through the same two protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from companyos.signing.keys import PublicKey

__all__ = ("Signer", "Verifier")


class Signer(Protocol):
    """Signs bytes with one private key."""

    @property
    def public(self) -> PublicKey:
        """The public half of the key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The raw signature over `data`."""
        ...


class Verifier(Protocol):
    """Verifies signatures made by one key."""

    @property
    def key_id(self) -> str:
        """Lower-case hexadecimal SHA-256 of the key's SubjectPublicKeyInfo."""
        ...

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if `signature` over `data` holds.

        Raises:
            SignatureInvalidError: it does not.
        """
        ...
