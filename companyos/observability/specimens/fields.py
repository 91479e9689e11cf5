"""The control OBS-FIELDS: lines of the real logger, as they are, and with something taken from them or put in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from companyos.controls import Control, Specimen
from companyos.decision import Severity
from companyos.observability.lines import line_schema
from companyos.observability.logfile import FIELD_RULES, check_fields
from companyos.observability.logs import get_logger
from companyos.observability.scope import bind
from companyos.observability.specimens._quiet import observed
from companyos.observability.tracing import start_trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from companyos.decision import Decision

__all__ = ("ID", "check", "fields_control")

ID = "OBS-FIELDS"


def check(path: Path) -> Decision:
    """Does every line of this log have its fields?"""
    with path.open("rb") as lines:
        return check_fields(lines, path.name)


def fields_control() -> Control:
    """The control over the fields of log lines."""
    return Control(
        id=ID,
        title="Log lines without their fields, at a wrong level, or not one JSON object",
        check=check,
        rules=FIELD_RULES,
        specimens=tuple(_specimens()),
        docs="observability.md",
        subject="log",
        severity=Severity.MEDIUM,
    )


def _logged(work: Callable[[], None] | None = None, **options: Any) -> str:
    """What the real logger writes."""
    with observed(**options) as (_, stream):
        (work or _ordinary)()
        return stream.getvalue()


def _ordinary() -> None:
    with start_trace("specimen"), bind(request_id="r-1", subject_id="u-1"):
        get_logger("specimen").info("orders.created", action="create", resource="order/7", outcome="success")


def _every_level() -> None:
    log = get_logger("specimen")
    for method in ("debug", "info", "warning", "error", "fatal"):
        getattr(log, method)(f"specimen.{method}")
    try:
        int("seven")
    except ValueError:
        log.exception("specimen.failed", latency_ms=1.5)


def _hostile() -> None:
    log = get_logger("specimen")
    log.info(
        "two\nlines", timestamp="never", level="TRACE", latency_ms="soon", trace_id=7, nan=float("nan"), of=object()
    )
    log.info("deep", value=[[[[[[[[[[1]]]]]]]]]], big=10**400, text="x" * 100_000)


def _file(text: Callable[[], str]) -> Callable[[Path], Path]:
    def build(scratch: Path) -> Path:
        path = scratch / "service.log"
        path.write_text(text(), encoding="utf-8")
        return path

    return build


def _changed(**changes: Any) -> Callable[[], str]:
    return lambda: json.dumps({**json.loads(_logged()), **changes}) + "\n"


def _without(name: str) -> Callable[[], str]:
    def text() -> str:
        line = json.loads(_logged())
        del line[name]
        return _logged() + json.dumps(line) + "\n" + _logged()

    return text


def _rewritten(change: Callable[[str], str]) -> Callable[[], str]:
    return lambda: change(_logged())


def _debug_in(environment: str) -> Callable[[], str]:
    def text() -> str:
        line = json.loads(_logged(lambda: get_logger().debug("x"), log_level="debug", environment="dev"))
        return json.dumps({**line, "env": environment}) + "\n"

    return text


_WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("a level of another library", "level", {"level": "WARNING"}),
    ("a level in small letters", "level", {"level": "info"}),
    ("a sixth level", "level", {"level": "NOTICE", "severity_number": 10}),
    ("a severity number of another level", "level", {"severity_number": 17}),
    ("a severity number of another scale", "level", {"severity_number": 20}),
    ("an error that is said to be information", "level", {"level": "ERROR"}),
    ("a local time", "type", {"timestamp": "2026-03-01T12:00:00.000000+01:00"}),
    ("a time in seconds since 1970", "type", {"timestamp": 1772366400}),
    ("a time to the second", "type", {"timestamp": "2026-03-01T12:00:00Z"}),
    ("a trace id in capitals", "type", {"trace_id": "A" * 32}),
    ("a trace id of 16 digits", "type", {"trace_id": "a" * 16}),
    ("a span id that is a number", "type", {"span_id": 7}),
    ("a latency in words", "type", {"latency_ms": "12 ms"}),
    ("an empty service", "type", {"service": ""}),
    ("no environment", "type", {"env": None}),
    ("a subject that is an object", "type", {"subject_id": {"id": "u-1"}}),
    ("an outcome that is a flag", "type", {"outcome": True}),
    ("a trace without a span", "trace", {"span_id": None}),
    ("a span without a trace", "trace", {"trace_id": None}),
]


def _specimens() -> list[Specimen]:
    required = line_schema()["required"]
    found = [Specimen(f"a line without {name}", _file(_without(name)), f"{ID}.missing") for name in required]
    found += [Specimen(name, _file(_changed(**change)), f"{ID}.{rule}") for name, rule, change in _WRONG]
    texts: list[tuple[str, Callable[[], str], str]] = [
        ("a line of text", lambda: _logged() + "orders created\n", "json"),
        ("an empty line", lambda: _logged() + "\n" + _logged(), "json"),
        ("a line that was cut off", _rewritten(lambda line: line[: len(line) // 2] + "\n"), "json"),
        ("two events in one line", _rewritten(lambda line: line.rstrip("\n") + line), "json"),
        ("a list", lambda: "[1]\n", "json"),
        ("a key twice", _rewritten(lambda line: '{"event":"x",' + line[1:]), "json"),
        ("a number that JSON does not have", _rewritten(lambda line: '{"n":NaN,' + line[1:]), "json"),
        (
            "an object over several lines",
            _rewritten(lambda line: json.dumps(json.loads(line), indent=1) + "\n"),
            "json",
        ),
        *(
            (f"DEBUG in {name}", _debug_in(name), "debug")
            for name in ("prod", "production", "staging", "prod-2", "canary")
        ),
    ]
    found += [Specimen(name, _file(text), f"{ID}.{rule}") for name, text, rule in texts]
    clean: list[tuple[str, Callable[[], str]]] = [
        ("a line inside a span", _logged),
        ("every level in development", lambda: _logged(_every_level, log_level="debug", environment="dev")),
        (
            "every level in production, where DEBUG was asked for",
            lambda: _logged(_every_level, log_level="debug", environment="prod"),
        ),
        ("fields that try to break the line", lambda: _logged(_hostile)),
        ("a line without the SDK", _without_sdk),
    ]
    return found + [Specimen(name, _file(text)) for name, text in clean]


def _without_sdk() -> str:
    with observed({"OTEL_SDK_DISABLED": "true"}) as (_, stream):
        _ordinary()
        return stream.getvalue()
