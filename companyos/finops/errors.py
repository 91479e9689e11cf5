"""What can go wrong with cost data, each kind under a stable code."""

from __future__ import annotations

from companyos.errors import UnverifiableError, UserError

__all__ = (
    "AllocationError",
    "AmbiguousNumbersError",
    "CostFileError",
    "InvoiceError",
    "MissingColumnsError",
    "MixedCurrencyError",
    "OverlapError",
    "PlanError",
    "RateError",
    "RuleModelError",
    "StoreError",
)


class CostFileError(UserError, ValueError):
    """A cost file cannot be read as FOCUS CSV at all; nothing of it was ingested."""

    code = "finops.file"


class MissingColumnsError(CostFileError):
    """A cost file lacks columns that its FOCUS version makes mandatory; nothing of it was ingested."""

    code = "finops.columns"


class AmbiguousNumbersError(CostFileError):
    """A file writes numbers in two ways that contradict each other; nothing of it was ingested."""

    code = "finops.numbers"


class AllocationError(UserError, ValueError):
    """The rules by which costs are allocated cannot be read, or contradict themselves; nothing was allocated."""

    code = "finops.allocation"


class OverlapError(UserError):
    """A file brings a billing period that another file has already brought; nothing of it was ingested."""

    code = "finops.overlap"


class MixedCurrencyError(UserError, ValueError):
    """Amounts in different currencies were to become one sum."""

    code = "finops.currency"


class PlanError(UserError, ValueError):
    """A remediation plan does not parse or lacks what makes it a plan."""

    code = "finops.plan"


class RateError(UserError, ValueError):
    """An exchange rate is missing, too old, or not readable, so amounts were not converted."""

    code = "finops.rate"


class RuleModelError(UserError, ValueError):
    """The rules that a file is to be checked against cannot be read."""

    code = "finops.rules"


class InvoiceError(UnverifiableError, ValueError):
    """An invoice, or what it is to be explained by, cannot be read as a whole, so nothing is reconciled."""

    code = "finops.invoice"


class StoreError(UnverifiableError):
    """The cost store cannot be opened, read or written, so nothing may be concluded about costs."""

    code = "finops.store"
