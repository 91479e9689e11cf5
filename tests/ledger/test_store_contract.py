"""Every store passes the same contract."""

from __future__ import annotations

import pytest

from companyos.ledger.url import open_store
from companyos.testing import StoreContract


class TestSqliteStore(StoreContract):
    """The store in a file."""

    make_store = staticmethod(open_store)

    def make_url(self, tmp_path):
        """A file in a directory that is not there yet."""
        return f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"


class TestPostgresqlStore(StoreContract):
    """The store on a server."""

    make_store = staticmethod(open_store)

    @pytest.fixture(autouse=True)
    def _database(self, postgresql_url):
        self.database = postgresql_url

    def make_url(self, tmp_path):
        """An empty database."""
        return self.database


class TestPostgresqlStoreOfATenant(TestPostgresqlStore):
    """The store in one of many schemas of a database."""

    def make_url(self, tmp_path):
        """A schema of its own."""
        return f"{self.database}?log_schema=tenant_7"
