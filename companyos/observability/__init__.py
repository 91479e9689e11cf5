"""Traces, structured logs and metrics, correlated, with secrets masked.

    from companyos import observability

    with observability.setup(service="orders", version="1.0.0", env="dev"):
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
    from companyos.observability.consuming import consumer
    from companyos.observability.dependencies import Call, database_call, http_call, observe_engine, observed_transport
    from companyos.observability.errors import ClassificationError, MetricError, SetupError
    from companyos.observability.events import Event
    from companyos.observability.exposition import MetricsApp, metrics_text
    from companyos.observability.lines import line_schema
    from companyos.observability.logs import Logger, get_logger
    from companyos.observability.meters import Metrics, Timer, metrics
    from companyos.observability.propagation import carry, outgoing_event_attributes, outgoing_headers
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
        start_trace,
    )

__all__ = (
    "ALIASES",
    "ASGIMiddleware",
    "AuditTrail",
    "Call",
    "Classification",
    "ClassificationError",
    "Classified",
    "Event",
    "Identity",
    "Logger",
    "MetricError",
    "MetricPoint",
    "Metrics",
    "MetricsApp",
    "Observability",
    "Redactor",
    "SetupError",
    "SpanRecord",
    "Timer",
    "Trace",
    "annotate",
    "bind",
    "capture_stdlib_logging",
    "carry",
    "classified",
    "consumer",
    "current",
    "current_correlation_id",
    "current_fields",
    "current_request_id",
    "current_span_id",
    "current_trace_id",
    "database_call",
    "get_logger",
    "http_call",
    "line_schema",
    "metrics",
    "metrics_text",
    "non_sensitive",
    "observe_engine",
    "observed_transport",
    "outgoing_event_attributes",
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
    "consuming": ("consumer",),
    "dependencies": ("Call", "database_call", "http_call", "observe_engine", "observed_transport"),
    "errors": ("ClassificationError", "MetricError", "SetupError"),
    "events": ("Event",),
    "exposition": ("MetricsApp", "metrics_text"),
    "lines": ("line_schema",),
    "logs": ("Logger", "get_logger"),
    "meters": ("Metrics", "Timer", "metrics"),
    "propagation": ("carry", "outgoing_event_attributes", "outgoing_headers"),
    "records": ("MetricPoint", "SpanRecord"),
    "redaction": ("Redactor",),
    "runtime": ("Identity", "Observability", "current", "setup"),
    "scope": ("annotate", "bind", "current_correlation_id", "current_fields", "current_request_id"),
    "semconv": ("ALIASES",),
    "tracing": ("Trace", "current_span_id", "current_trace_id", "start_trace"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
