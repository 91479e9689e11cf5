"""One access request as a specimen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.controls import Specimen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ("case",)

PLACE = {"domain": "specimens", "service": "specimens"}
"""Where the document belongs: stated, so that policies of one's own that ask for it have no reason to object."""


def case(
    name: str,
    action: str,
    *,
    subject: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    resource: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    violates: str | None = None,
) -> Specimen:
    """A request by the user `u-1` for the document `d-1`, and the rule it violates."""
    request = {
        "subject": {"id": "u-1", "type": "user", **(subject or {}), "attributes": dict(attributes or {})},
        "action": action,
        "resource": {"id": "d-1", "type": "document", **PLACE, **(resource or {})},
        "environment": dict(environment or {}),
    }

    def build(_: Path) -> dict[str, Any]:
        return request

    return Specimen(name, build, violates)
