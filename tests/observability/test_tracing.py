"""Traces: W3C Trace Context in and out."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from companyos import observability
from companyos._extras import install_command
from companyos.observability import SetupError, outgoing_headers, start_trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
MALFORMED = {
    "empty": "",
    "zero trace": f"00-{'0' * 32}-{PARENT}-01",
    "zero parent": f"00-{TRACE}-{'0' * 16}-01",
    "version ff": f"ff-{TRACE}-{PARENT}-01",
    "capitals": f"00-{TRACE.upper()}-{PARENT}-01",
    "short": f"00-{TRACE[:-1]}-{PARENT}-01",
    "two": f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
    "words": "hello",
}


def test_a_trace_has_ids(service):
    """Inside, ids are there and well-formed; outside they are None."""
    assert observability.current_trace_id() is None
    assert observability.current_span_id() is None
    with start_trace("work") as trace:
        assert observability.current_trace_id() == trace.trace_id
        assert observability.current_span_id() == trace.span_id
        assert observability.current_correlation_id() == trace.trace_id
        assert re.fullmatch("[0-9a-f]{32}", trace.trace_id)
        assert re.fullmatch("[0-9a-f]{16}", trace.span_id)
    assert observability.current_trace_id() is None


def test_spans_nest(service):
    """A trace within a trace is its child, and both are recorded with who produced them."""
    with start_trace("outer", attributes={"order": "7", "token": "t", "none": None, "list": [1]}) as outer:
        with start_trace("inner", kind="client"):
            pass
        outer.set("late", 1)
        outer.set("nothing", None)
    inner, recorded = service.observability.spans(trace_id=outer.trace_id)
    assert (inner.parent_id, inner.kind, inner.status) == (outer.span_id, "client", "unset")
    assert recorded.parent_id is None
    assert dict(recorded.attributes) == {"order": "7", "token": "[secret]", "list": "[1]", "late": 1}
    assert recorded.resource["service.name"] == "orders"
    assert recorded.resource["service.version"] == "1.2.3"
    assert recorded.resource["deployment.environment.name"] == "test"
    assert recorded.resource["vcs.ref.head.revision"] == "abc123"
    assert service.observability.spans(trace_id="f" * 32) == []


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_headers_lead_to_the_parent(service, name):
    """The trace of an incoming request or message is continued, whatever case its headers have."""
    headers = {name: f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", "X-Correlation-ID": "case-9"}
    with start_trace("consume", headers=headers, kind="consumer") as trace:
        sent = outgoing_headers()
        assert observability.current_correlation_id() == "case-9"
    assert trace.trace_id == TRACE
    assert sent == {
        "traceparent": f"00-{TRACE}-{trace.span_id}-01",
        "tracestate": "vendor=1",
        "x-correlation-id": "case-9",
    }
    (span,) = service.observability.spans()
    assert span.parent_id == PARENT


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_parents_are_not_followed(service, case):
    """A traceparent that is not one starts a new trace, not a child of what is in hand here."""
    with start_trace("here") as here, start_trace("in", headers={"traceparent": MALFORMED[case]}) as trace:
        assert trace.trace_id not in {TRACE, here.trace_id}
    assert service.observability.spans()[0].parent_id is None


@pytest.mark.parametrize("value", ["", "a b", "x" * 129, "a\nb", "<script>", "-a", "ä"])
def test_malformed_correlation_ids_are_not_taken(service, value):
    """What a stranger sends as correlation id does not get into our logs unless it is harmless."""
    with start_trace("in", headers={"x-correlation-id": value}) as trace:
        assert observability.current_correlation_id() == trace.trace_id


def test_failures_are_marked(service):
    """An exception marks the span, masked, and goes on."""
    with pytest.raises(KeyError), start_trace("work"):
        raise KeyError("ann@example.org")
    (span,) = service.observability.spans()
    assert (span.status, span.attributes["error.type"]) == ("error", "KeyError")
    ((name, event),) = span.events
    assert (name, event["exception.message"]) == ("exception", "'[email]'")
    assert "ann@example.org" not in str(span)


def test_unknown_kind(service):
    """A kind of span that does not exist is refused with those that do."""
    kinds = "expected: client, consumer, internal, producer, server"
    with pytest.raises(SetupError, match=kinds), start_trace("x", kind="serverless"):
        pass


def test_only_the_latest_spans_are_kept(make_service):
    """Memory is bounded: the oldest spans make room."""
    service = make_service(keep_spans=2)
    for name in ("a", "b", "c"):
        with start_trace(name):
            pass
    assert [span.name for span in service.observability.spans()] == ["b", "c"]


WITHOUT_SDK = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from companyos import observability
from companyos.errors import MissingExtraError
result = {}
with observability.setup(service="bare") as bare:
    headers = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-00"}
    with observability.start_trace("root") as root:
        result["root"] = [root.trace_id, root.span_id, observability.outgoing_headers()["traceparent"]]
        root.set("a", 1); root.fail("500"); root.rename("b")
        with observability.start_trace("child") as child:
            observability.get_logger().info("x")
            result["child"] = [child.trace_id, child.span_id]
    with observability.start_trace("in", headers=headers) as trace:
        result["in"] = observability.outgoing_headers()["traceparent"]
        result["in_span"] = trace.span_id
    observability.metrics.increment("jobs")
    with observability.metrics.timer("job_ms"):
        pass
    result["spans"] = [span.name for span in bare.spans()]
    result["metrics"] = sorted(point.name for point in bare.metrics())
    try:
        observability.setup(service="x", exporter="otlp")
    except MissingExtraError as error:
        result["otlp"] = error.hint
print(json.dumps(result))
"""


