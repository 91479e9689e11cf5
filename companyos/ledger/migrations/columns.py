"""The types of columns, as every database that holds a log spells them."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ("BYTES", "NUMBER", "SECONDS", "SMALL", "TEXT")

BYTES = sa.LargeBinary()
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""In SQLite only a column of the very type INTEGER can be the row's own number."""
SECONDS: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL, "sqlite")
SMALL = sa.Integer()
TEXT = sa.Text()
