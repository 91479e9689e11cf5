"""What a release marker says, and the CDEvent that it is written as.

Source: CDEvents 0.4.1, continuous-deployment.md (service deployed, upgraded, rolledback) and spec.md (context).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from companyos.ledger.entry import new_ids, timestamp
from companyos.observability.markers.errors import MarkerError
from companyos.observability.markers.schema import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("KINDS", "PREFIX", "SOURCE", "SPEC_VERSION", "Marker")

SPEC_VERSION = "0.4.1"
"""The version of CDEvents that markers are written in."""
EVENT_VERSION = "0.2.0"
"""The version that it gives to the events of services."""
PREFIX = "dev.cdevents.service."
"""How the type of a marker begins, as an event and as an entry."""
SOURCE = "companyos/observability/markers"
"""Where markers come from: `context.source`, and the `source` of their entries."""
KINDS = ("deployed", "upgraded", "rolledback")
"""What can have happened to a service: it is there, it is there in another version, it is back at an earlier one."""
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Marker:
    """At this moment this version of a service went to that environment.

    Raises:
        MarkerError: a field is empty or no plain text, the kind is unknown, or the time has no zone.
    """

    service: str
    """`service.name`."""
    version: str
    """`service.version`."""
    environment: str
    """`deployment.environment.name`."""
    revision: str | None = None
    """The commit, `vcs.ref.head.revision`."""
    kind: str = "deployed"
    """`deployed`, `upgraded` or `rolledback`."""
    artifact: str | None = None
    """What was deployed, as a package URL; default: `pkg:generic/SERVICE@VERSION`."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When: aware, kept in UTC."""
    id: str = field(default_factory=lambda: new_ids(1)[0])
    """Id of the event and of its entry."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MarkerError("no such kind of release marker", got=self.kind, expected=", ".join(KINDS))
        if self.at.tzinfo is None:
            raise MarkerError("the time of a marker has no zone", got=self.at, expected="an aware time, such as UTC")
        for name in ("service", "version", "environment", "revision", "artifact"):
            value = getattr(self, name)
            if value is not None and (not value.strip() or not value.isprintable() or len(value) > _LONGEST):
                expected = f"1 to {_LONGEST} printable characters"
                raise MarkerError(f"the {name} of a marker is no plain text", got=repr(value), expected=expected)
        object.__setattr__(self, "at", self.at.astimezone(UTC))

    @property
    def type(self) -> str:
        """The type of the event, `dev.cdevents.service.deployed.0.2.0`."""
        return f"{PREFIX}{self.kind}.{EVENT_VERSION}"

    @property
    def package(self) -> str:
        """The artifact, as a package URL."""
        return self.artifact or f"pkg:generic/{quote(self.service, safe='')}@{quote(self.version, safe='')}"

    def to_cdevent(self) -> dict[str, Any]:
        """The marker as a CDEvent, a JSON object."""
        named = {"service": self.service, "version": self.version, "revision": self.revision}
        return {
            "context": {
                "version": SPEC_VERSION,
                "id": self.id,
                "source": SOURCE,
                "type": self.type,
                "timestamp": timestamp(self.at),
            },
            "subject": {
                "id": self.service,
                "source": SOURCE,
                "type": "service",
                "content": {"environment": {"id": self.environment}, "artifactId": self.package},
            },
            "customData": {key: value for key, value in named.items() if value is not None},
            "customDataContentType": "application/json",
        }

    @classmethod
    def from_cdevent(cls, event: Mapping[str, Any]) -> Marker:
        """The marker that a CDEvent of a service is, ours or another tool's.

        Raises:
            MarkerError: it is no such event.
        """
        found = problems(event)
        if found:
            raise MarkerError("not a CDEvent about the release of a service", got="; ".join(found[:3]))
        context, subject = event["context"], event["subject"]
        content, custom = subject["content"], event.get("customData")
        ours: Mapping[str, Any] = custom if isinstance(custom, dict) else {}
        return cls(
            service=str(ours.get("service") or subject["id"]),
            version=str(ours.get("version") or content["artifactId"].rpartition("@")[2]),
            environment=content["environment"]["id"],
            revision=str(ours["revision"]) if ours.get("revision") else None,
            kind=context["type"].removeprefix(PREFIX).partition(".")[0],
            artifact=content["artifactId"],
            at=datetime.fromisoformat(context["timestamp"]),
            id=context["id"],
        )
