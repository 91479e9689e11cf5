"""What the tests of the simulator share: promtool, and a replay that promtool judges too."""

from __future__ import annotations

import pytest

from tests.services import available


@pytest.fixture
def promtool():
    """The tool of Prometheus that tests rules."""
    return available("promtool")
