"""The value objects of the identity model, each valid once it exists."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from companyos.authz.identity.errors import IdentityInvalidError
from companyos.authz.identity.names import check_id
from companyos.authz.interface import RequestError
from companyos.authz.request import build_request
from companyos.canonical import NotCanonicalError, canonical_bytes, digest, loads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = (
    "MAX_VALUE_BYTES",
    "SCOPES",
    "STAGES",
    "STATUSES",
    "TYPES",
    "Attribute",
    "Binding",
    "Bundle",
    "Directory",
    "Record",
    "Role",
    "Subject",
    "attribute_id",
    "completed",
    "from_json",
    "instant",
    "moment",
    "same",
    "to_json",
)

TYPES = ("user", "service")
"""What a subject can be."""
STATUSES = ("active", "suspended", "deleted")
"""What can be the matter with a subject; policies refuse all but the first."""
SCOPES = ("subject", "workspace", "org")
"""For whom an attribute holds, the nearest first."""
STAGES = ("dev", "staging", "prod")
"""How far a bundle of policies has come."""
MAX_VALUE_BYTES = 8192
"""Largest value of an attribute, in canonical bytes: many of them must fit into one request."""
MAX_TEXT = 1024
_RESERVED = "roles"
_SHORTEST_CHECKSUM = 16


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody or something that asks."""

    id: str
    """Unique; compared byte by byte."""
    type: str = "user"
    """`user` or `service`."""
    org_id: str | None = None
    """Its organisation."""
    workspace_id: str | None = None
    """Its home: whose attributes and roles hold where a request names no other workspace."""
    status: str | None = None
    """`active`, `suspended` or `deleted`; None leaves it as it is, and a new one is active."""
    created_at: datetime | None = None
    """When it was first put; None leaves it as it is, and a new one begins now."""

    kind: ClassVar[str] = "subject"

    def __post_init__(self) -> None:
        check_id("subject id", self.id)
        _check_choice("type", self.type, TYPES)
        if self.status is not None:
            _check_choice("status", self.status, STATUSES)
        _check_optional_id("org_id", self.org_id)
        _check_optional_id("workspace_id", self.workspace_id)
        _check_time("created_at", self.created_at)

    @property
    def key(self) -> tuple[str, ...]:
        """What it is found by."""
        return (self.id,)

    @property
    def person(self) -> str | None:
        """Whom it is about."""
        return self.id


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something known about a subject, or about all subjects of a workspace or an organisation."""

    name: str
    """As policies read it, in `subject.attributes`."""
    value: Any
    """Any JSON value."""
    scope: str
    """`subject`, `workspace` or `org`."""
    owner: str
    """Id of the subject, workspace or organisation."""
    source: str = "manual"
    """Who says so; each source says one thing at a time, and of several the one that spoke last counts."""
    ttl: int | None = None
    """For how many seconds it held when it was put; None if it was put for good, or until a given time."""
    expires_at: datetime | None = None
    """From when on it is absent."""

    kind: ClassVar[str] = "attribute"

    def __post_init__(self) -> None:
        check_id("attribute name", self.name)
        _check_choice("scope", self.scope, SCOPES)
        check_id(f"{self.scope} id of an attribute", self.owner)
        check_id("source of an attribute", self.source)
        _check_ttl(self.ttl)
        _check_time("expires_at", self.expires_at)
        object.__setattr__(self, "value", _checked_value(self.name, self.value))

    @property
    def key(self) -> tuple[str, ...]:
        """What it is found by."""
        return (self.scope, self.owner, self.name, self.source)

    @property
    def id(self) -> str:
        """The id of its row, which follows from its key."""
        return attribute_id(*self.key)

    @property
    def person(self) -> str | None:
        """Whom it is about, if it is about one subject."""
        return self.owner if self.scope == "subject" else None

    def is_live(self, at: datetime) -> bool:
        """Whether it holds at a time."""
        return self.expires_at is None or at < self.expires_at


@dataclass(frozen=True, slots=True)
class Role:
    """A name for what its holders may do, which is for policies to say."""

    id: str
    """Unique."""
    name: str = ""
    """As policies read it, in `subject.attributes.roles`; default: the id."""
    org_id: str | None = None
    """The organisation whose subjects may hold it; None for all. It never changes."""
    description: str = ""
    """What it is for."""

    kind: ClassVar[str] = "role"

    def __post_init__(self) -> None:
        check_id("role id", self.id)
        object.__setattr__(self, "name", self.name or self.id)
        check_id("role name", self.name)
        _check_optional_id("org_id", self.org_id)
        _check_text("description", self.description)

    @property
    def key(self) -> tuple[str, ...]:
        """What it is found by."""
        return (self.id,)

    @property
    def person(self) -> str | None:
        """Nobody."""
        return None


@dataclass(frozen=True, slots=True)
class Binding:
    """A subject has a role, in one workspace or in all, until a time or for good."""

    subject_id: str
    """Who."""
    role_id: str
    """What."""
    workspace_id: str | None = None
    """Where; None for everywhere."""
    expires_at: datetime | None = None
    """From when on it is absent."""

    kind: ClassVar[str] = "binding"

    def __post_init__(self) -> None:
        check_id("subject_id of a binding", self.subject_id)
        check_id("role_id of a binding", self.role_id)
        _check_optional_id("workspace_id", self.workspace_id)
        _check_time("expires_at", self.expires_at)

    @property
    def key(self) -> tuple[str, ...]:
        """What it is found by; an empty workspace is all of them."""
        return (self.subject_id, self.role_id, self.workspace_id or "")

    @property
    def id(self) -> str:
        """The id of its row, which follows from its key."""
        return digest(list(self.key)).removeprefix("sha256:")[:32]

    @property
    def person(self) -> str | None:
        """Whom it is about."""
        return self.subject_id

    def is_live(self, at: datetime) -> bool:
        """Whether it holds at a time."""
        return self.expires_at is None or at < self.expires_at


@dataclass(frozen=True, slots=True)
class Bundle:
    """A version of a bundle of policies at a stage; what it is never changes."""

    bundle_id: str
    """Which bundle."""
    version: str
    """Which version of it."""
    stage: str
    """`dev`, `staging` or `prod`."""
    checksum: str
    """Digest of its content, with the name of the algorithm: `sha256:…`."""
    created_by: str | None = None
    """Who made it; None once that person was erased."""

    kind: ClassVar[str] = "bundle"

    def __post_init__(self) -> None:
        check_id("bundle_id", self.bundle_id)
        check_id("version of a bundle", self.version)
        _check_choice("stage", self.stage, STAGES)
        check_id("checksum", self.checksum)
        if ":" not in self.checksum or len(self.checksum) < _SHORTEST_CHECKSUM:
            raise IdentityInvalidError("checksum names no algorithm", got=self.checksum, expected="sha256:…")
        _check_optional_id("created_by", self.created_by)

    @property
    def key(self) -> tuple[str, ...]:
        """What it is found by."""
        return (self.bundle_id, self.version, self.stage)

    @property
    def person(self) -> str | None:
        """Who made it."""
        return self.created_by


Record: TypeAlias = Subject | Attribute | Role | Binding | Bundle


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything that an identity store says about who is who, each part in the order of its keys."""

    subjects: tuple[Subject, ...] = ()
    """Who."""
    attributes: tuple[Attribute, ...] = ()
    """What is known about them."""
    roles: tuple[Role, ...] = ()
    """Which roles there are."""
    bindings: tuple[Binding, ...] = ()
    """Who has which."""
    bundles: tuple[Bundle, ...] = ()
    """Which versions of policy bundles are at which stage."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> Directory:
        """The directory of some records, in any order."""
        parts: dict[str, list[Any]] = {kind.kind: [] for kind in (Subject, Attribute, Role, Binding, Bundle)}
        for record in records:
            parts[record.kind].append(record)
        ordered = {kind: tuple(sorted(part, key=lambda record: record.key)) for kind, part in parts.items()}
        return cls(ordered["subject"], ordered["attribute"], ordered["role"], ordered["binding"], ordered["bundle"])

    def records(self) -> tuple[Record, ...]:
        """All of it, what is named before what names it."""
        return (*self.roles, *self.subjects, *self.attributes, *self.bindings, *self.bundles)


def to_json(record: Record) -> dict[str, Any]:
    """A record as a JSON object, times as text."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: moment(value) if isinstance(value, datetime) else value for name, value in values.items()}


