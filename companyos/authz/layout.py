"""Where policies lie: `policies/<domain>/<service>/<stage>/<version>/`, or one directory with its own `metadata.yaml`.

Of each service the highest version of one stage counts. Its place says which domain and service it may speak about;
`_any` and `shared` say that it is about all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import PolicyError
from companyos.authz.slices import KEYS, Slice
from companyos.config import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ("METADATA", "PLAYBOOK", "STAGES", "TESTS", "Place", "find_places", "read_metadata", "read_text")

PLAYBOOK = Path(__file__).parent / "policies"
"""The built-in policies."""
METADATA = "metadata.yaml"
TESTS = "tests"
"""Directory beside `metadata.yaml` that holds test cases."""
STAGES = ("dev", "staging", "prod")
"""The stages of promotion, in order."""
UNSCOPED = frozenset({"_any", "shared"})
"""Names of directories that stand for every domain or service."""
MAX_FILE = 1024 * 1024
"""Largest policy file, in bytes."""
_KEYS: Mapping[str, type] = {
    "owner": str,
    "version": str,
    "description": str,
    "changelog": list,
    "tests": list,
    "extends": str,
    "slice": dict,
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Place:
    """One directory of policies."""

    directory: Path
    """Where it is; absolute."""
    label: str
    """What its files are called by, the same wherever the whole lies."""
    metadata: Mapping[str, Any]
    """What its `metadata.yaml` says, checked."""
    declared: Slice
    """The requests that its policies may speak about, by its place and its metadata."""


def find_places(directories: Sequence[Path], *, stage: str = STAGES[-1]) -> list[Place]:
    """The directories that hold the policies of a stage, in order, the playbook first where one extends it.

    Raises:
        PolicyError: a directory is not there, or is laid out in no known way.
    """
    if stage not in STAGES:
        raise PolicyError("there is no such stage", got=stage, expected=", ".join(STAGES))
    found: dict[Path, Place] = {}
    for number, directory in enumerate(dict.fromkeys(directory.resolve() for directory in directories)):
        for place in _expand(directory, str(number), stage):
            found.setdefault(place.directory, place)
    places = list(found.values())
    if PLAYBOOK not in found and any("extends" in place.metadata for place in places):
        places.insert(0, _place(PLAYBOOK, "0"))
    return places


def read_metadata(directory: Path) -> dict[str, Any]:
    """What `metadata.yaml` says of a policy directory.

    Raises:
        PolicyError: it is missing, or says something that is not known or of the wrong type.
    """
    if not directory.is_dir():
        raise PolicyError("policy directory not found", got=directory, hint="mend authz.policies in companyos.yaml")
    path = directory / METADATA
    if not path.is_file():
        raise PolicyError(
            f"{directory} has no {METADATA}", hint=f"write {METADATA} with the lines `owner: NAME` and `version: 1.0.0`"
        )
    values = parse_yaml(read_text(path), str(path))
    if not isinstance(values, dict):
        raise PolicyError(f"{path} is not a mapping", got=type(values).__name__, expected=", ".join(_KEYS))
    for key, value in values.items():
        if key not in _KEYS or not isinstance(value, _KEYS[key]):
            raise PolicyError(f"{path}: {key} is not valid", got=repr(value), expected=_describe(key))
    for key in ("owner", "version"):
        if not values.get(key):
            raise PolicyError(f"{path} names no {key}", hint=f"add the line `{key}: …`")
    if values.get("extends", "playbook") != "playbook":
        raise PolicyError(f"{path} extends something unknown", got=values["extends"], expected="playbook")
    return values


def read_text(path: Path) -> str:
    """The text of a policy file.

    Raises:
        PolicyError: it is too large, or not readable UTF-8.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise PolicyError(f"{path} is too large", expected=f"at most {MAX_FILE} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"cannot read {path}", got=error, expected="a readable UTF-8 file") from error


def _describe(key: object) -> str:
    kind = _KEYS.get(str(key))
    names: Mapping[type, str] = {str: "a text", list: "a list", dict: "a mapping"}
    return f"one of {', '.join(_KEYS)}" if kind is None else names[kind]


def _expand(directory: Path, label: str, stage: str) -> Iterator[Place]:
    """The directory itself, or the versions that count where it is laid out by domain and service."""
    if (directory / METADATA).exists() or not _is_layout(directory):
        yield _place(directory, label)
        return
    before, others = 0, set()
    for domain in _subdirectories(directory):
        for service in _subdirectories(domain):
            newest = _newest(service, stage)
            others |= {path.name for path in _subdirectories(service)}
            if newest is not None:
                before += 1
                yield _place(newest, f"{label}/{newest.relative_to(directory).as_posix()}", (domain.name, service.name))
    if not before:
        raise PolicyError(
            f"{directory} holds no policies of this stage",
            got=stage,
            expected=", ".join(name for name in STAGES if name in others) or None,
            hint="say the stage: --stage, or authz.stage in companyos.yaml",
        )


def _is_layout(directory: Path) -> bool:
    return directory.is_dir() and any(path.is_dir() for path in directory.glob("*/*/*/*"))


def _place(directory: Path, label: str, scope: tuple[str, str] | None = None) -> Place:
    metadata = read_metadata(directory)
    declared = _declared(metadata.get("slice", {}), directory / METADATA)
    if scope is not None:
        if metadata["version"] != directory.name:
            raise PolicyError(
                f"{directory / METADATA} names another version than its directory",
                got=metadata["version"],
                expected=directory.name,
            )
        declared = declared.restrict(_implied(*scope))
        if declared.is_empty():
            raise PolicyError(f"{directory / METADATA} declares a slice outside of its place", got="/".join(scope))
    return Place(directory, "playbook" if directory == PLAYBOOK else label, metadata, declared)


def _implied(domain: str, service: str) -> Slice:
    return Slice(
        domains=None if domain in UNSCOPED else frozenset({domain}),
        services=None if service in UNSCOPED else frozenset({service}),
    )


def _declared(values: Mapping[str, Any], path: Path) -> Slice:
    for key, names in values.items():
        if key not in KEYS or not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise PolicyError(
                f"{path}: slice.{key} is not valid",
                got=repr(names),
                expected=f"{', '.join(KEYS)}, each a list of texts",
            )
    return Slice.of(frozenset(values[key]) if key in values else None for key in KEYS)


def _newest(service: Path, stage: str) -> Path | None:
    found = None
    for directory in _subdirectories(service):
        if directory.name not in STAGES:
            raise PolicyError(
                f"{directory} is no stage",
                got=directory.name,
                expected=", ".join(STAGES),
                hint="name the root of the layout, or one directory that has a metadata.yaml",
            )
        versions = [(_version(path), path) for path in _subdirectories(directory)]
        if directory.name == stage and versions:
            found = max(versions)[1]
    return found


def _version(directory: Path) -> tuple[int, ...]:
    matched = _VERSION.fullmatch(directory.name)
    if matched is None:
        raise PolicyError(f"{directory} is no version", got=directory.name, expected="three numbers, such as 1.0.0")
    return tuple(map(int, matched.groups()))


def _subdirectories(directory: Path) -> list[Path]:
    """The named directories within; what else lies there is refused, because its author believes that it counts."""
    found = []
    for path in sorted(directory.iterdir()):
        if path.is_symlink():
            raise PolicyError(f"{path} is a link", expected="no links among policies")
        if path.is_dir() and (_NAME.fullmatch(path.name) or path.name in UNSCOPED or _VERSION.fullmatch(path.name)):
            found.append(path)
        elif not _is_text(path):
            raise PolicyError(
                f"{path} is not part of the layout",
                expected="<domain>/<service>/<stage>/<version>/policy.rego, or .cedar",
            )
    return found


def _is_text(path: Path) -> bool:
    hidden = path.name.startswith(".") and not any(suffix in path.name.casefold() for suffix in (".rego", ".cedar"))
    return hidden or (path.is_file() and (path.suffix == ".md" or path.name.startswith("README")))
