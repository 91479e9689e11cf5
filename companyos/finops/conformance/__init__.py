"""FOCUS conformance: a file against the rules of the specification's own requirements model."""

from companyos.finops.conformance.model import Model, load_model
from companyos.finops.conformance.validation import RuleResult, Validation, validate

__all__ = ("Model", "RuleResult", "Validation", "load_model", "validate")
