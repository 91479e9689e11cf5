"""What invoice and ledger say of one model on one day, and why they differ."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING

from companyos.finops.budgets.units import QUANTUM
from companyos.finops.money import EXACT, exact_sum, plain
from companyos.finops.reconciliation.classes import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from companyos.finops.budgets import Settlement
    from companyos.finops.rates import Rates
    from companyos.finops.reconciliation.classes import DifferenceClass
    from companyos.finops.reconciliation.invoice import InvoiceLine
    from companyos.finops.reconciliation.prices import PriceList

__all__ = ("Cell", "Means", "explain")

_RATE_DAYS = timedelta(days=31)
"""How far from its day a rate is looked for by which the ledger may have been kept."""
_MOST_PAIRED = 400
"""With more settlements in a cell, pairs of missing ones are not looked for."""
_HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Means:
    """What differences are explained by."""

    currency: str
    """The ledger's; amounts of differences are in it."""
    places: dict[str, int]
    """Decimal places in which the invoice writes amounts, by currency."""
    rates: Rates
    """From the invoice's currencies to the ledger's."""
    prices: PriceList
    """What models cost by the provider's list."""

    def worth(self, line: InvoiceLine) -> Decimal:
        """A line's amount in the ledger's currency, at the rate of its day; exact."""
        return EXACT.multiply(line.amount, self.rates.rate(line.currency, self.currency, line.day))

    def slack(self, lines: Sequence[InvoiceLine]) -> Decimal:
        """How much the lines may be off because the invoice rounds each to its last place."""
        return exact_sum(
            EXACT.multiply(
                _HALF.scaleb(-self.places[line.currency]), self.rates.rate(line.currency, self.currency, line.day)
            )
            for line in lines
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """Usage lines and settlements that are held against each other."""

    day: date
    """The invoice's day."""
    model: str
    """Which model."""
    lines: tuple[InvoiceLine, ...]
    """Of the invoice."""
    settled: tuple[Settlement, ...]
    """Of the ledger."""

    def difference(self, kind: DifferenceClass, amount: Decimal, detail: str) -> Difference:
        """A difference of this cell."""
        return Difference(kind, self.day, self.model, amount, detail)


def explain(cell: Cell, means: Means) -> Iterator[Difference]:
    """The differences of a cell, which add up to its whole difference."""
    if not cell.lines:
        for one in cell.settled:
            yield cell.difference("not_invoiced", -one.amount, f"reservation {one.id} is not on the invoice")
        return
    if not cell.settled:
        for line in cell.lines:
            what = f"request {line.request}" if line.request else f"{_count(line.tokens)}"
            yield cell.difference("not_on_ledger", means.worth(line), f"{what}: the ledger knows nothing of it")
        return
    more = _tokens_of_lines(cell)
    known = _tokens_of_settled(cell)
    if more is None or known is None or more == known:
        yield from _priced(cell, means)
    elif more < known:
        yield from _without_missing(cell, means, known - more)
    else:
        yield from _without_unknown(cell, means, more - known, known)


def _without_missing(cell: Cell, means: Means, tokens: Decimal) -> Iterator[Difference]:
    """Settlements whose tokens are just those that the invoice lacks are not on it."""
    gap = _gap(cell, means)
    found = [(one,) for one in cell.settled if one.tokens == tokens]
    if not found and len(cell.settled) <= _MOST_PAIRED:
        pairs = combinations(cell.settled, 2)
        found = [pair for pair in pairs if (pair[0].tokens or 0) + (pair[1].tokens or 0) == tokens]  # type: ignore[misc] # tuples of one or two
    if not found and gap == 0:
        return  # another count for the same money
    if not found:
        detail = f"the ledger has {tokens} tokens more, and no request or two of that many"
        yield cell.difference("unexplained", gap, detail)
        return
    missing = min(found, key=lambda some: (abs(gap + exact_sum(one.amount for one in some)), [one.id for one in some]))
    for one in missing:
        detail = f"reservation {one.id} ({_count(one.tokens)}) is not on the invoice"
        yield cell.difference("not_invoiced", -one.amount, detail)
    rest = tuple(one for one in cell.settled if one not in missing)
    yield from explain(Cell(cell.day, cell.model, cell.lines, rest), means)


def _without_unknown(cell: Cell, means: Means, tokens: Decimal, known: Decimal) -> Iterator[Difference]:
    """What the invoice counts more is usage that the ledger does not know: a line of its own, or a part of one."""
    extra = [line for line in cell.lines if line.tokens == tokens]
    if extra and len(cell.lines) > 1:
        gap = _gap(cell, means)
        line = min(extra, key=lambda one: abs(gap - means.worth(one)))
        yield cell.difference("not_on_ledger", means.worth(line), f"a line of {tokens} tokens: the ledger knows none")
        rest = list(cell.lines)
        rest.remove(line)
        yield from explain(Cell(cell.day, cell.model, tuple(rest), cell.settled), means)
        return
    spent, gap = exact_sum(one.amount for one in cell.settled), _gap(cell, means)
    # At the price that the ledger has paid that day; what is then left over is judged by itself.
    share = (spent * tokens / known).quantize(QUANTUM) if known else gap
    yield cell.difference("not_on_ledger", share, f"{tokens} tokens more than the ledger knows")
    rest_amount = gap - share
    if rest_amount:
        few = abs(rest_amount) <= _slack(cell, means) * (1 + tokens / known if known else 1)
        detail = "below the invoice's last digit" if few else f"{tokens} unknown tokens at another price"
        yield cell.difference("rounding" if few else "unexplained", rest_amount, detail)


def _priced(cell: Cell, means: Means) -> Iterator[Difference]:
    """The same usage for another amount: rounded, converted at another rate, by another price, or nobody knows."""
    gap, slack = _gap(cell, means), _slack(cell, means)
    if gap == 0:
        return
    if abs(gap) <= slack:
        yield cell.difference("rounding", gap, "below the invoice's last digit")
        return
    for kind, amount, detail in (*_by_rate(cell, means, slack), *_by_price(cell, means, slack)):
        yield cell.difference(kind, amount, detail)
        if gap != amount:
            yield cell.difference("rounding", gap - amount, "below the invoice's last digit")
        return
    yield cell.difference("unexplained", gap, _unit_prices(cell, means))


def _by_rate(cell: Cell, means: Means, slack: Decimal) -> Iterator[tuple[DifferenceClass, Decimal, str]]:
    """The rates of other days by which the ledger's amount would be right, the nearest day first."""
    (currency, *others) = sorted({line.currency for line in cell.lines})
    if others or currency == means.currency:
        return
    billed = exact_sum(line.amount for line in cell.lines)
    spent = exact_sum(one.amount for one in cell.settled)
    table = means.rates.by_pair.get((currency, means.currency), [])
    near = [(day, rate) for day, rate in table if abs(day - cell.day) <= _RATE_DAYS]
    now = means.rates.rate(currency, means.currency, cell.day)
    for day, rate in sorted(near, key=lambda entry: (abs(entry[0] - cell.day), entry[0])):
        if rate != now and abs(EXACT.multiply(billed, rate) - spent) <= slack:
            detail = f"the ledger was kept at {rate}, the rate of {day}, and that of the day is {now}"
            yield "currency_rate", EXACT.multiply(billed, now - rate), detail


def _by_price(cell: Cell, means: Means, slack: Decimal) -> Iterator[tuple[DifferenceClass, Decimal, str]]:
    """The entries of the price list by which both amounts are right."""
    tokens = _tokens_of_lines(cell)
    currencies = {line.currency for line in cell.lines}
    if tokens is None or len(currencies) != 1:
        return
    rate = means.rates.rate(currencies.pop(), means.currency, cell.day)
    billed = exact_sum(means.worth(line) for line in cell.lines)
    spent = exact_sum(one.amount for one in cell.settled)
    worth = [(price, EXACT.multiply(price.of(tokens), rate)) for price in means.prices.of(cell.model)]
    kept = QUANTUM * len(cell.settled)
    ours = [(price, amount) for price, amount in worth if abs(amount - spent) <= kept]
    theirs = [(price, amount) for price, amount in worth if abs(amount - billed) <= slack]
    for our, our_amount in ours:
        for their, their_amount in theirs:
            if our != their:
                detail = (
                    f"the invoice is at {their.per_1k} (list of {their.since}), the ledger at {our.per_1k} (list of"
                    f" {our.since}) for 1,000 tokens"
                )
                yield "price_list", their_amount - our_amount, detail


def _gap(cell: Cell, means: Means) -> Decimal:
    billed = exact_sum(means.worth(line) for line in cell.lines)
    return billed - exact_sum(one.amount for one in cell.settled)


def _slack(cell: Cell, means: Means) -> Decimal:
    # The ledger rounds each amount up to 10^-8.
    return means.slack(cell.lines) + QUANTUM * len(cell.settled)


def _tokens_of_lines(cell: Cell) -> Decimal | None:
    counts = [line.tokens for line in cell.lines]
    return None if None in counts else exact_sum(count for count in counts if count is not None)


def _tokens_of_settled(cell: Cell) -> Decimal | None:
    counts = [one.tokens for one in cell.settled]
    return None if None in counts else Decimal(sum(count for count in counts if count is not None))


def _unit_prices(cell: Cell, means: Means) -> str:
    tokens = _tokens_of_lines(cell)
    billed = exact_sum(means.worth(line) for line in cell.lines)
    spent = exact_sum(one.amount for one in cell.settled)
    if not tokens:
        return f"the invoice asks for {plain(billed)}, the ledger has {plain(spent)}"
    each = [f"{amount * 1000 / tokens:.6f}" for amount in (billed, spent)]
    return f"the same {tokens} tokens at {each[0]} a thousand on the invoice and {each[1]} on the ledger"


def _count(tokens: Decimal | int | None) -> str:
    return "usage" if tokens is None else f"{tokens} tokens"
