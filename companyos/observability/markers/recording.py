"""Putting markers on the ledger and into the log, and finding them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.logs import get_logger
from companyos.observability.markers.errors import MarkerError
from companyos.observability.markers.marker import PREFIX, SOURCE, Marker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.ledger.reading import Reader
    from companyos.ports import LedgerPort, Receipt

__all__ = ("find_marker", "mark", "markers")

LATEST = "latest"


def mark(ledger: LedgerPort, marker: Marker) -> Receipt:
    """Append the marker, a CDEvent in the CloudEvents binding of CDEvents, then log `release.marked`.

    The same marker again gives the same receipt.

    Raises:
        UserError: it is not on the ledger; nothing was logged.
    """
    event = marker.to_cdevent()
    receipt = ledger.append(marker.type, event, id=marker.id, source=SOURCE, stream=marker.service)
    get_logger(__name__).info(
        "release.marked",
        action=marker.kind,
        resource=f"service/{marker.service}",
        outcome="success",
        **{
            "cdevents.id": marker.id,
            "cdevents.type": marker.type,
            "service.name": marker.service,
            "service.version": marker.version,
            "deployment.environment.name": marker.environment,
            "vcs.ref.head.revision": marker.revision,
        },
    )
    return receipt


def markers(log: Reader, *, service: str | None = None, environment: str | None = None) -> Iterator[Marker]:
    """The markers on the ledger in the order in which they were appended, of one service or environment if given.

    Raises:
        MarkerError: an entry of that type is no marker.
    """
    for entry in log.read():
        if entry.type.startswith(PREFIX) and entry.data is not None:
            found = Marker.from_cdevent(entry.data)
            if service in {None, found.service} and environment in {None, found.environment}:
                yield found


def find_marker(log: Reader, name: str, *, service: str | None = None) -> Marker:
    """The marker with this id or this beginning of one, or the newest for `latest`.

    Raises:
        MarkerError: there is none, or more than one begins so.
    """
    known = list(markers(log, service=service))
    found = known[-1:] if name == LATEST else [marker for marker in known if marker.id.startswith(name)]
    exact = [marker for marker in found if marker.id == name]
    if len(exact or found) != 1:
        raise MarkerError(
            f"no release marker {name!r}" if not found else f"several markers begin with {name!r}",
            got=", ".join(marker.id for marker in found) or "none",
            expected="the id of one marker, its beginning, or `latest`",
            hint="companyos marker list",
        )
    return (exact or found)[0]
