"""`setup()`: who this service is and where its signals go; undone by `shutdown()`.

Nothing happens on import. Until `setup()` is called, logs go to stdout as those of `unknown_service`.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from companyos._version import __version__
from companyos.errors import UnverifiableError
from companyos.observability import otel_env
from companyos.observability.errors import SetupError
from companyos.observability.redaction import INTERNAL_HOSTS, Redactor
from companyos.observability.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from companyos.observability.access import Frame
    from companyos.observability.lines import PlainNames
    from companyos.observability.recorder import Recorder
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

PRODUCTION = frozenset({"prod", "production", "live"})
"""Words that an environment of development does not have, wherever they stand (`test-prod`)."""


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
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "companyos",
            "telemetry.sdk.version": __version__,
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
        """What records spans and metrics; None when OTEL_SDK_DISABLED is true."""
        self.propagators: frozenset[str] = otel_env.Settings().propagators
        """What is taken from headers and put into them: `tracecontext`, `baggage`."""
        self.made_from: tuple[Any, ...] | None = None
        """What `setup()` was called with, to tell whether it is called so again."""
        self.rank: int = ORDER[level]
        self.fields: dict[str, str] = identity.fields()
        self.frames: dict[tuple[str, str, int | None], Frame | None] = {}
        """What lines of requests that are alike have in common, kept by `access`."""
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
            UnverifiableError: they are not recorded, because OTEL_SDK_DISABLED is set.
        """
        return [span for span in self._recording().spans() if trace_id in {None, span.trace_id}]

    def metrics(self, name: str | None = None) -> list[MetricPoint]:
        """The present state of every metric, or of one by its own or its playbook name.

        Raises:
            UnverifiableError: they are not recorded, because OTEL_SDK_DISABLED is set.
        """
        from companyos.observability.meters import select

        return select(self._recording().points(), name)

    def flush(self, timeout_seconds: float = 10) -> bool:
        """Export what is waiting; False if that was not possible, or not in time."""
        return self.recorder is None or self.recorder.flush(timeout_seconds)

    def shutdown(self, timeout_seconds: float = 5) -> bool:
        """Export what is waiting and step back; what was in force before is in force again. Safe to repeat.

        An exporter that hangs is waited for no longer than `timeout_seconds`; False if something could not be exported.
        """
        with _lock:
            if self not in in_force:
                return True
        # While still in force, so that what it has to say about its end is said in its own name.
        whole = self.recorder is None or self.recorder.shutdown(timeout_seconds)
        with _lock:
            if self in in_force:
                in_force.remove(self)
        return whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def _recording(self) -> Recorder:
        if self.recorder is not None:
            return self.recorder
        raise UnverifiableError(
            "spans and metrics are not recorded",
            got="OTEL_SDK_DISABLED is true, or setup() was not called",
            hint="call companyos.observability.setup(...) without OTEL_SDK_DISABLED",
        )


def setup(
    service: str | None = None,
    env: str | None = None,
    version: str | None = None,
    *,
    environment: str | None = None,
    exporter: Exporter | None = None,
    otlp_endpoint: str | None = None,
    log_level: str = "info",
    stream: Stream | None = None,
    revision: str | None = None,
    redact: Iterable[str] = (),
    redact_hosts: Iterable[str] = INTERNAL_HOSTS,
    redaction_key: str | bytes | None = None,
    keep_spans: int = 2048,
    max_series: int = 2000,
    sample_ratio: float | None = None,
) -> Observability:
    """Say who this service is and where its signals go, from now until `shutdown()`.

    Called again with the same arguments (and `OTEL_*` variables) it returns what is in force; with others, what it
    returns is in force instead, until its own shutdown. `environment` is another spelling of `env`.

    Logs go to `stream` (default: stdout as it is when a line is written). Spans and metrics are kept in memory for
    `spans()` (the latest `keep_spans`) and `metrics()` (at most `max_series` series a metric), and with `exporter`
    `console` or `otlp` also written to stderr or sent by OTLP/HTTP to `otlp_endpoint`. `sample_ratio` is the share of
    traces that is recorded, 0 to 1, where no parent has decided. `revision` is the commit (default: the environment
    variable `COMPANYOS_REVISION`); `redact` are words to withhold everywhere, such as tenant names, and `redact_hosts`
    names of hosts, or of all below a domain (`*.internal`). `redaction_key` is what personal data are hashed with
    (default: the variable `COMPANYOS_REDACTION_KEY`; else a random one, which a WARN event says when it is first used).

    What is not said here is taken from the `OTEL_*` variables, else: `env` is `dev`, `version` `0.0.0`, and nothing is
    exported. What cannot be followed among the variables is named in a WARN event.

    DEBUG is for development: elsewhere, in `prod` for example, it is raised to INFO, and a WARN event says so.

    Raises:
        SetupError: an argument cannot be used.
        MissingExtraError: an exporter is asked for and the extra `[observability]` is not installed.
    """
    if environment is not None and env not in {None, environment}:
        raise SetupError("env and environment contradict each other", got=f"{env} and {environment}")
    env, words, hosts = environment if env is None else env, tuple(redact), tuple(redact_hosts)
    recording = (exporter, otlp_endpoint, keep_spans, max_series, sample_ratio)
    said = (service, env, version, revision, log_level, stream, words, hosts, redaction_key, *recording)
    if current().made_from == (said, otel_env.relevant()):
        return current()
    settings = otel_env.read()
    redactor = Redactor(words, hosts=hosts, key=_key(redaction_key))
    identity = _identity(service, env, version, revision, settings)
    observability = _observability(identity, log_level, stream, redactor, settings)
    observability.made_from = (said, otel_env.relevant())
    observability.recorder = _recorder(observability, settings, *recording)
    with _lock:
        in_force.append(observability)
    if observability.rank > ORDER[_level(log_level)]:
        _warn("logging.debug_refused", reason="DEBUG is for development", level="INFO")
    for name, value in settings.ignored:
        _warn("observability.setting_ignored", action="setup", setting=name, got=value)
    return observability


