from __future__ import annotations

import pytest

from tests.observability.slo.texts import Bench


@pytest.fixture
def bench(tmp_path):
    """promtool over rules and series."""
    return Bench(tmp_path)