def test_without_the_extra():
    """Without the SDK spans and metrics are recorded all the same; an exporter says what to install."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_SDK], capture_output=True, text=True, check=True
    )
    line, result = (json.loads(text) for text in done.stdout.splitlines())
    trace_id, span_id, sent = result["root"]
    assert sent == f"00-{trace_id}-{span_id}-01"
    assert result["child"][0] == trace_id
    assert result["child"][1] not in {span_id, "0" * 16}
    assert line["trace_id"] == trace_id
    assert result["in"] == f"00-{'a' * 32}-{result['in_span']}-00"
    assert result["in_span"] != "b" * 16
    assert (result["spans"], result["metrics"]) == (["child", "b"], ["job_ms", "jobs"])
    assert result["otlp"] == install_command("observability")


def test_what_one_message_taught_is_not_told_of_the_next(service):
    """A consumer's span that takes up headers is a boundary; one without is part of the work around it."""
    with observability.bind(component="mail"):
        with start_trace("consume", headers={}):
            observability.annotate(subject_id="alice")
            with start_trace("step"):
                observability.annotate(action="send")
            assert {"component": "mail", "subject_id": "alice", "action": "send"} == dict(
                observability.current_fields()
            )
        assert {"component": "mail"} == dict(observability.current_fields())


class UnspeakableError(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        raise RuntimeError("no words")


def test_an_exception_that_cannot_be_shown_is_still_the_one_that_goes_on(service):
    """Neither a span nor a timer replaces the application's error by one of its own."""
    with pytest.raises(UnspeakableError), start_trace("work"):
        raise UnspeakableError
    with pytest.raises(UnspeakableError), observability.metrics.timer("not a name"):
        raise UnspeakableError

    (span,) = service.observability.spans()
    assert ("error", True) == (span.status, span.attributes["error.type"].endswith("UnspeakableError"))


def test_hostile_headers_and_attributes_do_not_stop_the_work(service):
    """Headers that cannot be read carry no trace; integers too large for the wire become text."""

    class Lazy(dict):
        def items(self):
            raise RuntimeError("too late")

    with start_trace("work", headers=Lazy(traceparent="x"), attributes={"n": 2**64, "lazy": Lazy(a=1)}) as trace:
        trace.set("big", 10**5000)

    (span,) = service.observability.spans()
    assert (str(2**64), None) == (span.attributes["n"], span.parent_id)


def test_names_are_masked_too(service):
    """Neither the name of a span, nor that of an attribute, a tag or a field is a way out."""
    with start_trace("GET /users/ann@example.org", attributes={"bob@example.org": 1}) as trace:
        trace.set("eve@example.org", 2)
        observability.metrics.increment("hits", {"kim@example.org": 3})
        observability.get_logger("x").info("y", **{"joe@example.org": 4})
    with start_trace("x") as trace:
        trace.rename(f"tok{'en'}=hunter2")

    first, second = service.observability.spans()
    (point,) = service.observability.metrics("hits")
    assert ("GET /users/[email]", "token=[secret]") == (first.name, second.name)
    told = f"{first} {point} {service.stream.getvalue()}"
    assert "@example.org" not in told
