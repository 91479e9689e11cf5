"""The `OTEL_*` variables of the OpenTelemetry SDK specification, read once at `setup()`.

What a variable says wrongly is ignored and named in `Settings.ignored`, as the specification asks ("Configuration
types"); `docs/observability.md` lists every variable and what becomes of it. The variables of the OTLP exporter itself
(endpoint, headers, timeout, compression, certificates) are read by the exporter of the OpenTelemetry SDK.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Limits", "Sampling", "Settings", "read", "relevant")

EVERY_TRACE = 1 << 64
"""The bound below which the lower 64 bits of every trace id lie."""
_LOW_BITS = EVERY_TRACE - 1
_SAMPLERS = ("always_on", "always_off", "traceidratio")
_EXPORTERS = {"TRACES": ("otlp", "console", "none"), "METRICS": ("otlp", "console", "none", "prometheus")}
_PROPAGATORS = frozenset({"tracecontext", "baggage", "none"})
_UNSERVED = {
    "OTEL_CONFIG_FILE": ("",),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": ("", "explicit_bucket_histogram"),
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": ("", "http/protobuf"),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("", "cumulative"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("", "http/protobuf"),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("", "http/protobuf"),
    "OTEL_LOGS_EXPORTER": ("", "none"),
}
"""Variables with the values that describe what we do anyway; any other value is one that we cannot follow."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which traces are recorded; decided at the head of each."""

    bound: int = EVERY_TRACE
    """A trace is recorded if the lower 64 bits of its id are less (the SDK's TraceIdRatioBased)."""
    follow_parent: bool = True
    """Whether a parent's decision goes first."""

    @classmethod
    def ratio(cls, share: float, *, follow_parent: bool = True) -> Sampling:
        """That share of traces, 0 to 1."""
        return cls(round(share * EVERY_TRACE), follow_parent)

    def takes(self, trace_id: int, parent_sampled: bool | None) -> bool:
        """Whether the trace is recorded; `parent_sampled` is None for a root."""
        if parent_sampled is not None and self.follow_parent:
            return parent_sampled
        return (trace_id & _LOW_BITS) < self.bound


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one span may hold (SDK specification, "Span limits")."""

    attributes: int = 128
    """Attributes of a span."""
    value_length: int | None = None
    """Characters of a text value; None: as many as the redactor lets through."""
    events: int = 128
    """Events of a span."""
    links: int = 128
    """Links of a span."""
    event_attributes: int = 128
    """Attributes of an event."""
    link_attributes: int = 128
    """Attributes of a link."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the variables say."""

    disabled: bool = False
    """`OTEL_SDK_DISABLED`."""
    resource: Mapping[str, str] = field(default_factory=dict)
    """`OTEL_RESOURCE_ATTRIBUTES`, with `OTEL_SERVICE_NAME` over it."""
    traces_exporter: str | None = None
    """`OTEL_TRACES_EXPORTER`; `otlp` too where only an endpoint is given; None: nothing is said."""
    metrics_exporter: str | None = None
    """`OTEL_METRICS_EXPORTER`, likewise."""
    sampling: Sampling = Sampling()
    """`OTEL_TRACES_SAMPLER` and its argument."""
    limits: Limits = Limits()
    """The limits of spans."""
    propagators: frozenset[str] = frozenset({"tracecontext", "baggage"})
    """`OTEL_PROPAGATORS`."""
    exemplars: str = "trace_based"
    """`OTEL_METRICS_EXEMPLAR_FILTER`: `trace_based`, `always_on` or `always_off`."""
    queue_size: int = 2048
    """`OTEL_BSP_MAX_QUEUE_SIZE`: finished spans that may wait for export."""
    batch_size: int = 512
    """`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: spans in one export."""
    schedule_seconds: float = 5.0
    """`OTEL_BSP_SCHEDULE_DELAY`: how long spans wait to be exported together."""
    metric_seconds: float = 60.0
    """`OTEL_METRIC_EXPORT_INTERVAL`."""
    ignored: tuple[tuple[str, str], ...] = ()
    """Variables that could not be followed, with what they say."""


