"""Which bundle is in force in which stage: a projection of the ledger, which can be rebuilt from nothing.

The rules of promotion are applied again when entries are replayed: an entry that breaks one (a stage left out, an older
version, the author's own hand) is kept with its reason and puts nothing in force.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.authz.audit import SOURCE
from companyos.authz.bundles.interface import BundleRefusedError
from companyos.authz.bundles.manifest import version_key
from companyos.authz.layout import STAGES
from companyos.ledger.projection import Projection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.ledger.database import Database
    from companyos.ledger.reading import Reader
    from companyos.ports import Entry

__all__ = ("PROMOTED", "BundlesInForce", "Promoted", "Promotions", "broken_rule", "promotions_of")

PROMOTED = "companyos.authz.bundle_promoted"
"""Type of the entry that puts a bundle in force in a stage."""
_TEXTS = ("name", "version", "stage", "digest", "archive", "expires", "key")
_PEOPLE = ("created_by", "promoted_by")


@dataclass(frozen=True, slots=True)
class Promoted:
    """One promotion that keeps the rules."""

    name: str
    """Which bundle."""
    version: str
    """Which version of it."""
    stage: str
    """The stage it entered."""
    digest: str
    """The bundle's digest: `sha256:…`."""
    archive: str
    """Digest of the tarball as it was: `sha256:…`."""
    created_by: str
    """Pseudonym of who built it."""
    promoted_by: str
    """Pseudonym of who promoted it."""
    expires: str
    """When the bundle expires."""
    key: str
    """Id of the key that signed it."""
    time: datetime
    """When it was promoted."""
    index: int
    """Index of the entry."""


@dataclass(frozen=True, slots=True)
class Promotions:
    """Every promotion that keeps the rules, in the ledger's order."""

    entries: tuple[Promoted, ...] = ()
    """The promotions."""
    newest_time: datetime | None = None
    """When the ledger's newest entry of any kind was appended; None if there is none, or nobody has looked.

    Of a projection alone, without its ledger, it is the newest promotion, one that was not taken included.
    """

    def of(self, name: str) -> tuple[Promoted, ...]:
        """All promotions of one bundle."""
        return tuple(entry for entry in self.entries if entry.name == name)

    def in_force(self, name: str, stage: str) -> Promoted | None:
        """What was promoted to a stage last; None if nothing was."""
        found = [entry for entry in self.of(name) if entry.stage == stage]
        return found[-1] if found else None

    def current(self) -> tuple[Promoted, ...]:
        """What is in force now, by name and stage."""
        names = sorted({entry.name for entry in self.entries})
        found = (self.in_force(name, stage) for name in names for stage in STAGES)
        return tuple(entry for entry in found if entry is not None)


class BundlesInForce(Projection):
    """Promotions of bundles as the ledger tells them, each with the rule that it breaks, if it breaks one."""

    name = "bundles"
    tables = ("authz_promotion",)

    def prepare(self, database: Database) -> None:
        """One table, by the index of the entry."""
        columns = ", ".join(
            f"{name} TEXT NOT NULL" for name in (*_TEXTS, "created_by", "promoted_by", "time", "broken")
        )
        database.execute(f"CREATE TABLE IF NOT EXISTS authz_promotion (entry BIGINT PRIMARY KEY, {columns})")

    def apply(self, database: Database, entry: Entry) -> None:
        """Take a promotion in, whether it keeps the rules or not; anything else is passed over."""
        if entry.type != PROMOTED or entry.source != SOURCE or entry.data is None:
            return
        texts = {name: _text(entry.data.get(name)) for name in _TEXTS}
        people = {name: _pseudonym(entry.data.get(name)) for name in _PEOPLE}
        promoted = Promoted(**texts, **people, time=entry.time, index=entry.index)
        broken = broken_rule(promoted, _read(database).entries)
        values = (entry.index, *texts.values(), *people.values(), entry.time.astimezone(UTC).isoformat(), broken or "")
        marks = ", ".join("?" * len(values))
        database.execute(f"INSERT INTO authz_promotion VALUES ({marks})", values)  # noqa: S608 - question marks

    def promotions(self) -> Promotions:
        """Every promotion that keeps the rules."""
        return _read(self._db)


def promotions_of(ledger: Reader, database: Any = None) -> Promotions:
    """The promotions that a ledger tells, read from its first entry, or from where the projection in `database` stands.

    Raises:
        ProjectionError: an entry cannot be applied.
        LedgerDamagedError: the log skips an entry, or is shorter than it was.
    """
    from companyos.ledger.database import Database

    if database is not None:
        return _replayed(ledger, BundlesInForce(database))
    with Database.open("sqlite://") as memory:
        return _replayed(ledger, BundlesInForce(memory))


def _replayed(ledger: Reader, projection: BundlesInForce) -> Promotions:
    ledger.replay(projection)
    found = projection.promotions()
    # Whatever it is about, an entry says that it was so late already: a clock before it is behind.
    times = [entry.time for entry in ledger.read(len(ledger) - 1)] + [found.newest_time]
    return replace(found, newest_time=max((time for time in times if time is not None), default=None))


def broken_rule(wanted: Promoted, before: Iterable[Promoted]) -> str | None:
    """The rule of promotion that `wanted` breaks after the promotions `before` it, None if it keeps all."""
    known = [entry for entry in before if entry.name == wanted.name]
    try:
        key = version_key(wanted.version)
        if wanted.stage not in STAGES:
            return "promotion.order"
        if not wanted.name or not wanted.digest:
            return "promotion.bundle"
    except BundleRefusedError:
        return "promotion.bundle"
    same = [entry for entry in known if version_key(entry.version) == key]
    if any(entry.digest != wanted.digest for entry in same):
        return "bundle.version_reused"
    if any(entry.stage == wanted.stage for entry in same):
        return "promotion.repeated"
    place = STAGES.index(wanted.stage)
    if place and not any(entry.stage == STAGES[place - 1] for entry in same):
        return "promotion.order"
    if any(version_key(entry.version) > key for entry in known if entry.stage == wanted.stage):
        return "promotion.older"
    if place and wanted.created_by == wanted.promoted_by:
        return "promotion.author"
    return None


def _read(database: Database) -> Promotions:
    names = (*_TEXTS, *_PEOPLE, "time", "entry", "broken")
    query = f"SELECT {', '.join(names)} FROM authz_promotion"  # noqa: S608 - constants
    rows = [dict(zip(names, row, strict=True)) for row in database.execute(query)]
    rows.sort(key=lambda row: int(row["entry"]))
    kept = tuple(_promoted(row) for row in rows if not row["broken"])
    newest = datetime.fromisoformat(rows[-1]["time"]) if rows else None
    return Promotions(kept, newest)


def _promoted(row: Mapping[str, Any]) -> Promoted:
    texts = {name: row[name] for name in (*_TEXTS, *_PEOPLE)}
    return Promoted(**texts, time=datetime.fromisoformat(row["time"]), index=int(row["entry"]))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _pseudonym(value: object) -> str:
    """Whom an encrypted value is about; an empty text if the entry does not say."""
    sealed = value.get("$personal") if isinstance(value, dict) else None
    return _text(sealed.get("sub")) if isinstance(sealed, dict) else ""
