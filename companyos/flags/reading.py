"""Reading a file of flags: YAML as people mean it, keys that occur twice found, places remembered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from companyos.flags.definition import Flag, define
from companyos.flags.errors import FlagFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ("DEFAULT_PATH", "FlagFile", "load", "parse")

DEFAULT_PATH = "feature-flags/flags.yaml"
"""Where flags are defined unless configured otherwise."""
MAX_BYTES = 1024 * 1024
"""A larger file is not one that people review."""

_Pair = tuple[yaml.Node, yaml.Node]
_TOP = frozenset({"$schema", "$evaluators", "flags", "metadata"})


@dataclass(frozen=True, slots=True)
class FlagFile:
    """What one file defines."""

    path: str
    """The file, as given."""
    flags: tuple[Flag, ...]
    """Its flags, in order."""
    evaluators: Mapping[str, Any]
    """Shared targeting rules (`$evaluators` of flagd), by name."""


def load(path: Path, *, name: str | None = None) -> FlagFile:
    """Read a file of flags; `name` is what its findings call it.

    Raises:
        FlagFileError: it cannot be read, is not YAML, or does not hold flags at all.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlagFileError(f"cannot read flags from {path}", got=error, expected="a UTF-8 file") from error
    if len(data) > MAX_BYTES:
        raise FlagFileError(f"{path} is too large", got=f"{len(data)} bytes", expected=f"at most {MAX_BYTES}")
    return parse(text, name or str(path))


def parse(text: str, name: str) -> FlagFile:
    """The flags in `text`, which is YAML or JSON in the flagd shape.

    Raises:
        FlagFileError: it is not YAML, or does not hold flags at all.
    """
    root, value = _construct(text, name)
    flags = value.get("flags") if isinstance(value, dict) else None
    if root is None or not isinstance(value, dict) or not isinstance(flags, dict):
        raise FlagFileError(f"{name} holds no flags", expected="a mapping `flags:` (write `flags: {}` for none)")
    unknown = sorted(str(key) for key in value if key not in _TOP)
    if unknown:
        raise FlagFileError(f"{name} has unknown keys", got=", ".join(unknown), expected=", ".join(sorted(_TOP)))
    top = [str(key.value) for key, _ in _entries(root)]
    if len(set(top)) < len(top):
        raise FlagFileError(f"{name} has a key twice at its top", got=", ".join(top), expected="each key once")
    evaluators = value.get("$evaluators", {})
    if not isinstance(evaluators, dict):
        raise FlagFileError(f"{name}: $evaluators is not a mapping", got=type(evaluators).__name__)
    return FlagFile(name, _define(flags, _entries(root, "flags"), name), evaluators)


def _construct(text: str, name: str) -> tuple[yaml.Node | None, Any]:
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise FlagFileError(f"{name} is not YAML", got=error, hint="mend the place named above") from error


def _define(flags: dict[Any, Any], pairs: list[_Pair], name: str) -> tuple[Flag, ...]:
    places: dict[str, list[_Pair]] = {}
    for pair in pairs:
        places.setdefault(str(pair[0].value), []).append(pair)
    result = []
    for key, value in flags.items():
        found = places.get(str(key), [])
        twice = len(found) > 1 or any(_repeats(node, set()) for _, node in found)
        line = found[-1][0].start_mark.line + 1 if found else None
        result.append(define(str(key), value, path=name, line=line, duplicate=twice))
    return tuple(result)


def _entries(node: yaml.Node, key: str | None = None) -> list[_Pair]:
    if not isinstance(node, yaml.MappingNode):
        return []
    if key is None:
        return list(node.value)
    return [pair for name, value in node.value if name.value == key for pair in _entries(value)]


def _repeats(node: yaml.Node, seen: set[int]) -> bool:
    # Nodes are shared by aliases: each is looked at once, or a nest of them would take for ever.
    if id(node) in seen:
        return False
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names = [str(name.value) for name, _ in node.value if name.value != "<<"]
        return len(set(names)) < len(names) or any(_repeats(value, seen) for _, value in node.value)
    return isinstance(node, yaml.SequenceNode) and any(_repeats(item, seen) for item in node.value)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `on` and `off` are names and a date is text, as in YAML 1.2."""


def _resolvers() -> Iterator[tuple[str, list[tuple[str, re.Pattern[str]]]]]:
    left_out = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items():
        yield first, [(tag, pattern) for tag, pattern in pairs if tag not in left_out]


_Loader.yaml_implicit_resolvers = dict(_resolvers())
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
