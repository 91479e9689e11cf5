"""CompanyOS: a paved road in a box for very small teams.

Start here:

- `companyos.Company.open()`: everything wired from `companyos.yaml`.
- `companyos.Decision`: the one answer that every control gives.
- `companyos.Ledger.open(url)`: the log that everything leaves an entry in.

Each room (`companyos.ledger`, `companyos.authz`, ...) is also usable alone, with plain arguments.
Names load on first use, so that `import companyos` costs next to nothing.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach
from companyos._version import __version__

if TYPE_CHECKING:
    from companyos.canonical import canonical_bytes, digest
    from companyos.company import Company
    from companyos.controls import Control, Specimen
    from companyos.decision import Decision, Finding, Obligation, Severity, Verdict
    from companyos.errors import CompanyOSError, UserError
    from companyos.hookspecs import hookimpl, hookspec
    from companyos.ledger import Ledger

__all__ = (
    "Company",
    "CompanyOSError",
    "Control",
    "Decision",
    "Finding",
    "Ledger",
    "Obligation",
    "Severity",
    "Specimen",
    "UserError",
    "Verdict",
    "__version__",
    "canonical_bytes",
    "digest",
    "hookimpl",
    "hookspec",
)

_HOMES = {
    "canonical": ("canonical_bytes", "digest"),
    "company": ("Company",),
    "controls": ("Control", "Specimen"),
    "decision": ("Decision", "Finding", "Obligation", "Severity", "Verdict"),
    "errors": ("CompanyOSError", "UserError"),
    "hookspecs": ("hookimpl", "hookspec"),
    "ledger": ("Ledger",),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
