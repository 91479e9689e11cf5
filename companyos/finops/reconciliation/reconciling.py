"""Holding an invoice against what was settled: by request where it names them, else by day and model.

A pure function of its arguments. The parts add up to the whole difference to the last digit: whatever no reason is
found for is `unexplained`, never left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from companyos.decision import Decision, Finding, Severity
from companyos.finops.errors import InvoiceError
from companyos.finops.money import exact_sum, plain
from companyos.finops.rates import Rates
from companyos.finops.reconciliation.cells import Cell, Means, explain
from companyos.finops.reconciliation.classes import CLASSES, Difference
from companyos.finops.reconciliation.prices import PriceList

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from companyos.finops.budgets import Settlement
    from companyos.finops.reconciliation.classes import DifferenceClass
    from companyos.finops.reconciliation.invoice import InvoiceLine

__all__ = ("Reconciliation", "reconcile")

_Requests: TypeAlias = "dict[str, list[InvoiceLine]]"
_Days: TypeAlias = "dict[str, date]"
_Span: TypeAlias = "tuple[date, date]"
TOLERANCE = Decimal("0.01")
_OFFSETS = sorted(range(-12, 15), key=abs)
"""Hours by which a provider's days may begin apart from UTC's, the nearest first."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """An invoice and the ledger, and every difference between the two with its reason."""

    first_day: date
    """The invoice's first day of usage."""
    last_day: date
    """Its last."""
    currency: str
    """The ledger's, in which everything is."""
    invoiced: Decimal
    """Sum of the invoice, converted by the rates of its days; exact."""
    settled: Decimal
    """Sum of what the ledger has settled on those days (UTC)."""
    differences: tuple[Difference, ...]
    """Every difference, by day, model and class."""
    offset_hours: int = 0
    """By how much the provider's days begin apart from UTC's, as far as that was found."""

    @property
    def difference(self) -> Decimal:
        """Invoice minus ledger; the sum of all differences."""
        return self.invoiced - self.settled

    def total(self, kind: DifferenceClass) -> Decimal:
        """The sum of one class."""
        return exact_sum(one.amount for one in self.differences if one.kind == kind)

    def assess(self, tolerance: Decimal = TOLERANCE) -> Decision:
        """Refused when more than `tolerance` is unexplained, or asked for usage that the ledger does not know.

        What is not explained is counted without its sign: two mistakes that cancel out are two mistakes.
        """
        facts = self.to_dict()
        open_ = exact_sum(abs(one.amount) for one in self.differences if one.kind == "unexplained")
        unknown = exact_sum(abs(one.amount) for one in self.differences if one.kind == "not_on_ledger")
        findings = [
            Finding(f"reconcile.{one.kind}", f"{one.day} {one.model}: {plain(one.amount)}, {one.detail}", Severity.HIGH)
            for one in self.differences
            if one.kind in {"unexplained", "not_on_ledger"}
        ]
        told = f"invoice {plain(self.invoiced)}, ledger {plain(self.settled)} {self.currency}"
        if open_ > tolerance:
            message = f"{told}: {plain(open_)} unexplained"
            return Decision.denied("reconcile.unexplained", message, findings=findings, facts=facts)
        if unknown > tolerance:
            message = f"{told}: {plain(unknown)} for usage that the ledger does not know, so no budget held it"
            return Decision.denied("reconcile.not_on_ledger", message, findings=findings, facts=facts)
        return Decision.allowed("reconcile.agreed", f"{told}: every difference is explained", facts=facts)

    def to_dict(self) -> dict[str, Any]:
        """The reconciliation as a JSON object, amounts as text."""
        return {
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
            "currency": self.currency,
            "invoiced": plain(self.invoiced),
            "settled": plain(self.settled),
            "difference": plain(self.difference),
            "offset_hours": self.offset_hours,
            "by_class": {kind: plain(self.total(kind)) for kind in CLASSES},
            "differences": [one.to_dict() for one in self.differences],
        }


