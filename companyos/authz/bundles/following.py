"""The promotions of a ledger that grows: each of its entries is read once, however often is asked."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Self

from companyos.authz.bundles.promotions import promotions_of

if TYPE_CHECKING:
    from companyos.authz.bundles.promotions import Promotions
    from companyos.ledger.reading import Reader

__all__ = ("FollowedPromotions",)


class FollowedPromotions:
    """What was promoted so far, by any thread that asks. Close it after use.

    The projection is kept in memory and begins at entry 0 with each process: a copy on a disk would have to be trusted.
    """

    def __init__(self, ledger: Reader) -> None:
        from companyos.ledger.database import Database

        self._ledger = ledger
        self._lock = threading.Lock()
        self._database = Database(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget them."""
        with self._lock:
            self._database.close()

    def now(self) -> Promotions:
        """Every promotion that keeps the rules, up to where the ledger ends now.

        Raises:
            ProjectionError: an entry cannot be applied.
            LedgerDamagedError: the log skips an entry, or is shorter than it was.
        """
        with self._lock:
            return promotions_of(self._ledger, self._database)
