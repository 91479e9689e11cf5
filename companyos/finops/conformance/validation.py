"""Checking a file against the requirements model: a result for every rule, and none that was not earned."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from companyos.errors import COULD_NOT_CHECK, FINDINGS
from companyos.finops.bulk.bills import CsvBill, open_bill
from companyos.finops.bulk.connection import connect, duckdb, literals, quoted
from companyos.finops.conformance.checks import PLACEHOLDERS, columns_of, condition_sql, requirement_sql
from companyos.finops.errors import CostFileError
from companyos.finops.money import ISO_4217

if TYPE_CHECKING:
    from collections.abc import Collection

    from companyos.finops.bulk.bills import BulkBill
    from companyos.finops.conformance.model import Model, Rule

__all__ = ("RuleResult", "Status", "Validation", "validate")

Status = Literal["passed", "failed", "warned", "optional", "not_applicable", "unchecked"]
ALL = "ALL"
CHUNK = 60
"""How many rules one pass over the file checks."""
_STRICT = frozenset({"MUST", "MUST NOT"})


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of one rule."""

    id: str
    """The rule."""
    status: Status
    """`warned`: a recommendation is not followed; `optional`: a MAY, which nothing can violate."""
    rows: int
    """How many rows violate it; for a rule on groups, how many groups."""
    reason: str
    """Why it was not checked or does not apply; what is violated."""

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {"id": self.id, "status": self.status, "rows": self.rows, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Validation:
    """The results of one file."""

    name: str
    """The file's name."""
    version: str
    """The FOCUS version of the file."""
    model: str
    """The FOCUS version of the rules."""
    rows: int
    """Rows in the file."""
    results: tuple[RuleResult, ...]
    """One a rule, in the model's order."""

    @property
    def counts(self) -> dict[str, int]:
        """How many rules came to each status."""
        return dict(sorted(Counter(result.status for result in self.results).items()))

    @property
    def exit_code(self) -> int:
        """1 when a rule is violated; else 3 when one could not be checked; else 0."""
        if self.counts.get("failed"):
            return FINDINGS
        return COULD_NOT_CHECK if self.counts.get("unchecked") else 0

    def of(self, *statuses: str) -> tuple[RuleResult, ...]:
        """The results with one of these statuses."""
        return tuple(result for result in self.results if result.status in statuses)

    def to_dict(self) -> dict[str, Any]:
        """The validation as a JSON object."""
        return {
            "name": self.name,
            "version": self.version,
            "model": self.model,
            "rows": self.rows,
            "counts": self.counts,
            "results": [result.to_dict() for result in self.results],
        }


def validate(path: Path, model: Model, *, supports: Collection[str] = (), lacks: Collection[str] = ()) -> Validation:
    """Check every rule of `model` on a CSV, gzipped CSV or Parquet file.

    `supports` and `lacks` name what the provider supports and does not (the model's applicability criteria, or `ALL`);
    whether a column may be missing depends on it, and where neither says so, that is unchecked.

    Raises:
        CostFileError: the file cannot be read; missing columns are no such error here, but results.
    """
    with tempfile.TemporaryDirectory(prefix="companyos-validate-") as scratch, connect(Path(scratch)) as connection:
        bill = open_bill(path, Path(scratch), complete=False)
        if isinstance(bill, CsvBill) and not bill.in_bulk:
            bill = bill.flat(Path(scratch) / path.name)
        try:
            rows = _show(connection, bill, model, path.name, Path(scratch))
            results = _Checker(connection, model, frozenset(bill.header), frozenset(supports), frozenset(lacks)).run()
        except duckdb().Error as error:
            raise CostFileError(
                f"{path.name} cannot be read",
                got=str(error).splitlines()[0],
                expected="well-formed CSV in UTF-8, or a whole Parquet file",
                hint="companyos finops ingest names each bad row",
            ) from error
    return Validation(path.name, bill.version, model.version, rows, results)


def _show(connection: Any, bill: BulkBill, model: Model, name: str, scratch: Path) -> int:
    """Make `bill` of the file's columns, those that rules speak of and the file lacks as null; how many rows it has."""
    connection.execute(f"CREATE OR REPLACE VIEW rows_read AS FROM {bill.relation()}")
    try:
        rows = _count_rows(connection, name, len(bill.header))
    except duckdb().Error as error:
        if not isinstance(bill, CsvBill) or "parallel" not in str(error):
            raise
        place = scratch / "flat.csv"  # line breaks inside quotes
        connection.execute(f"CREATE OR REPLACE VIEW rows_read AS FROM {bill.flat(place).relation()}")
        rows = _count_rows(connection, name, len(bill.header))
    known = [f"nullif(c{number}, '') AS {quoted(column)}" for number, column in enumerate(bill.header)]
    spoken = set().union(*(columns_of(rule.requirement) | columns_of(rule.condition) for rule in model.rules.values()))
    absent = [f"CAST(NULL AS VARCHAR) AS {quoted(column)}" for column in sorted(spoken - set(bill.header))]
    connection.execute(f"CREATE VIEW bill AS SELECT {', '.join(known + absent)} FROM rows_read")  # noqa: S608 - quoted names
    return rows


def _count_rows(connection: Any, name: str, width: int) -> int:
    """How many rows there are, all of them as wide as the header."""
    rows, ragged = connection.execute(
        f"SELECT count(*), coalesce(count_if(c{width - 1} IS NULL OR c{width} IS NOT NULL), 0) FROM rows_read"  # noqa: S608 - numbers
    ).fetchone()
    if ragged:
        raise CostFileError(
            f"{name} cannot be checked",
            got=f"{ragged} rows with more or fewer than {width} fields",
            expected="as many fields in every row as columns in the header",
            hint="companyos finops ingest names each bad row",
        )
    return int(rows)


class _Checker:
    def __init__(
        self, connection: Any, model: Model, header: frozenset[str], supports: frozenset[str], lacks: frozenset[str]
    ) -> None:
        self._connection = connection
        self._model = model
        self._header = header
        self._supports = supports
        self._lacks = lacks
        self._results: dict[str, RuleResult] = {}

    def run(self) -> tuple[RuleResult, ...]:
        by_row: dict[str, str] = {}
        for rule in self._model.rules.values():
            known = self._without_data(rule)
            if known is not None:
                self._results[rule.id] = known
                continue
            requirement = requirement_sql(rule.requirement)
            if requirement is not None:
                by_row[rule.id] = f"({self._condition(rule.id)}) AND NOT coalesce({requirement}, false)"
            else:
                self._results[rule.id] = self._special(rule)
        self._count(by_row)
        return tuple(self._settled(name) for name in self._model.rules)

    def _without_data(self, rule: Rule) -> RuleResult | None:
        """The result where the header or the model decides."""
        if rule.keyword == "MAY":
            return RuleResult(rule.id, "optional", 0, "")
        if rule.dynamic:
            return RuleResult(rule.id, "unchecked", 0, "the model holds that data alone cannot tell")
        if rule.requirement.get("CheckFunction") == "ColumnPresent":
            return self._presence(rule)
        if rule.children:
            return RuleResult(rule.id, "passed", 0, "")  # until its parts are known
        missing = sorted(columns_of(rule.requirement) - self._header)
        if missing:
            return RuleResult(rule.id, "not_applicable", 0, f"no column {', '.join(missing)}")
        return None

    def _presence(self, rule: Rule) -> RuleResult:
        column = rule.requirement["ColumnName"]
        if column in self._header:
            return RuleResult(rule.id, "passed", 0, "")
        return self._where_supported(rule, 0, f"no column {column}")

    def _judged(self, rule: Rule, rows: int) -> RuleResult:
        """The result of a rule that so many rows or groups violate."""
        return self._where_supported(rule, rows, rule.text) if rows else RuleResult(rule.id, "passed", 0, "")

    def _where_supported(self, rule: Rule, rows: int, what: str) -> RuleResult:
        """A violation, if the provider supports what the rule is about; which data do not tell."""
        if any(name in self._lacks or ALL in self._lacks for name in rule.criteria):
            return RuleResult(rule.id, "not_applicable", 0, f"the provider lacks {', '.join(rule.criteria)}")
        if all(name in self._supports or ALL in self._supports for name in rule.criteria):
            return RuleResult(rule.id, _violated(rule), rows, what)
        return RuleResult(
            rule.id, "unchecked", rows, f"violated, if the provider supports {' and '.join(rule.criteria)}: {what}"
        )

    def _special(self, rule: Rule) -> RuleResult:
        """Rules on groups of rows, and those of which only the violation can be seen."""
        check = rule.requirement
        function = str(check.get("CheckFunction"))
        if function == "CheckDistinctCount":
            one, other = quoted(check["ColumnAName"]), quoted(check["ColumnBName"])
            (groups,) = self._connection.execute(
                f"SELECT count(*) FROM (SELECT {one} FROM bill WHERE {one} IS NOT NULL AND ({self._condition(rule.id)})"  # noqa: S608
                f" GROUP BY {one} HAVING count(DISTINCT {other}) <> {int(check['ExpectedCount'])})"
            ).fetchone()
            return self._judged(rule, int(groups))
        if function == "FormatString":
            column = quoted(check["ColumnName"])
            rows = self._rows(f"{column} IN ({literals(PLACEHOLDERS)})")
            if rows:
                return RuleResult(rule.id, _violated(rule), rows, "a text stands where a null should")
            return RuleResult(rule.id, "unchecked", 0, "whether a text is the source's own cannot be seen")
        if function == "FormatCurrency":
            column = quoted(check["ColumnName"])
            rows = self._rows(f"{column} NOT IN ({literals(sorted(ISO_4217))})")
            if not rows:
                return RuleResult(rule.id, "passed", 0, "")
            return RuleResult(
                rule.id, "unchecked", rows, "not ISO 4217; whether it is a virtual currency cannot be seen"
            )
        return RuleResult(
            rule.id, "unchecked", 0, f"no check for {function}" if function != "None" else "the model holds no check"
        )

    def _rows(self, condition: str) -> int:
        (rows,) = self._connection.execute(f"SELECT coalesce(count_if({condition}), 0) FROM bill").fetchone()  # noqa: S608 - our SQL
        return int(rows)

    def _condition(self, name: str) -> str:
        """When a rule applies: its own condition, and that of one of the rules that it is a part of."""
        own = condition_sql(self._model.rules[name].condition)
        above = {self._condition(parent) for parent in self._model.parents.get(name, ())}
        if not above or "true" in above:
            return own
        either = " OR ".join(f"({condition})" for condition in sorted(above))
        return either if own == "true" else f"({own}) AND ({either})"

    def _count(self, by_row: dict[str, str]) -> None:
        names = list(by_row)
        for start in range(0, len(names), CHUNK):
            part = names[start : start + CHUNK]
            counts = self._connection.execute(
                f"SELECT {', '.join(f'coalesce(count_if({by_row[name]}), 0)' for name in part)} FROM bill"  # noqa: S608 - our SQL
            ).fetchone()
            for name, rows in zip(part, counts, strict=True):
                self._results[name] = self._judged(self._model.rules[name], int(rows))

    def _settled(self, name: str) -> RuleResult:
        """The result of a rule; one that is made of others is what they are."""
        rule, result = self._model.rules[name], self._results[name]
        if not rule.children or result.status != "passed":
            return result
        parts = [self._settled(child) for child in rule.children if child in self._results]
        failed = [part.id for part in parts if part.status == "failed"]
        unchecked = [part.id for part in parts if part.status == "unchecked"]
        if failed:
            return RuleResult(name, _violated(rule), 0, f"failed: {', '.join(failed)}")
        if unchecked:
            return RuleResult(name, "unchecked", 0, f"unchecked: {', '.join(unchecked)}")
        if parts and all(part.status == "not_applicable" for part in parts):
            return RuleResult(name, "not_applicable", 0, "none of its parts applies")
        return result


def _violated(rule: Rule) -> Status:
    return "failed" if rule.keyword in _STRICT else "warned"
