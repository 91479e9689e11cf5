"""`companyos finops ingest`, `validate` and `report`: bills in, bills checked, costs shown."""

from __future__ import annotations

import csv
import io
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_setting import day_option, rules_of, rules_option, setting, store_option
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import COULD_NOT_CHECK, FINDINGS, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from companyos.finops import CostLine, IngestReport, SqliteCostStore
    from companyos.finops.bulk.connection import Progress
    from companyos.finops.conformance import Validation
    from companyos.finops.interface import Measure, Overlap
    from companyos.finops.money import NumberStyle
    from companyos.finops.opening import Engine

__all__ = ("ingest", "report", "validate", "write_html")

BAR_WIDTH = 30
SHORT_NAMES = {"feature": "tag:feature", "team": "tag:team"}
"""What `--by` also understands."""


@click.command()
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@store_option
@click.option(
    "--overlap",
    type=click.Choice(["refuse", "replace", "replace-smaller", "add"]),
    default="refuse",
    show_default=True,
    help="When another file already brought the same billing period. replace refuses a file with fewer days or lower"
    " costs than what it drops; replace-smaller takes it.",
)
@click.option(
    "--decimal",
    type=click.Choice(["auto", ".", ","]),
    default="auto",
    show_default=True,
    help="The decimal mark of the file.",
)
@click.option("--engine", type=click.Choice(["duckdb", "sqlite"]), help="Of a new store; default: DuckDB if installed.")
@json_option
def ingest(
    *,
    files: Sequence[Path],
    store: Path | None,
    overlap: Overlap,
    decimal: NumberStyle,
    engine: Engine | None,
    as_json: bool,
) -> int:
    """Bring in each FILE, a FOCUS bill (1.0 to 1.4): CSV, CSV.gz or Parquet. Exits 1 when rows were rejected."""
    for file in files:
        _refuse_early(file)
    reports = []
    with (
        setting(store) as found,
        _progress_bar(len(files)) as progress,
        found.costs(create=True, record=True, engine=engine, progress=progress) as costs,
    ):
        for file in files:
            made = costs.ingest(file, overlap=overlap, number_style=decimal)
            reports.append(made)
            if not as_json:
                _echo_report(made, found.directory)
    if as_json:
        made_all = [made.to_dict() for made in reports]
        echo_json(made_all[0] if len(made_all) == 1 else made_all)
    return FINDINGS if any(made.rows_rejected for made in reports) else 0


@click.command()
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--model", "model_path", type=click.Path(path_type=Path), help="Requirements model; default: that of FOCUS 1.2."
)
@click.option("--supports", multiple=True, metavar="CRITERION", help="What the provider supports; ALL for everything.")
@click.option(
    "--lacks", multiple=True, metavar="CRITERION", help="What the provider does not support; ALL for the rest."
)
@json_option
def validate(
    *, files: Sequence[Path], model_path: Path | None, supports: Sequence[str], lacks: Sequence[str], as_json: bool
) -> int:
    """Check each FILE against every rule of FOCUS. Exits 1 on a violation, 3 when a rule could not be checked."""
    from companyos.finops.conformance import load_model
    from companyos.finops.conformance import validate as check

    model = load_model(model_path)
    validations = [check(file, model, supports=supports, lacks=lacks) for file in files]
    if as_json:
        made = [validation.to_dict() for validation in validations]
        echo_json(made[0] if len(made) == 1 else made)
    else:
        for validation in validations:
            _echo_validation(validation)
    codes = {validation.exit_code for validation in validations}
    return FINDINGS if FINDINGS in codes else COULD_NOT_CHECK if COULD_NOT_CHECK in codes else 0


@click.command()
@store_option
@click.option(
    "--by",
    default="service",
    show_default=True,
    help="service, feature, team, day, week, provider, region, account, …, or tag:KEY.",
)
@day_option("--from", "start", help="First UTC day.")
@day_option("--to", "end", help="The UTC day after the last.")
@click.option("--measure", type=click.Choice(["billed", "effective"]), default="billed", show_default=True)
@click.option("--in", "currency", help="Convert to this currency, each day at its own rate; needs --rates.")
@click.option("--rates", "rates_path", type=click.Path(path_type=Path), help="CSV with date, from, to, rate.")
@click.option("--html", "html_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write this HTML file.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, amounts exact.")
@click.option("--allocated", is_flag=True, help="By team, feature or cost-center: as `finops allocate` does it.")
@rules_option
@json_option
def report(
    *,
    store: Path | None,
    by: str,
    start: date | None,
    end: date | None,
    measure: Measure,
    currency: str | None,
    rates_path: Path | None,
    html_path: Path | None,
    as_csv: bool,
    allocated: bool,
    rules_path: Path | None,
    as_json: bool,
) -> None:
    """Show exact costs, grouped: a table with bars, CSV, JSON, or a self-contained HTML file."""
    if (currency is None) != (rates_path is None):
        raise ConfigError(
            "--in and --rates go together", expected="both, or neither", hint="--in EUR --rates rates.csv"
        )
    if as_csv and as_json:
        raise ConfigError("--csv and --json are two formats", expected="one of them")
    if (allocated and currency) or (rules_path and not allocated):
        raise ConfigError(
            "allocated costs are not converted, and rules are for them alone", expected="--allocated --rules FILE"
        )
    by = by if allocated else SHORT_NAMES.get(by, by)
    query = _Query(start, end, measure, currency, rates_path)
    with setting(store) as found, found.costs() as costs:
        lines = _allocated(query, costs, by, rules_path) if allocated else query.lines(costs, by)
        coverage = costs.coverage()
        if html_path:
            from companyos.finops.charts import html_report

            days = query.lines(costs, "day")
            write_html(html_path, html_report(lines, days, by=by, measure=measure, extract=str(coverage.digest)))
    if as_json:
        echo_json({"by": by, "extract": coverage.digest, "lines": [line.to_dict() for line in lines]})
        return
    if as_csv:
        _echo_csv(by, measure, lines)
        return
    rows = [(line.key, line.currency, f"{line.amount:,.2f}", line.rows, bar) for line, bar in _bars(lines)]
    echo_table((by, "currency", measure, "charges", ""), rows)
    click.echo(f"extract {coverage.digest}, {coverage.rows} charges in all", err=True)


