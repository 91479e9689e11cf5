"""The control `AUTHZ-PDP-AUTH`: credentials that the decision point must refuse, and some that it must admit.

Keys and tokens are made anew each time; nothing that looks like a secret is in the tree.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding, Severity
from companyos.server.apikeys import ApiKeys, new_key
from companyos.server.authenticate import Authenticator
from companyos.server.interface import AuthenticationError, KeysUnavailableError
from companyos.server.jwks import IssuerKeys
from companyos.server.tokens import TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ("CONTROL", "ID", "Desk", "check")

ID = "AUTHZ-PDP-AUTH"
ISSUER = "https://id.example.com"
AUDIENCE = "companyos-pdp"
SCOPE = "decide"
LEEWAY = 30
LONGEST = 3600
RULES = {
    "pdp.auth.missing": "A request without a credential is refused.",
    "pdp.auth.ambiguous": "A request with two credentials is refused, whichever of them is good.",
    "pdp.key.unknown": "An API key that is unknown, or whose secret is wrong, is refused.",
    "pdp.key.expired": "An API key counts no longer than its record says.",
    "pdp.key.not_yet_valid": "An API key counts no earlier than its record says.",
    "pdp.jwt.malformed": "A token that is not written in the one right way is refused.",
    "pdp.jwt.algorithm": "Only allowed algorithms count, and only with keys of their kind; never `none`, never HS.",
    "pdp.jwt.header": "A token may not bring its own key, nor say where one is.",
    "pdp.jwt.kid": "A token names a key of the issuer.",
    "pdp.jwt.signature": "A signature holds under the issuer's key, over what was signed.",
    "pdp.jwt.claims": "Issuer, audience, expiry and not-before are there, and are what they should be.",
    "pdp.jwt.issuer": "A token is of the one issuer that is trusted.",
    "pdp.jwt.audience": "A token is for this decision point.",
    "pdp.jwt.expired": "A token counts no longer than it says, but for the leeway.",
    "pdp.jwt.not_yet_valid": "A token counts no earlier than it says, but for the leeway.",
    "pdp.jwt.issued": "A token was not issued in the future, but for the leeway.",
    "pdp.jwt.lifetime": "A token counts for no longer than the settings allow.",
    "pdp.jwt.scope": "A token has the scope that is required.",
}


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a caller shows, and to whom."""

    authenticator: Authenticator
    headers: list[tuple[bytes, bytes]]


class Desk:
    """An authenticator with an issuer of its own, whose keys are a file, and API keys that are good, old and early.

    For tokens its clock stands still, so that a second more or less makes the difference on the slowest machine.
    """

    def __init__(self, scratch: Path) -> None:
        self._keys = _issuer()
        path = scratch / "jwks.json"
        known = [
            {**self._keys[kid].as_dict(private=False), "kid": kid, "use": "sig"} for kid in ("one", "two", "three")
        ]
        path.write_text(json.dumps({"keys": known}), encoding="utf-8")
        self.now = int(time.time())
        """The time at which tokens are judged."""
        now = datetime.now(UTC)
        hour = timedelta(hours=1)
        made = {
            "good": new_key("good", not_before=now - hour, expires=now + hour),
            "old": new_key("old", expires=now - timedelta(seconds=1)),
            "early": new_key("early", not_before=now + hour),
        }
        self.api_keys: dict[str, str] = {name: key for name, (key, _) in made.items()}
        """API keys by what they are."""
        tokens = TokenVerifier(
            IssuerKeys(f"file:{path}"),
            issuer=ISSUER,
            audience=AUDIENCE,
            algorithms=("ES256", "EdDSA", "RS256"),
            leeway_seconds=LEEWAY,
            required_scope=SCOPE,
            longest_seconds=LONGEST,
            clock=lambda: self.now,
        )
        self.authenticator = Authenticator(ApiKeys(record for _, record in made.values()), tokens)
        """Who admits."""

    def public_pem(self) -> bytes:
        """The RSA key as everybody can have it: what a confused verifier would take for a shared secret."""
        return bytes(self._keys["three"].as_pem(private=False))

    def token(
        self,
        claims: Mapping[str, Any] | None = None,
        *,
        without: str = "",
        header: Mapping[str, Any] | None = None,
        kid: str = "one",
        signer: str = "",
    ) -> str:
        """A token that is good, but for what is changed."""
        algorithm = {"one": "ES256", "two": "EdDSA", "three": "RS256"}.get(kid, "ES256")
        head = {"alg": algorithm, "kid": kid, "typ": "JWT", **(header or {})}
        signing = _signing(head, claims_at(self.now, claims, without))
        models = require("joserfc.jws", extra="server").JWSRegistry.algorithms
        return f"{signing}.{encoded(models[algorithm].sign(signing.encode(), self._keys[signer or kid]))}"

    def forged(self, algorithm: str, signature: Callable[[bytes], bytes]) -> str:
        """A token under another algorithm, signed by whatever is given."""
        signing = _signing({"alg": algorithm, "kid": "three"}, claims_at(self.now))
        return f"{signing}.{encoded(signature(signing.encode()))}"


