"""`companyos finops`: bring in bills, report and forecast costs, judge them by the budgets."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos import config
from companyos.cli.output import echo_decision, echo_json, echo_table, json_option
from companyos.errors import FINDINGS, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from companyos.config import Budget
    from companyos.finops import CostLine, IngestReport, RemediationPlan, SqliteCostStore
    from companyos.finops.interface import Measure, Overlap
    from companyos.finops.money import NumberStyle
    from companyos.ports import LedgerPort

__all__ = ("finops",)

BAR_WIDTH = 30


def _utc(ctx: click.Context, param: click.Parameter, value: datetime | None) -> datetime:  # noqa: ARG001 - click's shape
    if value is None:
        return datetime.now(UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _day(ctx: click.Context, param: click.Parameter, value: datetime | None) -> date | None:  # noqa: ARG001 - click's shape
    return None if value is None else value.date()


_store_option = click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), help="Directory of the cost store."
)
_as_of_option = click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]),
    callback=_utc,
    show_default="now",
    help="Look from here: a UTC date (its 00:00) or time.",
)
_plan_option = click.option(
    "--plan", "plan_path", type=click.Path(path_type=Path), help="Remediation plan: YAML with owner, actions, due."
)


@dataclass(frozen=True, slots=True)
class _Setting:
    """Where costs live and what they are judged by."""

    directory: Path
    budgets: tuple[Budget, ...]
    ledger: Callable[[], LedgerPort | None]

    @contextmanager
    def costs(self, *, create: bool = False, record: bool = False) -> Iterator[SqliteCostStore]:
        from companyos.finops import SqliteCostStore

        ledger = self.ledger() if record else None
        with SqliteCostStore(self.directory, ledger=ledger, create=create) as store:
            yield store


@contextmanager
def _setting(store: Path | None) -> Iterator[_Setting]:
    """The setting of the nearest `companyos.yaml`; `--store` alone will do without one, and then without a ledger."""
    found = config.find(Path.cwd())
    if found is None:
        if store is None:
            raise ConfigError(
                "no companyos.yaml here or above, and no --store",
                expected="one of them, to know where costs live",
                hint="add --store DIR",
            )
        yield _Setting(store, config.load(None).finops.budgets, lambda: None)
        return
    from companyos.company import Company

    with ExitStack() as stack:
        company = stack.enter_context(Company.open(found))
        directory = store or company.state_dir / "costs"
        yield _Setting(directory, company.settings.finops.budgets, lambda: company.ledger)


@click.group()
def finops() -> None:
    """Bring in bills (FOCUS), report and forecast costs, and judge them by the budgets."""


@finops.command()
@click.argument("file", type=click.Path(path_type=Path))
@_store_option
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
@json_option
def ingest(*, file: Path, store: Path | None, overlap: Overlap, decimal: NumberStyle, as_json: bool) -> int:
    """Bring in FILE, a FOCUS CSV (1.0 to 1.4). Exits 1 when rows were rejected."""
    from companyos.finops import FocusFile

    FocusFile(file, number_style=decimal)  # refused here, a file leaves no new store behind
    with _setting(store) as setting, setting.costs(create=True, record=True) as costs:
        report = costs.ingest(file, overlap=overlap, number_style=decimal)
        if as_json:
            echo_json(report.to_dict())
        else:
            _echo_report(report, setting.directory)
    return FINDINGS if report.rows_rejected else 0


@finops.command()
@_store_option
@click.option("--by", default="service", show_default=True, help="service, provider, region, …, day, week, or tag:KEY.")
@click.option("--from", "start", type=click.DateTime(["%Y-%m-%d"]), callback=_day, help="First UTC day.")
@click.option("--to", "end", type=click.DateTime(["%Y-%m-%d"]), callback=_day, help="The UTC day after the last.")
@click.option("--measure", type=click.Choice(["billed", "effective"]), default="billed", show_default=True)
@json_option
def report(
    *, store: Path | None, by: str, start: date | None, end: date | None, measure: Measure, as_json: bool
) -> None:
    """Show exact costs, grouped."""
    with _setting(store) as setting, setting.costs() as costs:
        lines = costs.total(start, end, by=by, measure=measure)
        coverage = costs.coverage()
    if as_json:
        echo_json({"by": by, "extract": coverage.digest, "lines": [line.to_dict() for line in lines]})
        return
    rows = [(line.key, line.currency, f"{line.amount:,.2f}", line.rows, bar) for line, bar in _bars(lines)]
    echo_table((by, "currency", measure, "charges", ""), rows)
    click.echo(f"extract {coverage.digest}, {coverage.rows} charges in all", err=True)


@finops.command()
@_store_option
@_as_of_option
@json_option
def forecast(store: Path | None, as_of: datetime, as_json: bool) -> None:
    """Show what the running period of each budget will cost, with an upper bound."""
    from companyos.finops import forecast_period

    with _setting(store) as setting, setting.costs() as costs:
        forecasts = [
            (budget, forecast_period(costs, budget.period, budget.currency, as_of)) for budget in setting.budgets
        ]
    if as_json:
        echo_json([{"budget": budget.name} | made.facts() for budget, made in forecasts])
        return
    headings = ("budget", "period", "currency", "spent", "forecast", "upper bound", "target", "ceiling", "method")
    rows = [
        (
            budget.name,
            f"{made.period.kind} from {made.period.start}",
            made.currency,
            _cents(made.spent),
            _cents(made.point),
            _cents(made.upper),
            _cents(budget.target),
            _cents(budget.ceiling),
            made.method,
        )
        for budget, made in forecasts
    ]
    echo_table(headings, rows)


@finops.command()
@_store_option
@_as_of_option
@_plan_option
@json_option
def gate(store: Path | None, as_of: datetime, plan_path: Path | None, as_json: bool) -> int:
    """Judge costs by every budget. Exits 0 within, 1 over, 3 when it could not be judged."""
    from companyos.finops import judge

    plan = _plan(plan_path)
    with _setting(store) as setting, setting.costs() as costs:
        ledger = setting.ledger()
        if ledger is None:
            click.echo("no companyos.yaml here or above: default budgets, and this decision is not recorded", err=True)
        decision = judge(setting.budgets, costs, as_of=as_of, remediation_plan=plan, ledger=ledger)
        return echo_decision(decision, as_json=as_json)


@finops.command()
@_store_option
@_as_of_option
@_plan_option
@json_option
def notes(store: Path | None, as_of: datetime, plan_path: Path | None, as_json: bool) -> None:
    """Print the Cost Notes section for a pull request."""
    from companyos.finops import cost_note

    plan = _plan(plan_path)
    with _setting(store) as setting, setting.costs() as costs:
        note = cost_note(costs, setting.budgets, as_of=as_of, remediation_plan=plan)
    if as_json:
        echo_json(note.to_dict())
    else:
        click.echo(note.to_markdown(), nl=False)


def _plan(path: Path | None) -> RemediationPlan | None:
    from companyos.finops import RemediationPlan

    return None if path is None else RemediationPlan.load(path)


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


def _cents(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:,.2f}"
