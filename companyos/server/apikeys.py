"""API keys: random secrets, of which the server knows only salted hashes.

A key reads `cos_ID_SECRET`: eight hexadecimal digits that find its record, and 32 random bytes. With that much chance
in a secret one HMAC-SHA-256 under a salt of its own is enough. The records are a YAML file that `server.api_keys`
points to.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from companyos.config import parse_yaml
from companyos.server.interface import AuthenticationError, Caller, ServerConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ("PREFIX", "ApiKeyRecord", "ApiKeys", "add_key", "list_keys", "load_keys", "new_key", "revoke_keys")

PREFIX = "cos_"
"""What every API key begins with."""
_KEY = re.compile(r"cos_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_MAX_FILE = 1024 * 1024


class ApiKeyRecord(BaseModel):
    """What is kept of one key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{8}$", description="Finds the record; no secret.")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="Who uses it.")
    salt: str = Field(pattern=r"^[0-9a-f]{32}$", description="Of this key alone.")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="HMAC-SHA-256 of the secret under the salt.")
    not_before: AwareDatetime | None = Field(None, description="From when it counts.")
    expires: AwareDatetime | None = Field(None, description="Until when it counts.")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[ApiKeyRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    record: ApiKeyRecord
    caller: Caller


class ApiKeys:
    """The keys that count.

    Raises:
        ServerConfigError: two records have the same id.
    """

    def __init__(self, records: Iterable[ApiKeyRecord]) -> None:
        self._known: dict[str, _Known] = {}
        for record in records:
            if record.id in self._known:
                raise ServerConfigError("two API keys have the same id", got=record.id)
            self._known[record.id] = _Known(record, Caller(f"key:{record.name}"))
        self._nobody = new_key("nobody")[1]

    def __len__(self) -> int:
        return len(self._known)

    def authenticate(self, key: str, now: datetime | None = None) -> Caller:
        """Whose key this is.

        An unknown id costs the same time as a wrong secret, and is told the same.

        Raises:
            AuthenticationError: it does not count, not yet, or no longer.
        """
        parsed = _KEY.fullmatch(key)
        identity, secret = parsed.groups() if parsed else ("", "")
        known = self._known.get(identity)
        record = known.record if known else self._nobody
        is_right = hmac.compare_digest(_digest(record.salt, secret), record.digest)
        if known is None or not is_right:
            raise AuthenticationError("pdp.key.unknown", "the API key is not known")
        moment = now or datetime.now(UTC)
        if record.not_before is not None and moment < record.not_before:
            raise AuthenticationError("pdp.key.not_yet_valid", "the API key does not count yet")
        if record.expires is not None and moment >= record.expires:
            raise AuthenticationError("pdp.key.expired", "the API key has expired")
        return known.caller


def new_key(
    name: str, *, not_before: datetime | None = None, expires: datetime | None = None
) -> tuple[str, ApiKeyRecord]:
    """A fresh key and the record of it; the key itself is kept nowhere.

    Raises:
        ServerConfigError: the name is not one.
    """
    identity, salt, secret = secrets.token_hex(4), secrets.token_hex(16), secrets.token_urlsafe(32)
    try:
        record = ApiKeyRecord(
            id=identity,
            name=name,
            salt=salt,
            digest=_digest(salt, secret),
            not_before=not_before,
            expires=expires,
        )
    except ValidationError as error:
        raise ServerConfigError("that is no name for an API key", got=name, expected="orders-api") from error
    return f"{PREFIX}{identity}_{secret}", record


def load_keys(path: Path) -> ApiKeys:
    """The keys of a file; `keys: []` says that none count.

    Raises:
        ServerConfigError: it cannot be read, or is not one of API keys. An empty file says nothing: somebody may be
            writing it.
    """
    found = _read(path)
    if found is None:
        raise ServerConfigError(f"{path} is empty", expected="keys: [...]", hint="companyos serve new-key NAME")
    return ApiKeys(found.keys)


def add_key(path: Path, name: str, *, expires: datetime | None = None) -> str:
    """A fresh key, its record added to the file, which is made if need be.

    Raises:
        ServerConfigError: the file is not one of API keys, or the name is not one.
    """
    key, record = new_key(name, expires=expires)
    with _sole_writer(path):
        _write(path, (*list_keys(path), record))
    return key


def list_keys(path: Path) -> tuple[ApiKeyRecord, ...]:
    """The records of a file, in the order in which they were made; none if there is no file yet.

    Raises:
        ServerConfigError: it cannot be read, or is not one of API keys.
    """
    found = _read(path) if path.exists() else None
    return () if found is None else found.keys


def revoke_keys(path: Path, which: str) -> tuple[ApiKeyRecord, ...]:
    """Take the key with this id out of the file, or every key of the caller with this name; those that were taken out.

    Raises:
        ServerConfigError: there is no such key, or the file is not one of API keys.
    """
    with _sole_writer(path):
        records = list_keys(path)
        revoked = tuple(record for record in records if which in {record.id, record.name})
        if not revoked:
            raise ServerConfigError(
                "there is no such API key",
                got=which,
                expected="the id or the name of one",
                hint="companyos serve list-keys",
            )
        _write(path, [record for record in records if record not in revoked])
    return revoked


def _digest(salt: str, secret: str) -> str:
    return hmac.new(bytes.fromhex(salt), secret.encode(), hashlib.sha256).hexdigest()


def _read(path: Path) -> _File | None:
    """What a file holds, None if that is nothing."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise ServerConfigError(f"{path} is too large", expected=f"at most {_MAX_FILE} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServerConfigError(f"cannot read {path}", got=error, hint="companyos serve new-key NAME") from error
    try:
        values = parse_yaml(text, str(path))
        return None if values is None else _File.model_validate(values)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ServerConfigError(f"{path} is not a file of API keys", got=f"{where}: {first['msg']}") from error


@contextmanager
def _sole_writer(path: Path) -> Iterator[None]:
    """Nobody else changes the file meanwhile: of two keys made at the same time neither may be lost."""
    import fcntl  # not on every system, and only needed here

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, records: Iterable[ApiKeyRecord]) -> None:
    """Replace the file in one step, so that a server never reads half of it."""
    import yaml

    listed = [record.model_dump(mode="json", exclude_none=True) for record in records]
    text = "# Hashes of API keys, no secrets; made by `companyos serve new-key`.\n"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text + yaml.safe_dump({"keys": listed}, sort_keys=False), encoding="utf-8")
    fresh.replace(path)
