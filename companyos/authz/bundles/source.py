"""What a bundle is built of: policy directories, alone or as `policies/<domain>/<service>/<stage>/<version>/`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.bundle import DATA_NAMES, is_test
from companyos.authz.bundles.hashing import parse_json, plain
from companyos.authz.bundles.interface import BundleBuildError, BundleRefusedError
from companyos.authz.engines._cedar_policies import CEDAR_PLAYBOOK, SCHEMA
from companyos.authz.engines.embedded import SUFFIXES
from companyos.authz.layout import METADATA, STAGES, find_places
from companyos.authz.policyset import DATA, RESERVED_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from companyos.authz.layout import Place

__all__ = ("Unit", "find_units")

MAX_SOURCE_BYTES = 8 * 1024 * 1024
_PART = re.compile(r"[a-z0-9_][a-z0-9._-]{0,62}")
_ENGINES = {suffix: engine for engine, suffix in SUFFIXES.items()}


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

    A path is a policy directory (it holds metadata.yaml), or the root of a layout: then of each service the newest
    version of `stage` is taken, as the engine takes it.

    Raises:
        PolicyError: there is none, or one cannot be used.
    """
    units = _with_their_playbook([_placed(place) for place in find_places(paths, stage=stage)])
    if len(units) > 1:
        units = [_without_tests(unit) if unit.label == "playbook" else unit for unit in units]
    labels = [unit.label for unit in units]
    if len(set(labels)) != len(labels):
        raise BundleBuildError("two directories have the same place in the bundle", got=", ".join(labels))
    return units


def _with_their_playbook(units: list[Unit]) -> list[Unit]:
    """The same, where Cedar policies extend the playbook with the playbook in Cedar, as the engine takes it."""
    engines = {engine for unit in units if unit.label != "playbook" for engine in unit.engines}
    if engines != {"cedar"}:
        return units
    (own,) = find_places([CEDAR_PLAYBOOK])
    return [_unit(own, "playbook", "playbook") if unit.label == "playbook" else unit for unit in units]


def _without_tests(unit: Unit) -> Unit:
    """The playbook where it is extended: what extends it may say otherwise than its own tests."""
    return replace(unit, files={name: content for name, content in unit.files.items() if not is_test(name)})


def _placed(place: Place) -> Unit:
    """A policy directory at its place in the bundle: its domain and service, or its own name."""
    if place.label == "playbook":
        return _unit(place, "playbook", "playbook")
    _, *laid_out = place.label.split("/")
    if laid_out:
        domain, service, *_ = laid_out
        return _unit(place, f"{domain}/{service}", domain)
    name = place.directory.name
    domain = place.directory.parents[2].name if place.directory.parent.name in STAGES else name
    return _unit(place, name, domain)


def _unit(place: Place, label: str, domain: str) -> Unit:
    directory = place.directory
    for part in label.split("/"):
        if not _PART.fullmatch(part):
            raise BundleBuildError("a directory's name cannot be used in a bundle", got=part, expected=_PART.pattern)
    content = dict(_contents(directory))
    data = _data(directory, content.pop(DATA, b"{}"))
    if not any(Path(name).suffix in _ENGINES for name in content):
        raise BundleBuildError(f"no policies in {directory}", expected="*.rego or *.cedar")
    unit = Unit(label, directory, domain, place.metadata["version"], content, data)
    if data and unit.engines == {"cedar"}:
        raise BundleBuildError(f"{directory / DATA} would be read by nobody", expected="no data beside Cedar policies")
    return unit


def _contents(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BundleBuildError(f"{path} is no plain file", expected="no links, no pipes, no devices")
        if path.is_dir():
            continue
        name = path.relative_to(directory).as_posix()
        if name.endswith("_test.rego"):
            raise BundleBuildError(f"{path} is not read as a policy", expected="test cases in tests/*.yaml")
        if name in {DATA, METADATA} or path.name == SCHEMA or path.suffix in _ENGINES or is_test(name):
            yield name, _read(path)
        elif path.name in DATA_NAMES:
            raise BundleBuildError(f"{path} would be data in a place of its own", expected=f"one {DATA} at the top")
        elif not _is_text(path):
            raise BundleBuildError(
                f"{path} has no place in a bundle",
                expected=f"*.rego, *.cedar, {SCHEMA}, {DATA}, {METADATA}, tests/*.yaml, README, *.md",
            )


def _is_text(path: Path) -> bool:
    hidden = path.name.startswith(".") and not any(suffix in path.name.casefold() for suffix in _ENGINES)
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


def _data(directory: Path, content: bytes) -> dict[str, Any]:
    try:
        value = plain(parse_json(content, str(directory / DATA), "bundle.data"))
    except BundleRefusedError as error:
        raise BundleBuildError(f"{directory / DATA} cannot be used", got=error.got) from error
    if not isinstance(value, dict) or RESERVED_DATA & value.keys():
        raise BundleBuildError(
            f"{directory / DATA} must be an object without the rules' keys", expected=", ".join(sorted(RESERVED_DATA))
        )
    return value
