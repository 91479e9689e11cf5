"""The golden metrics of one kind of work: how long, and so how often and how often wrong, and how much is in hand.

Their series are found by a tuple of label values, which is several times cheaper than by attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.observability.recorder import Recorder
    from companyos.observability.series import HistogramSeries, Number
    from companyos.observability.spans import Span

__all__ = ("Golden",)

Key = tuple[Any, ...]


class Golden:
    """Duration and level of one kind of work, in whatever recorder is given; calls to others have no level."""

    def __init__(self, duration: str, active: str = "") -> None:
        self._duration = duration
        self._active = active

    def active(self, recorder: Recorder, key: Key, tags: Callable[[Key], dict[str, Any]]) -> Number:
        """The series of what is in hand; `tags` turns a key, which no other kind of work may use, into attributes."""
        found: Number | None = recorder.golden.get(key)
        if found is None:
            found = self._find(recorder, "updown", self._active, key, tags)
        return found

    def record(
        self,
        recorder: Recorder,
        key: Key,
        tags: Callable[[Key], dict[str, Any]],
        seconds: float,
        span: Span | None,
    ) -> None:
        """Record a duration; `span` is the ended span that it belongs to, if that is recorded."""
        found: HistogramSeries | None = recorder.golden.get(key)
        if found is None:
            found = self._find(recorder, "histogram", self._duration, key, tags)
        if span is None or recorder.settings.exemplars == "always_off":
            found.record(seconds)
        else:
            found.record(seconds, (seconds, span.end_ns / 1e9, span.trace_id, span.span_id))

    @staticmethod
    def _find(recorder: Recorder, kind: str, name: str, key: Key, tags: Callable[[Key], dict[str, Any]]) -> Any:
        series = recorder.instrument(kind, name).series(recorder.clean_tags(tags(key)))
        if len(recorder.golden) < 4 * recorder.max_series and "otel.metric.overflow" not in series.attributes:
            recorder.golden[key] = series
        return series
