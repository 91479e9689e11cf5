"""The signature of a bundle, as OPA's: `.signatures.json` with one compact JWS (RFC 7515) over the hashes of all files.

The header only says which key to ask for: algorithm, window and scope come from the trust configuration.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.authz.bundles.hashing import Number, file_hash, parse_json, plain
from companyos.authz.bundles.interface import BundleRefusedError
from companyos.authz.bundles.trust import algorithm_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from companyos.authz.bundles.trust import Algorithm, BundleTrust

__all__ = ("SignedFiles", "compact", "read_token", "signed_files", "token")

_EXTRA = "authz-bundles"
_HEADER = {"alg", "kid", "typ"}
_DANGEROUS = {
    "jku": "an address of keys",
    "x5u": "an address of certificates",
    "x5c": "certificates",
    "x5t": "a certificate's hash",
    "x5t#S256": "a certificate's hash",
    "jwk": "a key",
    "crit": "extensions that must be understood",
    "b64": "an encoding of its own",
    "zip": "compression",
}
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """What a signature that holds says."""

    key: str
    """Id of the key."""
    algorithm: str
    """The key's algorithm."""
    files: Mapping[str, tuple[str, str]]
    """Algorithm and hash of each file, by name."""
    issued_at: float | None
    """When the signer says that it signed, in POSIX seconds."""
    not_before: float | None
    """From when on the signature counts."""
    expires_at: float | None
    """Until when the signature counts."""
    scope: str | None
    """What it is signed for."""


def token(
    files: Mapping[str, bytes],
    key: Any,
    key_id: str,
    *,
    issued_at: datetime,
    expires: datetime,
    scope: str | None = None,
) -> bytes:
    """The text of `.signatures.json` for files, signed with a private key under its id.

    Raises:
        MissingExtraError: joserfc is not installed.
        KeyUnusableError: the key signs no bundles.
    """
    algorithm = algorithm_of(key)
    payload = {
        "files": [
            {"name": name, "hash": file_hash(name, content), "algorithm": "SHA-256"}
            for name, content in sorted(files.items())
        ],
        "iat": int(issued_at.timestamp()),
        "exp": int(expires.timestamp()),
        "keyid": key_id,
    }
    if scope is not None:
        payload["scope"] = scope
    signed = compact({"alg": algorithm, "kid": key_id, "typ": "JWT"}, payload, key)
    return _dump({"signatures": [signed]}) + b"\n"


def compact(header: Mapping[str, Any], payload: Mapping[str, Any], key: Any) -> str:
    """A compact JWS over a payload, signed with the algorithm of the key, whatever the header says.

    Raises:
        MissingExtraError: joserfc is not installed.
        KeyUnusableError: the key signs no bundles.
    """
    signing = f"{_encode(_dump(header))}.{_encode(_dump(payload))}"
    return f"{signing}.{_encode(_model(algorithm_of(key)).sign(signing.encode(), _import(key)))}"


def read_token(signatures: bytes | None, trust: BundleTrust, *, at: datetime, scope: str | None) -> SignedFiles:
    """What the one signature in `.signatures.json` says, if it holds by a key that counts.

    Raises:
        BundleRefusedError: named by its rule.
        MissingExtraError: joserfc is not installed.
    """
    text = _only_token(signatures)
    header, payload, signature = (_decode(segment) for segment in _segments(text))
    head = _object(header, "the header of the signature", "bundle.header")
    _check_header(head)
    key = trust.key(head["kid"])
    if head["alg"] != key.algorithm:
        raise BundleRefusedError(
            "bundle.algorithm", "signed by another algorithm than the key's", got=head["alg"], expected=key.algorithm
        )
    key.check_at(at)
    signing = text.rpartition(".")[0].encode("ascii")
    if not _holds(key.algorithm, trust.public(key), signing, signature):
        raise BundleRefusedError("bundle.signature", f"the signature by key {key.id} does not hold")
    signed = _signed(_object(payload, "the signature", "bundle.token"), key.id, key.algorithm)
    wanted = key.scope if scope is None else scope
    if (signed.scope or None) != (wanted or None):
        raise BundleRefusedError(
            "bundle.scope", "signed for another scope", got=signed.scope or "none", expected=wanted or "none"
        )
    return signed


def signed_files(files: Mapping[str, bytes], signed: SignedFiles) -> None:
    """Return if the files are those that were signed, no more and no fewer.

    Raises:
        BundleRefusedError: one was added, removed or changed.
    """
    added = sorted(files.keys() - signed.files.keys())
    if added:
        raise BundleRefusedError("bundle.file_added", "a file was not signed", got=", ".join(added))
    removed = sorted(signed.files.keys() - files.keys())
    if removed:
        raise BundleRefusedError("bundle.file_removed", "a file that was signed is missing", got=", ".join(removed))
    for name, content in sorted(files.items()):
        algorithm, expected = signed.files[name]
        if file_hash(name, content, algorithm) != expected:
            raise BundleRefusedError("bundle.file_changed", "a file is not as it was signed", got=name)