def relevant(environ: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """The variables that a `setup()` depends on, to tell whether two are the same."""
    chosen = os.environ if environ is None else environ
    return tuple(sorted((key, chosen[key]) for key in chosen if key.startswith("OTEL_") or key == "COMPANYOS_REVISION"))


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """What the variables say; never an error."""
    reader = _Reader(os.environ if environ is None else environ)
    batch_limit = reader.whole("OTEL_BSP_MAX_QUEUE_SIZE", 2048, least=1)
    length = reader.whole("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", -1)
    length = reader.whole("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", length)
    count = reader.whole("OTEL_ATTRIBUTE_COUNT_LIMIT", 128)
    limits = Limits(
        attributes=reader.whole("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count),
        value_length=None if length < 0 else length,
        events=reader.whole("OTEL_SPAN_EVENT_COUNT_LIMIT", 128),
        links=reader.whole("OTEL_SPAN_LINK_COUNT_LIMIT", 128),
        event_attributes=reader.whole("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count),
        link_attributes=reader.whole("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count),
    )
    for name, followed in _UNSERVED.items():
        if reader.text(name).lower() not in followed:
            reader.ignore(name)
    return Settings(
        disabled=reader.text("OTEL_SDK_DISABLED").lower() == "true",
        resource=reader.resource(),
        traces_exporter=reader.exporter("TRACES"),
        metrics_exporter=reader.exporter("METRICS"),
        sampling=reader.sampling(),
        limits=limits,
        propagators=reader.propagators(),
        exemplars=reader.choice(
            "OTEL_METRICS_EXEMPLAR_FILTER", ("trace_based", "always_on", "always_off"), "trace_based"
        ),
        queue_size=batch_limit,
        batch_size=min(reader.whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, least=1), batch_limit),
        schedule_seconds=reader.whole("OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000,
        metric_seconds=reader.whole("OTEL_METRIC_EXPORT_INTERVAL", 60_000, least=1) / 1000,
        ignored=tuple(reader.ignored.items()),
    )


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.ignored: dict[str, str] = {}

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def ignore(self, name: str) -> None:
        self.ignored[name] = self.text(name)

    def whole(self, name: str, default: int, *, least: int = 0) -> int:
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least):
            self.ignore(name)
            return default
        return int(text)

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        text = self.text(name).lower()
        if text and text not in allowed:
            self.ignore(name)
        return text if text in allowed else default

    def resource(self) -> dict[str, str]:
        name = "OTEL_RESOURCE_ATTRIBUTES"
        found: dict[str, str] = {}
        for pair in filter(None, (part.strip() for part in self.text(name).split(","))):
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                # Resource SDK: "In case of any error ... the entire environment variable value SHOULD be discarded".
                self.ignore(name)
                found = {}
                break
            found[unquote(key.strip())] = unquote(value.strip())
        service = self.text("OTEL_SERVICE_NAME")
        return {**found, "service.name": service} if service else found

    def exporter(self, signal: str) -> str | None:
        name = f"OTEL_{signal}_EXPORTER"
        text = self.text(name).lower()
        if text in _EXPORTERS[signal]:
            return "none" if text == "prometheus" else text
        if text:
            self.ignore(name)
        sent_to = self.text("OTEL_EXPORTER_OTLP_ENDPOINT") or self.text(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        return "otlp" if sent_to else None

    def sampling(self) -> Sampling:
        text = self.text("OTEL_TRACES_SAMPLER").lower()
        if not text:
            return Sampling()
        root = text.removeprefix("parentbased_")
        if root not in _SAMPLERS:
            self.ignore("OTEL_TRACES_SAMPLER")
            return Sampling()
        share = {"always_on": 1.0, "always_off": 0.0}.get(root)
        return Sampling.ratio(self.share() if share is None else share, follow_parent=root != text)

    def share(self) -> float:
        name = "OTEL_TRACES_SAMPLER_ARG"
        try:
            share = float(self.text(name) or 1)
        except ValueError:
            share = -1.0
        if 0 <= share <= 1:
            return share
        self.ignore(name)
        return 1.0

    def propagators(self) -> frozenset[str]:
        name = "OTEL_PROPAGATORS"
        asked = {part.strip().lower() for part in self.text(name).split(",")} - {""}
        if not asked:
            return frozenset({"tracecontext", "baggage"})
        if not asked <= _PROPAGATORS:
            self.ignore(name)
        return frozenset(asked & _PROPAGATORS) - {"none"}
