"""`companyos slo status`: how objectives stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option
from companyos.cli.slo.files import read_documents, show_warnings, sources_argument
from companyos.errors import printable

if TYPE_CHECKING:
    from companyos.observability.slo.status import Standing

__all__ = ("status",)

_COLOURS = {"kept": "green", "spent": "red", "undetermined": "yellow"}


@click.command()
@sources_argument
@click.option("--prometheus", "url", required=True, metavar="URL", help="Such as http://localhost:9090.")
@click.option("--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Seconds a question.")
@json_option
def status(files: tuple[str, ...], url: str, timeout: float, *, as_json: bool) -> int:
    """Ask a Prometheus that has the compiled rules how the objectives of OpenSLO files stand.

    Exit status: 0 all are kept, 1 an error budget is spent, 3 something could not be determined: no answer, no data,
    other rules, or less history than the period.
    """
    from companyos.observability.slo.prometheus import Prometheus
    from companyos.observability.slo.status import exit_status, standings

    documents = read_documents(files)
    found = standings(documents, Prometheus(url, timeout))
    if as_json:
        echo_json({"prometheus": url, "objectives": [standing.to_dict() for standing in found]})
    else:
        show_warnings(documents.warnings)
        _show(found)
    return exit_status(found)


def _show(found: list[Standing]) -> None:
    echo_table(
        ("OBJECTIVE", "TARGET %", "PERIOD", "SLI %", "BUDGET LEFT %", "BURN RATE BY WINDOW", "ALERTS", "VERDICT"),
        [
            (
                item.slo_id,
                item.objective,
                item.period,
                _percent(item.sli, 4),
                _percent(item.budget_left, 1),
                " ".join(f"{window}={rate:.3g}" for window, rate in item.burn_rates.items()) or "-",
                ", ".join(f"{alert.severity} {alert.state} ({alert.name})" for alert in item.alerts) or "-",
                item.verdict,
            )
            for item in found
        ],
    )
    for item in found:
        if item.reason:
            verdict = click.style(item.verdict, fg=_COLOURS[item.verdict])
            click.echo(f"{verdict}  {printable(f'{item.slo_id}: {item.reason}')}")


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{share * 100:.{digits}f}"