def reconcile(
    lines: Sequence[InvoiceLine],
    settlements: Iterable[Settlement],
    *,
    rates: Rates | None = None,
    prices: PriceList | None = None,
) -> Reconciliation:
    """Every difference between an invoice and the settlements of its days, with its reason.

    Give settlements of a day before and after the invoice too, if there are any: where the provider's days begin at
    another hour, some of them are on it.

    Raises:
        InvoiceError: the invoice has no usage, or the settlements are in several currencies.
        RateError: the invoice is in another currency, and there is no rate for one of its days.
    """
    usage = [line for line in lines if not line.credit]
    if not usage:
        raise InvoiceError("the invoice has no usage", expected="at least one line that is no credit")
    settled = sorted((one for one in settlements if one.currency is not None), key=lambda one: (one.at, one.id))
    currencies = {str(one.currency) for one in settled} or {usage[0].currency}
    if len(currencies) > 1:
        raise InvoiceError("the ledger's settlements are in several currencies", got=", ".join(sorted(currencies)))
    places: dict[str, int] = {}
    for line in lines:
        places[line.currency] = max(places.get(line.currency, 0), line.places)
    means = Means(currencies.pop(), places, rates or Rates(), prices or PriceList())
    first, last = min(line.day for line in usage), max(line.day for line in usage)
    span = first, last
    requests: _Requests = {}
    for line in usage:
        if line.request is not None:
            requests.setdefault(line.request, []).append(line)
    offset = _offset(usage, settled, requests, span)
    days = {one.id: requests[one.id][0].day if one.id in requests else _day(one, offset) for one in settled}
    found = [
        *(Difference("credit", one.day, one.model, means.worth(one), "given back") for one in lines if one.credit),
        *_shifts(settled, days, span),
        *(one for cell in _cells(usage, settled, requests, days, span) for one in explain(cell, means)),
    ]
    return Reconciliation(
        first_day=first,
        last_day=last,
        currency=means.currency,
        invoiced=exact_sum(means.worth(line) for line in lines),
        settled=exact_sum(one.amount for one in settled if _is_in(_day(one), span)),
        differences=tuple(sorted(found, key=lambda one: (one.day, one.model, CLASSES.index(one.kind), one.detail))),
        offset_hours=offset,
    )


def _day(one: Settlement, offset: int = 0) -> date:
    return (one.at.astimezone(UTC) + timedelta(hours=offset)).date()


def _offset(usage: Sequence[InvoiceLine], settled: Sequence[Settlement], requests: _Requests, span: _Span) -> int:
    """The hours by which the provider's days begin apart, if the invoice shows it on days within it."""
    known = [one for one in settled if one.id in requests]
    if known:
        wrong = {hours: sum(requests[one.id][0].day != _day(one, hours) for one in known) for hours in _OFFSETS}
        return min(_OFFSETS, key=lambda hours: wrong[hours])
    billed: dict[tuple[date, str], Decimal] = {}
    for line in usage:
        if line.tokens is None:
            return 0
        key = line.day, line.model
        billed[key] = billed.get(key, Decimal(0)) + line.tokens
    errors = {hours: _error(billed, settled, hours, span) for hours in _OFFSETS}
    best = min(_OFFSETS, key=lambda hours: errors[hours])
    inner = any(_is_in(_day(one), span) and _is_in(_day(one, best), span) for one in _moved(settled, best))
    # Fewer cells that are off, not only fewer tokens: one missing request must not be shifted away.
    return best if errors[best][0] < errors[0][0] and inner else 0


def _moved(settled: Iterable[Settlement], hours: int) -> Iterator[Settlement]:
    return (one for one in settled if _day(one) != _day(one, hours))


def _is_in(day: date, span: _Span) -> bool:
    return span[0] <= day <= span[1]


def _error(
    billed: dict[tuple[date, str], Decimal], settled: Sequence[Settlement], hours: int, span: _Span
) -> tuple[int, Decimal]:
    """How many cells are off with that offset, and by how many tokens."""
    left = dict(billed)
    for one in settled:
        if _is_in(_day(one, hours), span):
            key = _day(one, hours), one.model or "(none)"
            left[key] = left.get(key, Decimal(0)) - (one.tokens or 0)
    return sum(1 for tokens in left.values() if tokens), sum((abs(tokens) for tokens in left.values()), Decimal(0))


def _shifts(settled: Sequence[Settlement], days: _Days, span: _Span) -> Iterator[Difference]:
    """What the invoice has on another day than the ledger: more there, less here."""
    sums: dict[tuple[date, str], Decimal] = {}
    for one in settled:
        own, theirs, model = _day(one), days[one.id], one.model or "(none)"
        if own != theirs:
            for day, amount in ((theirs, one.amount), (own, -one.amount)):
                if _is_in(day, span):
                    sums[day, model] = sums.get((day, model), Decimal(0)) + amount
    for (day, model), amount in sums.items():
        if amount:
            yield Difference(
                "day_shift", day, model, amount, "the provider counts requests near midnight to another day"
            )


def _cells(
    usage: Sequence[InvoiceLine], settled: Sequence[Settlement], requests: _Requests, days: _Days, span: _Span
) -> Iterator[Cell]:
    """Lines and settlements of one request, and of what names no request those of one day and model."""
    by_id = {one.id: one for one in settled}
    for name, own in requests.items():
        known = by_id.get(name)
        yield Cell(own[0].day, own[0].model, tuple(own), () if known is None else (known,))
    lines: dict[tuple[date, str], list[InvoiceLine]] = {}
    for line in usage:
        if line.request is None:
            lines.setdefault((line.day, line.model), []).append(line)
    rest: dict[tuple[date, str], list[Settlement]] = {}
    for one in settled:
        if one.id not in requests and _is_in(days[one.id], span):
            rest.setdefault((days[one.id], one.model or "(none)"), []).append(one)
    for key in sorted(lines.keys() | rest.keys()):
        yield Cell(*key, tuple(lines.get(key, ())), tuple(rest.get(key, ())))
