"""The weekly digest: what the week cost and will cost, what moved, what is left, what a unit costs, what came out."""

from companyos.finops.digest.building import build_digest, week_of
from companyos.finops.digest.html import to_html
from companyos.finops.digest.ledger_view import LedgerView, ledger_view
from companyos.finops.digest.markdown import to_markdown
from companyos.finops.digest.model import BudgetLine, Digest, Move, NotSupplied, Releases, WeekTotal

__all__ = (
    "BudgetLine",
    "Digest",
    "LedgerView",
    "Move",
    "NotSupplied",
    "Releases",
    "WeekTotal",
    "build_digest",
    "ledger_view",
    "to_html",
    "to_markdown",
    "week_of",
)
