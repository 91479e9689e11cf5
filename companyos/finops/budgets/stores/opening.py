"""From URLs to stores of budgets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.errors import ConfigError

if TYPE_CHECKING:
    from companyos.finops.budgets.interface import BudgetStore

__all__ = ("open_store",)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def open_store(url: str, name: str) -> BudgetStore:
    """The store of the budget `name` at `sqlite:///PATH`, `postgresql://…` or `redis://…` (`valkey://…`).

    A SQLite file holds one budget; a server holds any number, apart by their names.

    Raises:
        ConfigError: another kind of URL, or a name that is not a small word.
        BudgetStoreError: it does not answer.
        MissingExtraError: its driver is not installed.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("no name for a budget", got=name, expected="a-z, then up to 39 of a-z, 0-9 and _")
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from companyos.finops.budgets.stores.sqlite import SqliteBudgetStore

        return SqliteBudgetStore(Path(rest[1:]))
    if scheme in {"postgresql", "postgres"}:
        from companyos.finops.budgets.stores.postgresql import PostgresBudgetStore

        return PostgresBudgetStore(f"postgresql://{rest}", name)
    if scheme in {"redis", "rediss", "valkey", "valkeys"}:
        from companyos.finops.budgets.stores.redis import RedisBudgetStore

        return RedisBudgetStore(f"{scheme.replace('valkey', 'redis')}://{rest}", name)
    expected = "sqlite:///PATH, postgresql://HOST/NAME or redis://HOST:PORT/0"
    raise ConfigError("no URL of a store of budgets", got=url, expected=expected)
