"""`setup()`: who this service is and where its signals go; undone by `shutdown()`.

Nothing happens on import. Until `setup()` is called, logs go to stdout as those of `unknown_service`.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from companyos._extras import require
from companyos.errors import MissingExtraError, UnverifiableError
from companyos.observability.errors import SetupError
from companyos.observability.redaction import INTERNAL_HOSTS, Redactor
from companyos.observability.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from companyos.observability._sdk import Recorder
    from companyos.observability.lines import PlainNames
    from companyos.observability.records import MetricPoint, SpanRecord
    from companyos.observability.sink import Stream

__all__ = ("Identity", "Observability", "current", "setup")

Exporter = Literal["none", "console", "otlp"]

LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARN",
    "warn": "WARN",
    "error": "ERROR",
    "fatal": "FATAL",
    "critical": "FATAL",
}
ORDER = {"DEBUG": 0, "INFO": 1, "WARN": 2, "ERROR": 3, "FATAL": 4}
EXPORTERS = ("none", "console", "otlp")
DEVELOPMENT = frozenset({"dev", "devel", "development", "local", "test", "testing", "ci", "preview", "sandbox"})
"""Environments in which DEBUG is written; what follows a `-` or a digit does not matter (`dev-2`, `preview-17`)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who produces the signals."""

    service: str
    """`service.name`."""
    version: str
    """`service.version`."""
    environment: str
    """`deployment.environment.name`: `dev`, `staging`, `prod`, ..."""
    revision: str | None = None
    """`vcs.ref.head.revision`: the commit it was built from, so that an error's trace leads to its commit."""

    def fields(self) -> dict[str, str]:
        """As every log event carries it."""
        values = {"service": self.service, "env": self.environment, "version": self.version}
        return {**values, "revision": self.revision} if self.revision else values

    def attributes(self) -> dict[str, str]:
        """As resource attributes of spans and metrics (OpenTelemetry resource conventions)."""
        values = {
            "service.name": self.service,
            "service.version": self.version,
            "deployment.environment.name": self.environment,
        }
        return {**values, "vcs.ref.head.revision": self.revision} if self.revision else values


class Observability:
    """The signals of one service, in force from `setup()` until `shutdown()`; also usable in a `with`."""

    def __init__(
        self, identity: Identity, *, level: str, stream: Stream | None, redactor: Redactor, recorder: Recorder | None
    ) -> None:
        self.identity: Identity = identity
        """Who produces the signals."""
        self.level: str = level
        """Lowest level that is written: DEBUG, INFO, WARN, ERROR or FATAL."""
        self.redactor: Redactor = redactor
        """What masks secrets."""
        self.recorder: Recorder | None = recorder
        """What records spans and metrics; None without the extra, or when OTEL_SDK_DISABLED is true."""
        self.rank: int = ORDER[level]
        self.fields: dict[str, str] = identity.fields()
        self._sink = Sink(stream)
        self.write: Callable[[bytes], None] = self._sink.write
        """Write one log line, ASCII without its end; a stream that fails costs a line, never the caller's work."""

    @property
    def dropped_lines(self) -> int:
        """Log lines that could not be written: the stream was closed, or full."""
        return self._sink.dropped

    @cached_property
    def names(self) -> PlainNames:
        """Names that are written as they are, filled by `lines`."""
        from companyos.observability.lines import PlainNames

        return PlainNames(self.redactor)

    @cached_property
    def heads(self) -> dict[str, dict[str, Any]]:
        """What all lines of a level have in common."""
        from companyos.observability.lines import template

        return {level: template(level, self.fields) for level in ORDER}

    def spans(self, *, trace_id: str | None = None) -> list[SpanRecord]:
        """The latest finished spans, oldest first; only those of one trace if `trace_id` is given.

        Raises:
            MissingExtraError: spans are not recorded, because the extra is not installed.
            UnverifiableError: they are not recorded, because OTEL_SDK_DISABLED is set.
        """
        return [span for span in self._recording().spans() if trace_id in {None, span.trace_id}]

    def metrics(self, name: str | None = None) -> list[MetricPoint]:
        """The present state of every metric, or of one by its own or its playbook name.

        Raises:
            MissingExtraError: metrics are not recorded, because the extra is not installed.
            UnverifiableError: they are not recorded, because OTEL_SDK_DISABLED is set.
        """
        from companyos.observability.meters import select

        return select(self._recording().points(), name)

    def flush(self, timeout_seconds: float = 10) -> bool:
        """Export what is waiting; False if that was not possible in time."""
        return self.recorder is None or self.recorder.flush(timeout_seconds)

    def shutdown(self) -> None:
        """Export what is waiting and step back; what was in force before is in force again. Safe to repeat."""
        with _lock:
            if self not in in_force:
                return
            in_force.remove(self)
        if self.recorder is not None:
            self.recorder.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def _recording(self) -> Recorder:
        if self.recorder is not None:
            return self.recorder
        require("opentelemetry.sdk", extra="observability")
        raise UnverifiableError(
            "spans and metrics are not recorded",
            got="OTEL_SDK_DISABLED is true, or setup() was not called",
            hint="call companyos.observability.setup(...) without OTEL_SDK_DISABLED",
        )


