"""A bundle in memory: its files by name, its manifest, and the policies in it. Nothing here says that it is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.archive import pack, unpack
from companyos.authz.bundles.hashing import file_hash, parse_structured, plain
from companyos.authz.bundles.interface import BundleRefusedError
from companyos.authz.bundles.manifest import MANIFEST, Manifest
from companyos.authz.engines._cedar_policies import CEDAR_PLAYBOOK, SCHEMA
from companyos.authz.engines.embedded import SUFFIXES
from companyos.authz.layout import MAX_FILE, METADATA, PLAYBOOK, UNSCOPED
from companyos.authz.policyset import PolicySet
from companyos.authz.slices import KEYS, Slice
from companyos.canonical import digest
from companyos.config import parse_yaml
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("COMBINATION", "DATA_NAMES", "SCOPE", "SIGNATURES", "Bundle", "combination", "is_test", "read_bytes")

SIGNATURES = ".signatures.json"
"""Name of the signatures in a bundle."""
COMBINATION = "decision.rego"
"""Name of the fixed combination in a bundle, so that any OPA can evaluate it; our engine brings its own."""
DATA_NAMES = frozenset({"data.json", "data.yaml", "data.yml"})
"""Names of data files, whose directories are the place of their value in `data`, as OPA has it."""
SCOPE = "companyos_scope"
"""The key of `data` that the fixed combination reads; our engine finds its value itself."""
MAX_SIGNATURES_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a tarball holds."""

    files: Mapping[str, bytes]
    """Every file by name, but for the signatures."""
    manifest: Manifest
    """What it says of itself."""
    signatures: bytes | None = None
    """`.signatures.json`, None if it is not signed."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """Read a tarball in memory; its signature is not looked at.

        Raises:
            BundleRefusedError: named by its rule.
        """
        files = unpack(data)
        signatures = files.pop(SIGNATURES, None)
        if signatures is not None and len(signatures) > MAX_SIGNATURES_BYTES:
            raise BundleRefusedError("bundle.size", "the signatures are too large")
        if MANIFEST not in files:
            raise BundleRefusedError("bundle.manifest", "there is none", hint="companyos bundle build")
        manifest = Manifest.from_bytes(files[MANIFEST])
        for name, content in files.items():
            _check_kind(name, content, manifest.engine)
        bundle = cls(files, manifest, signatures)
        bundle.policy_set()
        bundle.tests()
        return bundle

    @property
    def digest(self) -> str:
        """`sha256:…` over the hashes of all files but the signatures: what a version of a bundle is known by."""
        return digest({name: file_hash(name, content) for name, content in self.files.items()})

    def to_bytes(self) -> bytes:
        """The tarball: the same bytes for the same files."""
        signed = {} if self.signatures is None else {SIGNATURES: self.signatures}
        return pack({**self.files, **signed})

    def data(self) -> dict[str, Any]:
        """What policies see as `data` beside the rules, without what is there for the fixed combination alone.

        Raises:
            BundleRefusedError: two files disagree, or something lies outside of the manifest's roots.
        """
        merged: dict[str, Any] = {}
        for name, content in sorted(self.files.items()):
            directory, _, last = name.rpartition("/")
            if last in DATA_NAMES:
                value = plain(parse_structured(name, content))
                for key in reversed(directory.split("/") if directory else []):
                    value = {key: value}
                if not isinstance(value, dict):
                    raise BundleRefusedError("bundle.data", f"{name} is no object")
                _merge(merged, value, name)
        if "companyos" in merged or not isinstance(merged.get(SCOPE, []), list):
            raise BundleRefusedError("bundle.data", "the keys of the rules are taken", got="companyos")
        _check_roots(merged, self.manifest.roots)
        merged.pop(SCOPE, None)
        return merged

    def scopes(self) -> list[Any] | None:
        """What another OPA is told that requests must say of their resource's place; None if it is told nothing."""
        value = parse_structured("data.json", self.files.get("data.json", b"{}"))
        return plain(value.get(SCOPE)) if isinstance(value, dict) else None

    def sources(self) -> dict[str, str]:
        """The policies' text by name, without the fixed combination; with the schema, where Cedar has one.

        Raises:
            BundleRefusedError: one is not UTF-8.
        """
        suffix = SUFFIXES[self.manifest.engine]
        found = {
            name: _decode(name, content)
            for name, content in self.files.items()
            if name.endswith(suffix) or (self.manifest.engine == "cedar" and _is_schema(name))
        }
        found.pop(COMBINATION, None)
        return found

    def tests(self) -> dict[str, str]:
        """The declared tests' text by name.

        Raises:
            BundleRefusedError: one is not UTF-8.
        """
        return {name: _decode(name, content) for name, content in self.files.items() if is_test(name)}

    def policy_set(self) -> PolicySet:
        """The policies as an engine takes them; whether to trust them is for `load_bundle` to say.

        Raises:
            BundleRefusedError: nothing to decide by, or metadata without an owner.
        """
        sources = self.sources()
        if not any(name.endswith(SUFFIXES[self.manifest.engine]) for name in sources):
            raise BundleRefusedError("bundle.kind", "there are no policies", expected=SUFFIXES[self.manifest.engine])
        metadata = dict(self._metadata())
        slices = {directory: _slice(directory, values) for directory, values in metadata.items()}
        declared = {name: slices[_home(name, slices)] for name in sources}
        owners = tuple(values["owner"] for values in metadata.values())
        return PolicySet(sources, self.data(), owners, self.digest, self._extends_playbook(), declared)

    def _metadata(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What each `metadata.yaml` says, by its directory."""
        for name, content in sorted(self.files.items()):
            directory, _, last = name.rpartition("/")
            if last == METADATA:
                try:
                    value = parse_yaml(_decode(name, content), name)
                except ConfigError as error:
                    raise BundleRefusedError("bundle.metadata", f"{name} is not YAML", got=error.what) from error
                if not isinstance(value, dict) or not isinstance(value.get("owner"), str) or not value["owner"]:
                    raise BundleRefusedError("bundle.metadata", f"{name} names no owner")
                yield directory, value

    def _extends_playbook(self) -> bool:
        playbook = CEDAR_PLAYBOOK if self.manifest.engine == "cedar" else PLAYBOOK
        files = playbook.rglob(f"*{SUFFIXES[self.manifest.engine]}")
        rules = {f"playbook/{path.relative_to(playbook)}": path.read_bytes() for path in files}
        return rules.items() <= self.files.items()


def _slice(directory: str, metadata: Mapping[str, Any]) -> Slice:
    """What the policies of a directory may speak about: by its place in a layout and its own word."""
    values = metadata.get("slice", {})
    if not isinstance(values, dict) or not values.keys() <= set(KEYS):
        raise BundleRefusedError("bundle.metadata", f"{directory}: slice is not valid", expected=", ".join(KEYS))
    for key, names in values.items():
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise BundleRefusedError("bundle.metadata", f"{directory}: slice.{key} is no list of texts")
    declared = Slice.of(frozenset(values[key]) if key in values else None for key in KEYS)
    domain, separator, service = directory.partition("/")
    if not separator:
        return declared
    implied = (None if part in UNSCOPED else frozenset({part}) for part in (domain, service))
    return declared.restrict(Slice(None, None, *implied))


def _home(name: str, directories: Mapping[str, object]) -> str:
    """The directory with a `metadata.yaml` that a policy belongs to: the nearest."""
    directory = name
    while directory:
        directory = directory.rpartition("/")[0]
        if directory in directories:
            return directory
    raise BundleRefusedError(
        "bundle.metadata", f"{name} belongs to nobody", expected=f"a {METADATA} in a directory above"
    )


def combination() -> bytes:
    """The fixed combination of this version."""
    return (Path(__file__).parent.parent / "engines" / COMBINATION).read_bytes()


def is_test(name: str) -> bool:
    """Whether a file holds tests of its bundle: YAML in a directory `tests`."""
    return name.endswith(".yaml") and "tests" in name.split("/")[:-1] and name.rpartition("/")[2] not in DATA_NAMES


def _is_schema(name: str) -> bool:
    return name.rpartition("/")[2] == SCHEMA


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a tarball, no more of them than can be one.

    Raises:
        BundleRefusedError: it is larger.
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the bundle {path}", got=error.strerror, expected="a .tar.gz") from error
    if len(data) > limit:
        raise BundleRefusedError("bundle.size", "too large", got=path, expected=f"at most {limit} bytes")
    return data


def _check_kind(name: str, content: bytes, engine: str) -> None:
    last = name.rpartition("/")[2]
    if name == MANIFEST or last in DATA_NAMES or last == METADATA or is_test(name):
        return
    extra = name == COMBINATION if engine == "rego" else _is_schema(name)
    if not (name.endswith(SUFFIXES[engine]) or extra):
        raise BundleRefusedError(
            "bundle.kind",
            "a file that has no place in a bundle",
            got=name,
            expected=f"*{SUFFIXES[engine]}, data.json, {METADATA}, tests/*.yaml",
        )
    if len(content) > MAX_FILE:
        raise BundleRefusedError("bundle.size", "a policy is too large", got=name, expected=f"at most {MAX_FILE} bytes")


def _check_roots(data: Mapping[str, Any], roots: tuple[str, ...]) -> None:
    """As OPA: every piece of data and every package lies under a root, and no root under another."""
    listed = [tuple(root.strip("/").split("/")) for root in roots]
    if ("",) in listed:
        raise BundleRefusedError("bundle.data", "the roots claim everything", expected="the roots that it needs")
    if ("companyos",) not in listed:
        raise BundleRefusedError("bundle.data", "the roots do not hold the rules", expected="companyos among them")
    if any(one == other[: len(one)] for at, one in enumerate(listed) for to, other in enumerate(listed) if at != to):
        raise BundleRefusedError("bundle.data", "two roots overlap", got=", ".join(roots))
    _check_under(data, (), listed)


def _check_under(data: Mapping[str, Any], path: tuple[str, ...], roots: list[tuple[str, ...]]) -> None:
    for key, value in data.items():
        here = (*path, key)
        if any(root == here[: len(root)] for root in roots):
            continue
        if not isinstance(value, dict) or not any(here == root[: len(here)] for root in roots):
            raise BundleRefusedError("bundle.data", "data lies outside of the roots", got="/".join(here))
        _check_under(value, here, roots)


def _merge(into: dict[str, Any], more: Mapping[str, Any], name: str) -> None:
    for key, value in more.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value, name)
        elif key in into:
            raise BundleRefusedError("bundle.data", f"{name} says again what another file says", got=key)
        else:
            into[key] = value


def _decode(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BundleRefusedError("bundle.kind", f"{name} is not UTF-8", got=error) from error
