"""The safety net: secrets and addresses are masked before anything leaves, whatever the caller put in.

It is a net, not a licence: classify and leave out what need not be said. It works on names of fields (`password`,
`authorization`, `api_key`, ...) and on what a text looks like (tokens, private keys, e-mail addresses).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("ADDRESS", "MAX_EVENT", "SECRET", "Redactor", "Room", "as_text", "is_secret_key")

SECRET = "[secret]"  # noqa: S105 - what stands in place of one
"""What stands in place of a secret."""
ADDRESS = "[email]"
"""What stands in place of an e-mail address."""
WITHHELD = "[redacted]"
"""What stands in place of a word that the company named itself."""

MAX_TEXT = 8_192
"""Longest text value written, in characters; a log line is not a place for documents."""
MAX_EVENT = 65_536
"""Most characters that the values of one event take together."""
MARGIN = 1_024
MAX_NOTE = 64
ITEM_COST = 8
FLOAT_COST = 24
MAX_ITEMS = 100
"""Most items of one collection that are written."""
MAX_INT_BITS = 1_024
"""Largest integer written as a number."""
MAX_DEPTH = 6
"""How deep collections are followed."""

_SECRET_WORDS = frozenset(
    {"authorization", "cookie", "credential", "credentials", "jwt", "otp", "totp", "passcode", "passphrase", "passwd"}
    | {"pass", "password", "pwd", "dbpass", "secret", "secrets", "token", "apikey", "privatekey", "accesskey"}
    | {"secretkey", "accountkey", "authtoken", "accesstoken", "refreshtoken", "clientsecret", "pin", "cvc", "cvv"}
    | {"iban", "ssn", "session", "sessionid", "sig", "signature"}
)
_SECRET_PAIRS = re.compile(r"(?:^|_)(?:api|private|access|signing|encryption|master|session)_(?:key|id)(?:_|$)")
_COUNTING = frozenset(
    {"bytes", "count", "expires", "length", "limit", "max", "ms", "remaining"}
    | {"seconds", "size", "total", "ttl", "type", "used"}
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_IN_TEXT = re.compile(
    r"(?P<pem>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z))"
    r"|(?P<scheme>\b(?:bearer|basic)\s{1,4})[A-Za-z0-9._~+/=-]{8,}"
    # Up to the last @ of the word, because a password may hold any of /@: itself; a port is no password.
    r"|(?P<user>[a-z][a-z0-9+.-]{0,20}://)[^\s/@:\"]{0,256}:(?![0-9]{1,5}[/?#])[^\s\"]{1,256}@"
    r"|(?P<cookie>\b(?:set-)?cookie[\"']?\s{0,4}:\s{0,4})[^\r\n]{1,2048}"
    r"|(?P<named>(?:(?:password|passwd|passphrase|passcode|pwd|secret|token|authorization"
    r"|(?:api|access|account|auth|encryption|master|private|secret|shared|signing)[_-]?key)[\\\"']{0,4}\s{0,4}[=:]"
    # Short words only where they are set or quoted: "2 pass: 1 fail" is no secret.
    r"|(?<![A-Za-z])(?:pass|pin|cvv|cvc|iban|ssn|t?otp|session(?:[_-]?id)?|sig|signature)"
    r"(?:\s{0,4}=|[\\\"']{1,4}\s{0,4}[=:]))\s{0,4}[\\\"']{0,4}(?:(?:bearer|basic)\s{1,4})?)"
    r"(?:(?<=\")[^\"]{1,4096}|(?<=')[^']{1,4096}|[^\s,;&\"'\\]{1,4096})"
    r"|(?P<known>\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"
    r"|(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}|gl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{16,}"
    r"|npm_[A-Za-z0-9]{20,}|pypi-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|dckr_pat_[A-Za-z0-9_-]{20,}|hvs\.[A-Za-z0-9_-]{20,}"
    r"|shp(?:at|ss|ca|pa)_[A-Za-z0-9]{20,}|do[opr]_v1_[a-f0-9]{32,}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}))"
    r"|(?P<mail>(?<![\w.%+-])[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8})",
    re.IGNORECASE | re.DOTALL,
)
# Every alternative above needs one of these; most texts have none, and this test is several times cheaper.
_WORTH_A_LOOK = re.compile(
    r"@|-----BEGIN|bearer|basic|cookie|pass|pwd|secret|token|key|authorization|eyJ|AKIA|ASIA|gh[pousr]_|github_pat_|xox|xapp-"
    r"|sk-|AIza|[rs]k_|whsec_|gl[a-z]{2,3}-|npm_|pypi-|hf_|dckr_|hvs\.|shp|_v1_|SG\.|pin|cv[cv]|iban|ssn|otp|session|sig",
    re.IGNORECASE,
)


class Room:
    """How many characters one event may still take; shared by all its fields, so that it bounds work and size."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_EVENT) -> None:
        self.left = left
        """Characters, as they are written in JSON."""