@cache
def _issuer() -> dict[str, Any]:
    """Keys of an issuer and of a stranger, made once in a process."""
    jwk = require("joserfc.jwk", extra="server")
    return {
        "one": jwk.ECKey.generate_key("P-256"),
        "two": jwk.OKPKey.generate_key("Ed25519"),
        "three": jwk.RSAKey.generate_key(2048),
        "stranger": jwk.ECKey.generate_key("P-256"),
    }


def claims_at(now: int, changed: Mapping[str, Any] | None = None, without: str = "") -> dict[str, Any]:
    """Claims that are good at a moment, but for what is changed or left out."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "orders", "scope": SCOPE, "nbf": now - 5, "exp": now + 300}
    return {key: value for key, value in {**claims, **(changed or {})}.items() if key != without}


def encoded(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def check(offer: _Offer) -> Decision:
    """Whether a credential is admitted."""
    try:
        caller = offer.authenticator.authenticate(offer.headers)
    except AuthenticationError as error:
        return Decision.denied(ID, error.what, findings=[Finding(error.rule, error.what, Severity.CRITICAL)])
    except KeysUnavailableError as error:
        return Decision.undetermined(f"{ID}.keys", error.what)
    return Decision.allowed(ID, caller.id)


def _signing(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"


def _bearer(name: str, make: Callable[[Desk], str], violates: str | None = None) -> Specimen:
    return _case(name, lambda desk: [(b"authorization", f"Bearer {make(desk)}".encode())], violates)


def _api_key(name: str, make: Callable[[Desk], str], violates: str | None = None) -> Specimen:
    return _case(name, lambda desk: [(b"x-api-key", make(desk).encode())], violates)


def _case(name: str, make: Callable[[Desk], list[tuple[bytes, bytes]]], violates: str | None) -> Specimen:
    def build(scratch: Path) -> _Offer:
        desk = Desk(scratch)
        return _Offer(desk.authenticator, make(desk))

    return Specimen(name, build, violates)


def _timed(name: str, violates: str | None = None, **claims: Any) -> Specimen:
    """A token whose times are so many seconds from now; what is no number is taken as it is."""

    def make(desk: Desk) -> str:
        moved = {key: desk.now + value if isinstance(value, int) else value for key, value in claims.items()}
        return desk.token(moved)

    return _bearer(name, make, violates)


def _confused(desk: Desk) -> str:
    """HS256 under the text of the public key, the oldest trick."""
    return desk.forged("HS256", lambda signed: hmac.new(desk.public_pem(), signed, hashlib.sha256).digest())


def _swapped(desk: Desk) -> str:
    """The signature of one token under the claims of another."""
    head, _, signature = desk.token().split(".")
    return f"{head}.{desk.token({'sub': 'root'}).split('.')[1]}.{signature}"


def _respelt(desk: Desk) -> str:
    """The same token with the unused bits of its last character set: a second spelling."""
    while True:
        token = desk.token(kid="two")
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet.index(token[-1])
        if last % 16 == 0:
            return token[:-1] + alphabet[last + 1]


def _keys_of(desk: Desk) -> list[tuple[bytes, bytes]]:
    good = desk.api_keys["good"].encode()
    return [(b"x-api-key", good), (b"authorization", b"Bearer " + good)]


_JWT_SPECIMENS = (
    _bearer("a token under ES256", lambda desk: desk.token()),
    _bearer("a token under EdDSA", lambda desk: desk.token(kid="two")),
    _bearer("a token under RS256, for several", lambda desk: desk.token({"aud": ["x", AUDIENCE]}, kid="three")),
    _timed("a token that expired a second less than the leeway ago", exp=1 - LEEWAY, nbf=-300),
    _timed("a token that counts in a second less than the leeway", nbf=LEEWAY - 1),
    _timed("a token issued in a second less than the leeway", iat=LEEWAY - 1),
    _timed("a token that counts for as long as it may", iat=0, nbf=0, exp=LONGEST),
    _bearer("no token at all", lambda _: "hello", "pdp.jwt.malformed"),
    _bearer("a token in a second spelling", _respelt, "pdp.jwt.malformed"),
    _bearer("no signature, algorithm none", lambda desk: desk.forged("none", lambda _: b""), "pdp.jwt.algorithm"),
    _bearer("none, oddly spelt", lambda desk: desk.forged("nOnE", lambda _: b""), "pdp.jwt.algorithm"),
    _bearer("the public key as a shared secret", _confused, "pdp.jwt.algorithm"),
    _bearer("an algorithm the key is not for", lambda desk: desk.token(header={"alg": "RS256"}), "pdp.jwt.algorithm"),
    _bearer("an algorithm nobody allowed", lambda desk: desk.token(header={"alg": "PS256"}), "pdp.jwt.algorithm"),
    *(
        _bearer(f"the header {name}", lambda desk, name=name: desk.token(header={name: "x"}), "pdp.jwt.header")  # type: ignore[misc]
        for name in ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip")
    ),
    _bearer("a key nobody knows", lambda desk: desk.token(kid="stranger"), "pdp.jwt.kid"),
    _bearer("no key named", lambda desk: desk.token(header={"kid": None}), "pdp.jwt.kid"),
    _bearer("a stranger's signature", lambda desk: desk.token(signer="stranger"), "pdp.jwt.signature"),
    _bearer("another token's claims", _swapped, "pdp.jwt.signature"),
    *(
        _bearer(f"no {name}", lambda desk, name=name: desk.token(without=name), "pdp.jwt.claims")  # type: ignore[misc]
        for name in ("iss", "aud", "exp", "nbf")
    ),
    _bearer("an expiry that is a text", lambda desk: desk.token({"exp": "9999999999"}), "pdp.jwt.claims"),
    _bearer("another issuer", lambda desk: desk.token({"iss": f"{ISSUER}/"}), "pdp.jwt.issuer"),
    _bearer("somebody else's token", lambda desk: desk.token({"aud": "billing"}), "pdp.jwt.audience"),
    _timed("a clock an hour ahead", "pdp.jwt.not_yet_valid", nbf=3600, exp=3900),
    _timed("a clock a second more than the leeway ahead", "pdp.jwt.not_yet_valid", nbf=LEEWAY + 1),
    _timed("a clock an hour behind", "pdp.jwt.expired", nbf=-3900, exp=-3600),
    _timed("a clock half an hour behind", "pdp.jwt.expired", nbf=-3000, exp=-1800),
    _timed("a clock a second more than the leeway behind", "pdp.jwt.expired", nbf=-300, exp=-LEEWAY - 1),
    _timed("expired exactly the leeway ago", "pdp.jwt.expired", nbf=-300, exp=-LEEWAY),
    _timed("issued in an hour", "pdp.jwt.issued", iat=3600),
    _timed("issued in a second more than the leeway", "pdp.jwt.issued", iat=LEEWAY + 1),
    _timed("issued at a time that is a text", "pdp.jwt.claims", iat="yesterday"),
    _timed("over before it begins", "pdp.jwt.claims", nbf=10, exp=5),
    _timed("over as it begins", "pdp.jwt.claims", nbf=10, exp=10),
    _timed("no end", "pdp.jwt.malformed", exp=float("inf")),
    _timed("an end that is no number", "pdp.jwt.malformed", exp=float("nan")),
    _timed("an end that no number holds", "pdp.jwt.claims", exp=10**400),
    _timed("an end after the year 9999", "pdp.jwt.claims", exp=10**12),
    _timed("a beginning before all times", "pdp.jwt.claims", nbf=-(10**11)),
    _timed("a second longer than it may be", "pdp.jwt.lifetime", nbf=0, exp=LONGEST + 1),
    _timed("longer than it may be since it was issued", "pdp.jwt.lifetime", iat=-LONGEST, exp=1),
    _timed("a token for ever", "pdp.jwt.lifetime", exp=10**9),
    _bearer("a token without the scope", lambda desk: desk.token({"scope": "read"}), "pdp.jwt.scope"),
)
_KEY_SPECIMENS = (
    _api_key("a good API key", lambda desk: desk.api_keys["good"]),
    _bearer("a good API key as bearer", lambda desk: desk.api_keys["good"]),
    _api_key("an old API key", lambda desk: desk.api_keys["old"], "pdp.key.expired"),
    _api_key("an API key before its time", lambda desk: desk.api_keys["early"], "pdp.key.not_yet_valid"),
    _api_key("an API key of nobody", lambda _: new_key("nobody")[0], "pdp.key.unknown"),
    _api_key(
        "a known id with another secret",
        lambda desk: desk.api_keys["good"][:13] + new_key("x")[0][13:],
        "pdp.key.unknown",
    ),
    _api_key("an empty API key", lambda _: "", "pdp.key.unknown"),
    _case("no credential", lambda _: [], "pdp.auth.missing"),
    _case("another scheme", lambda _: [(b"authorization", b"Basic eDp5")], "pdp.auth.missing"),
    _case("two credentials", _keys_of, "pdp.auth.ambiguous"),
)
CONTROL = Control(
    id=ID,
    title="Callers of the decision point that do not show who they are",
    check=check,
    rules=RULES,
    specimens=_JWT_SPECIMENS + _KEY_SPECIMENS,
    docs="server.md",
    subject="credential",
    severity=Severity.CRITICAL,
)
"""The proof of the decision point's authentication."""
