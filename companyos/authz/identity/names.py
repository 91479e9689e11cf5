"""Ids: when a text may be one, and when two of them look alike.

Ids are compared byte by byte. One that cannot be told from another by eye would be somebody else's name to every
reader of the log, so that it is refused where it is given, not where it is used.
"""

from __future__ import annotations

from companyos.authz._lookalikes import look_alike, skeleton
from companyos.authz._text import is_visible
from companyos.authz.identity.errors import IdentityInvalidError

__all__ = ("MAX_ID", "check_id", "skeleton")

MAX_ID = 256
"""Longest id, in characters."""


def check_id(what: str, value: object) -> str:
    """`value`, if it can be an id: 1 to 256 visible characters in normal form KC, that no reader takes for others.

    Raises:
        IdentityInvalidError: it cannot.
    """
    if not isinstance(value, str):
        raise IdentityInvalidError(f"{what} is not text", got=type(value).__name__, expected="a text")
    if not 0 < len(value) <= MAX_ID or value != value.strip():
        raise IdentityInvalidError(f"{what} is empty, padded or too long", expected=f"1 to {MAX_ID} characters")
    if value.isascii():
        if not value.isprintable():
            raise IdentityInvalidError(f"{what} holds invisible characters", expected="printable characters only")
        return value
    if not is_visible(value):
        raise IdentityInvalidError(f"{what} holds invisible characters", expected="printable characters only")
    why = look_alike(value)
    if why is not None:
        raise IdentityInvalidError(f"{what} {why}", expected="normal form KC, and letters of one script in a word")
    return value
