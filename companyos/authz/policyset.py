"""Policies as files: what a directory of Rego holds, who owns it, and the digest that a decision names it by.

A directory holds `metadata.yaml` (`owner`, `version`; optionally `description`, `changelog`, `tests`, `extends`), any
number of `.rego` files at any depth, and optionally `data.json`. `extends: playbook` adds the built-in policies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import PolicyError
from companyos.canonical import digest, sha256_hex
from companyos.config import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ("PLAYBOOK", "PolicySet", "load_policies")

PLAYBOOK = Path(__file__).parent / "policies"
"""The built-in policies."""
METADATA = "metadata.yaml"
DATA = "data.json"
MAX_FILE = 1024 * 1024
"""Largest policy file, in bytes."""
_KEYS = {"owner": str, "version": str, "description": str, "changelog": list, "tests": list, "extends": str}


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The files that a decision is made by."""

    sources: Mapping[str, str]
    """Rego text by name; a name is the directory's label and the path within it."""
    data: Mapping[str, Any]
    """What policies see as `data`, beside the rules."""
    owners: tuple[str, ...]
    """Who answers for the policies, one for each directory."""
    digest: str
    """`sha256:…` over every file, its metadata and data included."""
    extends_playbook: bool
    """Whether the built-in policies are among them."""


def load_policies(directories: Sequence[Path] = ()) -> PolicySet:
    """Read policy directories, in order; none at all means the built-in playbook.

    Raises:
        PolicyError: a directory or file cannot be read, has no metadata, or two directories disagree on data.
    """
    sources: dict[str, str] = {}
    data: dict[str, Any] = {}
    owners: list[str] = []
    files: dict[str, str] = {}
    placed = _with_extended(directories or (PLAYBOOK,))
    for label, directory in placed:
        owners.append(_metadata(directory)["owner"])
        for path in _policy_files(directory):
            name = f"{label}/{path.relative_to(directory).as_posix()}"
            text = _read(path)
            files[name] = sha256_hex(text.encode())
            if path.suffix == ".rego":
                sources[name] = text
            elif path.name == DATA:
                _merge(data, _json_object(path, text), path)
    if not sources:
        raise PolicyError("no policies found", got=", ".join(map(str, directories)), expected="at least one .rego file")
    extends = any(directory == PLAYBOOK for _, directory in placed)
    return PolicySet(sources, data, tuple(owners), digest(files), extends)


def _with_extended(directories: Iterable[Path]) -> list[tuple[str, Path]]:
    """The directories with the playbook put first if one extends it, each with a label that is the same everywhere."""
    listed = [directory.resolve() for directory in directories]
    if PLAYBOOK not in listed and any("extends" in _metadata(directory) for directory in listed):
        listed.insert(0, PLAYBOOK)
    distinct = list(dict.fromkeys(listed))
    return [
        ("playbook" if directory == PLAYBOOK else str(place), directory) for place, directory in enumerate(distinct)
    ]


def _metadata(directory: Path) -> dict[str, Any]:
    if not directory.is_dir():
        raise PolicyError("policy directory not found", got=directory, hint="mend authz.policies in companyos.yaml")
    path = directory / METADATA
    if not path.is_file():
        raise PolicyError(
            f"{directory} has no {METADATA}", hint=f"write {METADATA} with the lines `owner: NAME` and `version: 1.0.0`"
        )
    values = parse_yaml(_read(path), str(path))
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


def _describe(key: object) -> str:
    kind = _KEYS.get(str(key))
    return f"one of {', '.join(_KEYS)}" if kind is None else {str: "a text", list: "a list"}[kind]


def _policy_files(directory: Path) -> list[Path]:
    found = [path for path in sorted(directory.rglob("*")) if path.is_symlink() or path.is_file()]
    for path in found:
        if not path.resolve().is_relative_to(directory):
            raise PolicyError(f"{path} points out of its directory", got=path.resolve(), expected="no such links")
    return [path for path in found if path.is_file() and _is_policy(path)]


def _is_policy(path: Path) -> bool:
    """Whether to read a file; what is neither a policy nor a text about policies is refused instead of passed over."""
    if path.suffix == ".rego" or path.name in {DATA, METADATA}:
        return True
    hidden = path.name.startswith(".") and ".rego" not in path.name.casefold()
    if hidden or path.suffix == ".md" or path.name.startswith("README"):
        return False
    raise PolicyError(
        f"{path} is not read as a policy", expected=f"names ending in .rego; {DATA}, {METADATA}, README, and .md files"
    )


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise PolicyError(f"{path} is too large", expected=f"at most {MAX_FILE} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"cannot read {path}", got=error, expected="a readable UTF-8 file") from error


def _json_object(path: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path} is not JSON", got=error) from error
    if not isinstance(value, dict) or "companyos" in value:
        raise PolicyError(f"{path} must be an object without the key 'companyos', which belongs to the rules")
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any], path: Path) -> None:
    """Add `more`; what is there already may be repeated or deepened, never changed."""
    for key, value in more.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value, path)
        elif into.setdefault(key, value) != value:
            raise PolicyError(f"{path} changes data that another directory set", got=key, hint="use a key of your own")
