"""The public keys of a token's issuer: from a pinned file or https address, and from nowhere else.

What is fetched is bounded in size, age and rate: at most one fetch in `refresh_seconds`, whatever tokens ask for.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.server.interface import KeysUnavailableError, ServerConfigError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("ALGORITHMS", "IssuerKeys", "TrustedKey", "parse_jwks")

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""The algorithms that may be allowed, with the type and curve of their keys. All are asymmetric."""
_log = logging.getLogger(__name__)
_MAX_SIZE = 256 * 1024
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_TIMEOUT_SECONDS = 5.0
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One public key of the issuer."""

    kid: str
    """By which tokens name it."""
    type: str
    """`RSA`, `EC` or `OKP`."""
    curve: str | None
    """The curve, if it is on one."""
    algorithm: str | None
    """The one algorithm it is meant for, if its owner said so."""
    key: Any
    """The key, as joserfc has it."""

    def serves(self, algorithm: str) -> bool:
        """Whether it may verify signatures of an algorithm."""
        return ALGORITHMS.get(algorithm) == (self.type, self.curve) and self.algorithm in {None, algorithm}


class IssuerKeys:
    """The keys at one place, read when first asked for and again when they have become old. Any thread may ask.

    Raises:
        ServerConfigError: the place is neither `file:` nor `https:`.
    """

    def __init__(
        self, place: str, *, root: Path | None = None, max_age_seconds: float = 3600, refresh_seconds: float = 60
    ) -> None:
        scheme, _, rest = place.partition(":")
        if scheme not in {"file", "https"} or not rest:
            raise ServerConfigError("the issuer's keys are at no place that counts", got=place, expected="file: https:")
        self._place = place
        self._path = (root or Path()) / rest if scheme == "file" else None
        self._max_age = max_age_seconds
        self._refresh = refresh_seconds
        self._lock = threading.Lock()
        self._keys: dict[str, TrustedKey] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self.generation = 0
        """How many times the keys were read; what was verified before must be verified again."""

    def find(self, kid: str, *, now: float | None = None) -> TrustedKey | None:
        """The key of that id among those that are known and fresh; nothing is read."""
        return self._keys.get(kid) if self.is_fresh(now=now) else None

    def is_fresh(self, *, now: float | None = None) -> bool:
        """Whether there are keys that are not too old."""
        moment = time.monotonic() if now is None else now
        return self._read_at is not None and moment - self._read_at <= self._max_age

    def may_refresh(self, *, now: float | None = None) -> bool:
        """Whether reading them again is allowed by now."""
        moment = time.monotonic() if now is None else now
        return self._tried_at is None or moment - self._tried_at >= self._refresh

    def refresh(self) -> None:
        """Read the keys again, unless that was tried a moment ago; this waits for disk or network.

        Raises:
            KeysUnavailableError: there are none that are fresh.
        """
        with self._lock:
            if self.may_refresh():
                self._tried_at = time.monotonic()
                try:
                    self._keys = parse_jwks(self._content())
                except (OSError, ServerConfigError) as error:
                    _log.warning("the issuer's keys at %s could not be read: %s", self._place, one_line(str(error)))
                    if not self.is_fresh():
                        raise KeysUnavailableError("the issuer's keys could not be read", got=error) from error
                else:
                    self._read_at = time.monotonic()
                    self.generation += 1
            if not self.is_fresh():
                raise KeysUnavailableError("the issuer's keys could not be read", hint="see the server's log")

    def _content(self) -> bytes:
        if self._path is not None:
            with self._path.open("rb") as file:
                return file.read(_MAX_SIZE + 1)
        request = urllib.request.Request(self._place, headers={"Accept": "application/json"})  # noqa: S310 - https only
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            return bytes(answer.read(_MAX_SIZE + 1))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The place is pinned: whoever answers there may not name another."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:  # noqa: ARG002, PLR0917 - as urllib has it
        raise urllib.error.HTTPError(req.full_url, code, "redirected; the address is pinned", headers, fp)


def parse_jwks(content: bytes) -> dict[str, TrustedKey]:
    """The keys of a JSON Web Key Set (RFC 7517), by their ids.

    Keys for encryption are left out. A private or symmetric key, one without an id, one twice, or one that is too
    weak spoils the set.

    Raises:
        ServerConfigError: it is no such set.
    """
    if len(content) > _MAX_SIZE:
        raise ServerConfigError("a key set is too large", expected=f"at most {_MAX_SIZE} bytes")
    try:
        listed = json.loads(content)["keys"]
        found = [_key(entry) for entry in listed if entry.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ServerConfigError):
            raise
        raise ServerConfigError("that is no key set", got=type(error).__name__, expected="RFC 7517") from error
    keys = {key.kid: key for key in found}
    if not keys or len(found) > _MAX_KEYS or len(keys) != len(found):
        raise ServerConfigError("a key set without keys, with too many, or with an id twice", got=len(found))
    return keys


def _key(entry: Mapping[str, Any]) -> TrustedKey:
    jwk = require("joserfc.jwk", extra="server")
    kid, kind = entry.get("kid"), entry.get("kty")
    if not isinstance(kid, str) or not 0 < len(kid) <= 256:
        raise ServerConfigError("a key has no id", got=kid, expected="kid")
    if kind not in {"RSA", "EC", "OKP"} or _PRIVATE & entry.keys():
        raise ServerConfigError(f"key {kid} is not a public key", got=kind, expected="RSA, EC or OKP, public")
    # Counted before it is imported: four characters of base64url hold three bytes.
    if kind == "RSA" and len(str(entry.get("n", ""))) * 6 < _MIN_RSA_BITS:
        raise ServerConfigError(f"key {kid} is too short", expected=f"at least {_MIN_RSA_BITS} bits")
    imported = jwk.import_key({name: value for name, value in entry.items() if isinstance(value, str)})
    if kind == "RSA" and imported.public_key.key_size < _MIN_RSA_BITS:
        raise ServerConfigError(f"key {kid} is too short", expected=f"at least {_MIN_RSA_BITS} bits")
    curve = entry.get("crv") if kind != "RSA" else None
    return TrustedKey(kid, str(kind), curve, entry.get("alg"), imported)
