"""What one `setup()` records: spans in a ring, metrics in series, both exported in the background if asked for."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from companyos._version import __version__
from companyos.observability.errors import MetricError
from companyos.observability.meter_provider import MeterProvider
from companyos.observability.records import MetricPoint
from companyos.observability.semconv import BOUNDS, BUCKETS, DESCRIPTIONS, METRICS_OVERFLOW, UNITS
from companyos.observability.series import DEFAULT_BUCKETS, Histogram, HistogramSeries, Instrument, clean_tags
from companyos.observability.spans import Span, SpanRecorder, TracerProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from companyos.observability.exporting import Export, Periodic, SpanQueue
    from companyos.observability.otel_env import Settings
    from companyos.observability.records import SpanRecord
    from companyos.observability.redaction import Redactor

__all__ = ("Recorder",)

SCOPE = ("companyos", __version__)


class Recorder:
    """Spans and metrics of one service."""

    def __init__(
        self,
        resource: Mapping[str, str],
        *,
        settings: Settings,
        redactor: Redactor,
        keep_spans: int,
        max_series: int,
        warn: Callable[..., None],
    ) -> None:
        self.resource = resource
        """Who records, as resource attributes."""
        self.settings = settings
        """What the `OTEL_*` variables say."""
        self.started_ns = time.time_ns()
        self.instruments: dict[str, Instrument] = {}
        """By name."""
        self.golden: dict[tuple[Any, ...], Any] = {}
        """Series that the middleware and the consumers found before, by what tells them apart."""
        self.shown: dict[tuple[Any, str], Any] = {}
        """What texts that come again and again look like masked; kept small by whoever fills it."""
        self.max_series = max_series
        self._warn = warn
        self._redactor = redactor
        self._lock = threading.Lock()
        self._finished: deque[Span] = deque(maxlen=keep_spans)
        self._queue: SpanQueue | None = None
        self._periodic: Periodic | None = None
        self._told: set[str] = set()
        self.tracing = SpanRecorder(
            sampling=settings.sampling,
            limits=settings.limits,
            finish=self._finished.append,
            mask=redactor.field,
            mask_text=redactor.text,
        )
        """Where spans begin."""
        self.tracer_provider = TracerProvider(self.tracing)
        """For instrumentation that wants a provider handed to it."""
        self.meter_provider = MeterProvider(self._theirs, self.clean_tags)
        """For instrumentation that wants a provider handed to it."""

    def export(self, *, traces: str, metrics: str, endpoint: str | None) -> None:
        """Export to `otlp` or `console` from now on; `none` does not.

        Raises:
            MissingExtraError: the exporters are not installed.
        """
        if traces == metrics == "none":
            return
        from companyos.observability import _sdk, exporting

        if traces != "none":
            send_spans = _sdk.SpanExport(_sdk.span_exporter(traces, endpoint), self.resource)
        if metrics != "none":
            send = _sdk.MetricExport(_sdk.metric_exporter(metrics, endpoint), self.resource, self.started_ns)
        # Threads only when nothing can fail any more.
        if traces == "console":
            self.tracing.finish = lambda span: self._finish_aloud(span, send_spans)
        elif traces != "none":
            self._queue = exporting.SpanQueue(
                send_spans,
                self._count,
                size=self.settings.queue_size,
                batch=self.settings.batch_size,
                seconds=self.settings.schedule_seconds,
            )
            self.tracing.finish = self._finish
        if metrics != "none":
            self._periodic = exporting.Periodic(
                send,
                lambda: send.data(list(self.instruments.values()), time.time_ns()),
                self._count,
                seconds=self.settings.metric_seconds,
            )

    def instrument(self, kind: str, name: str, **options: Any) -> Instrument:
        """The instrument of this name, made if need be.

        Raises:
            MetricError: the name is taken by another kind of metric.
        """
        found = self.instruments.get(name)
        if found is None:
            with self._lock:
                found = self.instruments.get(name)
                if found is None:
                    found = self.instruments[name] = self._make(kind, name, **options)
        if found.kind != kind:
            raise MetricError(f"metric {name} is a {found.kind}", got=f"used as a {kind}", hint="choose another name")
        return found

    def add(self, kind: str, name: str, by: float, **attributes: Any) -> None:
        """Add to a series of our own."""
        self.instrument(kind, name).series(attributes).add(by)

    def clean_tags(self, tags: Mapping[str, Any] | None) -> dict[str, Any]:
        """Attributes of a measurement, masked and plain; None is left out."""
        return clean_tags(self._redactor, tags)

    def spans(self) -> list[SpanRecord]:
        """The latest finished spans, oldest first."""
        return [span.record(self.resource) for span in tuple(self._finished)]

    def points(self) -> list[MetricPoint]:
        """The present state of every series."""
        return [
            _point(instrument, series) for instrument in tuple(self.instruments.values()) for series in instrument.all()
        ]

    def flush(self, timeout_seconds: float) -> bool:
        """Export what is waiting; False if that was not possible, or not in time."""
        until = time.monotonic() + timeout_seconds
        workers = [worker for worker in (self._queue, self._periodic) if worker is not None]
        # Each has its turn, whether the one before was in time or not.
        done = [worker.flush(max(0.0, until - time.monotonic())) for worker in workers]
        return all(done)

    def shutdown(self, timeout_seconds: float) -> bool:
        """Export what is waiting and stop, within that time; False if something was lost."""
        until = time.monotonic() + timeout_seconds
        workers = [worker for worker in (self._queue, self._periodic) if worker is not None]
        done = [worker.stop(max(0.0, until - time.monotonic())) for worker in workers]
        return all(done)

    def warn_once(self, event: str, about: str, **fields: Any) -> None:
        """Write a WARN event, the first time only."""
        if about not in self._told:
            self._told.add(about)
            self._warn(event, **fields)

    def _finish(self, span: Span) -> None:
        self._finished.append(span)
        if self._queue is not None:
            self._queue.offer(span)

    def _finish_aloud(self, span: Span, console: Export) -> None:
        self._finished.append(span)
        console.send([span])

    def _count(self, name: str, count: int, wrong: str | None) -> None:
        self.add("counter", name, count, **({} if wrong is None else {"error.type": wrong}))
        if wrong is not None:
            self.warn_once("observability.export_failed", name, action="export", outcome="failure", reason=wrong)

    def _overflowed(self, name: str) -> None:
        self.add("counter", METRICS_OVERFLOW, 1, metric=name)
        self.warn_once(
            "metrics.too_many_series", f"series of {name}", action="measure", metric=name, limit=self.max_series
        )

    def _theirs(self, kind: str, name: str, unit: str, description: str, **options: Any) -> Instrument:
        # The API never raises: what contradicts an earlier instrument records into nothing, and an event says so.
        try:
            return self.instrument(kind, name, unit=unit, description=description, **options)
        except MetricError as error:
            self.warn_once("metrics.name_conflict", f"name {name}", action="measure", metric=name, reason=error.what)
            return self._make(kind, name, unit=unit, description=description, **options)

    def _make(
        self,
        kind: str,
        name: str,
        *,
        unit: str | None = None,
        description: str | None = None,
        scope: tuple[str, str] = SCOPE,
        bounds: Sequence[float] | None = None,
    ) -> Instrument:
        unit = unit or UNITS.get(name, "1" if unit is None else "")
        options: dict[str, Any] = {
            "scope": scope,
            "limit": self.max_series,
            "overflowed": self._overflowed,
            "exemplars": self.settings.exemplars,
        }
        about = description or DESCRIPTIONS.get(name, "")
        if kind != "histogram":
            return Instrument(kind, name, unit, about, **options)
        usual = BOUNDS.get(name) or BUCKETS.get(unit, DEFAULT_BUCKETS)
        return Histogram(name, unit, about, bounds=bounds or usual, **options)


def _point(instrument: Instrument, series: Any) -> MetricPoint:
    if isinstance(series, HistogramSeries):
        counts, value = series.snapshot()
        return MetricPoint(instrument.name, "histogram", instrument.unit, series.attributes, value, sum(counts))
    return MetricPoint(instrument.name, instrument.kind, instrument.unit, series.attributes, series.value, 0)
