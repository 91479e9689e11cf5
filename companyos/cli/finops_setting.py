"""Where the commands of `companyos finops` find costs, budgets and the ledger."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from companyos.config import Budget, ForecastSetting
    from companyos.finops import SqliteCostStore
    from companyos.finops.allocation import AllocationRules
    from companyos.finops.bulk.connection import Progress
    from companyos.finops.opening import Engine
    from companyos.ledger import Ledger

__all__ = ("Setting", "as_of_option", "day_option", "rules_of", "rules_option", "setting", "store_option")

store_option = click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), help="Directory of the cost store."
)
rules_option = click.option(
    "--rules", "rules_path", type=click.Path(path_type=Path), help="Rules of allocation; default: allocation.yaml."
)
RULES = "allocation.yaml"


def _day(ctx: click.Context, param: click.Parameter, value: datetime | None) -> date | None:  # noqa: ARG001 - click's shape
    return None if value is None else value.date()


def day_option(*names: str, help: str, required: bool = False) -> Callable[[Any], Any]:  # noqa: A002 - click's word
    """An option that takes a UTC day."""
    return click.option(
        *names, type=click.DateTime(["%Y-%m-%d"]), callback=_day, required=required, metavar="DAY", help=help
    )


def rules_of(path: Path | None) -> AllocationRules:
    """The rules in `path`, or those beside the nearest `companyos.yaml`, or in this directory."""
    from companyos.finops.allocation import AllocationRules

    if path is None:
        found = config.find(Path.cwd())
        path = (found.parent if found else Path.cwd()) / RULES
    return AllocationRules.load(path)


def _utc(ctx: click.Context, param: click.Parameter, value: datetime | None) -> datetime:  # noqa: ARG001 - click's shape
    if value is None:
        return datetime.now(UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


as_of_option = click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]),
    callback=_utc,
    show_default="now",
    help="Look from here: a UTC date (its 00:00) or time.",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where costs live and what they are judged by."""

    directory: Path
    budgets: tuple[Budget, ...]
    tags: tuple[str, ...]
    forecast: ForecastSetting
    ledger: Callable[[], Ledger | None]

    @contextmanager
    def costs(
        self,
        *,
        create: bool = False,
        record: bool = False,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> Iterator[SqliteCostStore]:
        """The cost store; with `record` what is ingested leaves an entry in the ledger."""
        from companyos.finops import open_store

        ledger = self.ledger() if record else None
        with open_store(
            self.directory, ledger=ledger, create=create, engine=engine, tags=self.tags, progress=progress
        ) as store:
            yield store


@contextmanager
def setting(store: Path | None) -> Iterator[Setting]:
    """The setting of the nearest `companyos.yaml`; `--store` alone will do without one, and then without a ledger."""
    found = config.find(Path.cwd())
    if found is None:
        if store is None:
            raise ConfigError(
                "no companyos.yaml here or above, and no --store",
                expected="one of them, to know where costs live",
                hint="add --store DIR",
            )
        section = config.load(None).finops
        yield Setting(store, section.budgets, section.tags, section.forecast, lambda: None)
        return
    from companyos.company import Company

    with ExitStack() as stack:
        company = stack.enter_context(Company.open(found))
        section = company.settings.finops
        directory = store or company.state_dir / "costs"
        yield Setting(directory, section.budgets, section.tags, section.forecast, lambda: company.ledger)