def _observability(
    identity: Identity, log_level: str, stream: Stream | None, redactor: Redactor, settings: otel_env.Settings
) -> Observability:
    level = _level(log_level)
    words = re.findall(r"[a-z]+", identity.environment.lower())
    is_development = bool(words) and words[0] in DEVELOPMENT and PRODUCTION.isdisjoint(words)
    if level == "DEBUG" and not is_development:
        level = "INFO"
    made = Observability(identity, level=level, stream=stream, redactor=redactor, recorder=None)
    made.propagators = settings.propagators
    redactor.hashed.announce = _say_that_the_key_is_random
    return made


def _identity(
    service: str | None, env: str | None, version: str | None, revision: str | None, settings: otel_env.Settings
) -> Identity:
    # What is said in code goes before the variables (resource SDK specification, "Specifying resource information").
    said = settings.resource
    if service is None and "service.name" not in said:
        raise SetupError("the service has no name", hint='pass service="...", or set OTEL_SERVICE_NAME')
    named = {
        "service": said.get("service.name", "") if service is None else service,
        "version": said.get("service.version", "0.0.0") if version is None else version,
        "env": said.get("deployment.environment.name", "dev") if env is None else env,
    }
    for name, value in named.items():
        if not value.strip():
            raise SetupError(f"{name} is empty", got=repr(value), hint=f"pass {name}=...")
    revision = revision or os.environ.get("COMPANYOS_REVISION") or said.get("vcs.ref.head.revision")
    return Identity(named["service"], named["version"], named["env"], revision or None)


def _recorder(  # noqa: PLR0917 - what setup() was given, in its order
    of: Observability,
    settings: otel_env.Settings,
    exporter: Exporter | None,
    endpoint: str | None,
    keep_spans: int,
    max_series: int,
    sample_ratio: float | None,
) -> Recorder | None:
    from companyos.observability.recorder import Recorder

    if exporter is not None and exporter not in EXPORTERS:
        raise SetupError("no such exporter", got=exporter, expected=", ".join(EXPORTERS))
    if max_series < 2:
        raise SetupError("max_series leaves no room", got=max_series, expected="2 or more")
    if sample_ratio is not None:
        if not 0 <= sample_ratio <= 1:
            raise SetupError("sample_ratio is no share", got=sample_ratio, expected="0 to 1")
        settings = replace(settings, sampling=otel_env.Sampling.ratio(sample_ratio))
    if settings.disabled:
        return None
    said = {key: of.redactor.field(key, value) for key, value in settings.resource.items()}
    recorder = Recorder(
        {**said, **of.identity.attributes()},
        settings=settings,
        redactor=of.redactor,
        keep_spans=keep_spans,
        max_series=max_series,
        warn=_warn,
    )
    recorder.export(
        traces=exporter or settings.traces_exporter or "none",
        metrics=exporter or settings.metrics_exporter or "none",
        endpoint=endpoint,
    )
    return recorder


def _warn(event: str, **fields: Any) -> None:
    from companyos.observability.logs import get_logger

    get_logger("companyos.observability").warning(event, **fields)


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


_lock = threading.Lock()
in_force: list[Observability] = [
    Observability(
        Identity("unknown_service", "0.0.0", "dev"), level="INFO", stream=None, redactor=Redactor(), recorder=None
    )
]
"""The last one is in force; logging reads it directly, because it does so for every event that it leaves out."""
