"""Building and signing: from policy directories to a bundle, the same bytes for the same input."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.bundle import COMBINATION, SCOPE, Bundle, combination
from companyos.authz.bundles.checks import meter
from companyos.authz.bundles.hashing import file_hash
from companyos.authz.bundles.interface import BundleBuildError, BundleRefusedError
from companyos.authz.bundles.manifest import MANIFEST, Manifest
from companyos.authz.bundles.source import find_units
from companyos.authz.bundles.token import token
from companyos.authz.policyset import DATA
from companyos.canonical import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from companyos.authz.bundles.source import Unit
    from companyos.authz.metering import Limits

__all__ = ("build_bundle", "sign_bundle")


def build_bundle(
    paths: Sequence[Path],
    *,
    created_by: str,
    expires: datetime,
    name: str | None = None,
    version: str | None = None,
    stage: str = "dev",
    limits: Limits | None = None,
) -> Bundle:
    """A bundle of the policies at `paths` (see `find_units`), checked as an engine checks them and metered.

    Name and version are those of the one directory, unless given; `expires` is written in whole seconds.

    Raises:
        BundleBuildError: what is there makes no bundle.
        PolicyError: a policy is refused.
        MeterExceededError: a policy takes more time or memory than it may.
    """
    bundle = _assemble(find_units(paths, stage), created_by=created_by, expires=expires, name=name, version=version)
    scopes = meter(bundle, limits).scopes
    data = {**bundle.data(), SCOPE: list(scopes)}
    return _finished(bundle.manifest, {**bundle.files, DATA: _json(data)})


def sign_bundle(
    bundle: Bundle, key: Any, key_id: str, *, scope: str | None = None, at: datetime | None = None
) -> Bundle:
    """The bundle with the one signature of a private key over every file, valid until the bundle's expiry.

    Raises:
        MissingExtraError: joserfc is not installed.
        KeyUnusableError: the key signs no bundles.
    """
    issued = datetime.now(UTC) if at is None else at
    expires = bundle.manifest.expires
    signatures = token(bundle.files, key, key_id, issued_at=issued, expires=expires, scope=scope)
    return replace(bundle, signatures=signatures)


def _assemble(
    units: Sequence[Unit], *, created_by: str, expires: datetime, name: str | None, version: str | None
) -> Bundle:
    own = [unit for unit in units if unit.label != "playbook"] or units
    data = _merged(units)
    files = {f"{unit.label}/{file}": content for unit in units for file, content in unit.files.items()}
    files[DATA] = _json(data)
    engine = _only("engines", (engine for unit in units for engine in unit.engines))
    if engine == "rego":
        files[COMBINATION] = combination()
    manifest = Manifest(
        name or _only("names", (unit.domain for unit in own)),
        version or _only("versions", (unit.version for unit in own)),
        created_by,
        expires.astimezone(UTC).replace(microsecond=0),
        tuple(sorted({"companyos", SCOPE, *data})),
        engine,
    )
    return _finished(manifest, files)


def _finished(manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """The bundle of files, with a revision that names their content."""
    rest = {name: content for name, content in files.items() if name != MANIFEST}
    named = replace(manifest, revision=_revision(manifest, rest))
    try:
        named.check()
        return Bundle.from_bytes(Bundle({**rest, MANIFEST: named.to_bytes()}, named).to_bytes())
    except BundleRefusedError as error:
        raise BundleBuildError(error.what, got=error.got, expected=error.expected, hint=error.hint) from error


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _only(what: str, found: Iterable[str]) -> str:
    distinct = sorted(set(found))
    if len(distinct) != 1:
        raise BundleBuildError(
            f"the directories have different {what}",
            got=", ".join(distinct),
            expected="one for the whole bundle",
            hint="--name and --version say it for the whole" if what != "engines" else "build one bundle an engine",
        )
    return distinct[0]


def _revision(manifest: Manifest, files: Mapping[str, bytes]) -> str:
    content = digest({name: file_hash(name, content) for name, content in files.items()})
    return f"{manifest.name}-{manifest.version}+{content.removeprefix('sha256:')[:16]}"


def _merged(units: Iterable[Unit]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for unit in units:
        _merge(merged, unit.data, unit)
    return merged


def _merge(into: dict[str, Any], more: Mapping[str, Any], unit: Unit) -> None:
    """Add `more`; what is there already may be repeated or deepened, never changed."""
    for key, value in more.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value, unit)
        elif key not in into:
            into[key] = json.loads(json.dumps(value))
        elif into[key] != value or type(into[key]) is not type(value):
            raise BundleBuildError(f"{unit.directory} changes data that another directory set", got=key)
