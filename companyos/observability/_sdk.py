"""The exporters of the OpenTelemetry SDK, given what our recorder kept in the shapes that they know.

Only the thread that exports comes here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from companyos._extras import require

require("opentelemetry.sdk", extra="observability")

from opentelemetry import trace  # noqa: E402 - the line above says what to install when these are missing
from opentelemetry.attributes import BoundedAttributes  # noqa: E402
from opentelemetry.sdk.metrics import export as points  # noqa: E402
from opentelemetry.sdk.metrics._internal.exemplar import Exemplar  # noqa: E402 - where the SDK keeps its public class
from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: E402
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult  # noqa: E402
from opentelemetry.sdk.util import BoundedList  # noqa: E402
from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: E402

from companyos.observability.series import Histogram, HistogramSeries, Instrument, Number  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.observability.series import Exemplar as OurExemplar
    from companyos.observability.spans import Span

__all__ = ("MetricExport", "SpanExport", "metric_exporter", "span_exporter")

_SCHEMA = ""
_CUMULATIVE = points.AggregationTemporality.CUMULATIVE


def span_exporter(kind: str, endpoint: str | None) -> SpanExporter:
    """The exporter `console` or `otlp`; without an endpoint the latter follows `OTEL_EXPORTER_OTLP_*`.

    Raises:
        MissingExtraError: the OTLP exporter is not installed.
    """
    if kind == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    module = require("opentelemetry.exporter.otlp.proto.http.trace_exporter", extra="observability")
    exporter: SpanExporter = module.OTLPSpanExporter(_url(endpoint, "traces"))
    return exporter


def metric_exporter(kind: str, endpoint: str | None) -> points.MetricExporter:
    """The same for metrics."""
    if kind == "console":
        return points.ConsoleMetricExporter(out=sys.stderr)
    module = require("opentelemetry.exporter.otlp.proto.http.metric_exporter", extra="observability")
    exporter: points.MetricExporter = module.OTLPMetricExporter(_url(endpoint, "metrics"))
    return exporter


def _url(endpoint: str | None, signal: str) -> str | None:
    return None if endpoint is None else f"{endpoint.rstrip('/')}/v1/{signal}"


class SpanExport:
    """Sends spans by an exporter of the SDK."""

    def __init__(self, exporter: SpanExporter, resource: Mapping[str, str]) -> None:
        self._exporter = exporter
        self._resource = Resource(dict(resource))
        self._scopes: dict[tuple[str, str], InstrumentationScope] = {}

    def send(self, batch: Sequence[Span]) -> str | None:
        """Send them; what went wrong, or None."""
        try:
            result = self._exporter.export([self._readable(span) for span in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted under its name
            return type(error).__name__
        return None if result is SpanExportResult.SUCCESS else "rejected"

    def stop(self) -> None:
        """Give up waiting and send no more."""
        self._exporter.shutdown()

    def _readable(self, span: Span) -> ReadableSpan:
        scope = self._scopes.setdefault(span.scope, InstrumentationScope(*span.scope))
        return ReadableSpan(
            name=span.name,
            context=span.get_span_context(),
            parent=span.parent,
            resource=self._resource,
            attributes=_bounded(span.attributes, span.dropped[0]),
            events=_list([Event(name, dict(given), when) for name, when, given in span.events], span.dropped[1]),
            links=_list([trace.Link(to, dict(given)) for to, given in span.links], span.dropped[2]),
            kind=span.kind,
            status=trace.Status(span.status, span.description),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=scope,
        )


def _bounded(attributes: Mapping[str, Any], dropped: int) -> Mapping[str, Any]:
    if not dropped:
        return attributes
    bounded = BoundedAttributes(None, dict(attributes), immutable=False)
    bounded.dropped = dropped
    return bounded


def _list(items: list[Any], dropped: int) -> Sequence[Any]:
    if not dropped:
        return items
    bounded = BoundedList.from_seq(len(items), items)
    bounded.dropped = dropped
    return bounded


class MetricExport:
    """Sends metrics by an exporter of the SDK."""

    def __init__(self, exporter: points.MetricExporter, resource: Mapping[str, str], started_ns: int) -> None:
        self._exporter = exporter
        self._resource = Resource(dict(resource))
        self._started_ns = started_ns

    def data(self, instruments: Iterable[Instrument], now_ns: int) -> tuple[points.MetricsData, int]:
        """The state of all instruments in the SDK's shape, and how many points that is."""
        scopes: dict[tuple[str, str], list[points.Metric]] = {}
        count = 0
        for instrument in instruments:
            metric = self._metric(instrument, now_ns)
            if metric.data.data_points:
                count += len(metric.data.data_points)
                scopes.setdefault(instrument.scope, []).append(metric)
        told = [
            points.ScopeMetrics(InstrumentationScope(*scope), metrics, _SCHEMA) for scope, metrics in scopes.items()
        ]
        return points.MetricsData([points.ResourceMetrics(self._resource, told, _SCHEMA)]), count

    def send(self, data: points.MetricsData) -> str | None:
        """Send them; what went wrong, or None."""
        try:
            result = self._exporter.export(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted under its name
            return type(error).__name__
        return None if result is points.MetricExportResult.SUCCESS else "rejected"

    def stop(self) -> None:
        """Give up waiting and send no more."""
        self._exporter.shutdown()

    def _metric(self, instrument: Instrument, now_ns: int) -> points.Metric:
        series = instrument.all()
        data: points.Histogram | points.Gauge | points.Sum
        if isinstance(instrument, Histogram):
            data = points.Histogram([self._distribution(s, instrument.bounds, now_ns) for s in series], _CUMULATIVE)
        elif instrument.kind == "gauge":
            data = points.Gauge([self._number(s, now_ns) for s in series])
        else:
            data = points.Sum([self._number(s, now_ns) for s in series], _CUMULATIVE, instrument.kind == "counter")
        return points.Metric(instrument.name, instrument.description, instrument.unit, data)

    def _number(self, series: Number, now_ns: int) -> points.NumberDataPoint:
        return points.NumberDataPoint(dict(series.attributes), self._started_ns, now_ns, series.value)

    def _distribution(
        self, series: HistogramSeries, bounds: tuple[float, ...], now_ns: int
    ) -> points.HistogramDataPoint:
        counts, total = series.snapshot()
        return points.HistogramDataPoint(
            attributes=dict(series.attributes),
            start_time_unix_nano=self._started_ns,
            time_unix_nano=now_ns,
            count=sum(counts),
            sum=total,
            bucket_counts=counts,
            explicit_bounds=bounds,
            min=series.smallest,
            max=series.largest,
            exemplars=[_exemplar(found) for found in series.exemplars if found is not None],
        )


def _exemplar(found: OurExemplar) -> Exemplar:
    value, seconds, trace_id, span_id = found
    return Exemplar({}, value, int(seconds * 1e9), span_id, trace_id)
