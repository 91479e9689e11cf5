"""The identity store: who is who, in SQL, every change of it an entry of the ledger."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from companyos.authz.identity.applying import Applier
from companyos.authz.identity.contents import bundles_in, difference, directory_in, rows_in
from companyos.authz.identity.database import Database
from companyos.authz.identity.entries import Change, drafts
from companyos.authz.identity.errors import (
    IdentityBehindError,
    IdentityConflictError,
    IdentityDamagedError,
    IdentityInvalidError,
    UnknownSubjectError,
)
from companyos.authz.identity.names import check_id
from companyos.authz.identity.plan import Step, plan
from companyos.authz.identity.projection import ENTRIES_PER_TRANSACTION, Follower, wipe
from companyos.authz.identity.records import (
    Attribute,
    Binding,
    Bundle,
    Directory,
    Record,
    Role,
    Subject,
    attribute_id,
    completed,
    same,
)
from companyos.authz.identity.resolving import merged, query
from companyos.authz.identity.tables import tables
from companyos.canonical import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from companyos.ledger import Ledger
    from companyos.ports import Receipt

__all__ = ("IdentityStore",)

_MANY = 200


class IdentityStore:
    """Subjects, their attributes, roles and who holds which; and which policy bundles have come how far.

    Make one with `IdentityStore.open`; usable from any number of threads and processes. Every change is an entry of the
    ledger first and in the tables then, in that order and under one lock, so that the tables can always be rebuilt.
    Once a change returns, whoever resolves sees it. Like the ledger, it does not survive a fork.
    """

    def __init__(
        self, database: Database, ledger: Ledger, *, clock: Callable[[], datetime], actor: str | None = None
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._actor = None if actor is None else check_id("actor", actor)
        self._lock = threading.Lock()
        self._seen = 0

    @classmethod
    def open(
        cls,
        url: str,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        actor: str | None = None,
        timeout_seconds: float = 5.0,
        rebuild: bool = False,
    ) -> IdentityStore:
        """Open the store at `sqlite:///FILE` or `postgresql://…`, make it if need be, and bring it up to date.

        `actor` is the id of who makes changes through it. The store must not share a SQLite file with the ledger. With
        `rebuild` whatever it holds is thrown away first, also where that is of another log.

        Raises:
            ConfigError: another kind of URL.
            MissingExtraError: SQLAlchemy, Alembic or psycopg is not installed.
            IdentityUnavailableError: it does not answer.
            IdentitySchemaError: its tables are of a newer version.
            IdentityBehindError: it reflects another log than `ledger`, or one that was longer.
        """
        store = cls(Database(url, timeout_seconds=timeout_seconds), ledger, clock=clock, actor=actor)
        try:
            if rebuild:
                store.rebuild()
            else:
                store.catch_up()
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the ledger is its owner's."""
        self._database.close()

    # What is asked of it

    def resolve(self, subject_id: str, workspace: str | None = None, at: datetime | None = None) -> Mapping[str, Any]:
        """The subject as `build_request` takes it, with what holds in `workspace` (default: its own) at a time (now).

        Of attributes with one name the nearest scope counts (subject, workspace, organisation), and within it what was
        put last. `attributes.roles` are the names of the roles that it holds. What has expired is absent. The status
        is passed on: policies refuse all but `active`.

        Raises:
            UnknownSubjectError: there is none of this id.
            IdentityUnavailableError: the database does not answer, or has lost what it held.
        """
        return self.resolve_many((subject_id,), workspace, at)[subject_id]

    def resolve_many(
        self, subject_ids: Iterable[str], workspace: str | None = None, at: datetime | None = None
    ) -> dict[str, dict[str, Any]]:
        """`resolve` for many, each as of one moment, in the order given.

        Raises:
            UnknownSubjectError: one of them is unknown; all that are, are named.
        """
        wanted = list(dict.fromkeys(subject_ids))
        for name in wanted:
            check_id("subject id", name)
        if workspace is not None:
            check_id("workspace", workspace)
        time = self._database.time(self._clock() if at is None else at.astimezone(UTC))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), _MANY):
            found |= self._resolved(wanted[start : start + _MANY], workspace, time)
        missing = [name for name in wanted if name not in found]
        if missing:
            raise UnknownSubjectError("no such subject", got=", ".join(missing), hint="put it first; ids are exact")
        return {name: found[name] for name in wanted}

    def subject(self, subject_id: str) -> Subject:
        """What is kept of a subject itself.

        Raises:
            UnknownSubjectError: there is none of this id.
        """
        with self._database.reading() as connection:
            return _require(Applier(connection), subject_id)

    def directory(self) -> Directory:
        """Everything about who is who, as of one moment, expired parts included."""
        with self._database.reading() as connection:
            return directory_in(connection)

    def bundles(self) -> tuple[Bundle, ...]:
        """The versions of policy bundles, by name, version and stage."""
        with self._database.reading() as connection:
            return bundles_in(connection)

    def rejected(self) -> dict[int, str]:
        """Entries of the log that say they are changes, could not be any, and were passed over; and why."""
        with self._database.reading() as connection:
            return {row.entry_index: row.why for row in connection.execute(tables().rejected.select())}

    @property
    def position(self) -> int:
        """How many entries of the log the store reflects."""
        with self._database.reading() as connection:
            found: int = connection.execute(tables().store.select()).mappings().one()["position"]
        return found

    # What is done to it

    def put(self, *records: Record) -> tuple[Receipt, ...]:
        """Put records, all of them or none; what is there already is no change and leaves no entry.

        Raises:
            IdentityInvalidError: a record cannot be one.
            UnknownSubjectError, IdentityConflictError: one does not fit what is there; nothing was done.
            IdentityUnavailableError: the store or the ledger does not answer.
        """
        return self._change(lambda applier: [Change("put", self._completed(applier, record)) for record in records])

    def remove(self, *records: Record) -> tuple[Receipt, ...]:
        """Remove records by their keys, all of them or none; with a subject go its attributes and roles.

        Raises:
            IdentityConflictError: a role that somebody has; nothing was done.
        """
        return self._change(lambda applier: _removals(applier.find(record) for record in records))

    def put_subject(
        self,
        subject_id: str,
        *,
        type: str = "user",  # noqa: A002 - AuthZEN calls it so
        org_id: str | None = None,
        workspace_id: str | None = None,
        status: str | None = None,
    ) -> tuple[Receipt, ...]:
        """Put a subject; without `status` one that is there keeps its own, and a new one is active."""
        return self.put(Subject(subject_id, type, org_id, workspace_id, status))

    def suspend(self, subject_id: str) -> tuple[Receipt, ...]:
        """Suspend a subject, so that policies refuse whatever it asks.

        Raises:
            UnknownSubjectError: there is none of this id.
        """
        return self._set_status(subject_id, "suspended")

    def activate(self, subject_id: str) -> tuple[Receipt, ...]:
        """End a suspension.

        Raises:
            UnknownSubjectError: there is none of this id.
        """
        return self._set_status(subject_id, "active")

    def put_attribute(
        self,
        name: str,
        value: Any,
        *,
        subject: str | None = None,
        workspace: str | None = None,
        org: str | None = None,
        source: str = "manual",
        ttl: timedelta | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[Receipt, ...]:
        """Put an attribute of a subject, a workspace or an organisation, for good, for a while, or until a time."""
        scope, owner = _one_owner(subject, workspace, org)
        seconds = None if ttl is None else int(ttl.total_seconds())
        return self.put(Attribute(name, value, scope, owner, source, seconds, expires_at))

    def remove_attribute(
        self,
        name: str,
        *,
        subject: str | None = None,
        workspace: str | None = None,
        org: str | None = None,
        source: str = "manual",
    ) -> tuple[Receipt, ...]:
        """Remove what a source says; what others say of the same name counts then."""
        name = attribute_id(*_one_owner(subject, workspace, org), name, source)
        return self._change(lambda applier: _removals([applier.find_by_id(Attribute.kind, name)]))

    def put_role(
        self, role_id: str, *, name: str = "", org_id: str | None = None, description: str = ""
    ) -> tuple[Receipt, ...]:
        """Put a role; policies see its name."""
        return self.put(Role(role_id, name, org_id, description))

    def bind(
        self, subject_id: str, role_id: str, *, workspace: str | None = None, expires_at: datetime | None = None
    ) -> tuple[Receipt, ...]:
        """Give a subject a role, in one workspace or in all, for good or until a time."""
        return self.put(Binding(subject_id, role_id, workspace, expires_at))

    def unbind(self, subject_id: str, role_id: str, *, workspace: str | None = None) -> tuple[Receipt, ...]:
        """Take a role from a subject, in one workspace, or where it was given for all."""
        return self.remove(Binding(subject_id, role_id, workspace))

    def put_bundle(
        self, bundle_id: str, version: str, stage: str, checksum: str, *, created_by: str | None = None
    ) -> tuple[Receipt, ...]:
        """Record that a version of a bundle of policies is at a stage.

        Raises:
            IdentityConflictError: the version is there already, with another checksum.
        """
        return self.put(Bundle(bundle_id, version, stage, checksum, created_by))

    def erase(self, subject_id: str, *, reason: str) -> Receipt:
        """Remove a person from the store and make everything about them in the ledger unreadable, for good.

        Raises:
            PersonUnknownError: nothing was ever recorded about them.
        """
        receipt = self._ledger.erase(subject_id, reason=reason)
        self.catch_up()
        self._database.scrub()
        return receipt

    def sync(self, wanted: Directory, *, prune: bool = False, dry_run: bool = False) -> tuple[Step, ...]:
        """Make the store say what `wanted` says, all of it or nothing, and return what was to be done.

        What `wanted` does not name stays, unless `prune`; bundles stay always, for they follow promotions. With
        `dry_run` nothing is done.

        Raises:
            UnknownSubjectError, IdentityConflictError: it does not fit together, or names a bundle that the ledger
                does not say was promoted; nothing was done.
        """
        steps: tuple[Step, ...] = ()

        def planned(connection: Any) -> Sequence[Change]:
            nonlocal steps
            steps = plan(directory_in(connection), wanted, self._clock(), prune=prune)
            _require_promoted([step.change.record for step in steps], self._ledger)
            return [step.change for step in steps]

        self._transact(planned, dry_run=dry_run)
        return steps

    # How it stays true

    def catch_up(self) -> int:
        """Apply what the log holds and the store does not yet, and return the new position.

        Raises:
            IdentityBehindError: the store reflects another log, or an entry cannot be read.
        """
        with self._lock:
            done = False
            while not done:
                with self._database.writing() as connection:
                    follower = Follower(connection, self._ledger)
                    done = follower.catch_up(ENTRIES_PER_TRANSACTION)
                self._seen = follower.position
        return self._seen

    def rebuild(self) -> int:
        """Throw the tables' content away and build it again from the log, in one transaction; the new position.

        Raises:
            IdentityBehindError: an entry cannot be read.
        """
        with self._lock:
            with self._database.writing() as connection:
                wipe(connection)
                follower = Follower(connection, self._ledger)
                follower.catch_up()
            self._seen = follower.position
        self._database.scrub()
        return self._seen

    def digest(self) -> str:
        """Digest of everything in the store, the same for all stores that reflect the same entries."""
        with self._database.reading() as connection:
            return digest(rows_in(connection))

    def verify(self) -> int:
        """Build the store from the log once more, aside, and compare; the position for which both agree.

        Nobody can change the store meanwhile.

        Raises:
            IdentityDamagedError: they do not agree.
        """
        with self._lock, tempfile.TemporaryDirectory(prefix="companyos-identity-") as folder:
            with self._database.writing() as ours:
                follower = Follower(ours, self._ledger)
                follower.catch_up()
                aside = Database(f"sqlite:///{Path(folder) / 'aside.db'}")
                try:
                    with aside.writing() as theirs:
                        Follower(theirs, self._ledger).catch_up(until=follower.position)
                        wrong = difference(rows_in(ours), rows_in(theirs))
                finally:
                    aside.close()
            self._seen = follower.position
        if wrong:
            raise IdentityDamagedError(
                "the identity store does not hold what the ledger says",
                got=f"differences in {', '.join(wrong)}",
                hint="find out who wrote to the database; then: companyos identity rebuild",
            )
        return self._seen

    def _resolved(self, names: list[str], workspace: str | None, time: Any) -> dict[str, dict[str, Any]]:
        parameters: dict[str, Any] = {"workspace": workspace, "at": time}
        if self._database.postgresql:
            parameters["s"] = names if len(names) > 1 else names[0]
        else:
            parameters |= {f"s{number}": name for number, name in enumerate(names)}
        # Before the rows are read: what another thread does meanwhile is no loss.
        seen = self._seen
        rows = self._database.rows(_query(self._database.postgresql, len(names)), parameters)
        try:
            position, found = merged(rows)
        except ValueError as error:
            raise IdentityDamagedError("an attribute holds no JSON", hint="companyos identity rebuild") from error
        if position < seen:
            raise IdentityBehindError(
                "the identity store has lost state",
                got=f"{position} entries" if position >= 0 else "no position",
                expected=f"at least {seen}",
                hint="open it again: it is brought up to date from the ledger",
            )
        return found

    def _completed(self, applier: Applier, record: Record) -> Record:
        return completed(record, applier.find(record), self._clock())

    def _set_status(self, subject_id: str, status: str) -> tuple[Receipt, ...]:
        def changed(applier: Applier) -> list[Change]:
            return [Change("put", replace(_require(applier, subject_id), status=status))]

        return self._change(changed)

    def _change(self, build: Callable[[Applier], Sequence[Change]]) -> tuple[Receipt, ...]:
        return self._transact(lambda connection: build(Applier(connection)))

    def _transact(self, build: Callable[[Any], Sequence[Change]], *, dry_run: bool = False) -> tuple[Receipt, ...]:
        with self._lock:
            with self._database.writing() as connection:
                follower = Follower(connection, self._ledger)
                follower.catch_up()
                changes = self._tried(connection, build(connection), follower.position)
                receipts: list[Receipt] = []
                if changes and not dry_run:
                    receipts = self._ledger.append_many(drafts(changes, self._actor))
                    follower.catch_up()
                _require_applied(receipts, follower.rejected)
            self._seen = follower.position
        return tuple(receipts)

    def _tried(self, connection: Any, changes: Sequence[Change], position: int) -> list[Change]:
        """Those that make a difference, after all were tried on the tables, and undone."""
        applier, now = Applier(connection), self._clock()
        kept: list[Change] = []
        attempt = connection.begin_nested()
        try:
            for change in changes:
                there = applier.find(change.record)
                if there is None if change.verb == "removed" else same(there, change.record):
                    continue
                applier.apply(change, index=position + len(kept), time=now, pseudonym="")
                kept.append(change)
            applier.require_sound(change.record for change in kept if change.verb == "put")
        except self._database.integrity_error as error:
            raise IdentityConflictError(
                "a change does not fit what is there", got=type(getattr(error, "orig", error)).__name__
            ) from error
        finally:
            attempt.rollback()
        return kept


@cache
def _query(postgresql: bool, count: int) -> str:
    return query(postgresql=postgresql, count=count)


def _removals(records: Iterable[Record | None]) -> list[Change]:
    return [Change("removed", record) for record in records if record is not None]


def _require(applier: Applier, subject_id: str) -> Subject:
    found = applier.find(Subject(subject_id))
    if not isinstance(found, Subject):
        raise UnknownSubjectError("no such subject", got=subject_id, hint="put it first; ids are exact")
    return found


def _require_promoted(records: Iterable[Record], ledger: Ledger) -> None:
    """A file makes no promotion: what it says of bundles must be what the ledger says."""
    bundles = [record for record in records if isinstance(record, Bundle)]
    if not bundles:
        return
    from companyos.authz.bundles.promotions import promotions_of

    known = {(entry.name, entry.version, entry.stage, entry.digest) for entry in promotions_of(ledger).entries}
    for bundle in bundles:
        if (*bundle.key, bundle.checksum) not in known:
            raise IdentityConflictError(
                "a bundle that the ledger does not say was promoted",
                got=f"{' '.join(bundle.key)} {bundle.checksum}",
                expected="a promotion of that version, to that stage, with that digest",
                hint=f"leave it out of policy_bundles, or: companyos bundle promote FILE --to {bundle.stage}",
            )


def _require_applied(receipts: Sequence[Receipt], rejected: Sequence[int]) -> None:
    lost = sorted({receipt.index for receipt in receipts} & set(rejected))
    if lost:
        raise IdentityConflictError(
            "somebody wrote identity entries past the store, and the change did not fit any more",
            got=f"entries {', '.join(map(str, lost))}",
            hint="make it again",
        )


def _one_owner(subject: str | None, workspace: str | None, org: str | None) -> tuple[str, str]:
    given = [(scope, owner) for scope, owner in (("subject", subject), ("workspace", workspace), ("org", org)) if owner]
    if len(given) != 1:
        raise IdentityInvalidError(
            "an attribute has one owner",
            got=", ".join(scope for scope, _ in given) or "none",
            expected="one of subject, workspace, org",
        )
    return given[0]
