"""What a CDEvent about the release of a service must look like.

Source: CDEvents 0.4.1, spec.md (required context and subject) and continuous-deployment.md (content of a service). The
schema is our own, written after these texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("SCHEMA", "problems")


def _object(required: tuple[str, ...], /, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_REFERENCE = {"type": "string", "minLength": 1, "format": "uri-reference"}
_DEPLOYED = _object(("id",), id=_TEXT, source=_REFERENCE)
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A release of a service (CDEvents 0.4)",
    **_object(
        ("context", "subject"),
        context=_object(
            ("version", "id", "source", "type", "timestamp"),
            version={"type": "string", "pattern": r"^0\.4\.[0-9]+$"},
            id=_TEXT,
            source=_REFERENCE,
            type={
                "type": "string",
                "pattern": r"^dev\.cdevents\.service\.(deployed|upgraded|rolledback)\.0\.2\.[0-9]+$",
            },
            timestamp={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
            chainId=_TEXT,
            schemaUri={"type": "string", "minLength": 1, "format": "uri"},
            links={"type": "array", "items": {"type": "object"}},
        ),
        subject=_object(
            ("id", "type", "content"),
            id=_TEXT,
            source=_REFERENCE,
            type={"const": "service"},
            content=_object(("environment", "artifactId"), environment=_DEPLOYED, artifactId=_TEXT),
        ),
        customData={"type": ["object", "string"]},
        customDataContentType={"type": "string"},
    ),
}
"""JSON Schema of the events that markers are."""


def problems(event: Mapping[str, Any]) -> list[str]:
    """What keeps `event` from being a CDEvent about a release, a sentence each; empty if nothing does."""
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(SCHEMA).iter_errors(event), key=lambda error: list(map(str, error.path)))
    return [f"{'.'.join(map(str, error.path)) or 'event'}: {error.message}" for error in errors]
