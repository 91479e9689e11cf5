"""Policies as files: what directories of Rego hold, who owns them, and the digest that a decision names them by.

A directory holds `metadata.yaml` (`owner`, `version`; optionally `description`, `changelog`, `tests`, `extends`,
`slice`), any number of `.rego` files at any depth, and optionally `data.json` and test cases in `tests/`.
`extends: playbook` adds the built-in policies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import PolicyError
from companyos.authz.layout import METADATA, PLAYBOOK, STAGES, TESTS, find_places, read_text
from companyos.canonical import digest, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from companyos.authz.slices import Slice

__all__ = ("PLAYBOOK", "RESERVED_DATA", "PolicySet", "load_policies")

DATA = "data.json"
RESERVED_DATA = frozenset({"companyos", "companyos_scope"})
"""Keys of `data` that belong to the rules and to the fixed combination."""


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
    declared: Mapping[str, Slice] = field(default_factory=dict)
    """What each source says that it applies to; held against what can be proven when it is loaded."""
    origins: Mapping[str, Path] = field(default_factory=dict)
    """The file that each source was read from."""


def load_policies(directories: Sequence[Path] = (), *, stage: str = STAGES[-1]) -> PolicySet:
    """Read policy directories, in order; none at all means the built-in playbook.

    Of a directory laid out as `<domain>/<service>/<stage>/<version>` the highest version of `stage` is read.

    Raises:
        PolicyError: a directory or file cannot be read, has no metadata, or two directories disagree on data.
    """
    sources: dict[str, str] = {}
    data: dict[str, Any] = {}
    files: dict[str, str] = {}
    declared: dict[str, Slice] = {}
    origins: dict[str, Path] = {}
    places = find_places(directories or (PLAYBOOK,), stage=stage)
    for place in places:
        for path in _policy_files(place.directory):
            name = f"{place.label}/{path.relative_to(place.directory).as_posix()}"
            text = read_text(path)
            files[name] = sha256_hex(text.encode())
            if path.suffix == ".rego":
                sources[name], declared[name], origins[name] = text, place.declared, path
            elif path.name == DATA:
                _merge(data, _json_object(path, text), path)
    if not sources:
        raise PolicyError("no policies found", got=", ".join(map(str, directories)), expected="at least one .rego file")
    owners = tuple(place.metadata["owner"] for place in places)
    extends = any(place.directory == PLAYBOOK for place in places)
    return PolicySet(sources, data, owners, digest(files), extends, declared, origins)


def _policy_files(directory: Path) -> list[Path]:
    found = [path for path in sorted(directory.rglob("*")) if path.is_symlink() or path.is_file()]
    for path in found:
        if not path.resolve().is_relative_to(directory):
            raise PolicyError(f"{path} points out of its directory", got=path.resolve(), expected="no such links")
    return [path for path in found if path.is_file() and _is_policy(path, directory)]


def _is_policy(path: Path, directory: Path) -> bool:
    """Whether to read a file; what is neither a policy nor a text about policies is refused instead of passed over."""
    if path.parent == directory / TESTS and path.suffix == ".yaml":
        return False
    if path.name.endswith("_test.rego"):
        raise PolicyError(f"{path} is not read as a policy", expected=f"test cases in {directory / TESTS}/*.yaml")
    if path.suffix == ".rego" or path.name in {DATA, METADATA}:
        return True
    hidden = path.name.startswith(".") and ".rego" not in path.name.casefold()
    if hidden or path.suffix == ".md" or path.name.startswith("README"):
        return False
    raise PolicyError(
        f"{path} is not read as a policy",
        expected=f"names ending in .rego; {DATA}, {METADATA}, README, and .md files; {TESTS}/*.yaml",
    )


def _json_object(path: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path} is not JSON", got=error) from error
    if not isinstance(value, dict) or RESERVED_DATA & value.keys():
        raise PolicyError(
            f"{path} must be an object without the keys {' and '.join(map(repr, sorted(RESERVED_DATA)))}",
            hint="the first belongs to the rules, the second to the fixed combination",
        )
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any], path: Path) -> None:
    """Add `more`; what is there already may be repeated or deepened, never changed."""
    for key, value in more.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value, path)
        elif into.setdefault(key, value) != value:
            raise PolicyError(f"{path} changes data that another directory set", got=key, hint="use a key of your own")
