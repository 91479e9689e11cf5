from __future__ import annotations

import pytest

from tests.observability.slo.texts import Bench


@pytest.fixture
def bench(tmp_path):
    """Promtool over rules and series."""
    return Bench(tmp_path)