class Redactor:
    """Masks values, and bounds their size so that one event cannot flood a log.

    `words` are literal texts to be withheld wherever they occur: tenant names, internal host names.
    """

    __slots__ = ("_words",)

    def __init__(self, words: Iterable[str] = ()) -> None:
        chosen = sorted({word for word in words if word}, key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, chosen)), re.IGNORECASE) if chosen else None

    def text(self, value: str, room: Room | None = None) -> str:
        """`value` with what looks like a secret or an address masked."""
        room = room or Room()
        limit = min(MAX_TEXT, max(0, room.left))
        shown = self._cut(value, limit) if len(value) > limit else self._masked(value)
        cost = len(_escaped(shown))
        if cost > max(room.left, MAX_NOTE):
            # Escaped, one character may take up to twelve.
            shown = f"{shown[: limit // 12]}... ({len(value)} characters)"
            cost = len(_escaped(shown))
        room.left -= max(cost, min(len(value), limit))
        return shown

    def _cut(self, value: str, limit: int) -> str:
        # Masked before it is cut, with a margin that is thrown away: half a secret would not be recognised.
        masked = self._masked(value[: limit + MARGIN])
        whole = len(value) <= limit + MARGIN
        return f"{masked[: limit if whole else min(limit, max(0, len(masked) - MARGIN))]}... ({len(value)} characters)"

    def _masked(self, value: str) -> str:
        if _WORTH_A_LOOK.search(value):
            value = _IN_TEXT.sub(_mask, value)
        return self._words.sub(WITHHELD, value) if self._words else value

    def field(self, key: str, value: Any, room: Room | None = None) -> Any:
        """The JSON value to write under `key`; never an error."""
        try:
            return self._field(key, value, room or Room())
        except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not break the caller who logs it
            return _unshown(value, error)

    def _field(self, key: str, value: Any, room: Room) -> Any:
        if value is None or isinstance(value, bool) or (isinstance(value, str) and not value):
            return value
        return SECRET if is_secret_key(key) else self.value(value, room)

    def value(self, value: Any, room: Room | None = None, depth: int = 0) -> Any:
        """Any Python value as a JSON value, masked, bounded and never an error."""
        room = room or Room()
        room.left -= ITEM_COST
        try:
            return self._value(value, room, depth)
        except Exception as error:  # noqa: BLE001 - lazy and hostile objects raise from anywhere, even isinstance
            return _unshown(value, error)

    def _value(self, value: Any, room: Room, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value, room)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            room.left -= value.bit_length() // 3
            # Python refuses to write out numbers of thousands of digits.
            return value if value.bit_length() <= MAX_INT_BITS else f"[integer of {value.bit_length()} bits]"
        if isinstance(value, float):
            room.left -= FLOAT_COST
            return value if math.isfinite(value) else str(value)
        if depth >= MAX_DEPTH:
            return "[too deep]"
        if isinstance(value, Mapping):
            return self._mapping(value, room, depth)
        if isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
            return self._items(value, room, depth)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes]"
        return self.text(as_text(value), room)

    def _mapping(self, value: Mapping[Any, Any], room: Room, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for number, (name, item) in enumerate(value.items()):
            if number == MAX_ITEMS or room.left <= 0:
                result["..."] = f"{len(value) - number} more"
                break
            key = name if isinstance(name, str) else as_text(name)
            plain = item is None or isinstance(item, bool)
            secret = is_secret_key(key) and not plain
            # A key may itself be an address ({"ann@example.org": 3}).
            shown = self.text(key, room)
            result[shown] = SECRET if secret else self.value(item, room, depth + 1)
        return result

    def _items(self, value: Sequence[Any] | AbstractSet[Any], room: Room, depth: int) -> list[Any]:
        result: list[Any] = []
        for number, item in enumerate(value):
            if number == MAX_ITEMS or room.left <= 0:
                result.append(f"... {len(value) - number} more")
                break
            result.append(self.value(item, room, depth + 1))
        return result


@lru_cache(maxsize=4096)
def is_secret_key(key: str) -> bool:
    """Whether a field of this name is masked: `db_password` is, `max_tokens`, `token_count` and `tokens` are not."""
    words = [word.lower() for word in _WORDS.findall(key)]
    if not words or words[-1] in _COUNTING:
        return False
    return not _SECRET_WORDS.isdisjoint(words) or _SECRET_PAIRS.search("_".join(words)) is not None


_escaped = json.JSONEncoder(ensure_ascii=True).encode


def _mask(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "mail":
        return ADDRESS
    if kind in {"cookie", "named", "scheme"}:
        return f"{match[kind]}{SECRET}"
    return f"{match['user']}{SECRET}@" if kind == "user" else SECRET


def as_text(value: object) -> str:
    """`str(value)`, or what kept it from being shown."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not break the caller who logs it
        return _unshown(value, error)


def _unshown(value: object, error: Exception) -> str:
    return f"[{type(value).__name__}: {type(error).__name__} when shown]"
