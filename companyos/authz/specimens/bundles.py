"""The control `AUTHZ-BUNDLE`: bundles that must be refused, each by the rule that it breaks, and bundles that hold."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.archive import MAX_FILES, MAX_PACKED_BYTES, pack
from companyos.authz.bundles.bundle import COMBINATION, SIGNATURES, Bundle, combination
from companyos.authz.bundles.hashing import file_hash
from companyos.authz.bundles.interface import RULES
from companyos.authz.bundles.manifest import MANIFEST, Manifest
from companyos.authz.bundles.promotions import Promoted, Promotions
from companyos.authz.bundles.token import compact, token
from companyos.authz.bundles.trust import BundleKey, BundleTrust
from companyos.authz.bundles.verification import CLOCK_TOLERANCE, judge_bundle
from companyos.controls import Control, Specimen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from companyos.decision import Decision

__all__ = ("ID", "Offer", "bundle_control", "files_of", "key_of", "signed", "trust_of")

ID = "AUTHZ-BUNDLE"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_TOLERATED = NOW + CLOCK_TOLERANCE
_POLICY = b"""package companyos.access

import rego.v1

allow contains {"id": "policy.open", "message": "documents are read"} if input.action == "read"
"""
_SECOND = b"""package companyos.access

import rego.v1

deny contains {"id": "policy.closed", "message": "nothing is deleted"} if input.action == "delete"
"""


@dataclass(frozen=True, slots=True)
class Offer:
    """A bundle that somebody hands over, and what it is judged by."""

    data: bytes
    """The tarball."""
    trust: BundleTrust
    """The keys that count."""
    promotions: Promotions | None = Promotions()  # noqa: RUF009 - frozen
    """What the ledger knows."""
    stage: str | None = None
    """The stage it is loaded for."""
    at: datetime = NOW
    """Now."""


def bundle_control() -> Control:
    """The proof that bundles are verified."""
    return Control(
        id=ID,
        title="Policy bundles that were not signed, changed, out of date or built to do harm",
        check=_check,
        rules=RULES,
        specimens=tuple(_specimens()),
        docs="bundles.md",
        subject="policy-bundle",
    )


def _check(offer: Offer) -> Decision:
    return judge_bundle(offer.data, offer.trust, offer.promotions, stage=offer.stage, at=offer.at)


def key_of(algorithm: str, number: int = 0) -> Any:
    """A private key, made once a process for each number."""
    return _key(algorithm, number)


@cache
def _key(algorithm: str, _: int) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def trust_of(algorithm: str = "EdDSA", *, number: int = 0, **more: Any) -> BundleTrust:
    """A trust configuration of the one key `k`."""
    from cryptography.hazmat.primitives import serialization as form

    public = key_of(algorithm, number).public_key()
    pem = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
    return BundleTrust(keys=(BundleKey(id="k", public_key=pem, algorithm=algorithm, **more),))


def files_of(
    version: str = "2", *, policy: bytes = _POLICY, more: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The files of a small bundle, and `more` by name."""
    manifest = Manifest("access", version, "ann@example.org", NOW + 90 * 24 * _HOUR, ("companyos", "limits"))
    return {
        MANIFEST: manifest.to_bytes(),
        COMBINATION: combination(),
        "access/metadata.yaml": b"owner: platform\nversion: 2\n",
        "access/policy.rego": policy,
        "access/second.rego": _SECOND,
        "data.json": b'{"limits": {"open": ["read"]}}',
        **(more or {}),
    }


def signed(
    files: Mapping[str, bytes],
    algorithm: str = "EdDSA",
    *,
    number: int = 0,
    at: datetime = NOW,
    scope: str | None = None,
) -> bytes:
    """The tarball of files with a signature over them by the key `k`."""
    signatures = token(
        files, key_of(algorithm, number), "k", issued_at=at - _HOUR, expires=NOW + 90 * 24 * _HOUR, scope=scope
    )
    return pack({**files, SIGNATURES: signatures})


