"""A log in a temporary directory."""

from __future__ import annotations

import pytest

from companyos.ledger import Ledger

ORIGIN = "test.example/log"


@pytest.fixture
def url(tmp_path):
    """Where the log of this test is kept."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url):
    """An empty log, open for reading and writing."""
    with Ledger.open(url, origin=ORIGIN) as opened:
        yield opened
