"""Canonical JSON (RFC 8785) and digests of it: the one way in which CompanyOS turns values into bytes to sign."""

from __future__ import annotations

import functools
import hashlib
import json
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any

from companyos.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "MAX_INTEGER",
    "NotCanonicalError",
    "canonical_bytes",
    "digest",
    "encode_plain",
    "loads",
    "parse",
    "plain_json",
    "sha256_hex",
)

MAX_INTEGER = (1 << 53) - 1
"""Largest integer that every JSON reader takes without loss (RFC 8785, section 3.2.2.3)."""
_MAX_PLAIN_DEPTH = 99  # containers in containers: 100 levels in all
_PARSED_DEPTH = 8  # beyond that, text is parsed with more care
_TEXT = frozenset((str,))
_PLAIN_LEAVES = frozenset((str, bool, type(None)))


class NotCanonicalError(UserError, ValueError):
    """A value has no canonical JSON form, or bytes are not the canonical form of what they hold."""

    code = "canonical.invalid"


def canonical_bytes(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value, as UTF-8 bytes.

    Only what JSON can carry without loss is taken: objects with text keys, arrays, text, finite numbers, integers
    within ±(2^53 - 1), true, false and null.

    Raises:
        NotCanonicalError: the value is something else (NaN, bytes, a larger integer, a lone surrogate, ...).
    """
    plain = encode_plain(value)
    if plain is not None:
        return plain
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonicalError(
            "value has no canonical JSON form",
            got=str(error) or type(error).__name__,
            expected="JSON values only: finite numbers, integers within ±(2^53 - 1), valid Unicode",
        ) from error


def encode_plain(value: Any) -> bytes | None:
    """The RFC 8785 form by a fast encoder, if the value is one for which that agrees with the RFC; else None.

    The two differ in the spelling of floats and in the order of keys beyond ASCII; so plain values are built of exactly
    dict, list, tuple, str, bool, None and integers within ±(2^53 - 1), at most 100 levels deep, with ASCII keys.
    """
    try:
        if not _is_plain(value, _MAX_PLAIN_DEPTH):
            return None
        plain = _plain_encoder()(value)
        return plain if plain.isascii() or _has_plain_keys(value) else None
    except (UnicodeEncodeError, TypeError):  # a lone surrogate; a key that is not text
        return None


def digest(value: Any) -> str:
    """`sha256:<hex>` of the canonical form of a JSON value."""
    return f"sha256:{hashlib.sha256(canonical_bytes(value)).hexdigest()}"


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256 of raw bytes."""
    return hashlib.sha256(data).hexdigest()


def loads(data: bytes) -> Any:
    """The JSON value held by `data`, with the numbers that `canonical_bytes` wrote.

    RFC 8785 writes a large float such as 1e20 without an exponent; what looks like an integer beyond ±(2^53 - 1) is
    therefore read as the float it was.

    Raises:
        NotCanonicalError: `data` is not JSON.
    """
    try:
        return json.loads(data, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise NotCanonicalError("not JSON", got=str(error)) from error


def parse(data: bytes) -> Any:
    """The JSON value held by `data`, refused unless `data` is exactly its canonical form.

    Duplicate keys, other spellings of the same number, white space and trailing bytes are all refused, so that one
    value has one spelling.

    Raises:
        NotCanonicalError: `data` is not JSON, or not canonical.
    """
    value = _parse_plain(data)
    if value is not None:
        return value
    value = loads(data)
    if canonical_bytes(value) != data:
        raise NotCanonicalError(
            "JSON is not in canonical form",
            expected="RFC 8785: sorted keys, no white space, no duplicate keys",
        )
    return value


@functools.cache
def plain_json() -> Any:
    """A type for msgspec: JSON text of this type that its encoder writes again just so, all ASCII, is canonical.

    It has no floats, whose spelling RFC 8785 has rules of its own for, no integers beyond ±(2^53 - 1), and at most
    eight containers in each other.
    """
    from msgspec import Meta  # not needed to import companyos

    leaf: Any = str | bool | None | Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    value = leaf
    for _ in range(_PARSED_DEPTH):
        value = leaf | GenericAlias(dict, (str, value)) | GenericAlias(list, (value,))
    return value


def _has_plain_keys(value: Any) -> bool:
    """Whether all keys of a plain value are ASCII, so that the encoder's order of them is the RFC's."""
    if type(value) is dict:
        return all(map(str.isascii, value)) and all(map(_has_plain_keys, value.values()))
    return all(map(_has_plain_keys, value)) if type(value) in {list, tuple} else True


def _is_plain(value: Any, depth: int) -> bool:
    """Whether it is built of what the fast encoder spells as the RFC does, whatever the order of its keys."""
    kind = type(value)
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _PLAIN_LEAVES or (kind is int and -MAX_INTEGER <= value <= MAX_INTEGER)
    # Leaves are looked at here rather than in a call each: this runs over every value that is logged.
    for inner in value:
        kind = type(inner)
        if kind in _PLAIN_LEAVES or (kind is int and -MAX_INTEGER <= inner <= MAX_INTEGER):
            continue
        if not depth or not _is_plain(inner, depth - 1):
            return False
    return True


@functools.cache
def _plain_encoder() -> Callable[[Any], bytes]:
    from msgspec.json import Encoder  # not needed to import companyos

    return Encoder(order="deterministic").encode


@functools.cache
def _plain_decoder() -> Callable[[bytes], Any]:
    from msgspec.json import Decoder  # not needed to import companyos

    return Decoder(plain_json()).decode


def _parse_plain(data: bytes) -> Any:
    """The value of canonical bytes, if a fast parser and encoder can tell that they are; else None."""
    if not data.isascii():
        return None
    try:
        value = _plain_decoder()(data)
        return value if _plain_encoder()(value) == data else None
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> int | float:
    # The longest integer that may be one, -9007199254740991, has 17 characters; more digits would only cost time.
    value = int(text) if len(text) <= 17 else None
    return value if value is not None and abs(value) < 1 << 53 else float(text)
