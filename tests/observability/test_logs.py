"""Events: one JSON object a line, complete, correlated, not to be forged."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from datetime import datetime, timedelta

import pytest

from companyos import observability
from companyos.observability import get_logger, start_trace

log = get_logger("made.before.setup")


def test_an_event_says_who_and_where(service):
    """Every event carries the fields that the taxonomy requires."""
    with start_trace("work") as trace, observability.bind(request_id="r-1", subject_id="u-1"):
        log.info("orders.created", action="create", resource="order/7", outcome="success", latency_ms=1.5)
    event = service.event
    when = datetime.fromisoformat(event.pop("timestamp"))
    assert when.utcoffset() == timedelta(0)
    assert event == {
        "level": "INFO",
        "severity_number": 9,
        "event": "orders.created",
        "service": "orders",
        "env": "test",
        "version": "1.2.3",
        "revision": "abc123",
        "trace_id": trace.trace_id,
        "span_id": trace.span_id,
        "correlation_id": trace.trace_id,
        "request_id": "r-1",
        "subject_id": "u-1",
        "logger": "made.before.setup",
        "action": "create",
        "resource": "order/7",
        "outcome": "success",
        "latency_ms": 1.5,
    }


REQUIRED = (
    *("timestamp", "service", "env", "trace_id", "span_id", "correlation_id", "subject_id", "action", "resource"),
    *("outcome", "latency_ms", "request_id", "version"),
)


def test_what_is_unknown_is_null(service):
    """Every required field is on every line; outside a trace there are no ids, rather than zeros."""
    log.info("started", subject_id=None)
    assert set(REQUIRED) <= set(service.event)
    unknown = {name for name in REQUIRED if service.event[name] is None}
    assert set(REQUIRED) - {"timestamp", "service", "env", "version"} == unknown


@pytest.mark.parametrize("value", [7, ["a"], {"a": 1}, True, 1.5])
def test_a_required_field_keeps_its_type(service, value):
    """What is no text stands as text where a text belongs, so that every line has the same shape."""
    log.info("x", action=value, latency_ms="slow")
    assert json.dumps(value) == service.event["action"]
    assert (None, "slow") == (service.event["latency_ms"], service.event["extra.latency_ms"])


@pytest.mark.parametrize(
    ("method", "level", "number"),
    [
        ("debug", "DEBUG", 5), ("info", "INFO", 9), ("warning", "WARN", 13), ("warn", "WARN", 13),
        ("error", "ERROR", 17), ("fatal", "FATAL", 21), ("critical", "FATAL", 21),
    ],
)  # fmt: skip
def test_levels(service, method, level, number):
    """Each method writes its level, with OpenTelemetry's number for it."""
    getattr(log, method)("x")
    assert (service.event["level"], service.event["severity_number"]) == (level, number)


@pytest.mark.parametrize(
    ("lowest", "written"),
    [("debug", 5), ("INFO", 4), ("warn", 3), ("warning", 3), ("error", 2), ("fatal", 1), ("critical", 1)],
)
def test_lowest_level(make_service, lowest, written):
    """Nothing below the level in force is written."""
    service = make_service(log_level=lowest)
    for say in (log.debug, log.info, log.warning, log.error, log.fatal):
        say("x")
    assert len(service.events) == written


@pytest.mark.parametrize(
    "environment", ["prod", "production", "canary", "staging", "Prod-eu", "device", "test-prod", "7"]
)
def test_debug_is_for_development(make_service, environment):
    """Outside development DEBUG becomes INFO, and an event says so."""
    service = make_service(environment=environment, log_level="debug")
    log.debug("detail")
    assert [event["event"] for event in service.events] == ["logging.debug_refused"]


def test_identity_cannot_be_forged(service):
    """A field with the name of an identity field is kept aside."""
    log.info("x", service="evil", trace_id="0", level="FATAL", event="other", method_name="m", timestamp="never")
    event = service.event
    assert (event["service"], event["level"], event["event"]) == ("orders", "INFO", "x")
    assert event["extra.service"] == "evil"
    assert event["extra.event"] == "other"
    assert event["method_name"] == "m"
    assert event["trace_id"] is None


