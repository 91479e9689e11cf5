"""Invoices: a FOCUS bill, or a simple CSV with day, model, tokens and amount."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.finops.errors import CostFileError, InvoiceError
from companyos.finops.focus import FocusFile
from companyos.finops.money import ISO_4217, parse_number
from companyos.finops.rows import Charge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ("InvoiceLine", "read_invoice")

COLUMNS = ("day", "model", "tokens", "amount")
_EXPECTED = "a FOCUS CSV bill, or a CSV with the columns day, model, tokens, amount (and currency, request, kind)"
_CREDITS = frozenset({"credit", "refund", "adjustment", "correction"})
_KINDS = _CREDITS | {"usage", ""}
_MODELS = ("x_model", "x_Model", "x_ModelName", "SkuId", "ResourceName", "ServiceName")
_REQUESTS = ("x_request_id", "x_RequestId", "x_reservation")
_TOKENS = re.compile(r"(?P<scale>1k|1m|k|m)?[\s_-]*tokens?", re.IGNORECASE)
_SCALE = {None: 1, "1k": 1000, "k": 1000, "1m": 1_000_000, "m": 1_000_000}
MOST_LINES = 2_000_000


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line of an invoice."""

    day: date
    """The day it is for, as the provider counts days."""
    model: str
    """Which model; `(none)` if the invoice does not say."""
    tokens: Decimal | None
    """Tokens billed; None if the line counts none."""
    amount: Decimal
    """What is asked for it; below zero for what is given back."""
    currency: str
    """ISO 4217 code."""
    request: str | None = None
    """Id of the one request (the reservation) that it is for; None if it adds up several."""
    credit: bool = False
    """Whether it is a credit, a refund or a correction rather than usage."""

    @property
    def places(self) -> int:
        """Decimal places in which the amount is written."""
        exponent = self.amount.as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0


def read_invoice(path: Path, *, currency: str | None = None) -> tuple[InvoiceLine, ...]:
    """The lines of an invoice; `currency` is that of a CSV without such a column.

    Raises:
        InvoiceError: it cannot be read, is neither form, or a line is wrong; nothing is left out silently.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            header = next(csv.reader(handle), [])
        names = {name.strip().casefold() for name in header}
        made = _simple(path, currency) if set(COLUMNS) <= names else _focus(path)
        lines = tuple(made)
    except (OSError, UnicodeError, csv.Error) as error:
        raise InvoiceError(f"cannot read the invoice {path.name}", got=error, expected=_EXPECTED) from error
    except CostFileError as error:
        raise InvoiceError(f"cannot read the invoice {path.name}", got=error.what, expected=_EXPECTED) from error
    if not lines:
        raise InvoiceError(f"the invoice {path.name} has no lines", expected=_EXPECTED)
    return lines


def _simple(path: Path, currency: str | None) -> Iterator[InvoiceLine]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        for number, row in enumerate(csv.DictReader(handle, strict=True), 2):
            if number > MOST_LINES:
                raise InvoiceError(f"the invoice {path.name} is too long", got=number, expected=f"{MOST_LINES} lines")
            values = {
                (name or "").strip().casefold(): (value or "").strip() if isinstance(value, str) else ""
                for name, value in row.items()
            }
            try:
                yield _line(values, currency, ragged=None in row or None in row.values())
            except ValueError as error:
                shown = ", ".join(f"{name}={value}" for name, value in values.items())
                raise InvoiceError(
                    f"{path.name}, line {number}: {error}", got=shown, expected="2026-03-02,gpt-4o,1200,0.012"
                ) from error


def _line(values: Mapping[str, str], currency: str | None, *, ragged: bool) -> InvoiceLine:
    if ragged:
        raise ValueError("another number of fields than the header has")
    unit = values.get("currency") or currency
    if unit is None:
        raise ValueError("no currency: add the column, or say --currency")
    if unit not in ISO_4217:
        raise ValueError(f"{unit} is no currency")
    kind = values.get("kind", "").casefold()
    if kind not in _KINDS:
        raise ValueError(f"{kind} is no kind of line")
    amount, _ = parse_number(values["amount"], ".")
    tokens = Decimal(values["tokens"]) if values["tokens"].isascii() and values["tokens"].isdigit() else None
    if tokens is None and values["tokens"]:
        raise ValueError("tokens are no whole number")
    day = date.fromisoformat(values["day"])
    credit = kind in _CREDITS or amount < 0
    return InvoiceLine(day, values["model"] or "(none)", tokens, amount, unit, values.get("request") or None, credit)


def _focus(path: Path) -> Iterator[InvoiceLine]:
    for item in FocusFile(path).rows():
        if not isinstance(item, Charge):
            rejection, _ = item
            raise InvoiceError(
                f"{path.name}, row {rejection.row}, cannot be read",
                got=f"{rejection.reason} {rejection.column} {rejection.detail}",
                expected="an invoice every row of which is right",
            )
        record = item.record
        scaled = _TOKENS.fullmatch(record.get("ConsumedUnit", "").strip())
        tokens = None
        if scaled is not None and "ConsumedQuantity" in record:
            scale = scaled["scale"]
            tokens = Decimal(record["ConsumedQuantity"]) * _SCALE[scale.lower() if scale else None]
        category = record.get("ChargeCategory", "").casefold()
        yield InvoiceLine(
            item.start.astimezone(UTC).date(),
            next((record[name] for name in _MODELS if name in record), "(none)"),
            tokens,
            item.billed,
            item.currency,
            next((record[name] for name in _REQUESTS if name in record), None),
            category in _CREDITS or record.get("ChargeClass") == "Correction" or item.billed < 0,
        )
