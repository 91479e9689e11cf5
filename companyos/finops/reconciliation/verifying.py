"""Reconciling with a ledger, which is verified first: what was altered explains nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from companyos.errors import UnverifiableError, UserError
from companyos.finops.budgets import SOURCE, read_history, settlements
from companyos.finops.reconciliation.reconciling import reconcile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.finops.rates import Rates
    from companyos.finops.reconciliation.invoice import InvoiceLine
    from companyos.finops.reconciliation.prices import PriceList
    from companyos.finops.reconciliation.reconciling import Reconciliation
    from companyos.ports import Entry

__all__ = ("VerifiableLedger", "reconcile_ledger")

_DAY = timedelta(days=1)


class VerifiableLedger(Protocol):
    """A ledger that can be checked and read: `companyos.ledger.Ledger` is one."""

    def verify(self) -> object:
        """Check every entry; raises if one of them is not what was appended."""
        ...

    def read(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Entries in order."""
        ...


def reconcile_ledger(
    ledger: VerifiableLedger,
    lines: Sequence[InvoiceLine],
    *,
    source: str = SOURCE,
    provider: str | None = None,
    rates: Rates | None = None,
    prices: PriceList | None = None,
) -> Reconciliation:
    """`reconcile` with what the ledger's budget settled, with one provider if that is given.

    Raises:
        UnverifiableError: the ledger does not verify, cannot be read, or tells of no budget.
        InvoiceError, RateError: as `reconcile`.
    """
    try:
        ledger.verify()
        history = read_history(ledger.read(), source)
    except UserError as error:
        raise UnverifiableError(
            "the ledger does not verify, so nothing is reconciled with it",
            got=error.what,
            hint="companyos ledger verify",
        ) from error
    if not history.epochs:
        raise UnverifiableError("the ledger tells of no budget, so there is nothing to reconcile with", got=source)
    first, last = min(line.day for line in lines) - _DAY, max(line.day for line in lines) + _DAY
    named = {line.request for line in lines}
    found = [
        one
        for one in settlements(history)
        if (first <= one.at.date() <= last or one.id in named) and (provider is None or one.provider == provider)
    ]
    return reconcile(lines, found, rates=rates, prices=prices)
