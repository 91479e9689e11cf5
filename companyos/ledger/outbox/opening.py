"""From URLs to outboxes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.errors import ConfigError

if TYPE_CHECKING:
    from companyos.ledger.outbox.interface import Outbox

__all__ = ("open_outbox",)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def open_outbox(url: str, queue: str) -> Outbox:
    """The outbox for `queue` at `sqlite:///PATH` or `postgresql://…`; one database holds any number of queues.

    Raises:
        ConfigError: another kind of URL, or a name that is not a small word.
        OutboxUnavailableError: it does not answer.
        MissingExtraError: its driver is not installed.
    """
    if not _NAME.fullmatch(queue):
        raise ConfigError("no name for a queue", got=queue, expected="a-z, then up to 39 of a-z, 0-9 and _")
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from companyos.ledger.outbox.sqlite import SqliteOutbox

        return SqliteOutbox(Path(rest[1:]), queue)
    if scheme in {"postgresql", "postgres"}:
        from companyos.ledger.outbox.postgresql import PostgresOutbox

        return PostgresOutbox(f"postgresql://{rest}", queue)
    raise ConfigError("no URL of an outbox", got=f"{scheme}:…", expected="sqlite:///PATH or postgresql://HOST/NAME")
