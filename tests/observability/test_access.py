"""The access event: what requests have in common is written once, and nobody can tell from the line."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from companyos import observability
from companyos.observability import access, start_trace
from companyos.observability.access import Access
from companyos.observability.scope import enter, leave
from companyos.observability.spans import NOT_SAMPLED, Unsampled

ROUTES = ["/orders/{id}", '/ö/"x"\\', "/[secret]", "", "/" + "x" * 3_000]


@pytest.fixture
def written(monkeypatch):
    """The lines of a request, by the common parts and by the way of every event; the clock stands still."""
    monkeypatch.setattr("companyos.observability.lines.timestamp", lambda: "2026-11-30T21:00:00.000001Z")
    monkeypatch.setattr("companyos.observability.access.timestamp", lambda: "2026-11-30T21:00:00.000001Z")

    def lines(done, error=None, *, level="info", redact=(), annotated=None, revision="abc"):
        stream = io.BytesIO()
        setup = observability.setup(
            "orders", "prod", "1", stream=stream, log_level=level, redact=redact, revision=revision
        )
        with setup, start_trace("x") as span:
            ids = (span.trace_id, span.span_id, "c-1", "r-1")
            token = enter(request_id="r-1", correlation_id="c-1")
            observability.annotate(**(annotated or {}))
            access.write(done._replace(ids=ids), error)
            framed = any(setup.frames.values())
            access.write(done._replace(ids=None), error)
            leave(token)
        half = len(stream.getvalue()) // 2
        return stream.getvalue()[:half], stream.getvalue()[half:], framed

    return lines


@pytest.mark.parametrize("status", [200, 302, 404, 408, 429, 500, 503])
@pytest.mark.parametrize("route", ROUTES, ids=range(len(ROUTES)))
def test_the_kept_parts_make_the_line_of_every_other_event(written, route, status):
    """Byte for byte, whatever the route is called and whatever was answered."""
    for seconds in (0.0, 0.0000004, 0.0123456, 2.0, 86_400.5):
        one, other, framed = written(Access("GET", route, status, seconds, True, None))
        assert (one, framed) == (other, True)
        assert one.endswith(b"}\n")


@pytest.mark.parametrize(
    ("change", "options", "error"),
    [
        ({"status": None}, {}, None),
        ({"is_route": False}, {}, None),
        ({}, {"annotated": {"subject_id": "u-1"}}, None),
        ({}, {"annotated": {"outcome": "partial"}}, None),
        ({}, {"annotated": {"correlation_id": "another"}}, None),
        ({}, {}, LookupError("no such order")),
        ({}, {"redact": ["http.request"]}, None),
        ({}, {"redact": ["latency"]}, None),
    ],
    ids=["nothing answered", "a path", "subject", "own outcome", "own correlation id", "error", "event", "field"],
)
def test_what_else_there_is_to_say_is_said(written, change, options, error):
    """Where anything is out of the ordinary, the kept parts are left alone and the line is the ordinary one."""
    done = Access("GET", "/orders/{id}", 200, 0.5, True, None)._replace(**change)
    one, other, framed = written(done, error, **options)
    assert (one, framed) == (other, False)
    assert one.count(b"\n") == 1


def test_levels_hold_for_the_kept_parts_too(written):
    """INFO is not written where WARN is in force; an error is."""
    assert written(Access("GET", "/", 200, 0.5, True, None), level="warning")[:2] == (b"", b"")
    assert b'"level":"ERROR"' in written(Access("GET", "/", 500, 0.5, True, None), level="warning")[0]


def test_routes_without_end_are_not_all_remembered():
    """The memory of common parts is bounded."""
    with observability.setup("orders", stream=io.BytesIO()) as setup:
        token = enter(request_id="r", correlation_id="c")
        for number in range(access.MAX_FRAMES + 10):
            access.write(Access("GET", f"/{number}", 200, 0.1, True, ("a" * 32, "b" * 16, "c", "r")), None)
        leave(token)
        assert 0 < len(setup.frames) <= access.MAX_FRAMES


def test_a_span_that_is_not_recorded_still_has_a_context():
    """Ids and state are what the API gives to others, and the sampled flag is not set."""
    span = Unsampled(5, SimpleNamespace())
    context = span.get_span_context()
    assert (context.trace_id, context.span_id, context.trace_flags) == (5, span.span_id, NOT_SAMPLED)
    assert context.is_valid
    assert span.get_span_context() is context
    assert not span.is_recording()
    assert f"{5:032x}" in repr(span)
