"""The judge of rules as tests get it: the real program, and both of its answers."""

from __future__ import annotations

import pytest

from tests.services import available

pytestmark = pytest.mark.service("promtool")

RULES = """
groups:
  - name: g
    rules:
      - record: doubled
        expr: {expression}
"""
TEST = """
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series: [{{series: given, values: "1+1x5"}}]
    promql_expr_test:
      - {{expr: doubled, eval_time: 2m, exp_samples: [{{labels: doubled, value: {value}}}]}}
"""


@pytest.mark.parametrize(("expression", "refused"), [("given * 2", False), ("given * ", True)])
def test_rules_that_do_not_parse_are_refused(tmp_path, expression, refused):
    """Good rules pass, and others do not."""
    (tmp_path / "rules.yaml").write_text(RULES.format(expression=expression), encoding="utf-8")

    assert available("promtool").refuses(tmp_path / "rules.yaml") == refused


@pytest.mark.parametrize(("value", "passes"), [(6, True), (7, False)])
def test_what_rules_record_is_compared(tmp_path, value, passes):
    """A wrong expectation is a complaint, a right one none."""
    (tmp_path / "rules.yaml").write_text(RULES.format(expression="given * 2"), encoding="utf-8")
    (tmp_path / "test.yaml").write_text(TEST.format(value=value), encoding="utf-8")

    assert (available("promtool").complaint(tmp_path / "test.yaml") == "") == passes
