"""From what a caller appends to the bytes that are logged: everything about an entry but its place."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from companyos.canonical import NotCanonicalError, canonical_bytes, encode_plain
from companyos.ledger.entry import (
    MAX_ENTRY_BYTES,
    PERSONAL,
    Sameness,
    check_id,
    commitment,
    envelope,
    map_personal,
    new_id,
    timestamp,
)
from companyos.ledger.errors import EntryInvalidError, PayloadTooLargeError
from companyos.ledger.merkle import leaf_hash
from companyos.ledger.stores.interface import Deposit, Payload
from companyos.ports import Personal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.ledger.people import People

__all__ = ("DETACHED_LIMIT", "Draft", "Preparer")

DETACHED_LIMIT = 16 * 1024 * 1024
"""Largest detached payload in canonical bytes, unless the log is opened with another limit."""
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
        self._sameness: tuple[bytes, Sameness] | None = None

    def prepare(self, draft: Draft) -> Deposit:
        """The entry, its bytes final.

        Raises:
            EntryInvalidError: not JSON, an unusable attribute, a reserved key; `PayloadTooLargeError` if too large.
        """
        now = datetime.now(UTC)
        subject = draft.subject
        name = self._people.pseudonym(_known(subject).person) if isinstance(subject, Personal) else subject
        given = new_id() if draft.id is None else check_id(draft.id)
        try:
            shared = envelope(draft.source or self._origin, draft.type, draft.stream, name, draft.retention)
        except TypeError as error:
            raise EntryInvalidError("entry has an unusable attribute", got=error, expected="text") from error
        if draft.source == "":
            raise EntryInvalidError("entry has an unusable source", got="''")
        sealed, plain = self._forms(draft.data, (self._origin, shared.source, given))
        about = canonical_bytes({"person": subject.person} if isinstance(subject, Personal) else subject)
        same = self._same(shared.message(given, about, plain))
        time = timestamp(now)
        raw = shared.encode(given, time, sealed)
        payload = None
        if len(raw) > MAX_ENTRY_BYTES or draft.detach or draft.retention is not None:
            payload = self._detach(sealed, draft.retention, now)
            raw = shared.encode_detached(given, time, payload.commit, len(sealed))
        return Deposit(given, shared.source, raw, leaf_hash(raw), same, payload)

    def _forms(self, data: Mapping[str, Any], context: tuple[str, str, str]) -> tuple[bytes, bytes]:
        """Canonical bytes of the payload as it is logged, and as sameness is judged over it."""
        quick = encode_plain(data) if type(data) is dict else None
        if quick is not None and _RESERVED not in quick:
            return quick, quick
        try:
            plain = map_personal(data, lambda personal, _: {PERSONAL: self._people.mac(_known(personal))})
            sealed = map_personal(data, lambda personal, at: self._people.seal(personal, (*context, at)))
            return canonical_bytes(sealed), canonical_bytes(plain)
        except NotCanonicalError as error:
            raise EntryInvalidError("payload is not JSON", got=error.got, expected=error.expected) from error

    def _same(self, message: bytes) -> bytes:
        secret = self._people.secret("sameness")
        if self._sameness is None or self._sameness[0] is not secret:
            self._sameness = secret, Sameness(secret)
        return self._sameness[1].digest(message)

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
    return personal