def _specimens() -> Iterator[Specimen]:
    for algorithm in ("EdDSA", "ES256", "RS256"):
        yield _clean(f"signed with {algorithm}", partial(_honest, algorithm))
    yield _clean("made by an earlier version of us", partial(_repacked, {COMBINATION: b"package companyos.access\n"}))
    yield _clean("in force in prod", partial(_offered, stage="prod", known=(_promoted("2", "prod"),)))
    yield _clean("newer than what is known", partial(_offered, known=(_promoted("1", "prod", digest="sha256:1"),)))
    yield _clean("as OPA writes names, with a slash", partial(_from_tar, prefix="/"))
    yield _clean("as tar writes names, with a dot", partial(_from_tar, prefix="./"))
    yield from _archives()
    yield from _contents()
    yield from _tokens()
    yield from _headers()
    yield from _keys()
    yield from _places()


def _clean(name: str, build: Callable[[], Offer]) -> Specimen:
    return Specimen(name, lambda _: build())


def _bad(rule: str, name: str, build: Callable[[], Offer]) -> Specimen:
    return Specimen(name, lambda _: build(), f"bundle.{rule}")


def _honest(algorithm: str) -> Offer:
    return Offer(signed(files_of(), algorithm), trust_of(algorithm))


def _offered(*, stage: str | None = None, known: tuple[Promoted, ...] = (), at: datetime = NOW, **more: Any) -> Offer:
    newest = max((entry.time for entry in known), default=None)
    return Offer(signed(files_of(**more)), trust_of(), Promotions(known, newest), stage, at)


def _behind(newest: datetime, at: datetime = NOW) -> Offer:
    """A good bundle, and a ledger of which all that is known is when its newest entry was appended."""
    return Offer(signed(files_of()), trust_of(), Promotions((), newest), at=at)


def _promoted(version: str, stage: str, *, digest: str | None = None, time: datetime = NOW - _HOUR) -> Promoted:
    known = digest or Bundle.from_bytes(pack(files_of())).digest
    return Promoted("access", version, stage, known, "sha256:0", "p-1", "p-2", "2026-09-01T00:00:00Z", "k", time, 0)


def _tar(change: Callable[[tarfile.TarFile], object] = lambda _: None, prefix: str = "") -> bytes:
    """A tarball by another hand than ours, with something added."""
    files = files_of()
    files[SIGNATURES] = token(files, key_of("EdDSA"), "k", issued_at=NOW, expires=NOW + _HOUR)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            _add(tar, f"{prefix}{name}", content)
        change(tar)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes = b"", **more: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


def _from_tar(
    change: Callable[[tarfile.TarFile], object] = lambda _: None,
    alter: Callable[[bytes], bytes] = lambda tar: tar,
    prefix: str = "",
) -> Offer:
    return Offer(gzip.compress(alter(_tar(change, prefix))), trust_of())


def _raw(alter: Callable[[bytes], bytes]) -> Offer:
    return Offer(alter(signed(files_of())), trust_of())