_TIMES = ("created_at", "expires_at")
_KINDS: dict[str, type[Any]] = {kind.kind: kind for kind in (Subject, Attribute, Role, Binding, Bundle)}


def from_json(kind: str, values: Mapping[str, Any]) -> Record:
    """The record that `to_json` made a JSON object of.

    Raises:
        IdentityInvalidError: it is none.
    """
    given = dict(values)
    for name in _TIMES:
        if given.get(name) is not None:
            given[name] = instant(name, given[name])
    try:
        made: Record = _KINDS[kind](**given)
    except TypeError as error:
        raise IdentityInvalidError(f"not a {kind}", got=", ".join(sorted(map(str, given)))) from error
    return made


def moment(time: datetime) -> str:
    """A time as it is written: UTC, microseconds, always as long, so that text sorts like time."""
    return f"{time.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z"


def instant(what: str, value: object) -> datetime:
    """The time that is meant by a text, or by a time.

    Raises:
        IdentityInvalidError: it is none, or one without its zone.
    """
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise IdentityInvalidError(f"{what} is not a time", got=value, expected="2026-01-31T12:00:00Z") from error
    if not isinstance(time, datetime):
        raise IdentityInvalidError(f"{what} is not a time", got=type(time).__name__, expected="2026-01-31T12:00:00Z")
    _check_time(what, time)
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise IdentityInvalidError(f"{what} is not a time", got=time, expected="years 1 to 9999") from error


