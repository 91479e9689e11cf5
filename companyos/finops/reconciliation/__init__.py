"""An invoice for language models held against the ledger: every difference explained, or named as unexplained."""

from companyos.finops.reconciliation.classes import Difference, DifferenceClass
from companyos.finops.reconciliation.invoice import InvoiceLine, read_invoice
from companyos.finops.reconciliation.prices import PriceList
from companyos.finops.reconciliation.reconciling import Reconciliation, reconcile
from companyos.finops.reconciliation.verifying import reconcile_ledger

__all__ = (
    "Difference",
    "DifferenceClass",
    "InvoiceLine",
    "PriceList",
    "Reconciliation",
    "read_invoice",
    "reconcile",
    "reconcile_ledger",
)
