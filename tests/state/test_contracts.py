"""Our own stores keep the contracts that everybody's must."""

from companyos.testing import StateCacheContract, StateDatabaseContract, StateRepositoryContract


class TestDatabases(StateDatabaseContract):
    """SQLite and PostgreSQL."""

    database = None  # the fixture of conftest


class TestCaches(StateCacheContract):
    """In this process, and Valkey or Redis."""

    cache = None  # the fixture of conftest


class TestRepositories(StateRepositoryContract):
    """Every combination."""

    repository = None  # the fixture of conftest
