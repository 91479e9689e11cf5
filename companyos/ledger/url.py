"""Which store a ledger URL means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from companyos.errors import ConfigError
from companyos.signing.files import beside

if TYPE_CHECKING:
    from companyos.ledger.stores.interface import Store

__all__ = ("is_server", "key_directory", "open_store", "store_path")

_POSTGRESQL = ("postgresql://", "postgres://")


def is_server(url: str) -> bool:
    """Whether the log is kept by a database server, and not in a file."""
    return url.startswith(_POSTGRESQL)


def open_store(url: str, *, create: bool = True, readonly: bool = False) -> Store:
    """The store at `url`: `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://…`.

    Raises:
        ConfigError: it is not a ledger URL.
        StoreUnreadableError: it cannot be opened.
    """
    if is_server(url):
        from companyos.ledger.stores.postgresql import PostgresqlStore

        return PostgresqlStore(url, create=create, readonly=readonly)
    from companyos.ledger.stores.sqlite import SqliteStore

    return SqliteStore(store_path(url), create=create, readonly=readonly)


def key_directory(url: str) -> Path:
    """Where `Ledger.open` makes the keys of the log at `url`, when it is not told otherwise.

    Raises:
        ConfigError: there is no such place, because the log is not kept in a file.
    """
    if is_server(url):
        raise ConfigError(
            "a log on a server has no place of its own for keys",
            got="no key and keystore",
            expected="both given: ledger.key and ledger.keystore in companyos.yaml, or the arguments",
        )
    return beside(store_path(url), ".keys")


def store_path(url: str) -> Path:
    """The file in which the log at `url` is kept.

    Raises:
        ConfigError: it is not the URL of a file.
    """
    scheme, separator, rest = url.partition(":///")
    if scheme != "sqlite" or not separator or not rest:
        raise ConfigError(
            "not a ledger URL",
            got=f"{scheme.partition(':')[0]}:…",
            expected="sqlite:///relative.db, sqlite:////absolute.db or postgresql://…",
        )
    return Path(rest)
