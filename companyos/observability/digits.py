"""Card and account numbers in a text: told from other digits by issuer, length and check digits.

Card numbers: ISO/IEC 7812-1, with the Luhn check of its annex B and the ranges that the networks publish. Account
numbers: ISO 13616 (IBAN), with the length of each country and the check of ISO/IEC 7064, modulus 97.
"""

from __future__ import annotations

import re

__all__ = ("ACCOUNT", "CARD", "is_card", "joined", "masked")

CARD = "[card]"
"""What stands in place of a card number."""
ACCOUNT = "[iban]"
"""What stands in place of an account number."""

_LENGTHS = {
    **dict.fromkeys(("NO",), 15), **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FK", "FO", "GL", "NL", "SD"), 18), **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"), 20),
    **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25), **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29), **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31), "LC": 32, "RU": 33,
}  # fmt: skip
"""Characters of an IBAN by country (ISO 13616 registry)."""
_ACCOUNT_START = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}")
_ALNUM = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
# Identifiers (RFC 9562) come first, so that no part of one is taken for a card.
_RUN = re.compile(
    r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])"
    r"|(?P<run>[0-9](?:[ .-]{0,2}[0-9]){11,4096})"
)
# Groups of at least three digits, joined alike: a list of small numbers is no card.
_GROUPS = re.compile(r"[0-9]{3,19}(?:([ .-]{1,2})[0-9]{3,8}(?:\1[0-9]{3,8}){0,4})?")
# Digits before a point make what follows decimals, unless they are so many that they are a number of their own.
_DECIMALS = re.compile(r"(?<![0-9])[0-9]{1,11}\.\Z")
_MAESTRO = ("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763")
_MAX_CARD = 19


_END = r"[ \t]{0,16}(?:\r?\n|(?:\\r)?\\n)[ \t]{0,16}"
# Only beside eight digits: a column of small numbers is no card.
_BREAK = re.compile(
    rf"(?:(?<=[0-9]{{8}})|(?<=[0-9]{{4}}[ -][0-9]{{4}})){_END}(?=[0-9]{{3}})"
    rf"|(?<=[0-9]{{4}}){_END}(?=[0-9]{{4}}[ -]?[0-9]{{4}})"
)


def joined(text: str) -> str:
    """`text` with numbers that go on in the next line, as it is or as JSON writes it, in one line."""
    return _BREAK.sub(" ", text) if "\n" in text or "\\n" in text else text


def masked(text: str) -> str:
    """`text` with card numbers and IBANs replaced, whether written in one or in groups."""
    text = _replace(text, _cards(text), CARD)
    return _replace(text, _accounts(text), ACCOUNT)


def is_card(digits: str) -> bool:
    """Whether it is a card number: the length and range of an issuer, and the Luhn check."""
    return _issued(digits) and _luhn(digits)


def _replace(text: str, spans: list[tuple[int, int]], shown: str) -> str:
    for start, end in reversed(spans):
        text = text[:start] + shown + text[end:]
    return text


def _cards(text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for run in _RUN.finditer(text):
        if run["run"] is None:
            continue
        start = run.start()
        while start < run.end():
            end = _card_at(text, start)
            if end:
                found.append((start, end))
            start = end or start + 1
    return found


def _card_at(text: str, start: int) -> int:
    """Where a card number that starts here ends; 0 if none does."""
    match = _GROUPS.match(text, start) if text[start] in "23456" and _is_edge(text, start) else None
    if match is None:
        return 0
    joint = match[1] or " "
    groups = match[0].split(joint)
    # What follows a number in the same style, such as a year, is no part of it.
    for count in range(len(groups), 0, -1):
        end = start + len(joint.join(groups[:count]))
        if text[end : end + 1] not in _ALNUM and is_card("".join(groups[:count])):
            return end
    return 0


def _is_edge(text: str, start: int) -> bool:
    """Whether a number may begin here: not within a word, and not as the decimals of another."""
    before = text[start - 1] if start else " "
    return before not in _ALNUM and not (before == "." and _DECIMALS.search(text, max(0, start - 14), start))


def _issued(digits: str) -> bool:
    size, first = len(digits), digits[:4]
    if digits[:1] == "4":
        return size in {16, 19}
    if "51" <= digits[:2] <= "55" or "2221" <= first <= "2720":
        return size == 16
    if digits[:2] in {"34", "37"}:
        return size == 15
    if digits[:2] in {"36", "38", "39"} or "300" <= digits[:3] <= "305":
        return size == 14
    if first in _MAESTRO:
        return 12 <= size <= _MAX_CARD
    known = first == "6011" or digits[:2] in {"62", "65"} or "644" <= digits[:3] <= "649" or "3528" <= first <= "3589"
    return known and 16 <= size <= _MAX_CARD


def _luhn(digits: str) -> bool:
    total = sum(map(int, digits[-1::-2])) + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return total % 10 == 0


def _accounts(text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for match in _ACCOUNT_START.finditer(text):
        if not found or match.start() >= found[-1][1]:
            end = _account_end(text, match.start(), _LENGTHS.get(match[1].upper(), 0))
            if end:
                found.append((match.start(), end))
    return found


def _account_end(text: str, start: int, size: int) -> int:
    """Where the IBAN of `size` characters that starts here ends; 0 if it is none."""
    taken = ""
    position = start
    while len(taken) < size and position < len(text):
        char = text[position]
        if char in _ALNUM:
            taken += char
        elif char not in " -" or text[position - 1] not in _ALNUM:
            return 0
        position += 1
    after = text[position : position + 1]
    if not size or len(taken) < size or after in _ALNUM:
        return 0
    rearranged = "".join(str(int(char, 36)) for char in taken[4:] + taken[:4])
    return position if int(rearranged) % 97 == 1 else 0
