"""JSON Web Tokens as proof of who calls (RFC 7519, with the advice of RFC 8725).

The algorithm must be one that the settings allow, and the key decides whether it fits: the token's header chooses
neither. `iss`, `aud`, `exp` and `nbf` must be there; `iat` counts where it is. Headers that bring or point to a key are
refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos._json import strict_loads
from companyos.server.interface import AuthenticationError, Caller, ServerConfigError
from companyos.server.jwks import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from companyos.server.jwks import IssuerKeys, TrustedKey

__all__ = ("TokenVerifier", "UnknownKeyError")

_MAX_TOKEN = 8192
_FORBIDDEN = ("jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc")
_PART = re.compile(r"[A-Za-z0-9_-]+")
_CACHE = 4096
_SUBJECT = 256
_LATEST = 253_402_300_799
"""The last second of the year 9999: no time is later, and far smaller numbers than Python's are no times at all."""


class UnknownKeyError(AuthenticationError):
    """The token names a key that is not among those known: they may have been rotated."""

    code = "server.key.unknown"

    def __init__(self) -> None:
        super().__init__("pdp.jwt.kid", "the token names a key that is not known")


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature held, and under which reading of the keys."""

    caller: Caller
    not_before: float
    expires: float
    issued: float | None
    generation: int


class TokenVerifier:
    """Verifies tokens of one issuer for one audience. Used from one thread.

    Raises:
        ServerConfigError: an algorithm is not one of `ALGORITHMS`.
    """

    def __init__(
        self,
        keys: IssuerKeys,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        leeway_seconds: float = 30.0,
        required_scope: str | None = None,
        longest_seconds: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`longest_seconds` is how long a token may count in all; None for any time."""
        wrong = sorted(set(algorithms) - ALGORITHMS.keys())
        if wrong or not algorithms or not issuer or not audience:
            raise ServerConfigError(
                "tokens cannot be verified under these settings",
                got=", ".join(wrong) or "no algorithm, issuer or audience",
                expected=f"algorithms among {', '.join(ALGORITHMS)}",
            )
        self.keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._leeway = leeway_seconds
        self._scope = required_scope
        self._longest = longest_seconds
        self._clock = clock
        self._models = require("joserfc.jws", extra="server").JWSRegistry.algorithms
        self._seen: OrderedDict[bytes, _Verified] = OrderedDict()

    @property
    def required_scope(self) -> str | None:
        """The scope that a token must have, if any."""
        return self._scope

    def verify(self, token: str, now: float | None = None) -> Caller:
        """Who a token speaks for.

        A signature that held is remembered for as long as the keys are not read again; times are checked each time.

        Raises:
            UnknownKeyError: its key is not known; refresh the keys and try once more.
            AuthenticationError: it does not count.
        """
        moment = self._clock() if now is None else now
        mark = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        seen = self._seen.get(mark)
        if seen is None or seen.generation != self.keys.generation or not self.keys.is_fresh():
            seen = self._verify(token)
            self._seen[mark] = seen
            if len(self._seen) > _CACHE:
                self._seen.popitem(last=False)
        if moment + self._leeway < seen.not_before:
            raise AuthenticationError("pdp.jwt.not_yet_valid", "the token does not count yet")
        if moment - self._leeway >= seen.expires:
            raise AuthenticationError("pdp.jwt.expired", "the token has expired")
        if seen.issued is not None and moment + self._leeway < seen.issued:
            raise AuthenticationError("pdp.jwt.issued", "the token was issued in the future")
        return seen.caller

    def _verify(self, token: str) -> _Verified:
        header, payload, signed, signature = _parts(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise AuthenticationError("pdp.jwt.algorithm", "the token's algorithm is not allowed")
        key = self._key(header, algorithm)
        try:
            holds = self._models[algorithm].verify(signed, signature, key.key)
        except Exception as error:
            raise AuthenticationError("pdp.jwt.signature", "the token's signature cannot be read") from error
        if holds is not True:
            raise AuthenticationError("pdp.jwt.signature", "the token's signature does not hold")
        return self._claims(_object(payload))

    def _key(self, header: Mapping[str, Any], algorithm: str) -> TrustedKey:
        brought = sorted(set(_FORBIDDEN) & header.keys())
        if brought:
            raise AuthenticationError("pdp.jwt.header", f"the token's header may not have {', '.join(brought)}")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise AuthenticationError("pdp.jwt.kid", "the token names no key")
        key = self.keys.find(kid)
        if key is None:
            raise UnknownKeyError
        if not key.serves(algorithm):
            raise AuthenticationError("pdp.jwt.algorithm", "the token's key is not one for its algorithm")
        return key

    def _claims(self, claims: Mapping[str, Any]) -> _Verified:
        missing = [name for name in ("iss", "aud", "exp", "nbf") if name not in claims]
        if missing:
            raise AuthenticationError("pdp.jwt.claims", f"the token lacks {', '.join(missing)}")
        if claims["iss"] != self._issuer:
            raise AuthenticationError("pdp.jwt.issuer", "the token is of another issuer")
        audience = claims["aud"]
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise AuthenticationError("pdp.jwt.audience", "the token is for somebody else")
        expires, not_before = _seconds(claims, "exp"), _seconds(claims, "nbf")
        issued = _seconds(claims, "iat") if "iat" in claims else None
        self._check_lifetime(expires, not_before, not_before if issued is None else issued)
        subject = claims.get("sub", claims.get("client_id", ""))
        if not isinstance(subject, str) or len(subject) > _SUBJECT:
            raise AuthenticationError("pdp.jwt.claims", "the token's subject is no text")
        scope = claims.get("scope", "")
        scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset()
        caller = Caller(f"jwt:{self._issuer}#{subject}", scopes)
        return _Verified(caller, not_before, expires, issued, self.keys.generation)

    def _check_lifetime(self, expires: float, not_before: float, issued: float) -> None:
        if expires <= not_before:
            raise AuthenticationError("pdp.jwt.claims", "the token ends before it begins")
        if self._longest is not None and expires - min(issued, not_before) > self._longest:
            raise AuthenticationError("pdp.jwt.lifetime", "the token counts for too long")


def _parts(token: str) -> tuple[dict[str, Any], bytes, bytes, bytes]:
    """Header, payload, what is signed, and the signature of a token in compact form."""
    pieces = token.split(".")
    if len(token) > _MAX_TOKEN or len(pieces) != 3:
        raise AuthenticationError("pdp.jwt.malformed", "that is no token in three parts")
    # An empty signature is that of `none`: the algorithm shall be what it is refused for.
    header, payload = (_decoded(piece) for piece in pieces[:2])
    signature = _decoded(pieces[2]) if pieces[2] else b""
    return _object(header), payload, f"{pieces[0]}.{pieces[1]}".encode(), signature


def _decoded(piece: str) -> bytes:
    """The bytes of a part, if it is written in the one way that is right."""
    if not _PART.fullmatch(piece):
        raise AuthenticationError("pdp.jwt.malformed", "a part of the token is not base64url")
    try:
        value = base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))
    except binascii.Error:
        raise AuthenticationError("pdp.jwt.malformed", "a part of the token is not base64url") from None
    if base64.urlsafe_b64encode(value).rstrip(b"=").decode() != piece:
        raise AuthenticationError("pdp.jwt.malformed", "a part of the token has a second spelling")
    return value


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = strict_loads(content.decode())
    except ValueError:
        raise AuthenticationError("pdp.jwt.malformed", "a part of the token is not JSON") from None
    if not isinstance(value, dict):
        raise AuthenticationError("pdp.jwt.malformed", "a part of the token is no object")
    return value


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    # The bounds refuse infinities and NaN as well, and whole numbers that no float can hold.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise AuthenticationError("pdp.jwt.claims", f"the token's {name} is no time")
    return float(value)
