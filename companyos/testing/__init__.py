"""The test kit: fixtures, capture helpers and contract suites for whoever builds on CompanyOS.

Installed as a pytest plugin. Fixtures are prefixed `companyos_`; contract suites are classes to subclass:

    class TestMyEngine(EngineContract):
        def make_engine(self) -> DecisionEngine: return MyEngine()
        allowed = AccessRequest(...)
        denied = AccessRequest(...)
"""

from __future__ import annotations

from companyos.testing.budgets import BudgetStoreContract
from companyos.testing.channels import ChannelContract
from companyos.testing.engines import EngineContract
from companyos.testing.fixtures import assert_proves, companyos_company, companyos_ledger
from companyos.testing.outboxes import OutboxContract
from companyos.testing.states import StateCacheContract, StateDatabaseContract, StateRepositoryContract
from companyos.testing.stores import StoreContract

__all__ = (
    "BudgetStoreContract",
    "ChannelContract",
    "EngineContract",
    "OutboxContract",
    "StateCacheContract",
    "StateDatabaseContract",
    "StateRepositoryContract",
    "StoreContract",
    "assert_proves",
    "companyos_company",
    "companyos_ledger",
)
