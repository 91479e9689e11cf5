"""What others say joins in: spans of instrumented libraries, and events of the standard library's `logging`."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from opentelemetry import trace

from companyos.observability.logs import get_logger
from companyos.observability.redaction import as_text
from companyos.observability.runtime import current

__all__ = ("StdlibHandler", "capture_stdlib_logging", "serve_global_tracer")


class StdlibHandler(logging.Handler):
    """Turns a record of the standard library's `logging` into one of our events, masked like any other."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; its text becomes the field `message`."""
        try:
            text = record.getMessage()
        except Exception as error:  # noqa: BLE001 - the caller's format string is wrong; what it wanted to say is kept
            text = f"{as_text(record.msg)} ({type(error).__name__} when formatted)"
        log = get_logger(record.name)
        say = {0: log.debug, 1: log.debug, 2: log.info, 3: log.warning, 4: log.error}.get(
            record.levelno // 10, log.fatal
        )
        say("log.message", message=text, exc_info=record.exc_info)


def capture_stdlib_logging(*names: str, level: int = logging.INFO) -> ExitStack:
    """Let the loggers `names` (default: the root logger) write our events in place of their own lines, from now on.

    Loggers below them that have handlers of their own, such as `uvicorn.access` below `uvicorn`, do so too. What is
    returned puts everything back when it is closed, or at the end of a `with`.
    """
    loggers = [logging.getLogger(name) for name in names or ("",)]
    below = [it for name in names or ("",) for it in _with_handlers(name) if it not in loggers]
    stack = ExitStack()
    handler = StdlibHandler()
    for logger in (*loggers, *below):
        stack.callback(_restore, logger, logger.handlers[:], logger.level, logger.propagate)
        logger.handlers[:] = [] if logger in below else [handler]
        logger.propagate = logger in below
    for logger in loggers:
        logger.setLevel(level)
    return stack


def _with_handlers(name: str) -> list[logging.Logger]:
    """The loggers below `name` that would write lines of their own."""
    known = logging.root.manager.loggerDict.items()
    prefix = f"{name}." if name else ""
    return [it for key, it in known if key.startswith(prefix) and isinstance(it, logging.Logger) and it.handlers]


def _restore(logger: logging.Logger, handlers: list[logging.Handler], level: int, propagate: bool) -> None:
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def serve_global_tracer() -> bool:
    """Let libraries that trace through OpenTelemetry's global provider record into whatever `setup()` is in force.

    Returns False if somebody else has already set a global provider; that one is left alone.
    """
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(_InForce())
    return isinstance(trace.get_tracer_provider(), _InForce)


class _InForce(trace.TracerProvider):
    """OpenTelemetry takes a global provider only once in a process: this one asks at every span whose turn it is."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return _InForceTracer(args, kwargs)


class _InForceTracer(trace.Tracer):
    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._args = args
        self._kwargs = kwargs

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)

    def _tracer(self) -> trace.Tracer:
        recorder = current().recorder
        if recorder is None:
            return trace.NoOpTracer()
        return recorder.tracer_provider.get_tracer(*self._args, **self._kwargs)
