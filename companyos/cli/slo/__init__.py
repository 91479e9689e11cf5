"""`companyos slo`: objectives as files, compiled to rules of Prometheus, and what a Prometheus says about them."""

from __future__ import annotations

import click

from companyos.cli.slo import compiling, dashboard, simulate, starting, status

__all__ = ("slo",)


@click.group()
def slo() -> None:
    """Begin, validate and compile service level objectives (OpenSLO), and ask a Prometheus how they stand."""


for command in (
    starting.init,
    compiling.compile_files,
    compiling.validate,
    dashboard.dashboard,
    simulate.simulate,
    status.status,
):
    slo.add_command(command)
