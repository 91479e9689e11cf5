"""Data subjects: a pseudonym and a key each, in a store of their own, away from the log and its backups.

A value about a person is encrypted with AES-256-GCM under that person's key. The additional data binds the log's
origin, the entry's source and id and the place of the field, so that no ciphertext can be moved elsewhere. Keys are
wrapped by a master key, which lies in a file of its own and is another one after every erasure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from companyos.canonical import canonical_bytes, loads
from companyos.errors import UserError
from companyos.ledger.entry import PERSONAL
from companyos.ledger.errors import EntryInvalidError, ErasedError
from companyos.ledger.people.master import derive
from companyos.ledger.people.tables import LOOKUP, Erasure
from companyos.ledger.people.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from companyos.ledger.people.tables import Tables
    from companyos.ports import Personal

__all__ = ("People",)

_REMEMBERED = 100_000
"""How many persons are held in memory before all are forgotten and read again."""


@dataclass(frozen=True, slots=True, repr=False)
class _Subject:
    """A person in memory."""

    pseudonym: str
    cipher: AESGCM
    """Encrypts the person's values."""
    mac: bytes
    """Recognises the person's values."""


class People:
    """The key store of data subjects; any number of threads and processes may have it open.

    Keys are held in memory. A process that has the store open forgets them at its first use after an erasure by
    another process, not before.

    Raises:
        StoreUnreadableError: the store or its master key cannot be opened, or is missing (unless `create`).
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._lock = threading.Lock()
        self._vault = Vault(path, create=create)
        self._generation = self._vault.generation
        self._by_person: dict[str, _Subject] = {}
        self._by_pseudonym: dict[str, _Subject] = {}
        self._secrets: dict[str, bytes] = {}

    def close(self) -> None:
        """Close the store; keys held in memory are forgotten."""
        with self._lock:
            self._forget()
            self._vault.close()

    def secret(self, name: str) -> bytes:
        """A 32-byte secret of the log, made on first use; erasures leave it as it is."""
        with self._lock:
            self._follow()
            if name not in self._secrets:
                with self._tables() as tables:
                    return self._secret(tables, name)
            return self._secrets[name]

    def pseudonym(self, person: str) -> str:
        """The random name that stands for a person in the log, made on first use; another one after an erasure.

        Raises:
            EntryInvalidError: `person` is not text.
        """
        return self._person(person).pseudonym

    def pseudonym_of(self, person: str) -> str | None:
        """The name that stands for a person in the log, None for somebody who has none."""
        with self._lock:
            self._follow()
            known = self._by_person.get(person)
            if known is not None:
                return known.pseudonym
            with self._tables() as tables:
                return tables.name(self._lookup(tables, person))

    def seal(self, personal: Personal, context: tuple[str, ...]) -> dict[str, Any]:
        """The encrypted form of a personal value, bound to `context`: origin, source, entry id, JSON pointer.

        Raises:
            EntryInvalidError: the person is not text.
            NotCanonicalError: the value is not JSON.
        """
        plain = canonical_bytes(personal.value)
        subject = self._person(personal.person)
        nonce = secrets.token_bytes(12)
        sealed = subject.cipher.encrypt(nonce, plain, canonical_bytes(list(context)))
        return {PERSONAL: {"alg": "A256GCM", "ct": _b64(sealed), "iv": _b64(nonce), "sub": subject.pseudonym}}

    def open(self, sealed: dict[str, str], context: tuple[str, ...]) -> Any:
        """The value inside an encrypted form.

        Raises:
            ErasedError: the person's key is gone, or the ciphertext does not belong to this place.
        """
        subject = self._subject(sealed["sub"])
        try:
            plain = subject.cipher.decrypt(
                base64.b64decode(sealed["iv"]), base64.b64decode(sealed["ct"]), canonical_bytes(list(context))
            )
        except (InvalidTag, ValueError) as error:
            raise ErasedError("a personal value cannot be decrypted here", got=sealed["sub"]) from error
        return loads(plain)

    def mac(self, personal: Personal) -> dict[str, str]:
        """What tells equal values of one person: `sub`, the pseudonym, and `mac`, a digest keyed with the person's key.

        The key is derived from the person's, so that with it goes the means to test a guess at the value.

        Raises:
            EntryInvalidError: the person is not text.
            NotCanonicalError: the value is not JSON.
        """
        plain = canonical_bytes(personal.value)
        subject = self._person(personal.person)
        return {"mac": hmac.digest(subject.mac, plain, hashlib.sha256).hex(), "sub": subject.pseudonym}

    def erase(self, person: str) -> Erasure:
        """Destroy a person's key; no copy of the store made before, nor of the log, can be read with what is left.

        Once it returns, that holds; if it does not, the person is either whole or gone, and it can be called again.
        What other processes hold in memory goes with their next use of the store, and the master keys in backups are
        out of reach: keep none for longer than an erasure may take. Named again, the person is somebody new.

        Raises:
            UserError: nobody of that name has a key.
            StoreUnreadableError: it could not be carried out.
        """
        with self._lock, self._tables() as tables:
            pseudonym = tables.name(self._lookup(tables, person))
            if pseudonym is None:
                # Who it is must not get into a log by way of the error.
                raise UserError(
                    "this person has no key: erased already, or never named in a personal value",
                    hint="check how the person is named in the log",
                )
            return Erasure(pseudonym, self._rotate({pseudonym}))

    def bury(self, pseudonyms: Iterable[str]) -> int:
        """Apply the tombstones of a log: destroy the keys of these, however they came back; return how many had one.

        All of them are remembered as erased. Nothing is rotated if none had a key.

        Raises:
            StoreUnreadableError: it could not be carried out.
        """
        names = set(pseudonyms)
        with self._lock, self._tables() as tables:
            living = tables.living(names)
            if unknown := names - living - tables.buried():
                tables.bury(unknown)
            if living:
                self._rotate(living)
            return len(living)

    def erasures(self) -> tuple[Erasure, ...]:
        """Everybody who was erased from this store, in order; a restored log may have lost some of them."""
        with self._lock, self._tables() as tables:
            return tables.erasures()

    @property
    def epoch(self) -> int:
        """The number of the master key, counted from 1; each erasure begins the next."""
        with self._lock, self._tables() as tables:
            return tables.epoch

    def living(self, pseudonyms: Iterable[str]) -> set[str]:
        """Those of the pseudonyms that have a key."""
        with self._lock, self._tables() as tables:
            return tables.living(pseudonyms)

    def _person(self, person: str) -> _Subject:
        with self._lock:
            self._follow()
            known = self._by_person.get(person)
            if known is not None:
                return known
            with self._tables() as tables:
                lookup = self._lookup(tables, person)
                found = tables.find(lookup)
                if found is None:
                    name = f"p-{secrets.token_hex(16)}"
                    found = name, tables.add(lookup, name)
                return self._remember(*found, person)

    def _subject(self, pseudonym: str) -> _Subject:
        with self._lock:
            self._follow()
            known = self._by_pseudonym.get(pseudonym)
            if known is not None:
                return known
            with self._tables() as tables:
                return self._remember(pseudonym, tables.key(pseudonym))

    def _remember(self, pseudonym: str, key: bytes, person: str | None = None) -> _Subject:
        if len(self._by_pseudonym) >= _REMEMBERED:
            self._forget()
        subject = _Subject(pseudonym, AESGCM(key), derive(key, "companyos: mac of personal values"))
        self._by_pseudonym[pseudonym] = subject
        if person is not None:
            self._by_person[person] = subject
        return subject

    def _lookup(self, tables: Tables, person: str) -> bytes:
        try:
            name = person.encode()
        except (UnicodeEncodeError, AttributeError) as error:
            raise EntryInvalidError("a person is not text", expected="text without lone surrogates") from error
        return hmac.digest(self._secret(tables, LOOKUP), b"person\x00" + name, hashlib.sha256)

    def _secret(self, tables: Tables, name: str) -> bytes:
        if name not in self._secrets:
            self._secrets[name] = tables.secret(name)
        return self._secrets[name]

    def _rotate(self, pseudonyms: set[str]) -> int:
        try:
            return self._vault.rotate(pseudonyms)
        finally:
            self._forget()

    def _forget(self) -> None:
        self._generation = self._vault.generation
        self._by_person.clear()
        self._by_pseudonym.clear()
        self._secrets.clear()

    def _follow(self) -> None:
        """Make sure that what is in memory is what the store holds."""
        if self._vault.stale():
            with self._tables():
                pass

    @contextmanager
    def _tables(self) -> Iterator[Tables]:
        with self._vault.tables() as tables:
            if self._vault.generation != self._generation:
                self._forget()
            yield tables


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
