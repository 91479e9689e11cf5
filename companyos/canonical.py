"""Canonical JSON (RFC 8785) and digests of it: the one way in which CompanyOS turns values into bytes to sign."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from companyos.errors import UserError

__all__ = ("NotCanonicalError", "canonical_bytes", "digest", "parse", "sha256_hex")


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


def parse(data: bytes) -> Any:
    """The JSON value held by `data`, refused unless `data` is exactly its canonical form.

    Duplicate keys, other spellings of the same number, white space and trailing bytes are all refused, so that one
    value has one spelling.

    Raises:
        NotCanonicalError: `data` is not JSON, or not canonical.
    """
    try:
        value = json.loads(data, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotCanonicalError("not JSON", got=str(error)) from error
    if canonical_bytes(value) != data:
        raise NotCanonicalError(
            "JSON is not in canonical form",
            expected="RFC 8785: sorted keys, no white space, no duplicate keys",
        )
    return value


def _integer(text: str) -> int | float:
    """An integer as JSON means it: beyond ±(2^53 - 1) it is a double that happens to be written without a point."""
    number = int(text) if len(text) < 20 else float(text)
    return number if abs(number) < 1 << 53 else float(number)
