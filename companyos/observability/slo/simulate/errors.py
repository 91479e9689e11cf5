"""What can go wrong when rules are read and replayed."""

from __future__ import annotations

from companyos.errors import ConfigError, UnverifiableError

__all__ = ("ReplayError", "RuleFileError", "UnsupportedRuleError", "place_in")


class RuleFileError(ConfigError):
    """A rule file is not what Prometheus reads: its YAML, one of its fields, or an expression."""

    code = "slo.rules.invalid"


class ReplayError(RuleFileError):
    """An expression parses, but Prometheus would refuse to evaluate it over these series."""

    code = "slo.rules.evaluation"


class UnsupportedRuleError(UnverifiableError):
    """A rule is valid, but the simulator does not evaluate it, so nothing can be said about its alerts."""

    code = "slo.rules.unsupported"


def place_in(text: str, offset: int) -> str:
    """Where in an expression, as `line 2, column 5`, both counted from 1."""
    before = text[:offset]
    return f"line {before.count(chr(10)) + 1}, column {offset - before.rfind(chr(10))}"
