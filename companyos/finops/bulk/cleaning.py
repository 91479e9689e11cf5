"""Cleaning a bill in one SQL query: typed columns for every row that is plainly right, the raw fields of the others.

The query takes only rows of which it is certain; every doubt sends a row to the Python reader (`leftovers.py`), whose
word is final. So there is one meaning of clean, and two speeds. Harmless quirks that exports have in every row (text
NULL, naive times) are noted as bits in `co_quirks_N`, and counted afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.finops.bulk.connection import literal, literals, quoted
from companyos.finops.columns import ALLOWED_VALUES, LOAD_BEARING, NUMBERS, TIMES
from companyos.finops.money import ISO_4217
from companyos.finops.rows import STRIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = (
    "DECIMAL",
    "FRACTION_DIGITS",
    "INTEGER_DIGITS",
    "Cleaning",
    "column_names",
    "derived",
    "plainly_numeric",
    "typed",
)

INTEGER_DIGITS, FRACTION_DIGITS = 20, 18
DECIMAL = f"DECIMAL({INTEGER_DIGITS + FRACTION_DIGITS},{FRACTION_DIGITS})"
"""The type of every number: automatic typing would give floats, whose sums differ from run to run."""

BITS = 60
_NUMBER = f"(-?[0-9]{{1,{INTEGER_DIGITS}}}([.][0-9]{{0,{FRACTION_DIGITS}}})?)?"
_NUMBERS = f"{_NUMBER}([|]{_NUMBER})*"
_YEAR = "(19[7-9][0-9]|[2-8][0-9]{3})"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_TIME = f"{_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([T ]{_CLOCK}Z?)?"
_TIMES = f"{_TIME}([|]{_TIME})*"
_SPACE = r"[\s\pZ\x0b\x1c-\x1f\x85]"
_EDGE = rf"(^|\x01){_SPACE}|{_SPACE}(\x01|$)"
# A flat JSON object without escapes; JSON beyond that is read by Python.
_STRING = r'"[^"\\\x00-\x1f]*"'
_PAIR = rf"{_STRING}\s*:\s*({_STRING}|true|false|null|-?(0|[1-9][0-9]*)([.][0-9]+)?)"
_TAGS = rf"\s*\{{\s*({_PAIR}\s*(,\s*{_PAIR}\s*)*)?\}}\s*"
_DIGITS = "[0-9]+[.]?[0-9]*|[.][0-9]+"


@dataclass(frozen=True, slots=True)
class Cleaning:
    """How the rows of one header become typed rows."""

    header: tuple[str, ...]
    """Column names, mended, in file order."""
    tags: tuple[str, ...]
    """Keys of the tags to extract."""
    null_text: bool
    """Whether the text NULL has to be looked for."""

    def quirks(self) -> list[tuple[str, str, str]]:
        """Kind, column and SQL predicate of each quirk, in the order of their bits."""
        found = []
        for number, name in enumerate(self.header):
            if self.null_text:
                found.append(("text_null", name, f"c{number} IN ('NULL', 'null')"))
            if name in TIMES:
                found += [
                    ("date_only", name, f"strlen(c{number}) = 10"),
                    ("naive_time", name, f"strlen(c{number}) > 10 AND NOT ends_with(c{number}, 'Z')"),
                    ("space_date", name, f"substr(c{number}, 11, 1) = ' '"),
                ]
            if name == "AvailabilityZone":
                found.append(("number_for_text", name, f"regexp_full_match(c{number}, '{_DIGITS}')"))
        return found

    def query(self, relation: str) -> str:
        """The cleaned rows of a relation of text columns, in order; `co_fields` holds those that are not clean."""
        names = column_names(self.header)
        raw = ", ".join(f"c{number}" for number in range(len(self.header) + 1))
        columns = [typed(f"v{number}", name, names[number]) for number, name in enumerate(self.header)]
        values = ", ".join(f"{self._value(number)} AS v{number}" for number in range(len(self.header)))
        present = f"list_filter([{raw}], lambda field: field IS NOT NULL)"
        fields = f"CASE WHEN coalesce({self._certain()}, false) THEN NULL ELSE {present} END AS co_fields"
        return (
            f"SELECT {', '.join([*columns, *self._bits(), fields])}"  # noqa: S608 - quoted names
            f" FROM (SELECT {raw}, {values} FROM {relation})"
        )

    def _value(self, number: int) -> str:
        nulls = "'', 'NULL', 'null'" if self.null_text else "''"
        return f"CASE WHEN c{number} IN ({nulls}) THEN NULL ELSE c{number} END"

    def _bits(self) -> list[str]:
        predicates = [predicate for _, _, predicate in self.quirks()]
        chunks = [predicates[start : start + BITS] for start in range(0, len(predicates), BITS)]
        return [
            " + ".join(
                f"CASE WHEN {predicate} THEN {1 << bit}::UBIGINT ELSE 0::UBIGINT END"
                for bit, predicate in enumerate(part)
            )
            + f" AS co_quirks_{chunk}"
            for chunk, part in enumerate(chunks)
        ]

    def _certain(self) -> str:
        """The SQL condition under which nothing about a row is in doubt."""
        at = {name: f"v{number}" for number, name in enumerate(self.header)}
        conditions = [f"c{len(at) - 1} IS NOT NULL", f"c{len(at)} IS NULL"]  # as many fields as the header has
        conditions += [f"{at[name]} IS NOT NULL" for name in LOAD_BEARING]
        conditions += [
            f"regexp_full_match({_joined(at, NUMBERS, '|')}, {literal(_NUMBERS)})",
            f"regexp_full_match({_joined(at, TIMES, '|')}, {literal(_TIMES)})",
            f"NOT regexp_matches({_joined(at, STRIPPED - NUMBERS - TIMES, chr(1))}, {literal(_EDGE)})",
            f"{at['BillingCurrency']} IN ({literals(sorted(ISO_4217))})",
        ]
        for period in ("ChargePeriod", "BillingPeriod"):
            start, end = (f"TRY_CAST({at[period + side]} AS TIMESTAMP)" for side in ("Start", "End"))
            conditions.append(f"{start} < {end}")
        for name in ALLOWED_VALUES.keys() & at.keys():
            conditions.append(f"({at[name]} IS NULL OR {at[name]} IN ({literals(ALLOWED_VALUES[name])}))")
        if "Tags" in at:
            conditions.append(f"({at['Tags']} IS NULL OR regexp_full_match({at['Tags']}, {literal(_TAGS)}))")
        if "AvailabilityZone" in at:
            zone = at["AvailabilityZone"]
            conditions.append(rf"({zone} IS NULL OR regexp_full_match({zone}, '[\x00-\x7f]*'))")
        return " AND ".join(conditions)


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """The names under which columns are stored: SQL does not tell upper from lower case, so doubles get a number."""
    taken: set[str] = set()
    names = []
    for name in header:
        free, number = name or "(unnamed)", 1
        while free.casefold() in taken or free.casefold().startswith("co_"):
            number += 1
            free = f"x_{name}_{number}"
        taken.add(free.casefold())
        names.append(free)
    return tuple(names)


def typed(value: str, name: str, stored: str) -> str:
    """One column of the stored rows, from its text."""
    if name in NUMBERS:
        value = f"TRY_CAST({value} AS {DECIMAL})"
    elif name in TIMES:
        value = f"TRY_CAST({value} AS TIMESTAMP)"
    return f"{value} AS {quoted(stored)}"


def plainly_numeric(value: str) -> str:
    """The SQL condition under which a text is a number that fits the store's decimals."""
    return f"regexp_full_match({value}, {literal(_NUMBER.removesuffix('?'))})"