def _archives() -> Iterator[Specimen]:
    for name in ("../evil.rego", "a/../../evil.rego", "..", "a/..", "access/../../../etc/passwd"):
        yield _bad("traversal", f"a name that leads out: {name}", partial(_from_tar, partial(_add, name=name)))
    for name in ("/evil.rego", "//evil.rego", "/etc/passwd", "C:/evil.rego", "/"):
        yield _bad("absolute", f"an absolute name: {name}", partial(_from_tar, partial(_add, name=name)))
    for name in ("evil\\x.rego", "e\nvil.rego", "./evil.rego", "a//b.rego", "é.rego", " .rego", "a/./b.rego"):
        build = partial(_from_tar, partial(_add, name=name))
        yield _bad("name", f"a name that is not plain: {name!a}", build)
    links: dict[str, dict[str, Any]] = {
        "a symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        "a hard link": {"type": tarfile.LNKTYPE, "linkname": "data.json"},
        "a symbolic link in place of data": {"type": tarfile.SYMTYPE, "linkname": "other.json"},
        "a link to a directory": {"type": tarfile.SYMTYPE, "linkname": ".."},
        "a file with the target of a link": {"linkname": "data.json"},
    }
    for name, more in links.items():
        yield _bad("link", name, partial(_from_tar, partial(_add, name="a.rego", **more)))
    kinds = {
        "a character device": tarfile.CHRTYPE,
        "a block device": tarfile.BLKTYPE,
        "a pipe": tarfile.FIFOTYPE,
        "a socket": b"s",
        "a type that nobody knows": b"!",
    }
    for name, kind in kinds.items():
        yield _bad("device", name, partial(_from_tar, partial(_add, name="a.rego", type=kind)))
    extensions = {
        "an extended header": tarfile.XHDTYPE,
        "a global header": tarfile.XGLTYPE,
        "an extended header of Solaris": tarfile.SOLARIS_XHDTYPE,
        "a long name": tarfile.GNUTYPE_LONGNAME,
        "a long link name": tarfile.GNUTYPE_LONGLINK,
        "a sparse file": tarfile.GNUTYPE_SPARSE,
    }
    for name, kind in extensions.items():
        yield _bad("extension", name, partial(_from_tar, partial(_add, name="a.rego", type=kind)))
    for name in ("data.json", "access/policy.rego", "DATA.json", "data.json/x.rego", ".signatures.json"):
        yield _bad("duplicate", f"a second {name}", partial(_from_tar, partial(_add, name=name)))
    yield from _sizes()
    yield _bad("gzip", "a second gzip member", partial(_raw, lambda data: data + data))
    yield _bad("gzip", "rubbish after the end", partial(_raw, lambda data: data + b"x"))
    yield _bad("gzip", "cut short", partial(_raw, lambda data: data[:-9]))
    yield _bad("gzip", "no gzip", partial(_raw, lambda _: b"PK\x03\x04"))
    yield _bad("gzip", "nothing at all", partial(_raw, lambda _: b""))
    yield _bad("tar", "rubbish after the archive", partial(_from_tar, alter=lambda tar: tar + b"x" * 512))
    yield _bad("tar", "no end", partial(_from_tar, alter=lambda tar: tar.rstrip(b"\0")))
    yield _bad("tar", "a wrong checksum", partial(_from_tar, alter=lambda tar: b"x" + tar[1:]))
    yield _bad("tar", "a size that is no number", partial(_from_tar, alter=_with_size(b"\x80" + bytes(10) + b"\1")))
    yield _bad("tar", "a file longer than the archive", partial(_from_tar, alter=_with_size(b"00030000000\0")))


def _with_size(field: bytes) -> Callable[[bytes], bytes]:
    def alter(tar: bytes) -> bytes:
        header = tar[:124] + field + tar[136:148] + b" " * 8 + tar[156:512]
        return header[:148] + b"%06o\0 " % sum(header) + header[156:] + tar[512:]

    return alter


def _sizes() -> Iterator[Specimen]:
    def many(tar: tarfile.TarFile) -> None:
        for number in range(MAX_FILES):
            _add(tar, f"a{number}.rego")

    large = bytes(9 * 1024 * 1024)
    yield _bad("size", "a zip bomb", partial(_from_tar, alter=lambda tar: tar + bytes(60 * 1024 * 1024)))
    yield _bad("size", "more than is unpacked", partial(_raw, lambda _: gzip.compress(bytes(65 * 1024 * 1024), 1)))
    yield _bad("size", "too many files", partial(_from_tar, many))
    yield _bad("size", "a file that is too large", partial(_from_tar, partial(_add, name="a.rego", content=large)))
    yield _bad("size", "a tarball that is too large", partial(_raw, lambda data: data + bytes(MAX_PACKED_BYTES)))
    policy = b"# " + b"x" * 1024 * 1024
    yield _bad("size", "a policy that is too large", partial(_repacked, {"a.rego": policy}))


