"""The real OPA engine as tests get it."""

from __future__ import annotations

import pytest

from tests.services import available
from tests.services.opa_engine import UndefinedError, opa

pytestmark = pytest.mark.service("opa_engine")
POLICY = "package probe\n\nimport rego.v1\n\nanswer := input.a + data.b\n"


def test_it_evaluates():
    """It answers by policies, data and input, and says so where there is no answer."""
    with opa(available("opa_engine"), {"probe.rego": POLICY}, {"b": 2}) as engine:
        assert engine.ask("probe.answer", {"a": 1}) == 3
        with pytest.raises(UndefinedError, match="undefined"):
            engine.ask("probe.answer", {})
