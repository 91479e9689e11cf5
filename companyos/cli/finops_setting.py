"""Where the commands of `companyos finops` find costs, budgets and the ledger."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos import config
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.config import Budget
    from companyos.finops import SqliteCostStore
    from companyos.finops.bulk.connection import Progress
    from companyos.finops.opening import Engine
    from companyos.ledger import Ledger

__all__ = ("Setting", "as_of_option", "setting", "store_option")


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

store_option = click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), help="Directory of the cost store."
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where costs live and what they are judged by."""

    directory: Path
    budgets: tuple[Budget, ...]
    tags: tuple[str, ...]
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
        yield Setting(store, section.budgets, section.tags, lambda: None)
        return
    from companyos.company import Company

    with ExitStack() as stack:
        company = stack.enter_context(Company.open(found))
        section = company.settings.finops
        yield Setting(store or company.state_dir / "costs", section.budgets, section.tags, lambda: company.ledger)
