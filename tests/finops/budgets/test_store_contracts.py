"""Every store of budgets keeps the contract, and the contract catches a store that does not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from companyos.finops.budgets import open_store
from companyos.finops.budgets.stores.sqlite import SqliteBudgetStore
from companyos.testing import BudgetStoreContract


class TestSqlite(BudgetStoreContract):
    """One file."""

    def make_url(self, tmp_path):
        return f"sqlite:///{tmp_path / 'budget.db'}"

    @staticmethod
    def make_store(url):
        return open_store(url, "contract")


class TestPostgres(BudgetStoreContract):
    """A server with its durable defaults."""

    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url

    def make_url(self, tmp_path):
        raise NotImplementedError

    @staticmethod
    def make_store(url):
        return open_store(url, "contract")


class TestRedis(BudgetStoreContract):
    """A server that keeps nothing on the disk."""

    @pytest.fixture
    def url(self, redis_url):
        return redis_url

    def make_url(self, tmp_path):
        raise NotImplementedError

    @staticmethod
    def make_store(url):
        return open_store(url, "contract")


class Unlocked(SqliteBudgetStore):
    """A store that reads how full a level is, and writes without having kept others out meanwhile."""

    def reserve(self, name, charges, **rest):
        held = {one.key: one.spent + one.reserved for one in self.levels()}
        threading.Event().wait(0.001)
        if any(held.get(one.key, 0) + one.amount > one.limit for one in charges):
            charges = [one._replace(limit=0) for one in charges]
        else:
            charges = [one._replace(limit=2**53 - 1) for one in charges]
        return super().reserve(name, charges, **rest)


class Forgetful(SqliteBudgetStore):
    """A store that counts a settlement as often as it is told of it."""

    def settle(self, name, actual, **rest):
        with self._lock:
            self._db.execute("UPDATE budget_reservation SET status = 'refunded' WHERE status = 'settled'")
        return super().settle(name, actual, **rest)


def broken(kind, tmp_path):
    """The contract with a broken store, which is opened as its own."""

    class Broken(TestSqlite):
        @staticmethod
        def make_store(url):
            return kind(Path(url.removeprefix("sqlite:///")))

    contract = Broken()
    url = contract.make_url(tmp_path)
    store = contract.make_store(url)
    from companyos.finops.budgets import Snapshot

    store.create("e1", Snapshot(), replaces=None)
    return contract, store


def test_the_contract_catches_a_store_without_a_lock(tmp_path):
    """A store that reads and then writes lets threads pass a cap, and the contract says so."""
    contract, store = broken(Unlocked, tmp_path)

    with pytest.raises(AssertionError):
        contract.test_threads_cannot_pass_a_cap(store)
    store.close()


def test_the_contract_catches_a_settlement_that_counts_twice(tmp_path):
    """A store that counts every settlement fails the contract."""
    contract, store = broken(Forgetful, tmp_path)

    with pytest.raises(AssertionError):
        contract.test_settling(store)
    store.close()
