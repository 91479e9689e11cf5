"""What an audit record says, and what of it is signed.

A signature over a name would let anybody test guesses at it, long after the person was erased. So each personal value
is stored encrypted together with a random salt, and what is signed is a commitment to both:
`{"commitment": "sha256:…", "personal": {"$personal": …}}`. While the person is known, the value can be shown to be
the one that was signed; after an erasure the record still verifies, and tells nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import Any

from companyos.canonical import canonical_bytes
from companyos.ports import Personal
from companyos.signing.dsse import pae

__all__ = ("FIELDS", "PAYLOAD_TYPE", "RETENTION", "SOURCE", "TYPE", "commitment", "committed", "signed_bytes")

TYPE = "companyos.observability.audit"
"""Type of the entry that holds an audit record."""
SOURCE = "companyos/observability"
"""`source` of these entries."""
PAYLOAD_TYPE = "application/vnd.companyos.audit+json"
"""Payload type under which a record is signed (DSSE)."""
RETENTION = "audit"
"""The class of retention of a record: seven years unless `ledger.retention_days` says otherwise."""
FIELDS = ("actor", "verb", "target", "policy", "decision", "obligations", "ip", "device", "signature")
"""The playbook's fields; every one is in every record, null where nothing is known."""

_COMMITMENT = "commitment"
_PERSONAL = "personal"
_SEALED = "$personal"
_SALT_BYTES = 16


def committed(value: Any) -> Any:
    """`value` with each `Personal` in it replaced by a commitment and the salted value, still personal."""
    if isinstance(value, Personal):
        salted = {"salt": base64.b64encode(os.urandom(_SALT_BYTES)).decode(), "value": value.value}
        return {_COMMITMENT: commitment(salted), _PERSONAL: Personal(salted, value.person)}
    if isinstance(value, Mapping):
        return {key: committed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [committed(inner) for inner in value]
    return value


def commitment(salted: Any) -> str:
    """The commitment to a salted value, `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(canonical_bytes(salted)).hexdigest()}"


def signed_bytes(data: Mapping[str, Any]) -> bytes:
    """What is signed of a record: all of it but the signature, in the pre-authentication encoding of DSSE.

    Source: secure-systems-lab/dsse, protocol.md (PAE), over RFC 8785 JSON.
    """
    return pae(PAYLOAD_TYPE, canonical_bytes(_bare({key: data[key] for key in data if key != "signature"})))


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {_COMMITMENT, _PERSONAL} and _is_personal(value[_PERSONAL]):
            return {_COMMITMENT: value[_COMMITMENT]}
        return {key: _bare(inner) for key, inner in value.items()}
    return [_bare(inner) for inner in value] if isinstance(value, list | tuple) else value


def _is_personal(value: Any) -> bool:
    # `$personal` is reserved by the ledger, so that no caller can have what is not encrypted left out of the signature.
    return isinstance(value, Personal) or (isinstance(value, Mapping) and _SEALED in value)
