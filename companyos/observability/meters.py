"""Metrics: record, increment, time. The playbook's names and the conventions' names lead to the same instruments."""

from __future__ import annotations

import math
import re
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from companyos.observability.errors import MetricError
from companyos.observability.runtime import current
from companyos.observability.semconv import (
    ALIASES,
    UNITS,
    Alias,
)
from companyos.observability.series import clean_tags
from companyos.observability.tracing import type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from companyos.observability.records import MetricPoint

__all__ = ("Metrics", "Timer", "metrics", "select")

Tags = dict[str, str | bool | int | float]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")
_UNITS = (("_ms", "ms"), ("_milliseconds", "ms"), ("_seconds", "s"), ("_s", "s"), ("_bytes", "By"), ("_percent", "%"))


class Timer:
    """Measures one piece of work: use it in a `with`, or call `stop()`. Records once."""

    def __init__(self, name: str, tags: Mapping[str, Any] | None) -> None:
        self._name = name
        self._tags = dict(tags or {})
        self._started = time.perf_counter()
        self._stopped: float | None = None

    def stop(self) -> float:
        """Record the time since the start and return it in milliseconds; repeating it changes nothing."""
        if self._stopped is None:
            self._stopped = (time.perf_counter() - self._started) * 1000
            in_seconds = self._name not in ALIASES and _unit(self._name) == "s"
            metrics.record(self._name, self._stopped / 1000 if in_seconds else self._stopped, self._tags)
        return self._stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
            return
        self._tags["error.type"] = type_name(error)
        # What went wrong in the work is not to be replaced by what went wrong in measuring it.
        with suppress(MetricError):
            self.stop()


class Metrics:
    """The metrics of whatever `setup()` is in force.

    Where nothing is recorded (before `setup()`, or with OTEL_SDK_DISABLED) everything is checked and nothing is kept.
    """

    def record(self, name: str, value: float, tags: Mapping[str, Any] | None = None) -> None:
        """Record one value of a distribution (a histogram), for example a duration or a size.

        The unit follows the name (`_ms`, `_seconds`, `_bytes`, `_percent`). `request_duration_ms` and
        `http_request_latency_ms` are recorded in seconds as `http.server.request.duration`.

        Raises:
            MetricError: the name is malformed or taken by another kind of metric, or the value is not finite.
        """
        alias = ALIASES.get(name)
        if alias is not None and alias.part == "histogram":
            self._use("histogram", alias.instrument, value * alias.scale, alias.tags(_tags(tags)))
        else:
            self._use("histogram", name, value, _tags(tags))

    def increment(self, name: str, tags: Mapping[str, Any] | None = None, *, by: float = 1) -> None:
        """Add to a counter, which only grows.

        `ASGIMiddleware` already counts the requests that it serves: `requests_total` and `errors_total` are to be
        incremented by hand only for work outside it.

        Raises:
            MetricError: the name is malformed or taken by another kind of metric, or `by` is negative.
        """
        if by < 0:
            raise MetricError(f"counter {name} cannot shrink", got=by, expected="0 or more")
        self._use("counter", name, by, _tags(tags))

    def change(self, name: str, by: float, tags: Mapping[str, Any] | None = None) -> None:
        """Add to (or take from) a level that rises and falls, for example jobs in hand.

        Raises:
            MetricError: the name is malformed or taken by another kind of metric, or `by` is not finite.
        """
        self._use("updown", name, by, _tags(tags))

    def set(self, name: str, value: float, tags: Mapping[str, Any] | None = None) -> None:
        """Say what a level is at present (a gauge), for example the length of a queue.

        Raises:
            MetricError: the name is malformed or taken by another kind of metric, or the value is not finite.
        """
        self._use("gauge", name, value, _tags(tags))

    def timer(self, name: str, tags: Mapping[str, Any] | None = None) -> Timer:
        """A running timer that records into `name`: in seconds if its name ends so, else in milliseconds."""
        return Timer(name, tags)

    @staticmethod
    def _use(kind: str, name: str, value: float, tags: Tags) -> None:
        if not math.isfinite(value):
            raise MetricError(f"metric {name} got a value that is not a number", got=value, expected="a finite number")
        recorder = current().recorder
        instrument = recorder.instruments.get(name) if recorder else None
        if instrument is None:
            if not _NAME.fullmatch(name):
                raise MetricError(
                    "not a metric name", got=repr(name), expected="a letter, then letters, digits, _ . / -"
                )
            if recorder is None:
                return
            instrument = recorder.instrument(kind, name, unit=_unit(name))
        if instrument.kind != kind:
            raise MetricError(
                f"metric {name} is a {instrument.kind}", got=f"used as a {kind}", hint="choose another name"
            )
        series = instrument.series(tags)
        if kind == "histogram":
            series.record(value, instrument.exemplar(value))
        elif kind == "gauge":
            series.set(value)
        else:
            series.add(value)


metrics = Metrics()
"""The one object to measure with."""


def select(points: Iterable[MetricPoint], name: str | None) -> list[MetricPoint]:
    """The points of one metric by its own or its playbook name, or all of them."""
    if name is None:
        return list(points)
    chosen = []
    alias = ALIASES.get(name)
    for point in points:
        if point.name == name:
            chosen.append(point)
        elif alias is not None and point.name == alias.instrument:
            chosen.extend(_seen_as(name, alias, point))
    return chosen


def _seen_as(name: str, alias: Alias, point: MetricPoint) -> list[MetricPoint]:
    if alias.part == "histogram":
        return [replace(point, name=name, unit="ms", value=point.value / alias.scale)]
    if alias.part == "errors" and "error.type" not in point.attributes:
        return []
    return [replace(point, name=name, kind="counter", unit=_unit(name), value=point.count, count=0)]


def _unit(name: str) -> str:
    if name in UNITS:
        return UNITS[name]
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), "1")


def _tags(tags: Mapping[str, Any] | None) -> Tags:
    return clean_tags(current().redactor, tags)
