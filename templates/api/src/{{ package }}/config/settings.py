"""Settings from the environment alone (12-factor), validated against `config/schema.json`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("ROOT", "Settings", "SettingsError", "load")

ROOT = Path(__file__).resolve().parents[3]
"""The repository, or its copy in the image."""


class SettingsError(ValueError):
    """The environment does not hold what `config/schema.json` asks for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment may set; defaults are in `config/schema.json`."""

    app_env: str
    """`dev`, `staging`, `canary` or `prod`."""
    host: str
    """Address to listen on."""
    port: int
    """Port to listen on."""
    database_path: Path
    """The SQLite file."""
    session_key: str = field(repr=False)
    """Key that signs session tokens."""
    session_minutes: int
    """How long a session lasts."""
    cors_origins: tuple[str, ...]
    """Origins whose pages may call this service."""
    revision: str
    """Revision this was built from."""
    demo_email: str
    """The demo user; none when empty."""
    demo_password: str = field(repr=False)
    """The demo user's password."""
    demo_totp_secret: str = field(repr=False)
    """The demo user's second factor, base32 (RFC 6238)."""

    @property
    def known_revision(self) -> str | None:
        """The revision, or None where the build did not say."""
        return None if self.revision == "unknown" else self.revision


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`.

    Raises:
        SettingsError: a variable is missing or wrong; the message names it and never shows its value.
    """
    properties = _schema()["properties"]
    values = {
        name: _read(environ.get(name), rule)
        for name, rule in properties.items()
        if environ.get(name) or "default" in rule
    }
    validator = jsonschema.Draft202012Validator(_schema())
    for error in validator.iter_errors(values):
        raise SettingsError(_explain(error))
    values["DATABASE_PATH"] = ROOT / values["DATABASE_PATH"]
    origins = values["CORS_ORIGINS"].split(",")
    values["CORS_ORIGINS"] = tuple(origin.strip() for origin in origins if origin.strip())
    return Settings(**{name.lower(): value for name, value in values.items()})


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((ROOT / "config" / "schema.json").read_text("utf-8"))
    return schema


def _read(text: str | None, rule: Mapping[str, Any]) -> Any:
    if not text:
        return rule["default"]
    if rule["type"] == "integer" and text.lstrip("-").isdecimal():
        return int(text)
    return text


def _explain(error: jsonschema.ValidationError) -> str:
    if error.validator == "required":
        properties = _schema()["properties"]
        present: Any = error.instance
        missing = next(name for name in _schema()["required"] if name not in present)
        return f"{missing} is not set: {properties[missing]['description']}"
    name = str(error.absolute_path[0]) if error.absolute_path else "the environment"
    return f"{name} does not satisfy {error.validator}: {error.validator_value}"
