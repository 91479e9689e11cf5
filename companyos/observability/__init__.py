"""Traces, structured logs and metrics, correlated, with secrets masked.

    from companyos import observability

    with observability.setup(service="orders", version="1.0.0", environment="dev"):
        log = observability.get_logger(__name__)
        with observability.start_trace("fetch_orders"):
            log.info("fetch_orders.start", subject_id="u-1")

Names load on first use: `structlog` and OpenTelemetry cost tens of milliseconds to import.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.observability.asgi import ASGIMiddleware
    from companyos.observability.audit import AuditTrail
    from companyos.observability.bridge import capture_stdlib_logging, serve_global_tracer
    from companyos.observability.classification import (
        Classification,
        Classified,
        classified,
        non_sensitive,
        pii,
        restricted,
        secret,
        sensitive,
        telemetry,
    )
    from companyos.observability.errors import ClassificationError, MetricError, SetupError
    from companyos.observability.events import Event
    from companyos.observability.lines import line_schema
    from companyos.observability.logs import Logger, get_logger
    from companyos.observability.meters import Metrics, Timer, metrics
    from companyos.observability.records import MetricPoint, SpanRecord
    from companyos.observability.redaction import Redactor
    from companyos.observability.runtime import Identity, Observability, current, setup
    from companyos.observability.scope import (
        annotate,
        bind,
        current_correlation_id,
        current_fields,
        current_request_id,
    )
    from companyos.observability.semconv import ALIASES
    from companyos.observability.tracing import (
        Trace,
        current_span_id,
        current_trace_id,
        outgoing_headers,
        start_trace,
    )

__all__ = (
    "ALIASES",
    "ASGIMiddleware",
    "AuditTrail",
    "Classification",
    "ClassificationError",
    "Classified",
    "Event",
    "Identity",
    "Logger",
    "MetricError",
    "MetricPoint",
    "Metrics",
    "Observability",
    "Redactor",
    "SetupError",
    "SpanRecord",
    "Timer",
    "Trace",
    "annotate",
    "bind",
    "capture_stdlib_logging",
    "classified",
    "current",
    "current_correlation_id",
    "current_fields",
    "current_request_id",
    "current_span_id",
    "current_trace_id",
    "get_logger",
    "line_schema",
    "metrics",
    "non_sensitive",
    "outgoing_headers",
    "pii",
    "restricted",
    "secret",
    "sensitive",
    "serve_global_tracer",
    "setup",
    "start_trace",
    "telemetry",
)

_HOMES = {
    "asgi": ("ASGIMiddleware",),
    "audit": ("AuditTrail",),
    "bridge": ("capture_stdlib_logging", "serve_global_tracer"),
    "classification": (
        *("Classification", "Classified", "classified"),
        *("non_sensitive", "pii", "restricted", "secret", "sensitive", "telemetry"),
    ),
    "errors": ("ClassificationError", "MetricError", "SetupError"),
    "events": ("Event",),
    "lines": ("line_schema",),
    "logs": ("Logger", "get_logger"),
    "meters": ("Metrics", "Timer", "metrics"),
    "records": ("MetricPoint", "SpanRecord"),
    "redaction": ("Redactor",),
    "runtime": ("Identity", "Observability", "current", "setup"),
    "scope": ("annotate", "bind", "current_correlation_id", "current_fields", "current_request_id"),
    "semconv": ("ALIASES",),
    "tracing": ("Trace", "current_span_id", "current_trace_id", "outgoing_headers", "start_trace"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
