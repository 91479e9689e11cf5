"""CompanyOS: a paved road in a box for very small teams.

Start here:

- `companyos.Company.open()`: everything wired from `companyos.yaml`.
- `companyos.Decision`: the one answer that every control gives.
- `companyos.Ledger.open(url)`: the log that everything leaves an entry in.

Each room (`companyos.ledger`, `companyos.authz`, ...) is also usable alone, with plain arguments.
Names load on first use, so that `import companyos` costs next to nothing.
"""

from typing import TYPE_CHECKING

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

_HOME = {
    "Company": "companyos.company",
    "CompanyOSError": "companyos.errors",
    "Control": "companyos.controls",
    "Decision": "companyos.decision",
    "Finding": "companyos.decision",
    "Ledger": "companyos.ledger",
    "Obligation": "companyos.decision",
    "Severity": "companyos.decision",
    "Specimen": "companyos.controls",
    "UserError": "companyos.errors",
    "Verdict": "companyos.decision",
    "canonical_bytes": "companyos.canonical",
    "digest": "companyos.canonical",
    "hookimpl": "companyos.hookspecs",
    "hookspec": "companyos.hookspecs",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that owns it, on first use (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'companyos' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
