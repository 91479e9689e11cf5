"""From what a caller appends to the bytes that are logged: everything about an entry but its place."""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from companyos.canonical import NotCanonicalError, canonical_bytes, encode_plain
from companyos.ledger.entry import (
    MAX_ENTRY_BYTES,
    PERSONAL,
    check_id,
    commitment,
    envelope,
    map_personal,
    new_ids,
    sameness,
    timestamp,
)
from companyos.ledger.errors import EntryInvalidError, PayloadTooLargeError
from companyos.ledger.merkle import leaf_hash, leaf_hashes
from companyos.ledger.stores.interface import Deposit, Payload
from companyos.ports import Personal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.ledger.people import People

__all__ = ("DETACHED_LIMIT", "Draft", "Preparer")

DETACHED_LIMIT = 16 * 1024 * 1024
"""Largest detached payload in canonical bytes, unless the log is opened with another limit."""
_PLAIN = frozenset((str, dict, bool, type(None)))
_deposit = functools.partial(tuple.__new__, Deposit)  # what `_make` does, without a call of Python's for each
_RESERVED = f'"{PERSONAL}"'.encode()


class Draft(NamedTuple):
    """One entry to append."""

    type: str
    """Dotted name of what happened."""
    data: Mapping[str, Any]
    """The payload; may hold `Personal` values at any depth."""
    id: str | None = None
    """Unique within `source`; made if not given."""
    source: str | None = None
    """What produced it; default: the log's origin."""
    stream: str | None = None
    """The sequence it belongs to."""
    subject: str | Personal | None = None
    """What it is about."""
    detach: bool = False
    """Whether the payload is kept beside the log even though it would fit into the entry."""
    retention: str | None = None
    """The class that says how long the payload is kept; implies `detach`."""


class Preparer:
    """Makes entries of one log."""

    def __init__(self, origin: str, people: People, detached_limit: int) -> None:
        self._origin = origin
        self._people = people
        self._limit = detached_limit

    def prepare(self, drafts: Sequence[Draft]) -> list[Deposit]:
        """The entries, their bytes final.

        Raises:
            EntryInvalidError: not JSON, an unusable attribute, a reserved key; `PayloadTooLargeError` if too large.
        """
        now = datetime.now(UTC)
        time, ids = timestamp(now), new_ids(len(drafts))
        try:
            if len(drafts) == 1:
                # Most are appended alone, and what pays for many is dear for one.
                name, source, raw, same, payload = self._one(drafts[0], ids[0], time, now)
                return [Deposit(name, source, raw, leaf_hash(raw), same, payload)]
            made = [self._one(draft, new, time, now) for draft, new in zip(drafts, ids, strict=True)]
        except NotCanonicalError as error:
            raise EntryInvalidError("payload is not JSON", got=error.got, expected=error.expected) from error
        names, sources, raws, sames, payloads = zip(*made, strict=True) if made else ((),) * 5
        return list(map(_deposit, zip(names, sources, raws, leaf_hashes(raws), sames, payloads, strict=True)))

    def _one(self, draft: Draft, new: str, time: str, now: datetime) -> tuple[str, str, bytes, bytes, Payload | None]:
        """Id, source, bytes, sameness digest and payload of an entry."""
        kind, data, given, source, stream, subject, detach, retention = (
            draft if _PLAIN.issuperset(map(type, draft)) else map(_plain_text, draft)
        )
        given = new if given is None else check_id(given)
        about = b"null"
        if subject is not None:
            subject, about = self._subject(subject)
        try:
            shared = envelope(self._origin if source is None else source, kind, stream, subject, retention)
        except TypeError as error:
            raise EntryInvalidError("entry has an unusable attribute", got=error, expected="text") from error
        sealed = plain = encode_plain(data) if type(data) is dict else None
        if sealed is None or plain is None or _RESERVED in plain:
            sealed, plain = self._forms(data, (self._origin, shared.source, given))
        payload, same = None, b""
        raw = shared.encode(given, time, sealed)
        if len(raw) > MAX_ENTRY_BYTES or detach or retention is not None:
            payload = self._detach(sealed, retention, now)
            raw = shared.encode_detached(given, time, payload.commit, len(sealed))
        if payload is not None or sealed is not plain:
            same = sameness(self._people.secret("sameness"), shared.message(given, about, plain))
        return given, shared.source, raw, same, payload

    def _subject(self, subject: str | Personal) -> tuple[str, bytes]:
        """The subject as it is logged, and as sameness is judged over it."""
        if isinstance(subject, Personal):
            person = _known(subject).person
            # By their key, so that after an erasure nobody can test who it was.
            about = {PERSONAL: self._people.mac(Personal(None, person))}
            return self._people.pseudonym(person), canonical_bytes(about)
        return subject, canonical_bytes(subject)

    def _forms(self, data: Mapping[str, Any], context: tuple[str, str, str]) -> tuple[bytes, bytes]:
        """Canonical bytes of the payload as it is logged, and as sameness is judged over it."""
        plain = map_personal(data, lambda personal, _: {PERSONAL: self._people.mac(_known(personal))})
        sealed = map_personal(data, lambda personal, at: self._people.seal(personal, (*context, at)))
        shown = canonical_bytes(sealed)
        return shown, shown if plain == sealed else canonical_bytes(plain)

    def _detach(self, payload: bytes, retention: str | None, now: datetime) -> Payload:
        if len(payload) > self._limit:
            raise PayloadTooLargeError(
                "payload is too large",
                got=f"{len(payload)} bytes",
                expected=f"at most {self._limit} bytes",
                hint="store it elsewhere and log its digest, or raise ledger.detached_limit",
            )
        salt = os.urandom(32)
        return Payload(commitment(salt, payload), salt, payload, retention or "", now.timestamp())


def _known(personal: Personal) -> Personal:
    """A personal value whose person can be one; the value itself is never shown."""
    person: Any = personal.person
    if not isinstance(person, str) or not person.isprintable():
        raise EntryInvalidError("a person is not named by text", expected="the id used in your own systems")
    try:
        canonical_bytes(personal.value)
    except NotCanonicalError:
        raise EntryInvalidError("a personal value is not JSON", expected="a JSON value") from None
    return personal


def _plain_text(value: Any) -> Any:
    """Text as exactly `str`: a subclass, such as a member of an enumeration, may print itself as something else."""
    return str.__str__(value) if isinstance(value, str) and type(value) is not str else value