def test_bound_fields(service):
    """`bind` makes a logger that carries more; the first one is unchanged."""
    child = log.bind(order="7").bind(password="hunter2")
    child.info("x")
    child.unbind("order").info("y")
    log.info("z")
    first, second, third = service.events
    assert (first["order"], first["password"]) == ("7", "[secret]")
    assert "order" not in second
    assert "password" not in third


def test_exceptions_are_told_without_their_secrets(service):
    """`exception` adds type, text and stack of the exception, masked."""
    try:
        int("pass" + "word=hunter2hunter2")
    except ValueError:
        log.exception("broken", order="7")
    event = service.event
    assert event["exception.type"] == "ValueError"
    assert event["order"] == "7"
    assert "test_logs.py" in event["exception.stacktrace"]
    assert "password=[secret]" in event["exception.message"]


@pytest.mark.parametrize("exc_info", [True, (None, None, None), None, False])
def test_no_exception_to_tell(service, exc_info):
    """Asking for an exception when there is none is no error."""
    log.error("x", exc_info=exc_info)
    assert "exception.type" not in service.event


def test_an_event_is_one_line(service):
    """Line breaks of any kind cannot make a second event."""
    log.info("x\ny", text="a\r\nb\u2028c\x00", lone="\ud800")
    assert len(service.stream.getvalue().splitlines()) == 1
    assert service.event["text"] == "a\r\nb\u2028c\x00"


def test_numbers_that_json_lacks(service):
    """Infinite numbers leave as text."""
    log.info("x", value=float("inf"), nested={"n": float("nan")})
    assert (service.event["value"], service.event["nested"]) == ("inf", {"n": "nan"})


def test_stdout_is_the_default(capsys):
    """Without a stream, and even without setup, events go to the stdout of that moment."""
    log.info("unconfigured")
    with observability.setup(service="orders"):
        log.info("configured")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["service"] for line in lines] == ["unknown_service", "orders"]


def test_a_broken_stream_breaks_nobody(make_service, monkeypatch):
    """A line that cannot be written is counted, and the caller goes on."""
    service = make_service()
    service.stream.close()
    log.info("lost")
    assert service.observability.dropped_lines == 1
    bare = make_service(stream=None)
    monkeypatch.setattr(sys, "stdout", None)
    log.info("lost")
    assert bare.observability.dropped_lines == 1