def derived(header: Sequence[str], tags: Sequence[str], tag_source: str) -> list[str]:
    """The columns that charges are grouped by, from typed columns of a header."""

    def first(*names: str) -> str:
        present = [quoted(name) for name in names if name in header]
        return f"coalesce({', '.join(present)})" if present else "CAST(NULL AS VARCHAR)"

    paths = literals([f'$."{key}"' for key in tags])
    extracted = f"json_extract_string({tag_source}, [{paths}])"
    return [
        f"coalesce({first('InvoiceIssuerName')}, '') AS co_issuer",
        f"coalesce({first('BillingAccountId')}, '') AS co_account",
        f"coalesce({first('ServiceProviderName', 'ProviderName', 'InvoiceIssuerName')}, '') AS co_provider",
        f"{first('ServiceName')} AS co_service",
        f"{first('ServiceCategory')} AS co_category",
        f"{first('SubAccountName', 'SubAccountId')} AS co_sub_account",
        f"{first('RegionId', 'RegionName')} AS co_region",
        *([f"{extracted} AS co_tags"] if tags else []),
    ]


def _joined(at: dict[str, str], names: frozenset[str], separator: str) -> str:
    present = [f"coalesce({at[name]}, '')" for name in sorted(names & at.keys())]
    return f"concat_ws({literal(separator)}, {', '.join(present)})"