def _repacked(changes: Mapping[str, bytes | None]) -> Offer:
    """Files changed, and signed anew by a key that counts."""
    files = {name: content for name, content in {**files_of(), **changes}.items() if content is not None}
    return Offer(signed(files), trust_of())


def _manifest(alter: Callable[[dict[str, Any]], object]) -> Offer:
    value = json.loads(files_of()[MANIFEST])
    alter(value)
    return _repacked({MANIFEST: json.dumps(value).encode()})


def _contents() -> Iterator[Specimen]:
    for name in ("policy.wasm", "plan.json", "patch.json", "x.manifest", "run.sh", "access/signatures.json"):
        yield _bad("kind", f"a file of another kind: {name}", partial(_repacked, {name: b"{}"}))
    yield _bad("kind", "no policies", partial(_repacked, {"access/policy.rego": None, "access/second.rego": None}))
    yield _bad("kind", "a policy that is not UTF-8", partial(_unreadable, b"\xff\xfe"))
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "Rego v0": lambda value: value.update(rego_version=0),
        "a version of Rego as text": lambda value: value.update(rego_version="1"),
        "Rego versions file by file": lambda value: value.update(file_rego_versions={"*": 0}),
        "no metadata": lambda value: value.update(metadata={}),
        "no expiry": lambda value: value["metadata"]["companyos"].pop("expires"),
        "an expiry in no zone": lambda value: value["metadata"]["companyos"].update(expires="2027-01-01T00:00:00"),
        "a version that is none": lambda value: value["metadata"]["companyos"].update(version="1.0-beta"),
        "a version with a leading zero": lambda value: value["metadata"]["companyos"].update(version="01"),
        "a name with a path": lambda value: value["metadata"]["companyos"].update(name="../access"),
        "nobody as its author": lambda value: value["metadata"]["companyos"].update(created_by="\u3164"),
        "an engine that nobody knows": lambda value: value["metadata"]["companyos"].update(engine="wasm"),
    }
    for name, alter in changes.items():
        yield _bad("manifest", f"a manifest with {name}", partial(_manifest, alter))
    yield _bad("manifest", "no manifest", partial(_unsigned_files, {MANIFEST: None}))
    yield _bad(
        "manifest", "a manifest with a key twice", partial(_unsigned_files, {MANIFEST: b'{"roots": [], "roots": []}'})
    )
    yield _bad("manifest", "a huge manifest", partial(_unsigned_files, {MANIFEST: b" " * 70_000}))
    data = {
        "data outside of the roots": b'{"other": 1}',
        "data in the place of the rules": b'{"companyos": {}}',
        "a key twice": b'{"limits": 1, "limits": 2}',
        "no JSON": b"{",
        "NaN": b'{"limits": NaN}',
        "a lone surrogate": b'{"limits": "\\ud800"}',
        "nesting without measure": b'{"limits": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    }
    for name, content in data.items():
        yield _bad("data", f"data with {name}", partial(_unsigned_files, {"data.json": content}))
    yield _bad("data", "roots that claim everything", partial(_manifest, lambda value: value.update(roots=[""])))
    yield _bad("data", "two files for one key", partial(_unsigned_files, {"limits/data.json": b'{"open": []}'}))
    metadata = {
        "no owner": b"version: 2\n",
        "an owner that is no text": b"owner: 7\n",
        "no YAML": b"[",
        "a slice of no known kind": b"owner: x\nslice: {action: [read]}\n",
        "a slice that is no list": b"owner: x\nslice: {actions: read}\n",
    }
    for name, content in metadata.items():
        yield _bad("metadata", f"metadata with {name}", partial(_repacked, {"access/metadata.yaml": content}))
    yield _bad("metadata", "a policy that belongs to nobody", partial(_repacked, {"other/policy.rego": _POLICY}))


def _unsigned_files(changes: Mapping[str, bytes | None]) -> Offer:
    """Files that cannot even be hashed; the signature is another's."""
    files = {name: content for name, content in {**files_of(), **changes}.items() if content is not None}
    signatures = token(files_of(), key_of("EdDSA"), "k", issued_at=NOW, expires=NOW + _HOUR)
    return Offer(pack({**files, SIGNATURES: signatures}), trust_of())


def _unreadable(content: bytes) -> Offer:
    return _repacked({"access/policy.rego": content})


def _resigned(
    header: Mapping[str, Any] | None = None,
    *,
    claims: Callable[[dict[str, Any]], object] = lambda _: None,
    text: Callable[[str], str] = lambda token: token,
    key: Any = None,
    trust: BundleTrust | None = None,
) -> Offer:
    """A bundle whose token is made by hand: with its own header, claims, key and spelling."""
    files = files_of()
    payload: dict[str, Any] = {"files": _listed(files), "iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 60}
    claims(payload)
    made = compact({"alg": "EdDSA", "kid": "k", **(header or {})}, payload, key or key_of("EdDSA"))
    signatures = json.dumps({"signatures": [text(made)]}).encode()
    return Offer(pack({**files, SIGNATURES: signatures}), trust or trust_of())


def _listed(files: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [{"name": name, "hash": file_hash(name, content), "algorithm": "SHA-256"} for name, content in files.items()]


def _with_signatures(signatures: bytes | None) -> Offer:
    return Offer(pack({**files_of(), **({} if signatures is None else {SIGNATURES: signatures})}), trust_of())


def _tokens() -> Iterator[Specimen]:
    yield _bad("unsigned", "no signature", partial(_with_signatures, None))
    yield _bad("unsigned", "an empty list of signatures", partial(_with_signatures, b'{"signatures": []}'))
    yield _bad("unsigned", "two signatures", partial(_with_signatures, b'{"signatures": ["a.b.c", "a.b.c"]}'))
    yield _bad("token", "a plugin of OPA's", partial(_with_signatures, b'{"signatures": ["a.b.c"], "plugin": "x"}'))
    yield _bad("token", "signatures that are no JSON", partial(_with_signatures, b"["))
    yield _bad("token", "a token of two parts", partial(_resigned, text=lambda token: token.rpartition(".")[0]))
    yield _bad("token", "Base64 with padding", partial(_resigned, text=lambda token: f"{token}=="))
    yield _bad("token", "Base64 of another spelling", partial(_resigned, text=_respelt))
    yield _bad("token", "a file listed twice", partial(_resigned, claims=lambda it: it["files"].append(it["files"][0])))
    yield _bad("token", "no files", partial(_resigned, claims=lambda payload: payload.pop("files")))
    yield _bad("token", "an expiry as text", partial(_resigned, claims=lambda payload: payload.update(exp="never")))
    yield _bad(
        "token", "another key in its claims", partial(_resigned, claims=lambda payload: payload.update(keyid="x"))
    )
    for weak in ("MD5", "SHA-1", "", "sha256"):
        claims = partial(_with_hash, weak)
        yield _bad("hash", f"a hash by {weak or 'nothing'}", partial(_resigned, claims=claims))
    added = {"a policy": "access/more.rego", "data": "limits/data.json", "tests": "access/tests/a.yaml"}
    for what, name in added.items():
        yield _bad("file_added", f"{what} added", partial(_tampered, {name: b"{}"}))
    yield _bad("file_added", "metadata added", partial(_tampered, {"more/metadata.yaml": b"owner: x\n"}))
    yield _bad("file_added", "YAML data added", partial(_tampered, {"limits/data.yaml": b"more: 1\n"}))
    for name in ("access/policy.rego", "access/second.rego", "data.json"):
        yield _bad("file_removed", f"{name} removed", partial(_tampered, {name: None}))
    for name in ("access/policy.rego", "access/metadata.yaml", "data.json"):
        content = b'{"limits": {"open": ["*"]}}' if name == "data.json" else files_of()[name] + b" "
        yield _bad("file_changed", f"{name} changed", partial(_tampered, {name: content}))
    later = files_of("3")[MANIFEST]
    yield _bad("file_changed", "the manifest changed", partial(_tampered, {MANIFEST: later}))
    yield _bad("file_changed", "two files exchanged", _exchanged)
    yield _bad("file_removed", "a file that never was", partial(_resigned, claims=_with_ghost))


def _respelt(text: str) -> str:
    """The same signature with bits set that nobody reads."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


def _with_hash(algorithm: str, payload: dict[str, Any]) -> None:
    payload["files"] = [{**entry, "algorithm": algorithm} for entry in payload["files"]]


def _with_ghost(payload: dict[str, Any]) -> None:
    payload["files"].append({"name": "ghost.rego", "hash": "00", "algorithm": "SHA-256"})


def _tampered(changes: Mapping[str, bytes | None]) -> Offer:
    """Files changed after they were signed."""
    files = files_of()
    signatures = token(files, key_of("EdDSA"), "k", issued_at=NOW, expires=NOW + _HOUR)
    changed = {name: content for name, content in {**files, **changes}.items() if content is not None}
    return Offer(pack({**changed, SIGNATURES: signatures}), trust_of())


def _exchanged() -> Offer:
    files = files_of()
    one, two = "access/policy.rego", "access/second.rego"
    return _tampered({one: files[two], two: files[one]})


def _headers() -> Iterator[Specimen]:
    brought = {
        "jku": "https://evil.example/keys",
        "x5u": "https://evil.example/chain",
        "x5c": ["MIIB"],
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "x5t": "x",
        "cty": "JWT",
        "typ": "at+jwt",
    }
    for name, value in brought.items():
        yield _bad("header", f"{name} in the header", partial(_resigned, {name: value}))
    for nothing in ("none", "None", "NONE", None):
        yield _bad("algorithm", f"alg: {nothing}", partial(_resigned, {"alg": nothing}))
    yield _bad("algorithm", "alg: none without a signature", partial(_resigned, {"alg": "none"}, text=_stripped))
    for name in ("HS256", "RS256", "ES256", "Ed25519", "EdDSA "):
        yield _bad("algorithm", f"{name} for a key of EdDSA", partial(_resigned, {"alg": name}))
    yield _bad("algorithm", "a key of RS256 taken for a secret", _confused)
    yield _bad("unknown_key", "a key that nobody knows", partial(_resigned, {"kid": "other"}))
    yield _bad("unknown_key", "a key by a path", partial(_resigned, {"kid": "../../k"}))
    yield _bad("unknown_key", "no key named", partial(_resigned, {"kid": None}))
    yield _bad("signature", "signed by another key of that name", partial(_resigned, key=key_of("EdDSA", 1)))
    yield _bad("signature", "one bit of the signature changed", partial(_resigned, text=_flipped))
    yield _bad("signature", "the claims of another token", _transplanted)
    yield _bad("signature", "a signature of zeros", partial(_resigned, text=_zeroed))
    yield _bad("signature", "a signature that is too short", partial(_resigned, text=lambda token: _zeroed(token)[:-4]))


def _stripped(text: str) -> str:
    return text.rpartition(".")[0] + "."


def _flipped(text: str) -> str:
    head, _, signature = text.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _zeroed(text: str) -> str:
    return f"{text.rpartition('.')[0]}.{'A' * 86}"


def _confused() -> Offer:
    """The public key as the secret of an HMAC: a confusion of algorithms."""
    return _resigned({"alg": "HS256"}, key=key_of("RS256"), trust=trust_of("RS256"))


def _transplanted() -> Offer:
    other = json.loads(token(files_of("3"), key_of("EdDSA"), "k", issued_at=NOW, expires=NOW + _HOUR))["signatures"][0]
    return _resigned(text=lambda text: ".".join((*text.split(".")[:2], other.split(".")[2])))


def _keys() -> Iterator[Specimen]:
    for name, apart in {"an hour": _HOUR, "a second": timedelta(seconds=1), "a year": 8760 * _HOUR}.items():
        yield _bad("key_expired", f"a key that expired {name} ago", partial(_windowed, not_after=NOW - apart))
        yield _bad("key_not_yet_valid", f"a key that counts in {name}", partial(_windowed, not_before=NOW + apart))
        yield _bad("key_revoked", f"a key revoked {name} ago", partial(_windowed, revoked_at=NOW - apart))
    yield _bad("scope", "signed for no scope", partial(_windowed, scope="write"))
    yield _bad("scope", "signed for another scope", partial(_scoped, "read", "write"))
    yield _bad("scope", "signed for a scope that is not asked for", partial(_scoped, "write", None))
    future = int((NOW + _HOUR).timestamp())
    yield _bad("clock", "signed in an hour", partial(_resigned, claims=lambda payload: payload.update(iat=future)))
    yield _bad("clock", "valid in an hour", partial(_resigned, claims=lambda payload: payload.update(nbf=future)))
    newer = _promoted("2", "dev", time=NOW + _HOUR)
    yield _bad("clock", "a ledger that is an hour ahead", partial(_offered, known=(newer,)))
    yield _bad("clock", "a ledger ahead whose newest entry is no promotion", partial(_behind, NOW + _HOUR))
    yield _bad(
        "clock",
        "a ledger ahead by a second more than clocks may differ",
        partial(_behind, _TOLERATED + timedelta(seconds=1)),
    )
    yield _clean("a ledger ahead by as much as clocks may differ", partial(_behind, _TOLERATED))
    late = NOW + 90 * 24 * _HOUR
    yield _bad("clock", "a bundle out of date, and a clock set back", partial(_behind, late, at=late - _HOUR))
    yield _bad("expired", "a bundle out of date", partial(_offered, at=NOW + 2200 * _HOUR))
    past = int(NOW.timestamp())
    yield _bad(
        "expired", "a signature out of date", partial(_resigned, claims=lambda payload: payload.update(exp=past))
    )


def _windowed(**window: Any) -> Offer:
    return Offer(signed(files_of()), trust_of(**window))


def _scoped(signed_for: str, asked: str | None) -> Offer:
    return Offer(signed(files_of(), scope=signed_for), trust_of(scope=asked))


def _places() -> Iterator[Specimen]:
    newer = (_promoted("3", "prod", digest="sha256:3"),)
    yield _bad("older", "older than prod's", partial(_offered, known=newer))
    yield _bad("older", "older than prod's, for prod", partial(_offered, stage="prod", known=newer))
    point = (_promoted("2.0.1", "dev", digest="sha256:3"),)
    yield _bad("older", "older by a part of a number", partial(_offered, known=point))
    ten = (_promoted("10", "dev", digest="sha256:3"),)
    yield _bad("older", "2 after 10", partial(_offered, known=ten))
    known = (_promoted("2", "prod"), *(replace(newer[0], stage="prod"),))
    yield _bad("older", "once in force, since replaced", partial(_offered, stage="prod", known=known))
    same = (_promoted("2.0", "dev", digest="sha256:9"),)
    yield _bad("version_reused", "the version with another content", partial(_offered, known=same))
    yield _bad("not_promoted", "never promoted", partial(_offered, stage="prod"))
    staged = (_promoted("2", "dev"), _promoted("2", "staging"))
    yield _bad("not_promoted", "promoted to staging only", partial(_offered, stage="prod", known=staged))
    older = (_promoted("1", "prod", digest="sha256:1"),)
    yield _bad("not_promoted", "newer than what is in force", partial(_offered, stage="prod", known=older))
