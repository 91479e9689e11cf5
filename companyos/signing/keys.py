"""Ed25519 and ECDSA P-256 keys, found by URI: `file:PATH` or `env:NAME`, both holding PEM.

A private key file is made with mode 0600, and one that anybody else on the machine could read is refused. Ed25519
signatures are raw (RFC 8032), ECDSA ones are DER over SHA-256 (FIPS 186-5) and, as we make them, low-S: of the two
values that hold, the lower one.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from companyos.signing.errors import KeyUnusableError, SignatureInvalidError
from companyos.signing.files import beside, fsync_directory, is_private, write_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ("P256_ORDER", "Algorithm", "PrivateKey", "PublicKey", "low_s", "retired", "rotate", "rotation")

Algorithm = Literal["ed25519", "ecdsa-p256"]

_ECDSA = ec.ECDSA(hashes.SHA256())
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the group of ECDSA P-256 (NIST SP 800-186, 3.2.1.3)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of a key; verifies signatures."""

    key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
    """The key itself, of the cryptography library."""

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Read a PEM public key (SubjectPublicKeyInfo).

        Raises:
            KeyUnusableError: not PEM, or neither Ed25519 nor ECDSA P-256.
        """
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnusableError("not a public key", got=error, expected="PEM, SubjectPublicKeyInfo") from error
        if isinstance(key, ed25519.Ed25519PublicKey):
            return cls(key)
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise KeyUnusableError("key of an unsupported kind", got=type(key).__name__, expected="Ed25519 or ECDSA P-256")

    @classmethod
    def load(cls, uri: str, environ: Mapping[str, str] = os.environ) -> PublicKey:
        """The public key at `uri`, which may hold a public key or the private key it belongs to.

        Raises:
            KeyUnusableError: nothing usable is there.
        """
        pem = _read(uri, environ)
        return PrivateKey.from_pem(pem).public if b"PRIVATE KEY" in pem else cls.from_pem(pem)

    @property
    def algorithm(self) -> Algorithm:
        """Which kind of key it is."""
        return "ed25519" if isinstance(self.key, ed25519.Ed25519PublicKey) else "ecdsa-p256"

    @property
    def key_id(self) -> str:
        """Lower-case hexadecimal SHA-256 of the SubjectPublicKeyInfo."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo (RFC 5280)."""
        return self.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def pem(self) -> str:
        """PEM SubjectPublicKeyInfo."""
        encoding = serialization.Encoding.PEM
        return self.key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key (RFC 8032).

        Raises:
            KeyUnusableError: the key is not Ed25519.
        """
        if not isinstance(self.key, ed25519.Ed25519PublicKey):
            raise KeyUnusableError("raw form is for Ed25519 keys only", got=self.algorithm)
        return self.key.public_bytes_raw()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if `signature` over `data` holds.

        Raises:
            SignatureInvalidError: it does not.
        """
        try:
            if isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, data)
            else:
                self.key.verify(signature, data, _ECDSA)
        except InvalidSignature as error:
            raise SignatureInvalidError(f"signature by key {self.key_id[:16]} does not hold") from error


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key; signs. Its representation never shows the key."""

    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    """The key itself, of the cryptography library."""

    @classmethod
    def generate(cls, algorithm: Algorithm = "ed25519") -> PrivateKey:
        """A new random key."""
        if algorithm == "ed25519":
            return cls(ed25519.Ed25519PrivateKey.generate())
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> PrivateKey:
        """Read an unencrypted PEM private key (PKCS #8).

        Raises:
            KeyUnusableError: not PEM, encrypted, or neither Ed25519 nor ECDSA P-256.
        """
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnusableError("not a private key", got=type(error).__name__, expected="PEM, PKCS #8") from error
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return cls(key)
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise KeyUnusableError("key of an unsupported kind", got=type(key).__name__, expected="Ed25519 or ECDSA P-256")

    @classmethod
    def load(cls, uri: str, environ: Mapping[str, str] = os.environ) -> PrivateKey:
        """The private key at `uri`.

        Raises:
            KeyUnusableError: nothing usable is there, or others may read the file.
        """
        return cls.from_pem(_read(uri, environ, private=True))

    @classmethod
    def load_or_create(cls, uri: str, algorithm: Algorithm = "ed25519") -> PrivateKey:
        """The private key at `uri`; a missing `file:` key is made, and of two racing makers one wins.

        Raises:
            KeyUnusableError: it can neither be read nor made.
        """
        path = _file(uri)
        if path is None or path.exists():
            return cls.load(uri)
        with contextlib.suppress(FileExistsError):
            cls.generate(algorithm).save(path)
        return cls.load(uri)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The raw signature over `data`."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        return low_s(self.key.sign(data, _ECDSA))

    @property
    def pem(self) -> bytes:
        """PEM, PKCS #8, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def save(self, path: Path) -> None:
        """Write the key to a new file with mode 0600, and its public half beside it as `NAME.pub`.

        Raises:
            FileExistsError: there is a file already; keys are never overwritten.
            KeyUnusableError: the file cannot be written.
        """
        try:
            write_secret(path, self.pem)
            beside(path, ".pub").write_text(self.public.pem, encoding="ascii")
        except FileExistsError:
            raise
        except (OSError, ValueError) as error:
            raise KeyUnusableError("cannot write the key", got=error, hint="choose a writable directory") from error


@contextlib.contextmanager
def rotation(uri: str) -> Iterator[tuple[PrivateKey, PrivateKey, Callable[[], None]]]:
    """The old key at the `file:` URI, a new one of its kind, and the call that puts the new one in the old one's place.

    Whoever rotates a key that others sign with has both while this lasts, and nobody else can rotate meanwhile. The old
    public half is kept beside the key as `NAME.<first 16 of its key id>.pub`.

    Raises:
        KeyUnusableError: it is not a `file:` URI, or the key cannot be replaced.
    """
    path = _file(uri)
    if path is None:
        raise KeyUnusableError("only file keys are rotated here", got=_scheme(uri), expected="file:PATH")
    PrivateKey.load(uri)  # refused here, a key that is not there leaves no lock behind
    with _locked(path):
        old = PrivateKey.load(uri)
        new = PrivateKey.generate(old.public.algorithm)

        def put() -> None:
            draft = beside(path, f".{os.urandom(8).hex()}.next")
            try:
                write_secret(draft, new.pem)
                beside(path, f".{old.public.key_id[:16]}.pub").write_text(old.public.pem, encoding="ascii")
                beside(path, ".pub").write_text(new.public.pem, encoding="ascii")
                draft.replace(path)
                fsync_directory(path.parent)
            except OSError as error:
                draft.unlink(missing_ok=True)
                raise KeyUnusableError("cannot replace the key", got=error) from error

        yield old, new, put


def rotate(uri: str) -> tuple[PublicKey, PrivateKey]:
    """Replace the `file:` key at `uri` by a new one of its kind; return the old public and the new private key.

    Add the new public key to the trust policy, and an end to the old one. The key of a ledger is rotated by
    `Ledger.rotate_key`, which signs the log's head with both.

    Raises:
        KeyUnusableError: it is not a `file:` URI, or the key cannot be replaced.
    """
    with rotation(uri) as (old, new, put):
        put()
    return old.public, new


def retired(uri: str) -> tuple[PublicKey, ...]:
    """The public halves that rotations kept beside the `file:` key at `uri`; none for a key that lies elsewhere.

    Raises:
        KeyUnusableError: one of them is not a public key.
    """
    path = _file(uri)
    if path is None:
        return ()
    kept = sorted(path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 16}.pub"))
    return tuple(PublicKey.load(f"file:{file}") for file in kept)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time rotate the key at `path`."""
    import fcntl  # not on every system, and only needed here

    try:
        descriptor = os.open(beside(path, ".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyUnusableError("cannot replace the key", got=error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _file(uri: str) -> Path | None:
    scheme, _, rest = uri.partition(":")
    return Path(rest) if scheme == "file" and rest and "\0" not in rest else None


def _scheme(uri: str) -> str:
    """What may be shown of a key URI: a key pasted in its place must not reach a terminal or a log."""
    scheme, separator, _ = uri.partition(":")
    return f"{scheme}:…" if separator and re.fullmatch(r"[a-z]{1,10}", scheme) else "something else, not shown"


def _read(uri: str, environ: Mapping[str, str], *, private: bool = False) -> bytes:
    scheme, _, rest = uri.partition(":")
    if scheme == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", rest):
        if rest not in environ:
            raise KeyUnusableError(f"no key in the environment variable {rest}", hint=f"set {rest} to a PEM key")
        return environ[rest].encode(errors="replace")
    path = _file(uri)
    if path is None:
        raise KeyUnusableError(
            "not a key URI",
            got=_scheme(uri),
            expected="file:PATH or env:NAME",
            hint="put file: before a path: file:release.pem",
        )
    try:
        if private and not is_private(path):
            raise KeyUnusableError(
                f"others may read or write the private key {path}", expected="mode 0600", hint=f"chmod 600 {path}"
            )
        return path.read_bytes()
    except OSError as error:
        raise KeyUnusableError(
            f"no key at {path}", got=error.strerror, hint=f"companyos keys new --out {path}"
        ) from error


def low_s(signature: bytes) -> bytes:
    """A P-256 signature with the lower of the two values that hold; any other signature as it is.

    Of an ECDSA signature (r, s) anybody can make (r, n - s), which holds as well: who keeps signatures as evidence
    accepts only one of the two.
    """
    if len(signature) == 64:  # Ed25519, raw
        return signature
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return signature
    return encode_dss_signature(r, min(s, P256_ORDER - s)) if 0 < s < P256_ORDER else signature


def b64decode_strict(text: str) -> bytes:
    """Standard Base64 in its one canonical spelling (RFC 4648 section 3.5).

    Raises:
        SignatureInvalidError: another alphabet, stray characters, wrong padding or non-zero trailing bits.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise SignatureInvalidError("not Base64", got=error) from error
    if base64.b64encode(data).decode() != text:
        raise SignatureInvalidError("Base64 is not in its canonical spelling")
    return data
