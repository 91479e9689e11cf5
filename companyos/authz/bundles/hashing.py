"""The hash that OPA signs of each file: over the canonical form of structured files, over the bytes of all others.

Source: `hash.go`, `verify.go` and `bundle.go` in `v1/bundle` of https://github.com/open-policy-agent/opa: the
structured files are `data.json`, `data.yaml` and `.manifest`, by their last name; keys are sorted, there is no white
space, text is escaped as Go's `encoding/json` does without HTML, and numbers keep their spelling in the file.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.interface import BundleRefusedError
from companyos.config import parse_yaml
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("ALGORITHMS", "Number", "canonical", "file_hash", "is_structured", "parse_json", "parse_structured", "plain")

ALGORITHMS = {"SHA-256": hashlib.sha256, "SHA-384": hashlib.sha384, "SHA-512": hashlib.sha512}
"""Hashes that are taken, by OPA's names; MD5 and SHA-1, which OPA takes too, can be collided."""
_STRUCTURED = frozenset({"data.json", "data.yaml", ".manifest"})
_MAX_DEPTH = 64
_MAX_DIGITS = 400


class Number(str):
    """A number of JSON in the spelling that it has in the file."""

    __slots__ = ()


def is_structured(name: str) -> bool:
    """Whether OPA hashes a file of this name over its canonical form."""
    return name.rpartition("/")[2] in _STRUCTURED


def file_hash(name: str, content: bytes, algorithm: str = "SHA-256") -> str:
    """The hash of a file as OPA signs it, in lower-case hexadecimal.

    Raises:
        BundleRefusedError: the file is structured and does not parse, or the algorithm is not taken.
    """
    if algorithm not in ALGORITHMS:
        raise BundleRefusedError(
            "bundle.hash", "a hash that is not taken", got=algorithm or "none", expected=", ".join(ALGORITHMS)
        )
    hashed = canonical(parse_structured(name, content)) if is_structured(name) else content
    return ALGORITHMS[algorithm](hashed).hexdigest()


def canonical(value: Any) -> bytes:
    """OPA's canonical form of a parsed JSON value."""
    return "".join(_walk(value)).encode()


def parse_structured(name: str, content: bytes) -> Any:
    """The value of a JSON or YAML file, numbers as `Number`.

    Raises:
        BundleRefusedError: it is not what its name says, or other readers might read it differently.
    """
    if name.endswith((".yaml", ".yml")):
        return _parse_yaml(name, content)
    return parse_json(content, name, "bundle.manifest" if name == ".manifest" else "bundle.data")


def parse_json(content: bytes, name: str, rule: str) -> Any:
    """The JSON value in UTF-8 `content`, numbers as `Number`; refused as `rule` if it has a key twice."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key is there twice")
        return found

    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=distinct,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse,
        )
        _check(value, _MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        raise BundleRefusedError(rule, f"{name} is not the JSON that it should be", got=error) from error
    return value


def plain(value: Any) -> Any:
    """A parsed value with Python's own numbers."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return json.loads(value) if isinstance(value, Number) else value


def _number(text: str) -> Number:
    if len(text) > _MAX_DIGITS:
        raise ValueError("a number of too many digits")
    return Number(text)


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _check(value: Any, depth: int) -> None:
    if depth < 0:
        raise ValueError("nests too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            key.encode()  # a lone surrogate is a ValueError: Go would read it as another character
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, str):
        value.encode()


def _parse_yaml(name: str, content: bytes) -> Any:
    try:
        value = _from_yaml(parse_yaml(content.decode(), name))
        _check(value, _MAX_DEPTH)
    except (ConfigError, ValueError, RecursionError) as error:
        raise BundleRefusedError(
            "bundle.data", f"{name} is not plain YAML", got=error, expected="text, integers, true, false, null"
        ) from error
    return value


def _from_yaml(value: Any) -> Any:
    """What YAML readers agree on; a float has many spellings, and a date is one reader's text and another's time."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key that is not text")
        return {key: _from_yaml(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_yaml(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < 1 << 53:
        return Number(str(value))
    raise ValueError(f"a value of the kind {type(value).__name__}")


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        for place, key in enumerate(sorted(value)):
            yield f"{',' if place else ''}{_text(key)}:"
            yield from _walk(value[key])
        yield "}"
    elif isinstance(value, list):
        yield "["
        for place, item in enumerate(value):
            yield "," if place else ""
            yield from _walk(item)
        yield "]"
    elif isinstance(value, Number):
        yield str(value)
    else:
        yield _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    # Go escapes the two line separators of JavaScript even where it leaves HTML alone.
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