def setup(
    *,
    service: str,
    version: str = "0.0.0",
    environment: str = "dev",
    exporter: Exporter = "none",
    otlp_endpoint: str = "http://localhost:4318",
    log_level: str = "info",
    stream: Stream | None = None,
    revision: str | None = None,
    redact: Iterable[str] = (),
    redact_hosts: Iterable[str] = INTERNAL_HOSTS,
    redaction_key: str | bytes | None = None,
    keep_spans: int = 2048,
) -> Observability:
    """Say who this service is and where its signals go, from now until `shutdown()`.

    Logs go to `stream` (default: stdout as it is when a line is written). Spans and metrics are kept in memory for
    `spans()` (the latest `keep_spans`) and `metrics()`, and with `exporter` `console` or `otlp` also written to
    stderr or sent by OTLP/HTTP to `otlp_endpoint`. `revision` is the commit (default: the environment variable
    `COMPANYOS_REVISION`); `redact` are words to withhold everywhere, such as tenant names, and `redact_hosts` names of
    hosts, or of all below a domain (`*.internal`). `redaction_key` is what personal data are hashed with (default: the
    environment variable `COMPANYOS_REDACTION_KEY`; else a random one, and a WARN event says so when it is first used).

    DEBUG is for development: in other environments, such as `prod`, it is raised to INFO, and a WARN event says so.

    Raises:
        SetupError: an argument cannot be used.
        MissingExtraError: an exporter is asked for and the extra `[observability]` is not installed.
    """
    level = _level(log_level)
    if exporter not in EXPORTERS:
        raise SetupError("no such exporter", got=exporter, expected=", ".join(EXPORTERS))
    for name, value in (("service", service), ("version", version), ("environment", environment)):
        if not value.strip():
            raise SetupError(f"{name} is empty", got=repr(value), hint=f"pass {name}=...")
    too_chatty = level == "DEBUG" and re.split(r"[^a-z]", environment.lower())[0] not in DEVELOPMENT
    identity = Identity(service, version, environment, revision or os.environ.get("COMPANYOS_REVISION") or None)
    observability = Observability(
        identity,
        level="INFO" if too_chatty else level,
        stream=stream,
        redactor=Redactor(redact, hosts=redact_hosts, key=_key(redaction_key)),
        recorder=_recorder(identity, exporter, otlp_endpoint, keep_spans),
    )
    observability.redactor.hashed.announce = _say_that_the_key_is_random
    with _lock:
        in_force.append(observability)
    if too_chatty:
        from companyos.observability.logs import get_logger

        get_logger(__name__).warning("logging.debug_refused", reason="DEBUG is for development", level="INFO")
    return observability


def current() -> Observability:
    """What is in force: the latest `setup()` that was not shut down, else a plain default."""
    return in_force[-1]


def _key(given: str | bytes | None) -> bytes | None:
    key = given if given is not None else os.environ.get("COMPANYOS_REDACTION_KEY") or None
    return key.encode() if isinstance(key, str) else key


def _say_that_the_key_is_random() -> None:
    from companyos.observability.logs import get_logger

    get_logger(__name__).warning(
        "redaction.key_missing",
        reason="hashes of personal data hold for this process only",
        hint="give redaction_key, or set the variable COMPANYOS_REDACTION_KEY",
    )


def _level(text: str) -> str:
    level = LEVELS.get(text.lower())
    if level is None:
        raise SetupError("no such log level", got=text, expected=", ".join(LEVELS))
    return level


def _recorder(identity: Identity, exporter: Exporter, endpoint: str, keep_spans: int) -> Recorder | None:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        require("opentelemetry.sdk", extra="observability")
        if exporter == "otlp":
            require("opentelemetry.exporter.otlp.proto.http", extra="observability")
    except MissingExtraError:
        if exporter == "none":
            return None
        raise
    from companyos.observability._sdk import Recorder

    return Recorder(identity.attributes(), exporter=exporter, endpoint=endpoint, keep_spans=keep_spans)


_lock = threading.Lock()
in_force: list[Observability] = [
    Observability(
        Identity("unknown_service", "0.0.0", "dev"), level="INFO", stream=None, redactor=Redactor(), recorder=None
    )
]
"""The last one is in force; logging reads it directly, because it does so for every event that it leaves out."""
