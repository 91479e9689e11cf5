"""The rules of G01, and what a detector for each is."""

from __future__ import annotations

from companyos.decision import Severity
from companyos.guardrails.interface import Rule

__all__ = ("RULES",)

RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule(
            "G01.constant-return",
            "a function whose name promises work answers a constant",
            "do the work, or remove the function",
        ),
        Rule("G01.empty-body", "a body that does nothing", "write it, or say in its docstring that it does nothing"),
        Rule(
            "G01.invented-metric",
            "a figure that should be measured is written down",
            "compute it from the data, or read it from a recorded run",
        ),
        Rule(
            "G01.mock-import",
            "production code loads a mocking library",
            "move it to the tests; use the real part here",
        ),
        Rule("G01.not-implemented", "a part that is not implemented", "implement it, or make the class abstract"),
        Rule(
            "G01.open-marker",
            "a comment marks unfinished work",
            "finish it, or keep it in the tracker",
            Severity.MEDIUM,
        ),
        Rule(
            "G01.placeholder-text",
            "text that was meant to be replaced is shipped",
            "write the real text or read the real value",
        ),
        Rule("G01.unparsable", "Python that does not parse", "mend the syntax error"),
    )
}
"""Every rule of G01 by id."""