def test_lines_of_threads_do_not_mix(service):
    """Events of many threads are whole lines, all there."""
    threads = [threading.Thread(target=lambda n=n: [log.info("x", n=n, i=i) for i in range(50)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(event["n"], event["i"]) for event in service.events} == {(n, i) for n in range(8) for i in range(50)}


def test_scopes_nest_and_annotations_reach_outwards(service):
    """`bind` ends with its block; `annotate` is seen by the blocks around, from other threads too."""
    observability.annotate(lost="nobody")
    with observability.bind(request_id="r-1"):
        with observability.bind(step="inner", request_id=None):
            observability.annotate(subject_id="u-1")
            log.info("inner")
        log.info("outer")
        assert observability.current_request_id() == "r-1"
    log.info("after")
    inner, outer, after = service.events
    assert (inner["request_id"], inner["step"], inner["subject_id"]) == (None, "inner", "u-1")
    assert ("step" in outer, outer["request_id"], outer["subject_id"]) == (False, "r-1", "u-1")
    assert (after["request_id"], after["subject_id"], "lost" in after) == (None, None, False)


class UnspeakableError(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


class Lazy(dict):
    """A mapping that fails when it is read."""

    def items(self):
        raise RuntimeError("too late")


class Proxy:
    """An object that does not even tell its class, like the unbound proxies of web frameworks."""

    @property
    def __class__(self):
        raise RuntimeError("outside of a request")


HOSTILE = {
    "an exception": UnspeakableError(),
    "a huge integer": 10**5000,
    "a lazy mapping": Lazy(a=1),
    "a proxy": Proxy(),
    "a list of them": [Proxy(), Lazy(a=1), -(10**5000), UnspeakableError()],
    "a key": {UnspeakableError(): 1},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_breaks_the_caller(service, name):
    """Whatever is logged, the event is written with all its other fields."""
    log.info("x", value=HOSTILE[name], other="kept")

    assert ("x", "kept") == (service.event["event"], service.event["other"])
    assert "value" in service.event


def test_an_exception_that_cannot_be_shown_is_logged_all_the_same(service):
    """`log.exception` names its type; the caller sees nothing of it."""
    try:
        raise UnspeakableError  # noqa: TRY301 - it has to be raised to be handled
    except UnspeakableError:
        log.exception("x")

    assert service.event["exception.type"].endswith("UnspeakableError")
    assert "when shown" in service.event["exception.message"]


def test_an_event_that_cannot_be_written_says_so(service):
    """What nobody foresaw becomes an event of its own, with the name of the lost one."""

    class Odd(str):
        __slots__ = ()

        def __len__(self):
            raise RuntimeError("no length")

        def __bool__(self):
            raise RuntimeError("no truth")

    log.info("x", exc_info=Odd("y"))

    assert ("observability.failed", "x", "RuntimeError") == tuple(
        service.event[name] for name in ("event", "lost_event", "error.type")
    )


def test_a_stream_of_another_kind_costs_a_line(make_service):
    """A stream that raises something of its own is counted, not passed on."""

    class Stream:
        def write(self, text):
            raise RuntimeError("broken")

    service = make_service(stream=Stream())
    observability.get_logger("x").info("y")

    assert 1 == service.observability.dropped_lines


FLOODS = {
    "long texts": [["a" * 8000] * 100] * 100,
    "nothing, deeply": [[[[[[None] * 100] * 100] * 100] * 100] * 100] * 100,
    "escaped characters": ["\u0001\U0001f600" * 4000] * 100,
    "numbers": [[2**1000, 0.1] * 50] * 100,
    "long keys": {f"{n}{'k' * 4000}": n for n in range(100)},
    "masked texts": [f"pass{'word'}={'x' * 500} " * 16] * 100,
}


@pytest.mark.parametrize("name", FLOODS)
def test_one_event_has_one_budget(service, name):
    """However values nest, an event stays below 66 KiB, says that it was cut, and keeps its exception."""
    log.error("x", flood=FLOODS[name], exc_info=ValueError("why"))

    assert len(service.stream.getvalue()) < 66 * 1024
    assert "why" == service.event["exception.message"]
    assert " more" in service.stream.getvalue()


def test_many_fields_share_the_budget(service):
    """Fields that do not fit are counted."""
    log.info("x", **{f"field_{n}": "a" * 8000 for n in range(20)})

    assert len(service.stream.getvalue()) < 66 * 1024
    assert service.event["..."].endswith(" more")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("o-7",), "order o-7 is late"),
        (({"a": 1},), "order {'a': 1} is late"),
        (("a", "b"), "order %s is late ('a', 'b')"),
        (("password=hunter2",), "order password=[secret] is late"),
    ],
)
def test_arguments_as_logging_has_them_are_formatted(service, arguments, message):
    """Whoever writes as with the standard library gets a message, masked like any text, and never an error."""
    log.info("order %s is late", *arguments)

    assert (service.event["event"], service.event["message"]) == ("order %s is late", message)


class Slow(io.RawIOBase):
    """A stream that takes a while for each line."""

    def writable(self):
        return True

    def write(self, data):
        time.sleep(0.002)
        return len(data)


def test_a_signals_handler_may_log(make_service, monkeypatch):
    """A handler that logs while its own thread is writing does not wait for itself."""
    make_service(stream=Slow())
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(log.info("signal")))
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.005)
    try:
        while len(handled) < 3:
            log.info("line")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_forked_process_may_log_whoever_was_writing(make_service):
    """A child does not wait for a thread that only its parent has."""
    make_service(stream=Slow())
    stop = threading.Event()

    def write():
        while not stop.is_set():
            log.info("line")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            child = os.fork()
            if not child:
                signal.alarm(20)
                log.info("child")
                os._exit(0)
            assert 0 == os.waitpid(child, 0)[1]
    finally:
        stop.set()
        writer.join()
