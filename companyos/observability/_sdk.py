"""The OpenTelemetry SDK behind our interface: it records, keeps the latest in memory, and exports."""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from companyos._extras import require

require("opentelemetry.sdk", extra="observability")

from opentelemetry import trace  # noqa: E402 - the line above says what to install when these are missing
from opentelemetry.sdk import metrics as sdk_metrics  # noqa: E402
from opentelemetry.sdk.metrics import export as sdk_metrics_export  # noqa: E402
from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import (  # noqa: E402
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)

from companyos._version import __version__  # noqa: E402
from companyos.observability.records import MetricPoint, SpanRecord  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("Recorder",)

SCOPE = "companyos"
EXPORT_TIMEOUT_SECONDS = 5
"""How long one export may take; also bounds how long a shutdown waits for a collector that is gone."""
_REACHES = {"console", "otlp"}


class Recorder:
    """Providers of tracers and meters, with what they recorded."""

    def __init__(self, attributes: Mapping[str, str], *, exporter: str, endpoint: str, keep_spans: int) -> None:
        resource = Resource.create(dict(attributes))
        self._finished: deque[ReadableSpan] = deque(maxlen=keep_spans)
        self._reader = sdk_metrics_export.InMemoryMetricReader()
        self._read_lock = threading.Lock()
        self.tracer_provider: TracerProvider = TracerProvider(resource=resource)
        """For instrumentation that wants a provider handed to it."""
        self.tracer_provider.add_span_processor(_Keeper(self._finished))
        if exporter in _REACHES:
            self.tracer_provider.add_span_processor(_span_exporter(exporter, endpoint))
        readers = [self._reader, *([_metric_exporter(exporter, endpoint)] if exporter in _REACHES else [])]
        self.meter_provider: sdk_metrics.MeterProvider = sdk_metrics.MeterProvider(readers, resource)
        """For instrumentation that wants a provider handed to it."""
        self.tracer: trace.Tracer = self.tracer_provider.get_tracer(SCOPE, __version__)
        self.meter: Any = self.meter_provider.get_meter(SCOPE, __version__)
        self.instruments: dict[str, tuple[str, Any]] = {}
        """Kind and instrument by name, filled by `meters`."""

    def spans(self) -> list[SpanRecord]:
        """The latest finished spans, oldest first."""
        return [_span_record(span) for span in tuple(self._finished)]

    def points(self) -> list[MetricPoint]:
        """The present state of every series."""
        with self._read_lock:
            data = self._reader.get_metrics_data()
        return [] if data is None else list(_points(data))

    def flush(self, timeout_seconds: float) -> bool:
        """Export what is waiting; False if that was not possible in time."""
        millis = int(timeout_seconds * 1000)
        spans = self.tracer_provider.force_flush(millis)
        return self.meter_provider.force_flush(millis) and spans

    def shutdown(self) -> None:
        """Export what is waiting and stop."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


class _Keeper(SpanProcessor):
    def __init__(self, finished: deque[ReadableSpan]) -> None:
        self._finished = finished

    def on_end(self, span: ReadableSpan) -> None:
        self._finished.append(span)


def _span_exporter(exporter: str, endpoint: str) -> SpanProcessor:
    if exporter == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS))


def _metric_exporter(exporter: str, endpoint: str) -> sdk_metrics_export.MetricReader:
    if exporter == "console":
        return sdk_metrics_export.PeriodicExportingMetricReader(
            sdk_metrics_export.ConsoleMetricExporter(out=sys.stderr)
        )
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return sdk_metrics_export.PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{endpoint.rstrip('/')}/v1/metrics", timeout=EXPORT_TIMEOUT_SECONDS)
    )


def _span_record(span: ReadableSpan) -> SpanRecord:
    context = span.get_span_context() or trace.INVALID_SPAN_CONTEXT
    return SpanRecord(
        name=span.name,
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent else None,
        kind=span.kind.name.lower(),
        status=span.status.status_code.name.lower(),
        duration_ms=((span.end_time or 0) - (span.start_time or 0)) / 1e6,
        attributes=dict(span.attributes or {}),
        events=tuple((event.name, dict(event.attributes or {})) for event in span.events),
        resource=dict(span.resource.attributes),
    )


def _points(data: sdk_metrics_export.MetricsData) -> Iterator[MetricPoint]:
    for metric in (m for r in data.resource_metrics for scope in r.scope_metrics for m in scope.metrics):
        for point in metric.data.data_points:
            attributes = dict(point.attributes or {})
            if isinstance(point, sdk_metrics_export.HistogramDataPoint):
                yield MetricPoint(metric.name, "histogram", metric.unit or "", attributes, point.sum, point.count)
            elif isinstance(point, sdk_metrics_export.NumberDataPoint):
                kind = "counter" if getattr(metric.data, "is_monotonic", False) else "updown"
                yield MetricPoint(metric.name, kind, metric.unit or "", attributes, point.value, 0)