def _only_token(signatures: bytes | None) -> str:
    if signatures is None:
        raise BundleRefusedError("bundle.unsigned", "there is no signature", hint="companyos bundle sign")
    value = _object(signatures, ".signatures.json", "bundle.token")
    tokens = value.get("signatures")
    if set(value) != {"signatures"} or not isinstance(tokens, list):
        raise BundleRefusedError(
            "bundle.token", ".signatures.json has other keys", got=", ".join(sorted(value)), expected="signatures"
        )
    if len(tokens) != 1:
        raise BundleRefusedError("bundle.unsigned", "not exactly one signature", got=len(tokens))
    if type(tokens[0]) is not str or not tokens[0].isascii():
        raise BundleRefusedError("bundle.token", "the signature is no text")
    return str(tokens[0])


def _segments(text: str) -> list[str]:
    segments = text.split(".")
    # Of an unsigned token (`alg: none`) the last segment is empty: its header says so first.
    if len(segments) == 3 and not segments[2] and _SEGMENT.fullmatch(segments[0]):
        _check_header(_object(_decode(segments[0]), "the header of the signature", "bundle.header"))
    if len(segments) != 3 or not all(map(_SEGMENT.fullmatch, segments)):
        raise BundleRefusedError("bundle.token", "not a compact JWS", expected="three parts of Base64url")
    return segments


def _check_header(header: Mapping[str, Any]) -> None:
    for name, what in _DANGEROUS.items():
        if name in header:
            raise BundleRefusedError("bundle.header", f"the header brings {what} ({name})", expected="alg, kid, typ")
    if unknown := sorted(header.keys() - _HEADER):
        raise BundleRefusedError("bundle.header", "the header has other keys", got=", ".join(unknown))
    if header.get("typ", "JWT") != "JWT":
        raise BundleRefusedError("bundle.header", "the header is of another type", got=header["typ"], expected="JWT")
    algorithm = header.get("alg")
    if type(algorithm) is not str or algorithm.casefold() == "none":
        raise BundleRefusedError("bundle.algorithm", "the signature has no algorithm", got=algorithm)
    if type(header.get("kid")) is not str:
        raise BundleRefusedError("bundle.unknown_key", "the signature names no key", expected="kid in its header")


def _signed(payload: Mapping[str, Any], key: str, algorithm: str) -> SignedFiles:
    entries = payload.get("files")
    files: dict[str, tuple[str, str]] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not all(type(entry.get(part)) is str for part in ("name", "hash")):
            raise BundleRefusedError("bundle.token", "the signature lists no files", expected="name, hash, algorithm")
        if entry["name"] in files:
            raise BundleRefusedError("bundle.token", "the signature lists a file twice", got=entry["name"])
        hashed = entry.get("algorithm", "")
        files[entry["name"]] = (hashed if type(hashed) is str else "", entry["hash"])
    scope = payload.get("scope")
    if scope is not None and type(scope) is not str:
        raise BundleRefusedError("bundle.scope", "the scope is no text")
    if payload.get("keyid", key) != key:
        raise BundleRefusedError("bundle.token", "the signature names two keys", got=payload["keyid"], expected=key)
    issued, not_before, expires = (_seconds(payload, name) for name in ("iat", "nbf", "exp"))
    return SignedFiles(key, algorithm, files, issued, not_before, expires, scope)


def _seconds(payload: Mapping[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, Number) or abs(number := float(value)) > 1e12:
        raise BundleRefusedError(
            "bundle.token", f"{name} is no moment", got=plain(value), expected="seconds since 1970"
        )
    return number


def _holds(algorithm: Algorithm, public: Any, signing: bytes, signature: bytes) -> bool:
    try:
        return bool(_model(algorithm).verify(signing, signature, _import(public)))
    except ValueError:
        return False


def _model(algorithm: str) -> Any:
    """Joserfc's implementation of one algorithm, without its guesses about headers."""
    return require("joserfc.jws", extra=_EXTRA).JWSRegistry.algorithms[algorithm]


def _import(key: Any) -> Any:
    jwk = require("joserfc.jwk", extra=_EXTRA)
    kind = {"RS256": jwk.RSAKey, "ES256": jwk.ECKey, "EdDSA": jwk.OKPKey}[algorithm_of(key)]
    from cryptography.hazmat.primitives import serialization as form

    if hasattr(key, "sign"):
        pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    else:
        pem = key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return kind.import_key(pem)


def _object(content: bytes, what: str, rule: str) -> dict[str, Any]:
    value = parse_json(content, what, rule)
    if not isinstance(value, dict):
        raise BundleRefusedError(rule, f"{what} is no object", got=type(value).__name__)
    return value


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(segment: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError as error:
        raise BundleRefusedError("bundle.token", "not Base64url", got=error) from error
    if _encode(data) != segment:
        raise BundleRefusedError("bundle.token", "Base64url in another spelling than its own")
    return data
