"""A projection that both databases understand, and processes that replay it and get killed at it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from companyos.ledger import Database, Ledger, Projection
from tests.ledger.ledger_workers import ORIGIN

if TYPE_CHECKING:
    from companyos.ports import Entry


class Totals(Projection):
    """How many entries there are of each type, and the sum of their numbers; an order of entries shows in `trace`."""

    name = "totals"
    tables = ("totals",)

    def prepare(self, database: Database) -> None:
        """Make the table."""
        database.execute(
            "CREATE TABLE IF NOT EXISTS totals (type TEXT PRIMARY KEY, times BIGINT, total BIGINT CHECK (total >= 0),"
            " trace BIGINT)"
        )

    def apply(self, database: Database, entry: Entry) -> None:
        """Count one entry; nothing is read, so that PostgreSQL answers late."""
        number = (entry.data or {}).get("n", 0)
        database.execute("INSERT INTO totals VALUES (?, 0, 0, 7) ON CONFLICT (type) DO NOTHING", (entry.type,))
        database.execute(
            "UPDATE totals SET times = times + 1, total = total + ?, trace = (trace * 31 + ?) % 1000003 WHERE type = ?",
            (number, number, entry.type),
        )


class Reporting(Totals):
    """The same, writing a dot to a pipe for each entry: applied, and not yet committed."""

    def __init__(self, database: Database, report: int) -> None:
        self.report = report
        super().__init__(database)

    def apply(self, database: Database, entry: Entry) -> None:
        """Count one entry, and say so."""
        super().apply(database, entry)
        os.write(self.report, b".")


def totals_until_killed(log: str, where: str, report: int) -> None:
    """Bring the projection up to date, reporting each entry, and the end."""
    with Ledger.open(log, origin=ORIGIN) as ledger, Database.open(where) as database:
        ledger.replay(Reporting(database, report))
    os.write(report, b"!")
