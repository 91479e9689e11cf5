from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz.identity import IdentityStore
from tests.authz.identity.identity_workers import Place

STORES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql"))]


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = datetime(2026, 11, 30, 12, tzinfo=UTC)

    def __call__(self):
        return self.now

    def advance(self, **time):
        self.now += timedelta(**time)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=STORES)
def place(request, tmp_path):
    """Where an empty store of each kind is, and a ledger beside it."""
    sqlite = request.param == "sqlite"
    return Place(
        f"sqlite:///{tmp_path / 'identity.db'}" if sqlite else request.getfixturevalue("postgresql_url"), tmp_path
    )


@pytest.fixture
def ledger(place):
    with place.ledger() as opened:
        yield opened


@pytest.fixture
def store(place, ledger, clock):
    with IdentityStore.open(place.url, ledger, clock=clock, actor="root") as opened:
        yield opened
