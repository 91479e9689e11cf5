"""The safety net: secrets and addresses are masked before anything leaves, whatever the caller put in.

It is a net, not a licence: classify and leave out what need not be said. It works on names of fields (`password`,
`authorization`, `api_key`, ...), on what a text looks like (`shapes`, `digits`), on the words and hosts that the
company names, and on the classes that values carry (`classification`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from companyos.observability import digits, shapes
from companyos.observability.classification import Classification, Classified, KeyedHash, members_of
from companyos.observability.shapes import ADDRESS, SECRET, is_secret_key

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("ADDRESS", "DROPPED", "MAX_EVENT", "SECRET", "Redactor", "Room", "as_text", "is_secret_key")

WITHHELD = "[redacted]"
"""What stands in place of a word that the company named itself."""
HOST = "[host]"
"""What stands in place of an internal host name."""
INTERNAL_HOSTS = ("*.internal", "*.corp", "*.local", "*.lan", "*.intranet")
"""Names that only resolve inside; `*.local` takes in `*.svc.cluster.local`."""
DROPPED: Any = object()
"""Stands for a value that is not to appear at all."""

MAX_TEXT = 8_192
"""Longest text value written, in characters; a log line is not a place for documents."""
MAX_EVENT = 65_536
"""Most characters that the values of one event take together."""
MARGIN = 1_024
MAX_NOTE = 64
MAX_ESCAPED = 12
"""Characters that one character takes at most when it is escaped in JSON."""
ITEM_COST = 8
FLOAT_COST = 24
MAX_ITEMS = 100
"""Most items of one collection that are written."""
MAX_INT_BITS = 1_024
"""Largest integer written as a number."""
MAX_DEPTH = 6
"""How deep collections are followed."""
MAX_PASSES = 8
_SHORTEST_CARD = 10**11
_LONGEST_CARD = 10**19


class Room:
    """How many characters one event may still take; shared by all its fields, so that it bounds work and size."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_EVENT) -> None:
        self.left = left
        """Characters, as they are written in JSON."""


