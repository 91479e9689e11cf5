"""The access event of an HTTP request: one line when it is done.

Most requests are alike but for their ids, their time and how long they took. What such lines have in common is written
once and kept; only what differs is put between. Whatever else there is to say goes the way of every other event, and a
test holds both to the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from companyos.observability.lines import encode, template, timestamp
from companyos.observability.logs import get_logger
from companyos.observability.runtime import LEVELS, ORDER, current
from companyos.observability.scope import current_fields

if TYPE_CHECKING:
    from companyos.observability.runtime import Observability

__all__ = ("Access", "Frame", "write")

EVENT = "http.request"
LOGGER = "companyos.observability.asgi"
MAX_FRAMES = 1024
"""Kept common parts; there is one for each method, route and status."""
_log = get_logger(LOGGER)
_TRUSTED = frozenset({"action", "resource", "outcome", "latency_ms", "status", "request_id", "correlation_id"})
"""Fields of our own making, or masked, or checked before; not searched for secrets again."""


class Frame(NamedTuple):
    """What the lines of one method, route and status have in common."""

    rank: int
    """Rank of their level."""
    begin: str
    """What stands before the time."""
    event: str
    """What stands between the time and the ids."""
    end: str
    """What stands between the ids and the latency."""
    close: str
    """What stands after the latency."""


class Access(NamedTuple):
    """A request that is done."""

    method: str
    """One of the known methods, or `_OTHER`."""
    resource: str
    """The template of the route, or the path; masked."""
    status: int | None
    """What was answered, if anything was."""
    seconds: float
    """How long it took."""
    is_route: bool
    """Whether the resource is a route's, of which there are few."""
    ids: tuple[str, str, str, str] | None
    """Trace, span, correlation and request id, harmless characters all; None if one of them is not known."""


def write(access: Access, error: BaseException | None) -> None:
    """Write the event at the level that the outcome has."""
    ids = access.ids
    if error is None and access.is_route and ids is not None and type(access.status) is int:
        known = current_fields()
        # Anything that was bound or annotated belongs into the line.
        if len(known) == 2 and known.get("correlation_id") == ids[2] and known.get("request_id") == ids[3]:
            runtime = current()
            frame = _frame_of(runtime, access)
            if frame is not None:
                if frame.rank >= runtime.rank:
                    _write_framed(runtime, frame, access, ids)
                return
    _write_any(access, error)


def _write_framed(runtime: Observability, frame: Frame, access: Access, ids: tuple[str, str, str, str]) -> None:
    _, begin, event, end, close = frame
    line = (
        f'{begin}{timestamp()}{event}"trace_id":"{ids[0]}","span_id":"{ids[1]}","correlation_id":"{ids[2]}",'
        f'"request_id":"{ids[3]}"{end}{round(access.seconds * 1000, 3)}{close}'
    )
    runtime.write(line.encode("ascii"))


def _frame_of(runtime: Observability, access: Access) -> Frame | None:
    key = (access.method, access.resource, access.status)
    try:
        return runtime.frames[key]
    except KeyError:
        pass
    if len(runtime.frames) >= MAX_FRAMES:
        runtime.frames.clear()
    made = runtime.frames[key] = _made(runtime, access)
    return made


def _made(runtime: Observability, access: Access) -> Frame | None:
    """The common parts; None if a name in them is withheld by the company's own words."""
    fields = _fields(access, None)
    names = runtime.names
    own = names.learn_event(EVENT) and names.learn_event(LOGGER)
    if not own or not names.learn({**fields, "correlation_id": "", "request_id": ""}):
        return None
    level = LEVELS[_level(access.status)]
    line = {**template(level, runtime.fields), **fields, "event": EVENT}
    keys = list(line)
    ids, latency = keys.index("trace_id"), keys.index("latency_ms")
    event = _members(line, keys[1:ids])
    end = _members(line, keys[ids + 4 : latency])
    rest = _members(line | {"logger": LOGGER}, ["logger", *keys[latency + 1 :]])
    return Frame(ORDER[level], '{"timestamp":"', f'",{event},', f',{end},"latency_ms":', f",{rest}}}")


def _members(line: dict[str, Any], names: list[str]) -> str:
    return encode({name: line[name] for name in names}).decode("ascii")[1:-1]


def _write_any(access: Access, error: BaseException | None) -> None:
    fields = _fields(access, error)
    known = current_fields()
    trusted = _TRUSTED
    if not known.keys().isdisjoint(fields):
        # What the application said about itself (`annotate(action=...)`) is better than what the wire shows.
        fields = {key: value for key, value in fields.items() if key not in known}
        trusted = trusted & fields.keys()
    if isinstance(error, Exception):
        _log.write_event("error", EVENT, fields, trusted=trusted, error=error)
    else:
        _log.write_event(_level(access.status), EVENT, fields, trusted=trusted)


def _fields(access: Access, error: BaseException | None) -> dict[str, Any]:
    return {
        "action": access.method,
        "resource": access.resource,
        "outcome": _outcome(access.status, error),
        "latency_ms": round(access.seconds * 1000, 3),
        "status": access.status,
    }


def _level(status: int | None) -> str:
    if status is None or status in {408, 429}:
        return "warning"
    return "error" if status >= 500 else "info"


def _outcome(status: int | None, error: BaseException | None) -> str:
    if error is not None and not isinstance(error, Exception):
        # Cancelled: whether the work was done is not known.
        return "unknown"
    return "success" if error is None and status is not None and status < 400 else "failure"
