"""Exact money: `Decimal` with a currency, read from the ways in which bills write numbers."""

from __future__ import annotations

import decimal
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from companyos.finops.errors import MixedCurrencyError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("EXACT", "ISO_4217", "NumberStyle", "exact_sum", "parse_number", "plain", "single_currency")

NumberStyle = Literal["auto", ".", ","]
"""The decimal mark of a file: stated, or found out and checked for contradictions."""

EXACT = decimal.Context(prec=120, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])
"""Arithmetic that raises rather than rounds.

Numbers are at most 24 digits before and 36 after the mark, so 120 digits hold the sum of any number of them.
"""

MAX_INTEGER_DIGITS = 24
MAX_FRACTION_DIGITS = 36
MAX_TEXT = 200

# ISO 4217:2015 with amendments up to 180; funds, metals and test codes left out: nobody is billed in them.
ISO_4217 = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR
    ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU
    UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
)
"""Currency codes that a bill may be in."""

_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_DOT_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+", re.ASCII)
_COMMA_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)
_DOT_GROUPS_COMMA_MARK = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]+", re.ASCII)
_COMMA_GROUPS_DOT_MARK = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+\.[0-9]+", re.ASCII)
_COMMA_MARK = re.compile(r"[+-]?[0-9]+,[0-9]+", re.ASCII)


def parse_number(text: str, style: NumberStyle = "auto") -> tuple[Decimal, str | None]:
    """The number that `text` writes, and the kind of mend that reading it took.

    The kinds: None for plain FOCUS notation, `decimal_comma`, `grouped_comma_mark` (`1.234,56`), `grouped_dot_mark`
    (`1,234.56`), and `dot_three` for a number such as `1.234`, which is plain unless the file elsewhere uses a
    decimal comma.

    Raises:
        ValueError: not a number, two readings are possible (`1,234`), or more digits than the store keeps.
    """
    normal, kind = _normalise(text, style)
    value = Decimal(normal)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > MAX_FRACTION_DIGITS or value.adjusted() >= MAX_INTEGER_DIGITS:
        raise ValueError(f"more than {MAX_INTEGER_DIGITS} digits before or {MAX_FRACTION_DIGITS} after the mark")
    return value, kind


def _normalise(text: str, style: NumberStyle) -> tuple[str, str | None]:
    if len(text) > MAX_TEXT:
        raise ValueError("too long for a number")
    if style == ",":
        return _with_comma_mark(text)
    if _PLAIN.fullmatch(text):
        return text, "dot_three" if style == "auto" and _DOT_GROUPS.fullmatch(text) else None
    if _COMMA_GROUPS_DOT_MARK.fullmatch(text) or (style == "." and _COMMA_GROUPS.fullmatch(text)):
        return text.replace(",", ""), "grouped_dot_mark"
    if style == ".":
        raise ValueError("not a number with a decimal dot")
    if _COMMA_GROUPS.fullmatch(text):
        raise ValueError("two readings are possible: grouping comma or decimal comma")
    return _with_comma_mark(text)


def _with_comma_mark(text: str) -> tuple[str, str | None]:
    if _DOT_GROUPS_COMMA_MARK.fullmatch(text) or _DOT_GROUPS.fullmatch(text):
        return text.replace(".", "").replace(",", "."), "grouped_comma_mark"
    if _COMMA_MARK.fullmatch(text):
        return text.replace(",", "."), "decimal_comma"
    if _PLAIN.fullmatch(text) and "." not in text:
        return text, None
    raise ValueError("not a number")


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of amounts in one currency, never rounded."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def plain(amount: Decimal) -> str:
    """The amount as text without an exponent and without trailing zeros after the cents."""
    text = format(amount, "f")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


def single_currency(currencies: Iterable[str]) -> str | None:
    """The one currency among `currencies`, or None when there is none.

    Raises:
        MixedCurrencyError: there is more than one; they cannot be added without a dated rate.
    """
    found = sorted(set(currencies))
    if len(found) > 1:
        raise MixedCurrencyError(
            "amounts in different currencies cannot be added",
            got=", ".join(found),
            expected="one currency",
            hint="ask for one currency at a time",
        )
    return found[0] if found else None
