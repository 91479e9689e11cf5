"""The check functions of the requirements model as SQL conditions over text columns.

A check gives the condition that a row satisfies. `None` stands for what cannot be told from data: such a rule is
reported as unchecked, never as passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.finops.bulk.connection import literal, literals, quoted
from companyos.finops.money import ISO_4217

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("PLACEHOLDERS", "columns_of", "condition_sql", "requirement_sql")

PLACEHOLDERS = ("", "NULL", "null", "N/A", "n/a")
"""Texts that stand where a null should (FOCUS, Null Handling)."""
_NUMERIC = r"-?[0-9]+([.][0-9]+)?(E-?[0-9]+)?"
_MOMENT = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_RELATIVE = "1e-9"
"""To how many parts a product has to match: costs are rounded by whoever bills."""


def _comparison(check: dict[str, Any], *, same: bool) -> str:
    column = quoted(check.get("ColumnName") or check["CheckCondition"])
    value = check["Value"]
    if value is None:
        return f"{column} IS {'' if same else 'NOT '}NULL"
    return f"{column} IS {'NOT ' if same else ''}DISTINCT FROM {literal(str(value))}"


def _pair(check: dict[str, Any], *, same: bool) -> str:
    one, other = quoted(check["ColumnAName"]), quoted(check["ColumnBName"])
    return f"{one} IS {'NOT ' if same else ''}DISTINCT FROM {other}"


def _where_present(template: str) -> Callable[[dict[str, Any]], str]:
    def build(check: dict[str, Any]) -> str:
        column = quoted(check["ColumnName"])
        return f"({column} IS NULL OR ({template.format(column)}))"

    return build


def _at_least(check: dict[str, Any]) -> str:
    column = quoted(check["ColumnName"])
    return f"({column} IS NULL OR TRY_CAST({column} AS DOUBLE) >= {float(check['Value'])})"


def _product(check: dict[str, Any]) -> str:
    one, other, result = (
        f"TRY_CAST({quoted(check[name])} AS DOUBLE)" for name in ("ColumnAName", "ColumnBName", "ResultColumnName")
    )
    return f"coalesce(abs({one} * {other} - {result}) <= {_RELATIVE} * greatest(abs({result}), {_RELATIVE}), true)"


_NUMBER = _where_present(f"regexp_full_match({{0}}, {literal(_NUMERIC.replace('{', '{{').replace('}', '}}'))})")
_CHECKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "CheckValue": lambda check: _comparison(check, same=True),
    "CheckNotValue": lambda check: _comparison(check, same=False),
    "CheckSameValue": lambda check: _pair(check, same=True),
    "CheckNotSameValue": lambda check: _pair(check, same=False),
    "CheckGreaterOrEqualThanValue": _at_least,
    "ColumnByColumnEqualsColumnValue": _product,
    "TypeDecimal": _where_present("TRY_CAST({0} AS DOUBLE) IS NOT NULL"),
    "CheckDecimalValue": _where_present("TRY_CAST({0} AS DOUBLE) IS NOT NULL"),
    "TypeDateTime": _where_present("TRY_CAST({0} AS TIMESTAMP) IS NOT NULL"),
    "TypeString": lambda check: f"({quoted(check['ColumnName'])} IS NULL OR true)",
    "FormatNumeric": _NUMBER,
    "FormatDateTime": _where_present(
        f"regexp_full_match({{0}}, {literal(_MOMENT.replace('{', '{{').replace('}', '}}'))})"
        " AND TRY_CAST({0} AS TIMESTAMP) IS NOT NULL"
    ),
    "FormatKeyValue": _where_present(
        "CASE WHEN NOT json_valid({0}) THEN false WHEN json_type({0}) <> 'OBJECT' THEN false ELSE NOT list_has_any("
        "list_transform(json_extract({0}, '$.*'), lambda part: json_type(part)), ['OBJECT', 'ARRAY']) END"
    ),
    "CheckNationalCurrency": _where_present(f"{{0}} IN ({literals(sorted(ISO_4217))})"),
}


def requirement_sql(check: dict[str, Any]) -> str | None:
    """The condition that rows satisfy, or None where the check does not speak of single rows or cannot be told."""
    function = check.get("CheckFunction")
    if function in {"AND", "OR"}:
        parts = [requirement_sql(item) for item in check["Items"]]
        if any(part is None for part in parts):
            return None
        return "(" + f" {function} ".join(part for part in parts if part is not None) + ")"
    build = _CHECKS.get(str(function))
    return build(check) if build else None


def condition_sql(check: dict[str, Any]) -> str:
    """The condition under which a rule applies; `true` for an empty one.

    Raises:
        KeyError: the model asks for something that is not known here.
    """
    if not check:
        return "true"
    found = requirement_sql(check)
    if found is None:
        raise KeyError(check.get("CheckFunction"))
    return found


def columns_of(check: dict[str, Any]) -> set[str]:
    """The columns that a check reads."""
    names = {check[name] for name in ("ColumnName", "ColumnAName", "ColumnBName", "ResultColumnName") if name in check}
    return names.union(
        *(columns_of(item) for item in check.get("Items", ())),
        {check["CheckCondition"]} if "CheckCondition" in check else set(),
    )