def attribute_id(scope: str, owner: str, name: str, source: str) -> str:
    """The id of an attribute's row, which follows from its key."""
    return digest([scope, owner, name, source]).removeprefix("sha256:")[:32]


def completed(record: Record, before: Record | None, now: datetime) -> Record:
    """A record that is to be put over `before`, with what it leaves open.

    An attribute with a time to live begins to live now, also where it is put again.
    """
    if isinstance(record, Subject):
        there = before if isinstance(before, Subject) else Subject(record.id, status="active", created_at=now)
        return replace(record, status=record.status or there.status, created_at=record.created_at or there.created_at)
    if isinstance(record, Attribute) and record.ttl is not None and record.expires_at is None:
        return replace(record, expires_at=now + timedelta(seconds=record.ttl))
    return record


def same(one: Record | None, other: Record | None) -> bool:
    """Whether two records are the same JSON: for Python, true is also 1."""
    if one is None or other is None:
        return one is other
    return (one.kind, canonical_bytes(to_json(one))) == (other.kind, canonical_bytes(to_json(other)))


def _checked_value(name: str, value: Any) -> Any:
    if name == _RESERVED:
        raise IdentityInvalidError("roles are no attribute", hint="bind the subject to a role")
    try:
        raw = canonical_bytes(value)
    except NotCanonicalError as error:
        raise IdentityInvalidError(
            f"the value of {name} is not JSON", got=error.got, expected=error.expected
        ) from error
    if len(raw) > MAX_VALUE_BYTES:
        raise IdentityInvalidError(
            f"the value of {name} is too large", got=f"{len(raw)} bytes", expected=f"at most {MAX_VALUE_BYTES} bytes"
        )
    value = loads(raw)
    try:
        # A request with it must be one: what policies read has its type, and its spelling.
        build_request({"id": "x", "type": "x", "attributes": {name: value}}, "read", {"id": "x", "type": "x"})
    except RequestError as error:
        raise IdentityInvalidError(error.what, got=error.got, expected=error.expected, hint=error.hint) from error
    return value


def _check_choice(what: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise IdentityInvalidError(f"{what} is none that there is", got=value, expected=", ".join(choices))


def _check_optional_id(what: str, value: object) -> None:
    if value is not None:
        check_id(what, value)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TEXT:
        raise IdentityInvalidError(f"{what} is not a line of text", expected=f"at most {MAX_TEXT} printable characters")


def _check_ttl(ttl: object) -> None:
    longest = 100 * 366 * 86400
    if ttl is not None and (not isinstance(ttl, int) or isinstance(ttl, bool) or not 0 < ttl <= longest):
        raise IdentityInvalidError("ttl is no time to live", got=ttl, expected=f"whole seconds, 1 to {longest}")


def _check_time(what: str, time: object) -> None:
    if time is not None and (not isinstance(time, datetime) or time.tzinfo is None):
        raise IdentityInvalidError(
            f"{what} is not a time with its zone", got=time, expected="such as 2026-01-31T12:00:00Z"
        )
