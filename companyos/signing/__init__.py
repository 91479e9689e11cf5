"""Keys, DSSE envelopes, in-toto statements, C2SP signed notes and the policy of whom to trust."""

from __future__ import annotations

from companyos.signing.dsse import Envelope
from companyos.signing.errors import KeyUnusableError, SignatureInvalidError, UntrustedError
from companyos.signing.interface import Signer, Verifier
from companyos.signing.intoto import ResourceDescriptor, Statement
from companyos.signing.keys import PrivateKey, PublicKey, retired, rotate, rotation
from companyos.signing.note import Note, NoteVerifier, sign_note
from companyos.signing.trust import Identity, TrustedKey, TrustPolicy

__all__ = (
    "Envelope",
    "Identity",
    "KeyUnusableError",
    "Note",
    "NoteVerifier",
    "PrivateKey",
    "PublicKey",
    "ResourceDescriptor",
    "SignatureInvalidError",
    "Signer",
    "Statement",
    "TrustPolicy",
    "TrustedKey",
    "UntrustedError",
    "Verifier",
    "retired",
    "rotate",
    "rotation",
    "sign_note",
)
