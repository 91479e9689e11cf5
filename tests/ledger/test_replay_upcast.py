"""Upcasters: old entries as they would be written today, pure, without holes."""

from __future__ import annotations

import sqlite3

import pytest

from companyos.errors import ConfigError
from companyos.ledger import Projection, UpcastError, Upcasters


@pytest.fixture
def upcasters():
    """Orders had a total as text, then an amount in cents, then a currency beside it."""
    chain = Upcasters()

    @chain.register("order.placed", from_version=1)
    def cents(data):
        data["cents"] = int(data.pop("total").replace(".", ""))
        data["items"].sort()
        return data

    @chain.register("order.placed", from_version=2)
    def currency(data):
        return {**data, "currency": "EUR"}

    return chain


@pytest.fixture
def orders(ledger):
    """A log with an entry of each version, and another type."""
    ledger.append("order.placed", {"total": "19.90", "items": ["b", "a"]})
    ledger.append("order.placed.v2", {"cents": 500, "items": []})
    ledger.append("order.placed.v3", {"cents": 7, "items": [], "currency": "USD"})
    ledger.append("order.sent", {"total": "untouched"})
    return ledger


def listing(chain):
    """A projection that keeps all it is given."""

    class Listing(Projection):
        name = "listing"
        tables = ("listing",)
        upcasters = chain

        def prepare(self, database):
            database.execute("CREATE TABLE IF NOT EXISTS listing (place BIGINT, type TEXT, data TEXT)")

        def apply(self, database, entry):
            database.execute("INSERT INTO listing VALUES (?, ?, ?)", (entry.index, entry.type, str(entry.data)))

    return Listing


@pytest.fixture
def database():
    """A database in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_old_entries_come_as_new_ones(orders, upcasters, database):
    """A projection sees each entry in the newest version; types without upcasters stay as they are."""
    projection = listing(upcasters)(database)

    orders.replay(projection)

    assert [
        [0, "order.placed.v3", "{'items': ['a', 'b'], 'cents': 1990, 'currency': 'EUR'}"],
        [1, "order.placed.v3", "{'cents': 500, 'items': [], 'currency': 'EUR'}"],
        [2, "order.placed.v3", "{'cents': 7, 'currency': 'USD', 'items': []}"],
        [3, "order.sent", "{'total': 'untouched'}"],
    ] == sorted(projection.snapshot().state["listing"])


def test_upcasting_changes_nothing_that_was_there(orders, upcasters):
    """What a step does to its data, nobody else sees, and doing it again gives the same."""
    entry = next(orders.read())

    first, second = upcasters.upcast(entry), upcasters.upcast(entry)

    assert first == second
    assert {"total": "19.90", "items": ["b", "a"]} == entry.data
    assert entry == next(orders.read())


def test_dropped_payloads_have_a_version_all_the_same(orders, upcasters):
    """Where the data is gone, the type still comes as the newest one."""
    orders.append("order.placed", {"total": "1.00", "items": []}, detach=True)
    orders._store._db.execute("DELETE FROM detached")
    *_, entry = orders.read()

    newest = upcasters.upcast(entry)

    assert ("order.placed.v3", None, 4) == (newest.type, newest.data, newest.index)


@pytest.mark.parametrize(
    ("type", "version"),
    [("order.placed", 4), ("order.placed", 2), ("order.sent", 2), ("order.sent", 0), ("order.sent.v2", 1)],
    ids=["hole", "again", "no first", "zero", "versioned name"],
)
def test_holes_are_refused_at_registration(upcasters, type, version):  # noqa: A002 - as in register
    """A chain has each step once, from version 1 on, or it is refused when it is made."""
    with pytest.raises(ConfigError, match=f"got: from_version={version}"):
        upcasters.register(type, from_version=version)(dict)


def _broken(_):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (_broken, "the upcaster of order.placed from version 3 failed .entry 2.\n  got: ZeroDivisionError"),
        (lambda data: data.clear(), "gives no object .entry 2.\n  got: NoneType"),
    ],
    ids=["raises", "returns nothing"],
)
def test_a_step_that_fails_is_named(orders, database, step, message):
    """The error names type, version and index; what lies before is applied."""
    chain = Upcasters()
    for version in (1, 2):
        chain.register("order.placed", from_version=version)(dict)
    chain.register("order.placed", from_version=3)(lambda data: data if "currency" not in data else step(data))
    projection = listing(chain)(database)

    with pytest.raises(UpcastError, match=message) as caught:
        orders.replay(projection)

    assert (2, 2) == (caught.value.index, projection.position)


def test_entries_newer_than_the_code_are_refused(orders, upcasters, database):
    """A version that no step leads to is not taken for one that is known."""
    orders.append("order.placed.v4", {})
    projection = listing(upcasters)(database)

    with pytest.raises(UpcastError, match=r"order.placed.v4 is newer than this code .entry 4.\n.*up to v3"):
        orders.replay(projection)

    assert 4 == projection.position
