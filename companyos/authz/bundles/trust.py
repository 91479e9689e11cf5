"""Whose bundles count: keys by id, each with its algorithm, its window and its scope, in a YAML file.

```yaml
keys:
  - id: release-2026            # what a signature names as kid
    public_key: file:keys/release.pem.pub
    algorithm: EdDSA            # or ES256, RS256: never what a signature says
    not_before: 2026-01-01T00:00:00Z
    not_after: 2027-01-01T00:00:00Z
    scope: write                # optional: what a signature must name as its scope
```
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from companyos.authz.bundles.interface import BundleRefusedError
from companyos.config import parse_yaml
from companyos.errors import ConfigError
from companyos.signing import KeyUnusableError
from companyos.signing.files import is_private

__all__ = ("Algorithm", "BundleKey", "BundleTrust", "algorithm_of", "private_key", "public_key")

Algorithm = Literal["RS256", "ES256", "EdDSA"]
MIN_RSA_BITS = 2048
_MAX_PEM_BYTES = 64 * 1024
_HINT = "each of `keys` has id, public_key and algorithm"


def _no_number(value: object) -> object:
    if isinstance(value, (int, float)):
        raise ValueError("a time is written as text, 2026-01-31T00:00:00Z, and not as a number")  # noqa: TRY004 - pydantic's way
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BundleKey(_Model):
    """One key that may sign bundles."""

    id: str = Field(min_length=1, max_length=200)
    """What a signature names as `kid`; unique."""
    public_key: str
    """URI (`file:…`, relative to the file, or `env:…`) or the PEM text itself."""
    algorithm: Algorithm
    """The only algorithm that counts with this key."""
    not_before: Moment | None = None
    """From when on the key counts."""
    not_after: Moment | None = None
    """Until when the key counts."""
    revoked_at: Moment | None = None
    """From when on the key does not count any more, nor what it signed before: nobody can prove when that was."""
    scope: str | None = None
    """The scope that its signatures must name; without it they must name none."""

    def check_at(self, moment: datetime) -> None:
        """Return if the key counts at `moment`.

        Raises:
            BundleRefusedError: it does not, and why.
        """
        if self.revoked_at is not None and moment >= self.revoked_at:
            raise BundleRefusedError("bundle.key_revoked", f"key {self.id} is revoked", got=self.revoked_at)
        if self.not_before is not None and moment < self.not_before:
            raise BundleRefusedError(
                "bundle.key_not_yet_valid",
                f"key {self.id} does not count yet",
                got=_apart(self.not_before, moment, "before its not_before"),
                hint="check the clock of this machine",
            )
        if self.not_after is not None and moment > self.not_after:
            raise BundleRefusedError(
                "bundle.key_expired",
                f"key {self.id} does not count any more",
                got=_apart(self.not_after, moment, "after its not_after"),
                hint="sign the bundle with a key that counts, or check the clock of this machine",
            )


class BundleTrust(_Model):
    """The keys whose bundles count."""

    keys: tuple[BundleKey, ...]
    """The keys."""
    base: Path = Path()
    """Directory that relative `file:` URIs start from."""

    @model_validator(mode="after")
    def _ids_are_unique(self) -> BundleTrust:
        if len({key.id for key in self.keys}) != len(self.keys):
            raise ValueError("ids of keys must be unique")
        return self

    @classmethod
    def load(cls, path: Path) -> BundleTrust:
        """Read a trust configuration, every key in it included.

        Raises:
            ConfigError: it cannot be read or does not validate, or a key is not of its algorithm.
        """
        try:
            value = parse_yaml(path.read_text(encoding="utf-8"), str(path))
            trust = cls.model_validate({**value, "base": path.parent})
        except ValidationError as error:
            raise _unusable(error, path) from error
        except (OSError, UnicodeDecodeError, TypeError) as error:
            raise ConfigError(f"not a usable trust configuration: {path}", got=error, hint=_HINT) from error
        for key in trust.keys:
            trust.public(key)
        return trust

    def key(self, identity: str) -> BundleKey:
        """The key of that id.

        Raises:
            BundleRefusedError: there is none.
        """
        for key in self.keys:
            if key.id == identity:
                return key
        known = ", ".join(key.id for key in self.keys) or "no key"
        raise BundleRefusedError(
            "bundle.unknown_key", "signed by a key that nobody knows", got=identity, expected=known
        )

    def public(self, key: BundleKey) -> Any:
        """The public key itself.

        Raises:
            KeyUnusableError: it cannot be read, or is not of its algorithm.
        """
        return public_key(key.public_key, key.algorithm, self.base)


def public_key(text: str, algorithm: Algorithm, base: Path = Path()) -> Any:
    """The public key at a URI or in a PEM text; a private key's public half is taken, too.

    Raises:
        KeyUnusableError: it cannot be read, or is not of the algorithm.
    """
    pem = text.encode() if "BEGIN" in text else _pem(text, base, private=False)
    try:
        if b"PRIVATE KEY" in pem:
            key: Any = serialization.load_pem_private_key(pem, password=None).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusableError("not a public key", got=type(error).__name__, expected="PEM") from error
    _check_kind(key, algorithm)
    return key


def private_key(uri: str, base: Path = Path()) -> Any:
    """The private key at a URI: a PEM file that nobody else may read, or an environment variable.

    Raises:
        KeyUnusableError: it cannot be read, is encrypted, or is of a kind that signs no bundles.
    """
    pem = _pem(uri, base, private=True)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusableError("not a private key", got=type(error).__name__, expected="PEM, not encrypted") from error
    algorithm_of(key)
    return key


def algorithm_of(key: Any) -> Algorithm:
    """The algorithm that a key of this kind signs with.

    Raises:
        KeyUnusableError: none that is taken.
    """
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return "RS256"
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return "ES256"
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "EdDSA"
    raise KeyUnusableError(
        "key of a kind that signs no bundles",
        got=type(key).__name__,
        expected=f"RSA of {MIN_RSA_BITS} bits or more, ECDSA P-256, Ed25519",
    )


def _check_kind(key: Any, algorithm: Algorithm) -> None:
    if (kind := algorithm_of(key)) != algorithm:
        raise KeyUnusableError("key is not of its algorithm", got=kind, expected=algorithm)


def _pem(uri: str, base: Path, *, private: bool) -> bytes:
    scheme, _, rest = uri.partition(":")
    if scheme == "env" and rest.isidentifier():
        if rest not in os.environ:
            raise KeyUnusableError(f"no key in the environment variable {rest}", hint=f"set {rest} to a PEM key")
        return os.environ[rest].encode(errors="replace")
    if scheme != "file" or not rest or "\0" in rest:
        raise KeyUnusableError(
            "not a key URI", expected="file:PATH or env:NAME", hint="put file: before a path: file:release.pem"
        )
    path = base / rest
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_PEM_BYTES)
        if private:
            _check_private(pem, path)
    except OSError as error:
        hint = f"companyos keys new --out {path}" if private else "mend public_key; a path is relative to its file"
        raise KeyUnusableError(f"no key at {path}", got=error.strerror, hint=hint) from error
    return pem


def _check_private(pem: bytes, path: Path) -> None:
    if b"-----BEGIN PUBLIC KEY-----" in pem:
        raise KeyUnusableError(f"{path} is the public half of a key", expected="the private key that belongs to it")
    if not is_private(path):
        raise KeyUnusableError(f"others may read or write the private key {path}", hint=f"chmod 600 {path}")


def _unusable(error: ValidationError, path: Path) -> ConfigError:
    """The first thing that is wrong in a trust configuration, a misspelt key before the one that it leaves missing."""
    problems = error.errors(include_url=False, include_context=False)
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"]) or "keys"
    return ConfigError(
        f"not a usable trust configuration: {path}: {where}",
        got=repr(first["input"]),
        expected=first["msg"],
        hint=_HINT,
    )


def _apart(bound: datetime, moment: datetime, what: str) -> str:
    apart = abs(bound - moment)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} is {int(apart.total_seconds())} s {what}"
