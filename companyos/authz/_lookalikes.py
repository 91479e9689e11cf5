"""Letters that are taken for each other's: when one text is read as another, or as two scripts at once.

The rules for ids follow the "moderately restrictive" profile of Unicode UTS 39, section 5.2, word by word: a Cyrillic
name before `@example.com` or `.pdf` may be an id, and `payroll` with one Cyrillic letter may not.
"""

from __future__ import annotations

import re
import unicodedata

from companyos.authz._text import is_visible, plain, squeezed

__all__ = ("as_read", "look_alike", "skeleton")

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
_PHONETIC = (
    (
        "\u0251\u0261\u026a\u0274\u0280\u028f\u0299\u029c\u029f\u1d00\u1d04\u1d05\u1d07\u1d0a\u1d0b\u1d0d\u1d0f"
        "\u1d18\u1d1b\u1d1c\u1d20\u1d21\u1d22\ua730\ua731"
    ),
    "aginrybhlacdejkmoptuvwzfs",
)
"""Latin letters that are hardly used but in phonetic alphabets."""
_ARMENIAN = ("\u0585\u057d\u0570\u0578\u0566\u0581\u0575", "ouhnqgj")
_PHONETIC_LETTERS = frozenset(_PHONETIC[0])
_MORE_LOOKS = _LOOKS | {
    ord(other): latin for others, latins in (_PHONETIC, _ARMENIAN) for other, latin in zip(others, latins, strict=True)
}
_DOTLESS = {ord("\u0131"): "i", ord("\u0237"): "j"}
"""Letters of their own in some languages, so that ids may have them."""
_MAX_KEY = 256
_SHORT = 2

_WORD = re.compile(r"[^\W_]+")
_SCRIPT_OF = {
    "IDEOGRAPHIC": "CJK",
    "KATAKANA-HIRAGANA": "KATAKANA",
    "ARABIC-INDIC": "ARABIC",
    "EXTENDED": "ARABIC",
}
"""Scripts by the first word of a character's name, where that is not the script's own."""
_NO_SCRIPT = frozenset({"MODIFIER"})
_EAST_ASIAN = frozenset({"BOPOMOFO", "CJK", "HANGUL", "HIRAGANA", "KATAKANA"})
"""Scripts that are written together."""
_UNLIKE_LATIN = _EAST_ASIAN | {
    "ARABIC", "BENGALI", "DEVANAGARI", "ETHIOPIC", "GEORGIAN", "GUJARATI", "GURMUKHI", "HEBREW", "KANNADA", "KHMER",
    "LAO", "MALAYALAM", "MYANMAR", "ORIYA", "SINHALA", "TAMIL", "TELUGU", "THAANA", "THAI", "TIBETAN",
}  # fmt: skip
"""Scripts that may stand in one word with Latin: those that UAX 31 recommends, but for the following."""
_LIKE_LATIN = frozenset({"ARMENIAN", "CYRILLIC", "GREEK"})
"""Scripts that may stand beside Latin in words of their own; all others may not."""


def skeleton(text: str) -> str:
    """What is left of an id for the eye: two ids with the same skeleton are taken for each other.

    The identity store keeps skeletons in its tables: another letter in the tables above is another skeleton there.
    """
    return plain(text.translate(_LOOKS))


def as_read(key: str) -> str:
    """What is left of a key for a hasty eye: two keys that are read the same have the same.

    In two letters `l` is told from `i`: `lp` is as good a name as `ip`. Of a key that is not ASCII only the first 256
    characters are looked at.
    """
    if not key.isascii():
        key = plain(unicodedata.normalize("NFKC", key)[:_MAX_KEY].translate(_MORE_LOOKS | _DOTLESS))
        key = "".join(_shown(character) for character in key)
    key = skeleton(squeezed(key))
    return key if len(key) <= _SHORT else key.replace("i", "l")


def _shown(character: str) -> str:
    """A character, if it makes another key: not what cannot be seen or stands on a letter, nor another kind of dash."""
    category = unicodedata.category(character)
    return "" if category in {"Mn", "Me", "Pc", "Pd", "Zs"} or not is_visible(character) else character


def look_alike(text: str) -> str | None:
    """Why a text would be taken for another one; None if it would not."""
    if text.isascii():
        return None
    if text != unicodedata.normalize("NFKC", text) or not _PHONETIC_LETTERS.isdisjoint(text):
        return "is written in look-alike letters"
    mixed = _mixed(_WORD.findall(text))
    return f"mixes scripts whose letters look alike ({', '.join(sorted(mixed)).lower()})" if mixed else None


def _mixed(words: list[str]) -> frozenset[str]:
    """The scripts that are mixed so that a letter of one may pass for one of another."""
    by_word = {word: _scripts(word) for word in words}
    scripts = frozenset[str]().union(*by_word.values())
    others = scripts - {"LATIN"}
    if len(others) > 1 and not others <= _EAST_ASIAN:
        return scripts
    if "LATIN" not in scripts or others <= _UNLIKE_LATIN:
        return frozenset()
    # Another alphabet beside Latin: never within a word, and no word that could be read as a Latin one.
    passing = any(found != {"LATIN"} and ("LATIN" in found or _reads_latin(word)) for word, found in by_word.items())
    return scripts if passing or not others <= _LIKE_LATIN else frozenset()


def _reads_latin(word: str) -> bool:
    return not word.isascii() and word.translate(_MORE_LOOKS).isascii()


def _scripts(word: str) -> frozenset[str]:
    names = (unicodedata.name(character, "?").partition(" ")[0] for character in word if character.isalpha())
    return frozenset(_SCRIPT_OF.get(name, name) for name in names) - _NO_SCRIPT
