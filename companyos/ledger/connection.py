"""The driver's connection behind whatever a caller has in hand."""

from __future__ import annotations

__all__ = ("driver_connection",)


def driver_connection(given: object) -> object:
    """The DBAPI connection inside an SQLAlchemy session or connection; anything else as it is.

    SQLAlchemy is not imported: its objects are known by the attributes that its documentation names. A transaction is
    begun if none is, as SQLAlchemy does itself at the first statement: its `commit` would do nothing without one.
    """
    if callable(getattr(given, "get_bind", None)) and callable(getattr(given, "connection", None)):
        given = given.connection()  # type: ignore[attr-defined]
    pooled = getattr(given, "connection", None)
    inner = getattr(pooled, "driver_connection", None)
    if inner is None:
        return given
    if not given.in_transaction():  # type: ignore[attr-defined]
        given.begin()  # type: ignore[attr-defined]
    return inner
