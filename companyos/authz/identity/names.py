"""Ids: when a text may be one, and when two of them look alike.

Ids are compared byte by byte. One that cannot be told from another by eye would be somebody else's name to every
reader of the log, so that it is refused where it is given, not where it is used.
"""

from __future__ import annotations

import unicodedata

from companyos.authz._text import is_visible, plain
from companyos.authz.identity.errors import IdentityInvalidError

__all__ = ("MAX_ID", "check_id", "skeleton")

MAX_ID = 256
"""Longest id, in characters."""
_SCRIPTS = frozenset({"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK", "LATIN"})
"""Scripts whose letters are taken for each other's."""
# Letters drawn like Latin ones (of Greek, then of Cyrillic), after the confusables of Unicode UTS 39; then digits.
_GREEK = (
    (
        "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03b1"
        "\u03b9\u03bf\u03c1\u03bd\u03c5"
    ),
    "ABEZHlKMNOPTYXaiopvu",
)
_CYRILLIC = (
    (
        "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
        "\u0430\u0435\u0455\u0456\u0458\u043e\u0440\u0441\u0443\u0445\u04bb\u0501\u051b\u051d\u04cf"
    ),
    "ABESlJKMHOPCTYXaesijopcyxhdqwl",
)
_DIGITS = ("01I|", "Olll")
_LOOKS = {
    ord(other): latin
    for others, latins in (_GREEK, _CYRILLIC, _DIGITS)
    for other, latin in zip(others, latins, strict=True)
}


def check_id(what: str, value: object) -> str:
    """`value`, if it can be an id: 1 to 256 visible characters in normal form KC, of one script.

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
    if value != unicodedata.normalize("NFKC", value):
        raise IdentityInvalidError(f"{what} is written in look-alike letters", expected="Unicode normal form KC")
    scripts = {unicodedata.name(character, "").partition(" ")[0] for character in value if character.isalpha()}
    mixed = sorted(scripts & _SCRIPTS)
    if len(mixed) > 1:
        raise IdentityInvalidError(f"{what} mixes scripts whose letters look alike", got=", ".join(mixed).lower())
    return value


def skeleton(text: str) -> str:
    """What is left of an id for the eye: two ids with the same skeleton are taken for each other."""
    return plain(text.translate(_LOOKS))