@dataclass(frozen=True, slots=True)
class _Query:
    """What a report shows."""

    start: date | None
    end: date | None
    measure: Measure
    currency: str | None
    rates: Path | None

    def lines(self, costs: SqliteCostStore, by: str) -> tuple[CostLine, ...]:
        if self.currency is None or self.rates is None:
            return costs.total(self.start, self.end, by=by, measure=self.measure)
        from companyos.finops.rates import Rates, converted

        days = costs.daily(self.start, self.end, by=by, measure=self.measure)
        lines = converted(days, Rates.load(self.rates), self.currency)
        return tuple(sorted(lines, key=lambda line: line.key)) if by in {"day", "week"} else lines


def _allocated(query: _Query, costs: SqliteCostStore, by: str, rules: Path | None) -> tuple[CostLine, ...]:
    from companyos.finops.allocation import allocate

    made = allocate(costs, rules_of(rules), by, query.start, query.end, measure=query.measure)
    return made.cost_lines()


def write_html(path: Path, text: str) -> None:
    """Write a page, and say so."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}", got=error, expected="a writable file") from error
    click.echo(f"written {path}", err=True)


def _refuse_early(file: Path) -> None:
    """Refuse what is no bill by its first bytes, so that a wrong call leaves no new store behind."""
    from companyos.finops import FocusFile
    from companyos.finops.bulk.bills import suffix_of

    if suffix_of(file) == ".csv":
        FocusFile(file)


@contextmanager
def _progress_bar(files: int) -> Iterator[Progress | None]:
    """A bar on stderr while a terminal looks on."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=files == 1) as bar:
        task = bar.add_task("ingest", total=1.0)

        def tell(step: str, share: float | None) -> None:
            bar.update(task, description=step, completed=share or 0.0)

        yield tell


def _echo_validation(validation: Validation) -> None:
    counts = ", ".join(f"{count} {status}" for status, count in validation.counts.items())
    click.echo(f"{validation.name}: FOCUS {validation.version}, {validation.rows} rows, rules of {validation.model}")
    click.echo(f"  {counts}")
    shown = validation.of("failed", "warned", "unchecked")
    if shown:
        echo_table(
            ("  rule", "status", "rows", "why"),
            [(f"  {result.id}", result.status, result.rows or "", result.reason[:120]) for result in shown],
        )


def _echo_csv(by: str, measure: str, lines: Sequence[CostLine]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((by, "currency", measure, "charges"))
    writer.writerows((line.key, line.currency, format(line.amount, "f"), line.rows) for line in lines)
    click.echo(text.getvalue(), nl=False)


def _echo_report(report: IngestReport, directory: Path) -> None:
    state = "known already, nothing changed" if report.unchanged else "ingested"
    click.echo(f"{report.name}: FOCUS {report.version}, {state}")
    click.echo(f"  rows read {report.rows_read} = ingested {report.rows_ingested} + rejected {report.rows_rejected}")
    for currency, amount in report.totals.items():
        click.echo(f"  billed {currency} {amount}, {report.first_day} to {report.last_day}")
    click.echo(f"  raw file {directory / report.raw_path}")
    if report.rejects_path:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.rejected_by_reason.items())
        click.echo(f"  rejected rows {directory / report.rejects_path}: {reasons}")
    for label, columns in (("stray", report.stray_columns), ("custom", report.custom_columns)):
        if columns:
            click.echo(f"  {label} columns kept: {', '.join(columns)}")
    for replaced in report.replaced:
        click.echo(f"  replaced billing periods of {replaced}")
    for shrunk in report.shrunk:
        click.echo(f"  smaller than before: {shrunk}")
    if report.mends:
        click.echo("  mended or deviating:")
        rows = [
            (f"    {mend.kind}", mend.column or "(file)", mend.count, ", ".join(map(str, mend.first_rows)))
            for mend in report.mends
        ]
        echo_table(("    kind", "column", "count", "first rows"), rows)


def _bars(lines: Sequence[CostLine]) -> Iterator[tuple[CostLine, str]]:
    """Each line with a bar, its length relative to the dearest line of the same currency."""
    dearest: dict[str, Decimal] = {}
    for line in lines:
        dearest[line.currency] = max(dearest.get(line.currency, Decimal(0)), line.amount)
    for line in lines:
        share = line.amount / dearest[line.currency] if dearest[line.currency] > 0 else Decimal(0)
        yield line, "█" * int(max(Decimal(0), share) * BAR_WIDTH)
