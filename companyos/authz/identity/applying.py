"""What a change does to the tables; the same code for a change that is being made and for one out of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz.identity.errors import IdentityConflictError, UnknownSubjectError
from companyos.authz.identity.names import skeleton
from companyos.authz.identity.records import Attribute, Binding, Bundle, Record, Role, Subject
from companyos.authz.identity.tables import tables
from companyos.canonical import canonical_bytes, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from companyos.authz.identity.entries import Change

__all__ = ("Applier", "record_of")

_MANY = 500


class Applier:
    """Applies changes to the tables on a connection, in its transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tables = tables()
        self._acts: dict[tuple[str, str], Callable[..., None]] = {
            ("subject", "put"): self._put_subject,
            ("subject", "removed"): self._remove_subject,
            ("attribute", "put"): self._put_attribute,
            ("attribute", "removed"): self._remove_attribute,
            ("role", "put"): self._put_role,
            ("role", "removed"): self._remove_role,
            ("binding", "put"): self._put_binding,
            ("binding", "removed"): self._remove_binding,
            ("bundle", "put"): self._put_bundle,
            ("bundle", "removed"): self._remove_bundle,
        }

    def apply(self, change: Change, *, index: int, time: datetime, pseudonym: str) -> None:
        """Apply one change, which is entry `index` of the log, appended at `time`.

        Raises:
            UnknownSubjectError, IdentityConflictError: it does not fit what is there.
        """
        self._acts[change.record.kind, change.verb](change.record, index=index, time=time, pseudonym=pseudonym)

    def find(self, record: Record) -> Record | None:
        """What there is now under the key of a record."""
        table = self._table_of(record)
        condition = self._found_by(table, record)
        row = self._connection.execute(table.select().where(condition)).mappings().one_or_none()
        return None if row is None else record_of(record.kind, row)

    def find_by_id(self, kind: str, name: str) -> Record | None:
        """What there is under the id of a row."""
        table = getattr(self._tables, f"{kind}s")
        row = self._connection.execute(table.select().where(table.c.id == name)).mappings().one_or_none()
        return None if row is None else record_of(kind, row)

    def forget(self, pseudonym: str) -> int:
        """Remove everything about a person who was erased, and return how many subjects that were."""
        known, bundles = self._tables.subjects, self._tables.bundles
        for (name,) in self._connection.execute(
            known.select().with_only_columns(known.c.id).where(known.c.pseudonym == pseudonym)
        ).all():
            self._remove_subject(Subject(name))
        gone = self._connection.execute(
            bundles.update().where(bundles.c.pseudonym == pseudonym).values(created_by=None, pseudonym=None)
        )
        return int(gone.rowcount)

    def require_sound(self, records: Iterable[Record]) -> None:
        """After changes to these records: do ids look alike, or does somebody hold another organisation's role?

        Raises:
            IdentityConflictError: they do.
        """
        subjects, roles = set(), set()
        for record in records:
            if isinstance(record, Subject):
                subjects.add(record.id)
                self._require_distinct(self._tables.subjects, "subject", record.id)
            elif isinstance(record, Binding):
                subjects.add(record.subject_id)
            elif isinstance(record, Role):
                roles.add(record.id)
                self._require_distinct(self._tables.roles, "role", record.id)
        self._require_own_roles(subjects)

    def _put_subject(self, record: Subject, *, index: int, time: datetime, pseudonym: str) -> None:  # noqa: ARG002
        values: dict[str, Any] = {
            "type": record.type,
            "org_id": record.org_id,
            "workspace_id": record.workspace_id,
            "status": record.status,
            "pseudonym": pseudonym,
            "skeleton": skeleton(record.id),
            "created_at": record.created_at or time,
        }
        self._put(self._tables.subjects, {"id": record.id}, values)

    def _remove_subject(self, record: Subject, **_: Any) -> None:
        for table in (self._tables.attributes, self._tables.bindings):
            self._connection.execute(table.delete().where(table.c.subject_id == record.id))
        self._remove(record)

    def _put_attribute(self, record: Attribute, *, index: int, **_: Any) -> None:
        if record.scope == "subject":
            self._require_subject(record.owner)
        values: dict[str, Any] = {
            "name": record.name,
            "value": canonical_bytes(record.value).decode(),
            "scope": record.scope,
            f"{record.scope}_id": record.owner,
            "source": record.source,
            "ttl": record.ttl,
            "expires_at": record.expires_at,
            "entry_index": index,
        }
        self._put(self._tables.attributes, {"id": record.id}, values)

    def _remove_attribute(self, record: Attribute, **_: Any) -> None:
        self._remove(record)

    def _put_role(self, record: Role, **_: Any) -> None:
        there = self.find(record)
        if isinstance(there, Role) and there.org_id != record.org_id:
            raise IdentityConflictError(
                f"role {record.id} belongs to another organisation",
                got=record.org_id,
                expected=there.org_id,
                hint="a role never changes its organisation: make another one",
            )
        self._require_free_name(record)
        values = {"name": record.name, "org_id": record.org_id, "description": record.description}
        self._put(self._tables.roles, {"id": record.id}, {**values, "skeleton": skeleton(record.id)})

    def _remove_role(self, record: Role, **_: Any) -> None:
        held = self._tables.bindings
        if self._connection.execute(held.select().where(held.c.role_id == record.id).limit(1)).first():
            raise IdentityConflictError(f"somebody has the role {record.id}", hint="unbind it first")
        self._remove(record)

    def _put_binding(self, record: Binding, **_: Any) -> None:
        self._require_subject(record.subject_id)
        if self.find(Role(record.role_id)) is None:
            raise IdentityConflictError("no such role", got=record.role_id, hint="put the role first")
        values: dict[str, Any] = {
            "subject_id": record.subject_id,
            "role_id": record.role_id,
            "workspace_id": record.workspace_id,
            "expires_at": record.expires_at,
        }
        self._put(self._tables.bindings, {"id": record.id}, values)

    def _remove_binding(self, record: Binding, **_: Any) -> None:
        self._remove(record)

    def _put_bundle(self, record: Bundle, *, pseudonym: str, **_: Any) -> None:
        there = self.find(record)
        if isinstance(there, Bundle) and there.checksum != record.checksum:
            raise IdentityConflictError(
                f"version {record.version} of bundle {record.bundle_id} is already at {record.stage}, and another one",
                got=record.checksum,
                expected=there.checksum,
                hint="give what was changed a new version",
            )
        key = {"bundle_id": record.bundle_id, "version": record.version, "stage": record.stage}
        by = record.created_by
        values = {"checksum": record.checksum, "created_by": by, "pseudonym": None if by is None else pseudonym}
        self._put(self._tables.bundles, key, values)

    def _remove_bundle(self, record: Bundle, **_: Any) -> None:
        self._remove(record)

    def _put(self, table: Any, key: dict[str, str], values: dict[str, Any]) -> None:
        # Whoever is here holds the store's lock: nobody inserts in between.
        condition = [table.c[name] == value for name, value in key.items()]
        if not self._connection.execute(table.update().where(*condition).values(**values)).rowcount:
            self._connection.execute(table.insert().values(**key, **values))

    def _remove(self, record: Record) -> None:
        table = self._table_of(record)
        self._connection.execute(table.delete().where(self._found_by(table, record)))

    def _table_of(self, record: Record) -> Any:
        return getattr(self._tables, f"{record.kind}s")

    def _found_by(self, table: Any, record: Record) -> Any:
        if isinstance(record, Bundle):
            names = ("bundle_id", "version", "stage")
            first, *more = (table.c[name] == value for name, value in zip(names, record.key, strict=True))
            for condition in more:
                first &= condition
            return first
        return table.c.id == record.id

    def _require_subject(self, name: str) -> None:
        if self.find(Subject(name)) is None:
            raise UnknownSubjectError("no such subject", got=name, hint="put the subject first")

    def _require_free_name(self, record: Role) -> None:
        table = self._tables.roles
        same = (table.c.name == record.name) & (table.c.org_id == record.org_id) & (table.c.id != record.id)
        other = self._connection.execute(table.select().where(same).limit(1)).first()
        if other is not None:
            raise IdentityConflictError(f"role {other.id} has the name already", got=record.name)

    def _require_distinct(self, table: Any, what: str, name: str) -> None:
        alike = (table.c.skeleton == skeleton(name)) & (table.c.id != name)
        other = self._connection.execute(table.select().where(alike).limit(1)).first()
        if other is not None:
            raise IdentityConflictError(
                f"two {what}s have ids that look alike",
                got=f"{name} beside {other.id}",
                hint="ids differ by more than case, or letters that are drawn alike",
            )

    def _require_own_roles(self, subjects: set[str]) -> None:
        subject, role, held = self._tables.subjects, self._tables.roles, self._tables.bindings
        joined = held.join(subject, held.c.subject_id == subject.c.id).join(role, held.c.role_id == role.c.id)
        foreign = role.c.org_id.is_not(None) & (subject.c.org_id.is_(None) | (subject.c.org_id != role.c.org_id))
        query = held.select().select_from(joined).where(foreign).limit(1)
        some = sorted(subjects)
        for at in range(0, len(some), _MANY):
            found = self._connection.execute(query.where(subject.c.id.in_(some[at : at + _MANY]))).first()
            if found is not None:
                raise IdentityConflictError(
                    f"{found.subject_id} would hold {found.role_id}, a role of another organisation",
                    hint="unbind it, or bind a role of the subject's own organisation",
                )


def record_of(kind: str, row: Any) -> Record:
    """The record that a row of its table holds."""
    if kind == Subject.kind:
        return Subject(row["id"], row["type"], row["org_id"], row["workspace_id"], row["status"], row["created_at"])
    if kind == Attribute.kind:
        scope, value = row["scope"], loads(row["value"].encode())
        owner = row[f"{scope}_id"]
        return Attribute(row["name"], value, scope, owner, row["source"], row["ttl"], row["expires_at"])
    if kind == Role.kind:
        return Role(row["id"], row["name"], row["org_id"], row["description"])
    if kind == Binding.kind:
        return Binding(row["subject_id"], row["role_id"], row["workspace_id"], row["expires_at"])
    return Bundle(row["bundle_id"], row["version"], row["stage"], row["checksum"], row["created_by"])
