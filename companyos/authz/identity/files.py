"""The directory as a YAML file that people write and review: read strictly, written always the same."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from companyos.authz.identity.errors import IdentityInvalidError
from companyos.authz.identity.names import skeleton
from companyos.authz.identity.records import (
    SCOPES,
    Attribute,
    Binding,
    Bundle,
    Directory,
    Role,
    Subject,
    instant,
    to_json,
)
from companyos.config import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import yaml

    from companyos.authz.identity.records import Record

__all__ = ("VERSION", "dump_directory", "load_directory")

VERSION = 1
"""Version of the format."""
_OWNERS = {f"{scope}_id": scope for scope in SCOPES}
_PARTS: dict[str, tuple[str, ...]] = {
    "roles": ("id", "name", "org_id", "description"),
    "subjects": ("id", "type", "org_id", "workspace_id", "status", "created_at"),
    "attributes": ("name", "value", "scope", *_OWNERS, "source", "ttl", "expires_at"),
    "role_bindings": ("subject_id", "role_id", "workspace_id", "expires_at"),
    "policy_bundles": ("bundle_id", "version", "stage", "checksum", "created_by"),
}
"""The parts of a file, and the keys of each, as they are written."""


def load_directory(text: str, name: str) -> Directory:
    """The directory in the YAML `text` of a file called `name`.

    Raises:
        ConfigError: it is not YAML, or has a key twice.
        IdentityInvalidError: an unknown key (the nearest known one is suggested), a wrong value, an id that is there
            twice or looks like another; the message names the place.
    """
    values = parse_yaml(text, name)
    if not isinstance(values, dict):
        raise IdentityInvalidError(
            f"{name} is not a mapping", got=type(values).__name__, expected=", ".join(("version", *_PARTS))
        )
    _check_keys(values, ("version", *_PARTS), name)
    version = values.get("version")
    if version != VERSION or isinstance(version, bool):
        raise IdentityInvalidError(f"{name} is of another version", got=version, expected=f"version: {VERSION}")
    records: list[Record] = []
    for part, make in _MAKERS.items():
        records += _part(values.get(part), part, make, name)
    return Directory.of(records)


_BREAKS = frozenset("\x85\u2028\u2029")
"""What YAML 1.1 takes for the end of a line, and PyYAML writes as it is."""


def dump_directory(directory: Directory) -> str:
    """The directory as YAML, its parts in the order of their keys: the same directory is always the same text."""
    import yaml

    held: dict[str, tuple[Record, ...]] = {
        "roles": directory.roles,
        "subjects": directory.subjects,
        "attributes": directory.attributes,
        "role_bindings": directory.bindings,
        "policy_bundles": directory.bundles,
    }
    parts = {part: [_shown(part, record) for record in records] for part, records in held.items() if records}

    class Dumper(yaml.SafeDumper):
        """A safe dumper that puts into quotes what YAML takes for the end of a line."""

    Dumper.add_representer(str, _represented)
    written: str = yaml.dump(
        {"version": VERSION, **parts},
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=120,
        default_flow_style=False,
    )
    return written


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _BREAKS.isdisjoint(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _shown(part: str, record: Record) -> dict[str, Any]:
    values = to_json(record)
    if isinstance(record, Attribute):
        # The end, not the lifetime: whoever reads the file later must not begin it anew.
        values |= {f"{record.scope}_id": record.owner, "ttl": None if record.expires_at else record.ttl}
    return {key: values[key] for key in _PARTS[part] if values.get(key) is not None or key == "value"}


def _part(values: Any, part: str, make: Callable[[Mapping[str, Any]], Record], name: str) -> Iterator[Record]:
    if values is None:
        return
    if not isinstance(values, list):
        raise IdentityInvalidError(f"{part} in {name} is not a list", got=type(values).__name__)
    seen: dict[tuple[str, ...], str] = {}
    for number, item in enumerate(values):
        where = f"{part}[{number}] in {name}"
        if not isinstance(item, dict):
            raise IdentityInvalidError(f"{where} is not a mapping", got=type(item).__name__)
        _check_keys(item, _PARTS[part], where)
        try:
            record = make(item)
        except IdentityInvalidError as error:
            raise IdentityInvalidError(
                f"{where}: {error.what}", got=error.got, expected=error.expected, hint=error.hint
            ) from error
        _check_distinct(record, where, seen)
        yield record


def _check_keys(values: Mapping[Any, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise IdentityInvalidError(f"{where} has an unknown key", got=key, hint=hint)


def _check_distinct(record: Record, where: str, seen: dict[tuple[str, ...], str]) -> None:
    ids = isinstance(record, Subject | Role)
    key = (skeleton(record.key[0]),) if ids else record.key
    other = seen.setdefault(key, where)
    if other == where:
        return
    what = "is there twice" if not ids else "is there twice, or two ids look alike"
    raise IdentityInvalidError(
        f"{where} {what}", got=" ".join(record.key), expected="one entry each", hint=f"see {other}"
    )


def _subject(values: Mapping[str, Any]) -> Subject:
    return Subject(**{**_required(values, "id"), **_times(values, "created_at")})


def _role(values: Mapping[str, Any]) -> Role:
    return Role(**_required(values, "id"))


def _binding(values: Mapping[str, Any]) -> Binding:
    return Binding(**{**_required(values, "subject_id", "role_id"), **_times(values, "expires_at")})


def _bundle(values: Mapping[str, Any]) -> Bundle:
    return Bundle(**_required(values, "bundle_id", "version", "stage", "checksum"))


def _attribute(values: Mapping[str, Any]) -> Attribute:
    given = {**_required(values, "name", "value"), **_times(values, "expires_at")}
    owners = {scope: given.pop(key) for key, scope in _OWNERS.items() if key in given}
    if len(owners) != 1:
        raise IdentityInvalidError(
            "an attribute has one owner", got=", ".join(owners) or "none", expected=f"one of {', '.join(_OWNERS)}"
        )
    ((scope, owner),) = owners.items()
    if given.setdefault("scope", scope) != scope:
        raise IdentityInvalidError(
            "the scope of an attribute is not that of its owner", got=given["scope"], expected=scope
        )
    if given.get("ttl") is not None and given.get("expires_at") is not None:
        raise IdentityInvalidError("an attribute has a ttl and an end", hint="give one of ttl, expires_at")
    return Attribute(owner=owner, **given)


def _required(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The values; what is null is as good as absent, but for an attribute's own value."""
    given = {key: value for key, value in values.items() if value is not None or key == "value"}
    missing = [key for key in keys if key not in given]
    if missing:
        raise IdentityInvalidError(f"{', '.join(missing)} is missing")
    return given


def _times(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: instant(key, values[key]) for key in keys if values.get(key) is not None}


_MAKERS: dict[str, Callable[[Mapping[str, Any]], Record]] = {
    "roles": _role,
    "subjects": _subject,
    "attributes": _attribute,
    "role_bindings": _binding,
    "policy_bundles": _bundle,
}
