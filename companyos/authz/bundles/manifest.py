"""The manifest: what a bundle says of itself, under OPA's keys and, in `metadata.companyos`, under ours."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from companyos.authz._text import is_visible
from companyos.authz.bundles.hashing import Number, parse_json, plain
from companyos.authz.bundles.interface import BundleRefusedError

__all__ = ("MANIFEST", "MAX_MANIFEST_BYTES", "NAME", "Manifest", "moment_text", "version_key")

MANIFEST = ".manifest"
"""Its name in a bundle."""
MAX_MANIFEST_BYTES = 64 * 1024
"""Largest manifest."""
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
"""How a bundle may be called."""
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){0,3}")
_KEYS = {"revision", "roots", "rego_version", "metadata"}
_OURS = {"name", "version", "created_by", "expires", "engine"}
_RULE = "bundle.manifest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle is."""

    name: str
    """Which bundle it is a version of."""
    version: str
    """One to four numbers with dots between them; a later version is greater."""
    created_by: str
    """Who built it."""
    expires: datetime
    """From when on it is not to be used any more: aware, UTC, whole seconds."""
    roots: tuple[str, ...]
    """What of `data` is in it, as OPA takes it."""
    engine: str = "rego"
    """What evaluates it: `rego` or `cedar`."""
    revision: str = ""
    """OPA's name for the version of the content."""

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read a manifest.

        Raises:
            BundleRefusedError: it is too large, has unknown keys, or lacks what a bundle must say.
        """
        if len(content) > MAX_MANIFEST_BYTES:
            raise BundleRefusedError(_RULE, "too large", got=len(content), expected=f"{MAX_MANIFEST_BYTES} bytes")
        value = parse_json(content, MANIFEST, _RULE)
        _check_keys(value, _KEYS, "the manifest")
        ours: Any = value["metadata"].get("companyos") if isinstance(value["metadata"], dict) else None
        _check_keys(ours, _OURS, "metadata.companyos")
        version = value["rego_version"]
        if not isinstance(version, Number) or version != "1":
            raise BundleRefusedError(_RULE, "not for Rego v1", got=plain(version), expected="1")
        roots = value["roots"]
        if not isinstance(roots, list) or not all(type(root) is str for root in roots):
            raise BundleRefusedError(_RULE, "roots are no list of texts")
        texts = {key: _text(item, key) for key, item in ours.items()}
        manifest = cls(
            texts["name"],
            texts["version"],
            texts["created_by"],
            _moment(texts["expires"]),
            tuple(roots),
            texts["engine"],
            _text(value["revision"], "revision"),
        )
        manifest.check()
        return manifest

    def check(self) -> None:
        """Return if every field is in its bounds.

        Raises:
            BundleRefusedError: one is not.
        """
        if not NAME.fullmatch(self.name):
            raise BundleRefusedError(
                _RULE, "no name for a bundle", got=self.name, expected=NAME.pattern, hint="--name gives it one"
            )
        version_key(self.version)
        if not self.created_by.strip() or len(self.created_by) > 200 or not is_visible(self.created_by):
            raise BundleRefusedError(_RULE, "nobody built it", expected="a name of at most 200 visible characters")
        if self.engine not in {"rego", "cedar"}:
            raise BundleRefusedError(
                _RULE, "for an engine that nobody knows", got=self.engine, expected="rego or cedar"
            )

    def to_bytes(self) -> bytes:
        """The manifest as JSON: the same bytes for the same manifest."""
        ours = {
            "name": self.name,
            "version": self.version,
            "created_by": self.created_by,
            "expires": moment_text(self.expires),
            "engine": self.engine,
        }
        value = {
            "revision": self.revision,
            "roots": list(self.roots),
            "rego_version": 1,
            "metadata": {"companyos": ours},
        }
        return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"

    def to_dict(self) -> dict[str, Any]:
        """What people are shown of it."""
        return {
            "name": self.name,
            "version": self.version,
            "created_by": self.created_by,
            "expires": moment_text(self.expires),
            "engine": self.engine,
            "revision": self.revision,
            "roots": list(self.roots),
        }


def version_key(version: str) -> tuple[int, int, int, int]:
    """What versions are compared by: `1.2` is `1.2.0.0`, and less than `1.10`.

    Raises:
        BundleRefusedError: it is not one to four numbers with dots between them.
    """
    if not _VERSION.fullmatch(version):
        raise BundleRefusedError(_RULE, "not a version", got=version, expected="numbers with dots, such as 1.4.0")
    numbers = [int(part) for part in version.split(".")]
    first, second, third, fourth = (*numbers, 0, 0, 0)[:4]
    return first, second, third, fourth


def moment_text(moment: datetime) -> str:
    """A moment as bundles write it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_keys(value: Any, expected: set[str], what: str) -> None:
    if not isinstance(value, dict) or set(value) != expected:
        got = ", ".join(sorted(value)) if isinstance(value, dict) else type(value).__name__
        raise BundleRefusedError(
            _RULE,
            f"{what} has other keys",
            got=got,
            expected=", ".join(sorted(expected)),
            hint="companyos bundle build",
        )


def _text(value: object, key: str) -> str:
    if type(value) is not str:
        raise BundleRefusedError(_RULE, f"{key} is no text", got=type(value).__name__)
    return value


def _moment(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text, re.ASCII):
        raise BundleRefusedError(_RULE, "expires is no moment", got=text, expected="2027-01-31T00:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise BundleRefusedError(_RULE, "expires is no moment", got=text, expected="2027-01-31T00:00:00Z") from error
