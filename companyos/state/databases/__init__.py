"""The databases that come with CompanyOS: SQLite, embedded, and PostgreSQL."""

from __future__ import annotations

from companyos.state.databases.postgresql import PostgresDatabase
from companyos.state.databases.sqlite import SqliteDatabase

__all__ = ("PostgresDatabase", "SqliteDatabase")
