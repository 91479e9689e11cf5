"""How commands ask policies that nobody vouches for: in a process that is ended when its time is up."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.company import Company
    from companyos.ports import DecisionEngine

__all__ = ("deadline_option", "engine_within", "say_late")

_DEADLINE = 30.0
"""The same as `companyos.authz.engines.isolated.DEADLINE_SECONDS`, which would cost every command its import."""


def deadline_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the option `--deadline`, in seconds."""
    return click.option(
        "--deadline",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True, max=86_400),
        default=_DEADLINE,
        show_default=True,
        help="How long the policies may take in all, before their process is ended and the answer is policy.timeout.",
    )(command)


@contextmanager
def engine_within(company: Company, seconds: float) -> Iterator[DecisionEngine]:
    """The configured engine, in a process of its own if it is an embedded one."""
    from companyos.authz.engines.embedded import configured_recipe
    from companyos.authz.engines.isolated import IsolatedEngine

    recipe = configured_recipe(company.settings.authz, company.root)
    if recipe is None:
        yield company.engine
        return
    with IsolatedEngine(recipe, seconds=seconds) as engine:
        yield engine


def say_late(seconds: float) -> None:
    """Say on standard error that the policies were ended."""
    click.echo(
        f"# the policies took more than {seconds:g} s, and their process was ended: look for rules that loop over what "
        "they loop over; --deadline gives them more time",
        err=True,
    )
