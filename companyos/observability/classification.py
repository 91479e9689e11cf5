"""What a value is, and what is therefore done with it before it leaves the process.

The words are those of the company's data classification: each has a treatment that holds unless a stricter one is
chosen for a field (`pii("drop")`). They stand in annotations (`Annotated[str, pii]`) of dataclasses, named tuples,
pydantic models and the like, or wrap a single value (`classified(value, pii)`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import inspect
import secrets
import types
import typing
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from companyos.observability.errors import ClassificationError, SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "Classification",
    "Classified",
    "KeyedHash",
    "classified",
    "members_of",
    "non_sensitive",
    "pii",
    "restricted",
    "secret",
    "sensitive",
    "strictest",
    "telemetry",
)

Treatment = Literal["keep", "hash", "mask", "drop"]

_ALLOWED: dict[str, tuple[Treatment, ...]] = {
    "non-sensitive": ("keep", "hash", "mask", "drop"),
    "telemetry": ("keep", "hash", "mask", "drop"),
    "pii": ("hash", "mask", "drop"),
    "sensitive": ("mask", "hash", "drop"),
    "restricted": ("drop", "mask"),
    "secret": ("drop", "mask"),
}
"""Treatments of each class, the one that holds by default first."""
_STRICTNESS = ("keep", "hash", "mask", "drop")
MIN_KEY_BYTES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Classification:
    """A class of data and its treatment; call it with another treatment to get a variant."""

    name: str
    """`non-sensitive`, `telemetry`, `pii`, `sensitive`, `restricted` or `secret`."""
    treatment: Treatment
    """`keep` (the safety net still looks at it), `hash`, `mask` (its class stands in its place) or `drop`."""

    def __call__(self, treatment: Treatment) -> Classification:
        """The same class with another treatment.

        Raises:
            ClassificationError: the class does not allow that treatment.
        """
        if treatment not in _ALLOWED[self.name]:
            raise ClassificationError(
                f"data of class {self.name} cannot be treated so",
                got=repr(treatment),
                expected=", ".join(_ALLOWED[self.name]),
            )
        return dataclasses.replace(self, treatment=treatment)

    @property
    def rank(self) -> tuple[int, int]:
        """How strict it is, for comparison."""
        return _STRICTNESS.index(self.treatment), list(_ALLOWED).index(self.name)


def _class(name: str) -> Classification:
    return Classification(name, _ALLOWED[name][0])


non_sensitive = _class("non-sensitive")
"""May be read by everybody who reads logs; kept."""
telemetry = _class("telemetry")
"""What the system says about itself; kept."""
pii = _class("pii")
"""About a person; hashed with the key, so that events about one person still belong together."""
sensitive = _class("sensitive")
"""About the business; masked."""
restricted = _class("restricted")
"""Never exported; dropped."""
secret = _class("secret")
"""Gives access; dropped."""
UNKNOWN = Classification("unclassified", "mask")
"""For a field whose annotation cannot be read: what could not be checked is not shown."""


class Classified:
    """A value with its class, wherever a plain value may stand; `str()` and `repr()` show the class only."""

    __slots__ = ("classification", "value")

    def __init__(self, value: Any, classification: Classification) -> None:
        self.value = value
        self.classification = classification

    def __repr__(self) -> str:
        return f"[{self.classification.name}]"


def classified(value: Any, classification: Classification) -> Classified:
    """`value`, to be treated by its class: as a field, a span attribute, a tag, or an argument of an exception."""
    return Classified(value, classification)


def strictest(*found: Classification | None) -> Classification | None:
    """The strictest of them, None if there is none."""
    return max((each for each in found if each is not None), key=lambda each: each.rank, default=None)


class KeyedHash:
    """HMAC-SHA256 (RFC 2104) of values, so that equal ones can be told to be equal and nothing else.

    Written as `hmac-sha256:KEYID:DIGEST`, the digest cut to 128 bits (RFC 2104, section 5). The key id is derived from
    the key, so that a rotated key shows as another id. Without a key, one is made for this process: the id is then
    `process`, hashes of different processes do not agree, and `announce` is called at the first use, to say so.
    """

    __slots__ = ("_key", "announce", "key_id")

    def __init__(self, key: bytes | None, announce: Callable[[], None] | None = None) -> None:
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise SetupError(
                "the key for hashing personal data is too short",
                got=f"{len(key)} bytes",
                expected=f"at least {MIN_KEY_BYTES} bytes",
                hint="make one with: openssl rand -hex 32",
            )
        self._key = secrets.token_bytes(32) if key is None else key
        self.key_id: str = "process" if key is None else self._digest(b"companyos key id")[:8]
        """Eight hexadecimal digits that tell keys apart, or `process`."""
        self.announce: Callable[[], None] | None = announce
        """Called once, when the first value is hashed with a key of this process only."""

    def __call__(self, text: str) -> str:
        """The hash of a text."""
        if self.announce is not None and self.key_id == "process":
            announce, self.announce = self.announce, None
            announce()
        return f"hmac-sha256:{self.key_id}:{self._digest(text.encode('utf-8', 'surrogatepass'))[:32]}"

    def _digest(self, data: bytes) -> str:
        return hmac.digest(self._key, data, hashlib.sha256).hex()


def members_of(kind: type) -> Mapping[str, Classification | None] | None:
    """The fields of a class and what each is classified as; None for a class that has no declared fields.

    Dataclasses, named tuples, and what pydantic, attrs and msgspec make, told by what they leave on the class. A field
    whose annotation cannot be resolved counts as unclassified and is masked.
    """
    return _members_of(kind)


@lru_cache(maxsize=1024)
def _members_of(kind: Hashable) -> Mapping[str, Classification | None] | None:
    if not isinstance(kind, type):
        return None
    names = _names(kind)
    if names is None:
        return None
    models = getattr(kind, "__pydantic_fields__", None)
    if isinstance(models, Mapping):
        return {
            name: strictest(*_marks(field.metadata), classification_of(field.annotation))
            for name, field in models.items()
        }
    hints = hints_of(kind, None)
    return {name: classification_of(hints[name]) if name in hints else UNKNOWN for name in names}


def hints_of(kind: type, local: Mapping[str, Any] | None) -> dict[str, Any]:
    """The annotations of a class that can be resolved, with their metadata."""
    names = dict(local) if local is not None else None
    try:
        return typing.get_type_hints(kind, localns=names, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation may be any expression; each is tried by itself below
        found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        for name, annotation in inspect.get_annotations(base).items():
            single = type("_", (), {"__annotations__": {name: annotation}, "__module__": base.__module__})
            try:
                found |= typing.get_type_hints(single, localns=names, include_extras=True)
            except Exception:  # noqa: BLE001 - as above: what cannot be resolved is left out, and then masked
                found.pop(name, None)
    return found


def classification_of(hint: Any) -> Classification | None:
    """The strictest class that an annotation names, at its top or anywhere within."""
    hint = getattr(hint, "__value__", hint) if type(hint).__name__ == "TypeAliasType" else hint
    within = [classification_of(part) for part in typing.get_args(hint) if _is_hint(part)]
    return strictest(*_marks(getattr(hint, "__metadata__", ())), *within)


def _is_hint(part: Any) -> bool:
    return (
        isinstance(part, type | types.GenericAlias | types.UnionType)
        or typing.get_origin(part) is not None
        or (type(part).__name__ == "TypeAliasType")
    )


def _marks(metadata: Any) -> list[Classification]:
    return [mark for mark in metadata if isinstance(mark, Classification)]


def _names(kind: type) -> tuple[str, ...] | None:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    for attribute in ("__pydantic_fields__", "__struct_fields__"):
        declared = getattr(kind, attribute, None)
        if isinstance(declared, Mapping | tuple):
            return tuple(declared)
    attrs = getattr(kind, "__attrs_attrs__", None)
    if isinstance(attrs, tuple):
        return tuple(attribute.name for attribute in attrs)
    names = getattr(kind, "_fields", None)
    return names if issubclass(kind, tuple) and isinstance(names, tuple) else None
