"""Who may log in, and whether somebody is who they say."""

from __future__ import annotations

import sqlite3
import uuid
from typing import TYPE_CHECKING

from ..models.accounts import Account, Caller
from .passwords import hash_password, matches
from .totp import matching_step

if TYPE_CHECKING:
    from .database import Database

__all__ = ("Accounts", "LoginRefusedError")


class LoginRefusedError(Exception):
    """The credentials are not right; which of them is not said."""


class Accounts:
    """Accounts in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Compared with when there is no such account, so that its absence takes as long to find out.
        self._nobody = hash_password(uuid.uuid4().hex)

    def ensure(self, account: Account, password: str, totp_secret: str) -> None:
        """Make sure that an account exists with these credentials."""
        with self._database.work() as connection:
            connection.execute(
                "INSERT INTO accounts (id, email, org_id, clearance, password_hash, totp_secret)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (email) DO UPDATE SET"
                " password_hash = excluded.password_hash, totp_secret = excluded.totp_secret",
                (
                    account.id,
                    account.email,
                    account.org_id,
                    account.clearance,
                    hash_password(password),
                    totp_secret,
                ),
            )

    def log_in(self, email: str, password: str, code: str | None) -> Caller:
        """The caller with these credentials; a second factor, when given, must be right and unused.

        Raises:
            LoginRefusedError: they are not right.
        """
        with self._database.work() as connection:
            row = connection.execute("SELECT * FROM accounts WHERE email = ?", (email,)).fetchone()
            right = matches(password, row["password_hash"] if row else self._nobody)
            if row is None or not right:
                raise LoginRefusedError
            if code is None:
                return Caller(_account(row), "pwd")
            step = matching_step(row["totp_secret"], code, after=row["totp_last_step"])
            if step is None or not _use(connection, row["id"], step):
                raise LoginRefusedError
            return Caller(_account(row), "mfa")

    def get(self, account_id: str) -> Account | None:
        """The account with that id."""
        with self._database.work() as connection:
            row = connection.execute("SELECT * FROM accounts WHERE id = ?", (account_id,)).fetchone()
        return _account(row) if row else None


def _use(connection: sqlite3.Connection, account_id: str, step: int) -> bool:
    """Spend a time step; false if another request was faster."""
    changed = connection.execute(
        "UPDATE accounts SET totp_last_step = ? WHERE id = ? AND totp_last_step < ?",
        (step, account_id, step),
    )
    return changed.rowcount == 1


def _account(row: sqlite3.Row) -> Account:
    return Account(row["id"], row["email"], row["org_id"], row["clearance"])