class Redactor:
    """Masks values, and bounds their size so that one event cannot flood a log.

    `words` are literal texts to be withheld wherever they occur, such as tenant names. `hosts` are names of internal
    hosts, `db.acme.example`, or of all below a domain, `*.acme.example`. `key` is what personal data are hashed with.

    Raises:
        SetupError: the key is too short.
    """

    __slots__ = ("_hints", "_hosts", "_literals", "_quick", "_words", "hashed")

    def __init__(
        self, words: Iterable[str] = (), *, hosts: Iterable[str] = INTERNAL_HOSTS, key: bytes | None = None
    ) -> None:
        chosen = sorted({word for word in words if word}, key=len, reverse=True)
        names = sorted({host.strip(".") for host in hosts if host.strip("*.")}, key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, chosen)), re.IGNORECASE) if chosen else None
        self._hosts = _hosts(names) if names else None
        # The quick test: a domain is looked for by its end, which is cheap to find; the rest letter by letter.
        ends = [name[1:].lower() for name in names if name.startswith("*.")]
        literals = [name.lower() for name in (*chosen, *names) if not name.startswith("*.")]
        # Outside ASCII, letters have more than two cases: then every text gets the closer look.
        self._quick = all(map(str.isascii, (*ends, *literals)))
        self._hints = shapes.hints(end[1:] for end in ends)
        self._literals = re.compile("|".join(map(re.escape, literals))) if literals else None
        self.hashed: KeyedHash = KeyedHash(key)
        """The hash that stands in place of personal data."""

    def is_clean(self, text: str) -> bool:
        """Whether a text is quickly seen to hold nothing to mask; False says only that a closer look is needed."""
        low = f"\n{text}".lower()
        return (
            self._quick
            and low.isascii()
            and not shapes.needs_a_look(low, self._hints)
            and (self._literals is None or self._literals.search(low) is None)
        )

    def text(self, value: str, room: Room | None = None) -> str:
        """`value` with what looks like a secret or an address masked."""
        room = room or Room()
        size = len(value)
        if size <= MAX_TEXT and size * MAX_ESCAPED + MAX_NOTE <= room.left:
            # Even if all of it has to be escaped it fits.
            shown = self._masked(value)
            room.left -= max(_cost(shown), size)
            return shown
        limit = min(MAX_TEXT, max(0, room.left))
        shown = self.cut(value, limit)
        cost = _cost(shown)
        if cost > max(room.left, MAX_NOTE):
            shown = f"{shown[: limit // MAX_ESCAPED]}... ({len(value)} characters)"
            cost = _cost(shown)
        room.left -= max(cost, min(len(value), limit))
        return shown

    def cut(self, value: str, limit: int) -> str:
        """`value` masked, and no more than `limit` characters of it."""
        if len(value) <= limit:
            return self._masked(value)
        # Masked before it is cut, with a margin that is thrown away: half a secret would not be recognised.
        masked = self._masked(value[: limit + MARGIN])
        whole = len(value) <= limit + MARGIN
        return f"{masked[: limit if whole else min(limit, max(0, len(masked) - MARGIN))]}... ({len(value)} characters)"

    def _masked(self, value: str) -> str:
        return value if self.is_clean(value) else self._searched(value)

    def _searched(self, value: str) -> str:
        value = self._settled(value)
        # Only if that brings something to light is a text shown in plainer letters than it was written in.
        plain = shapes.unwrapped(value)
        if plain == value:
            return value
        masked = self._settled(plain)
        return value if masked == plain else masked

    def _settled(self, value: str) -> str:
        # Again while it changes, because what is masked may have hidden the beginning of what follows it.
        for _ in range(MAX_PASSES):
            masked = self._own(digits.masked(shapes.masked(value)))
            if masked == value:
                break
            value = masked
        return value

    def _own(self, value: str) -> str:
        value = self._words.sub(WITHHELD, value) if self._words else value
        return self._hosts.sub(HOST, value) if self._hosts else value

    def baggage(self, entries: Mapping[str, Any]) -> dict[str, str]:
        """W3C Baggage entries as they may be sent on: masked like fields, and without those that are dropped."""
        shown = {self.text(as_text(key)): self.field(as_text(key), value) for key, value in entries.items()}
        return {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in shown.items()
            if value is not None
        }

    def field(self, key: str, value: Any, room: Room | None = None) -> Any:
        """The JSON value to write under `key`, None if it is not to appear; never an error."""
        try:
            shown = self._field(key, value, room or Room())
        except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not break the caller who logs it
            return _unshown(value, error)
        return None if shown is DROPPED else shown

    def _field(self, key: str, value: Any, room: Room) -> Any:
        if type(value) is str:
            room.left -= ITEM_COST
            return SECRET if value and is_secret_key(key) else self.text(value, room)
        if value is None or isinstance(value, bool) or (isinstance(value, str) and not value):
            return value
        if type(value) is Classified and value.classification.treatment != "keep":
            return self.treated(value.value, value.classification, room)
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
        plain = self._plain(value, room)
        if plain is not DROPPED:
            return plain
        if type(value) is Classified:
            return self.treated(value.value, value.classification, room, depth)
        if depth >= MAX_DEPTH:
            return "[too deep]"
        members = members_of(type(value))
        if members is not None:
            return self._structured(value, members, room, depth)
        if isinstance(value, Mapping):
            return self._mapping(value, room, depth)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes]"
        if isinstance(value, Sequence | AbstractSet):
            return self._items(value, room, depth)
        return self.text(as_text(value), room)

    def _plain(self, value: Any, room: Room) -> Any:
        """A text, number, boolean or None as it may be shown; `DROPPED` for anything else."""
        if isinstance(value, str):
            return self.text(str.__str__(value), room)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return _integer(int.__index__(value), room)
        if isinstance(value, float):
            room.left -= FLOAT_COST
            if not math.isfinite(value):
                return str(value)
            # A column of numbers with a gap in it is read as floats.
            return digits.CARD if value.is_integer() and _integer(int(value), room) == digits.CARD else value
        return DROPPED

    def treated(self, value: Any, classification: Classification, room: Room | None = None, depth: int = 0) -> Any:
        """`value` as its class says; `DROPPED` if it is not to appear."""
        treatment = classification.treatment
        room = room or Room()
        if treatment == "keep":
            return self._value(value, room, depth)
        if treatment == "drop":
            return DROPPED
        if treatment == "mask" or value is None:
            return None if value is None else f"[{classification.name}]"
        return self._hashed(value, room, depth)

    def _hashed(self, value: Any, room: Room, depth: int) -> Any:
        """Every leaf hashed, and the keys of mappings too, since they may name persons."""
        if isinstance(value, Classified):
            return self._hashed(value.value, room, depth)
        members = members_of(type(value))
        if members is not None:
            value = {name: getattr(value, name) for name in members}
        if not isinstance(value, Mapping | list | tuple | AbstractSet):
            shown = self.hashed(value if isinstance(value, str) else as_text(value))
            room.left -= len(shown)
            return shown
        if depth >= MAX_DEPTH:
            return "[too deep]"
        if isinstance(value, Mapping):
            named = members is not None
            return _bounded_dict(
                value,
                room,
                lambda key: key if named else self.hashed(as_text(key)),
                lambda _key, item: None if item is None else self._hashed(item, room, depth + 1),
            )
        return _bounded_list(value, room, lambda item: None if item is None else self._hashed(item, room, depth + 1))

    def _structured(
        self, value: Any, members: Mapping[str, Classification | None], room: Room, depth: int
    ) -> dict[str, Any]:
        def shown(name: str, item: Any) -> Any:
            mark = members[name]
            if mark is not None and not isinstance(item, Classified):
                item = Classified(item, mark)
            elif mark is not None and item.classification.rank < mark.rank:
                item = Classified(item.value, mark)
            return self._member(name, item, room, depth)

        items = {name: getattr(value, name) for name in members}
        return _bounded_dict(items, room, lambda name: name, shown)

    def _mapping(self, value: Mapping[Any, Any], room: Room, depth: int) -> dict[str, Any]:
        # A key may itself be an address ({"ann@example.org": 3}).
        return _bounded_dict(
            value,
            room,
            lambda key: self.text(key, room),
            lambda key, item: self._member(key, item, room, depth),
        )

    def _member(self, key: str, item: Any, room: Room, depth: int) -> Any:
        treated = type(item) is Classified and item.classification.treatment != "keep"
        plain = item is None or isinstance(item, bool)
        return SECRET if not plain and not treated and is_secret_key(key) else self.value(item, room, depth + 1)

    def _items(self, value: Sequence[Any] | AbstractSet[Any], room: Room, depth: int) -> list[Any]:
        if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str):
            # A header or a column of a row: a name and what it stands for.
            return [self.value(value[0], room, depth + 1), self._member(value[0], value[1], room, depth)]
        return _bounded_list(value, room, lambda item: self.value(item, room, depth + 1))


