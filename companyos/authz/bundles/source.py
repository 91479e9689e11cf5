"""What a bundle is built of: policy directories, alone or as `policies/<domain>/<service>/<stage>/<version>/`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.bundle import DATA_NAMES, is_test
from companyos.authz.bundles.hashing import parse_json, plain
from companyos.authz.bundles.interface import BundleBuildError, BundleRefusedError
from companyos.authz.bundles.manifest import NAME, version_key
from companyos.authz.policyset import DATA, METADATA, PLAYBOOK
from companyos.config import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ("Unit", "find_units")

MAX_SOURCE_BYTES = 8 * 1024 * 1024
_ENGINES = {".rego": "rego", ".cedar": "cedar"}


@dataclass(frozen=True, slots=True)
class Unit:
    """One policy directory."""

    label: str
    """Where its files go in the bundle."""
    directory: Path
    """Where they come from."""
    domain: str
    """The domain it belongs to; of a directory that is not in the layout, its own name."""
    version: str
    """Its version, from metadata.yaml."""
    extends: bool
    """Whether it adds to the built-in policies."""
    files: Mapping[str, bytes]
    """Policies, metadata and tests by their name within the directory; data apart."""
    data: Mapping[str, Any]
    """What its data.json holds."""

    @property
    def engines(self) -> set[str]:
        """What evaluates its policies."""
        suffixes = {Path(name).suffix for name in self.files}
        return {engine for suffix, engine in _ENGINES.items() if suffix in suffixes}


def find_units(paths: Sequence[Path], stage: str) -> list[Unit]:
    """The policy directories at `paths`, with the built-in policies first if one extends them.

    A path is a policy directory (it holds metadata.yaml), or the root of a layout, or a domain or service in one: then
    of each service the newest version of `stage` is taken.

    Raises:
        BundleBuildError: there is none, or one cannot be used.
    """
    units = [unit for path in paths for unit in _units_at(path.resolve(), stage)]
    if any(unit.extends for unit in units) and all(unit.directory != PLAYBOOK for unit in units):
        units.insert(0, _unit(PLAYBOOK, "playbook", "playbook"))
    labels = [unit.label for unit in units]
    if len(set(labels)) != len(labels):
        raise BundleBuildError("two directories have the same place in the bundle", got=", ".join(labels))
    return units


def _units_at(path: Path, stage: str) -> Iterator[Unit]:
    if not path.is_dir():
        raise BundleBuildError("policy directory not found", got=path)
    if (path / METADATA).is_file():
        yield _placed(path)
        return
    found = sorted(candidate.parent for candidate in path.rglob(METADATA))
    staged = [directory for directory in found if directory.parent.name == stage]
    services: dict[Path, Path] = {}
    for directory in staged:
        service = directory.parent.parent
        newest = services.setdefault(service, directory)
        if _version_key(directory.name, directory) > _version_key(newest.name, newest):
            services[service] = directory
    if not services:
        raise BundleBuildError(
            f"no policies for {stage} in {path}",
            got=", ".join(str(directory.relative_to(path)) for directory in found[:5]) or "no metadata.yaml",
            expected="<domain>/<service>/<stage>/<version>/metadata.yaml",
        )
    for directory in services.values():
        yield _placed(directory)


def _placed(directory: Path) -> Unit:
    """A policy directory by its place: in the layout its last two names are a stage and its version."""
    if directory == PLAYBOOK:
        return _unit(directory, "playbook", "playbook")
    stage, version = directory.parent.name, directory.name
    if stage in {"dev", "staging", "prod"}:
        service, domain = directory.parent.parent.name, directory.parent.parent.parent.name
        unit = _unit(directory, f"{domain}/{service}", domain)
        if _version_key(version, directory) != _version_key(unit.version, directory):
            raise BundleBuildError(
                f"{directory / METADATA} has another version than its place", got=unit.version, expected=version
            )
        return unit
    return _unit(directory, directory.name, directory.name)


def _unit(directory: Path, label: str, domain: str) -> Unit:
    for part in label.split("/"):
        if not NAME.fullmatch(part):
            raise BundleBuildError("a directory's name cannot be used in a bundle", got=part, expected=NAME.pattern)
    content = dict(_contents(directory))
    metadata = _metadata(directory, content)
    data = _data(directory, content.pop(DATA, b"{}"))
    if not any(Path(name).suffix in _ENGINES for name in content):
        raise BundleBuildError(f"no policies in {directory}", expected="*.rego or *.cedar")
    return Unit(label, directory, domain, metadata["version"], metadata.get("extends") == "playbook", content, data)


def _contents(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BundleBuildError(f"{path} is no plain file", expected="no links, no pipes, no devices")
        if path.is_dir():
            continue
        name = path.relative_to(directory).as_posix()
        if name in {DATA, METADATA} or path.suffix in _ENGINES or is_test(name):
            yield name, _read(path)
        elif path.name in DATA_NAMES:
            raise BundleBuildError(f"{path} would be data in a place of its own", expected=f"one {DATA} at the top")
        elif not _is_text(path):
            raise BundleBuildError(
                f"{path} has no place in a bundle",
                expected=f"*.rego, *.cedar, {DATA}, {METADATA}, tests/*.yaml, README, *.md",
            )


def _is_text(path: Path) -> bool:
    hidden = path.name.startswith(".") and ".rego" not in path.name.casefold()
    return hidden or path.suffix == ".md" or path.name.startswith("README")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            raise BundleBuildError(f"{path} is too large", expected=f"at most {MAX_SOURCE_BYTES} bytes")
        content = path.read_bytes()
        content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleBuildError(f"cannot read {path}", got=error, expected="a readable UTF-8 file") from error
    return content


def _metadata(directory: Path, content: Mapping[str, bytes]) -> dict[str, Any]:
    path = directory / METADATA
    if METADATA not in content:
        raise BundleBuildError(
            f"{directory} has no {METADATA}", hint="write `owner: NAME` and `version: 1.0.0` into it"
        )
    value = parse_yaml(content[METADATA].decode(), str(path))
    if not isinstance(value, dict):
        raise BundleBuildError(f"{path} is not a mapping", got=type(value).__name__)
    for key in ("owner", "version"):
        if not isinstance(value.get(key), str) or not value[key]:
            raise BundleBuildError(f"{path} names no {key}", got=value.get(key), expected=f"`{key}: …`, a text")
    if value.get("extends", "playbook") != "playbook":
        raise BundleBuildError(f"{path} extends something unknown", got=value["extends"], expected="playbook")
    return value


def _data(directory: Path, content: bytes) -> dict[str, Any]:
    try:
        value = plain(parse_json(content, str(directory / DATA), "bundle.data"))
    except BundleRefusedError as error:
        raise BundleBuildError(f"{directory / DATA} cannot be used", got=error.got) from error
    if not isinstance(value, dict) or "companyos" in value:
        raise BundleBuildError(f"{directory / DATA} must be an object without the key 'companyos'")
    json.dumps(value, allow_nan=False)
    return value


def _version_key(version: str, directory: Path) -> tuple[int, int, int, int]:
    try:
        return version_key(version)
    except BundleRefusedError as error:
        raise BundleBuildError(f"{directory} has no usable version", got=version, expected=error.expected) from error
