"""Canonical JSON (RFC 8785) and digests of it: the one way in which CompanyOS turns values into bytes to sign."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from companyos.errors import UserError

__all__ = ("NotCanonicalError", "canonical_bytes", "digest", "loads", "parse", "sha256_hex")


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
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonicalError(
            "value has no canonical JSON form",
            got=str(error) or type(error).__name__,
            expected="JSON values only: finite numbers, integers within ±(2^53 - 1), valid Unicode",
        ) from error


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
    value = loads(data)
    if canonical_bytes(value) != data:
        raise NotCanonicalError(
            "JSON is not in canonical form",
            expected="RFC 8785: sorted keys, no white space, no duplicate keys",
        )
    return value


def _number(text: str) -> int | float:
    # The longest integer that may be one, -9007199254740991, has 17 characters; more digits would only cost time.
    value = int(text) if len(text) <= 17 else None
    return value if value is not None and abs(value) < 1 << 53 else float(text)