_escaped = json.JSONEncoder(ensure_ascii=True).encode


def _cost(shown: str) -> int:
    """Characters of a text in JSON."""
    plain = shown.isascii() and shown.isprintable() and '"' not in shown and "\\" not in shown
    return len(shown) + 2 if plain else len(_escaped(shown))


def _hosts(names: list[str]) -> re.Pattern[str]:
    one = "|".join(
        rf"(?:[\w-]{{1,63}}\.){{1,20}}{re.escape(name[2:])}" if name.startswith("*.") else re.escape(name)
        for name in names
    )
    # Not the middle of a longer name: `app.internal.example.org` is outside, `x.internal.` ends a sentence.
    return re.compile(rf"(?<![\w-])(?:{one})(?![\w-]|\.\w)", re.IGNORECASE)


def _integer(value: int, room: Room) -> int | str:
    room.left -= value.bit_length() // 3
    # Python refuses to write out numbers of thousands of digits.
    if value.bit_length() > MAX_INT_BITS:
        return f"[integer of {value.bit_length()} bits]"
    return digits.CARD if _SHORTEST_CARD <= abs(value) < _LONGEST_CARD and digits.is_card(str(abs(value))) else value


def _bounded_dict(value: Mapping[Any, Any], room: Room, name_of: Any, shown: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for number, (name, item) in enumerate(value.items()):
        if number == MAX_ITEMS or room.left <= 0:
            result["..."] = f"{len(value) - number} more"
            break
        key = str.__str__(name) if isinstance(name, str) else as_text(name)
        written = shown(key, item)
        if written is not DROPPED:
            result[name_of(key)] = written
    return result


def _bounded_list(value: Sequence[Any] | AbstractSet[Any], room: Room, shown: Any) -> list[Any]:
    result: list[Any] = []
    for number, item in enumerate(value):
        if number == MAX_ITEMS or room.left <= 0:
            result.append(f"... {len(value) - number} more")
            break
        written = shown(item)
        if written is not DROPPED:
            result.append(written)
    return result


def as_text(value: object) -> str:
    """`str(value)`, or what kept it from being shown."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not break the caller who logs it
        return _unshown(value, error)


def _unshown(value: object, error: Exception) -> str:
    return f"[{type(value).__name__}: {type(error).__name__} when shown]"
