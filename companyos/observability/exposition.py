"""`/metrics`: what is measured, as OpenMetrics 1.0 with exemplars, or in Prometheus's older text format.

Names and labels are translated as OpenTelemetry says ("Prometheus and OpenMetrics Compatibility"): characters that
Prometheus does not have become `_`, the unit and for counters `_total` end the name, and the resource is the metric
`target_info`. Who the service is stands on every series too (`service_name`, `service_version`,
`deployment_environment_name`), so that a query needs no join.
"""

from __future__ import annotations

import asyncio
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from companyos.observability.runtime import current
from companyos.observability.semconv import ALIASES
from companyos.observability.series import Exemplar, Histogram, HistogramSeries, Instrument, Number

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping

    from companyos.observability.recorder import Recorder
    from companyos.observability.runtime import Observability

__all__ = ("CLASSIC", "OPENMETRICS", "MetricsApp", "metrics_text", "prometheus_name")

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Content type of OpenMetrics 1.0."""
CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of Prometheus's own text format, which has no exemplars."""
PROMOTED = ("service.name", "service.version", "deployment.environment.name")
"""Resource attributes that stand on every series."""

_UNITS = {
    "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "min": "minutes", "h": "hours",
    "d": "days", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "%": "percent", "Cel": "celsius",
    "Hz": "hertz",
}  # fmt: skip
_ENDINGS = {"milliseconds": "_ms", "seconds": "_s"}
_TYPES = {"counter": "counter", "updown": "gauge", "gauge": "gauge", "histogram": "histogram"}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})

_TAKEN = frozenset({"le", *(key.replace(".", "_") for key in PROMOTED)})
"""Labels that are ours on a series; a measurement's own of that name is `exported_...`, as Prometheus does it."""

Series = Number | HistogramSeries


def metrics_text(*, openmetrics: bool = True, aliases: bool = True, of: Observability | None = None) -> str:
    """Every metric of what is in force (or `of`) as text; with `aliases` also by the playbook's names.

    Without a recorder (before `setup()`, or with OTEL_SDK_DISABLED) there is nothing to tell, and the text is empty of
    metrics.
    """
    recorder = (of or current()).recorder
    lines = [] if recorder is None else list(_Writer(recorder, openmetrics=openmetrics).lines(aliases=aliases))
    return "\n".join([*lines, "# EOF", ""] if openmetrics else [*lines, ""])


class MetricsApp:
    """An ASGI application that answers `GET` with the metrics of what is in force; mount it at `/metrics`.

    A client that accepts OpenMetrics gets it, with exemplars; any other gets the older text format.
    """

    def __init__(self, *, aliases: bool = True) -> None:
        self._aliases = aliases

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],  # noqa: ARG002 - the interface's parameter
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            return
        known = scope.get("method", "GET") in {"GET", "HEAD"}
        accepted = b",".join(value for name, value in scope.get("headers") or () if name == b"accept")
        openmetrics = _accepts_openmetrics(accepted.decode("latin-1"))
        text = "GET or HEAD\n"
        if known:
            # In a thread: thousands of series take a while to write, and requests go on meanwhile.
            text = await asyncio.to_thread(metrics_text, openmetrics=openmetrics, aliases=self._aliases)
        body = text.encode("utf-8")
        kind = (OPENMETRICS if openmetrics else CLASSIC) if known else "text/plain; charset=utf-8"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), (b"vary", b"accept")]
        if not known:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": 200 if known else 405, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})


def _accepts_openmetrics(accept: str) -> bool:
    weights = {"openmetrics": 0.0, "classic": 0.0}
    for part in accept.lower().split(","):
        media, *parameters = (text.strip() for text in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        weight = float(quality) if re.fullmatch(r"[01](\.[0-9]{0,3})?", quality) else 0.0
        if media == "application/openmetrics-text":
            weights["openmetrics"] = max(weights["openmetrics"], weight)
        elif media == "text/plain":
            weights["classic"] = max(weights["classic"], weight)
    return weights["openmetrics"] > 0 and weights["openmetrics"] >= weights["classic"]


class _Writer:
    def __init__(self, recorder: Recorder, *, openmetrics: bool) -> None:
        self._recorder = recorder
        self._openmetrics = openmetrics
        chosen = {key: recorder.resource[key] for key in PROMOTED if key in recorder.resource}
        self._promoted = _labels(chosen, own=False)

    def lines(self, *, aliases: bool) -> Iterator[str]:
        yield from self._target()
        taken = {"target_info"}
        instruments = [(prometheus_name(i.name, i.unit, i.kind), i) for i in tuple(self._recorder.instruments.values())]
        for name, instrument in instruments:
            # The first to have a name keeps it: one name twice is no exposition at all.
            if name not in taken and not (aliases and instrument.name in ALIASES):
                taken.add(name)
                yield from self._instrument(name, instrument, instrument.all())
        if aliases:
            for name in ALIASES:
                yield from self._alias(name)

    def _target(self) -> Iterator[str]:
        name, kind = ("target", "info") if self._openmetrics else ("target_info", "gauge")
        yield f"# HELP {name} Who produces these metrics."
        yield f"# TYPE {name} {kind}"
        yield f"target_info{{{_labels(self._recorder.resource, own=False)}}} 1"

    def _instrument(self, name: str, instrument: Instrument, series: Iterable[Series]) -> Iterator[str]:
        unit = _UNITS.get(instrument.unit, "")
        yield from self._head(name, _TYPES[instrument.kind], instrument.description, unit)
        for one in series:
            if one.labels is None:
                own = _labels(one.attributes)
                one.labels = f"{self._promoted},{own}" if own else self._promoted
            if isinstance(one, HistogramSeries) and isinstance(instrument, Histogram):
                yield from self._distribution(name, one, one.labels, instrument.bounds)
            elif isinstance(one, Number):
                yield f"{name}{{{one.labels}}} {_number(one.value)}"

    def _head(self, name: str, kind: str, description: str, unit: str) -> Iterator[str]:
        family = name.removesuffix("_total") if self._openmetrics and kind == "counter" else name
        if description:
            yield f"# HELP {family} {description.translate(_ESCAPES if self._openmetrics else _HELP_ESCAPES)}"
        yield f"# TYPE {family} {kind}"
        if self._openmetrics and unit and family.endswith(f"_{unit}"):
            yield f"# UNIT {family} {unit}"

    def _distribution(
        self, name: str, one: HistogramSeries, labels: str, bounds: tuple[float, ...], scale: float = 1
    ) -> Iterator[str]:
        counts, total = one.snapshot()
        running = 0
        for place, count in enumerate(counts):
            running += count
            bound = _bound(bounds[place] / scale) if place < len(bounds) else "+Inf"
            exemplar = one.exemplars[place] if self._openmetrics else None
            yield f'{name}_bucket{{{labels},le="{bound}"}} {running}{_exemplar(exemplar, scale)}'
        yield f"{name}_sum{{{labels}}} {_number(total / scale)}"
        yield f"{name}_count{{{labels}}} {running}"

    def _alias(self, name: str) -> Iterator[str]:
        alias = ALIASES[name]
        source = self._recorder.instruments.get(alias.instrument)
        if isinstance(source, Histogram) and alias.part == "histogram":
            yield from self._head(name, "histogram", f"As {alias.instrument}, in milliseconds.", "")
            for one in source.all():
                labels = ",".join(filter(None, (self._promoted, _labels(one.attributes))))
                yield from self._distribution(name, one, labels, source.bounds, alias.scale)
        elif alias.part != "histogram":
            yield from self._alias_count(name, alias.part, source)

    def _alias_count(self, name: str, part: str, source: Instrument | None) -> Iterator[str]:
        by_hand = self._recorder.instruments.get(name)
        sums: dict[str, float] = {}
        if by_hand is not None:
            for one in by_hand.all():
                own = _labels(one.attributes)
                sums[own] = sums.get(own, 0) + one.value
        for one in () if source is None else source.all():
            if part == "errors" and "error.type" not in one.attributes:
                continue
            own = _labels(one.attributes)
            sums[own] = sums.get(own, 0) + sum(one.snapshot()[0])
        if sums:
            yield from self._head(
                name, "counter", f"The playbook's name for a count of {ALIASES[name].instrument}.", ""
            )
        for own, value in sums.items():
            yield f"{name}{{{','.join(filter(None, (self._promoted, own)))}}} {_number(value)}"


@lru_cache(maxsize=4096)
def prometheus_name(name: str, unit: str, kind: str) -> str:
    """The name of a metric as Prometheus knows it, with its unit and for counters `_total`."""
    text = re.sub(r"[^a-zA-Z0-9_:]", "_", name)
    text = re.sub(r"__+", "_", text).strip("_")
    # No `_ratio` for the unit 1, which here also means that nothing is known of the unit.
    word = _UNITS.get(unit, "")
    text = text.removesuffix("_total") if kind == "counter" else text
    if word and not text.endswith(f"_{word}"):
        text = f"{text.removesuffix(_ENDINGS.get(word, '_'))}_{word}"
    if not text or text[0].isdigit():
        text = f"_{text}"
    return f"{text}_total" if kind == "counter" else text


@lru_cache(maxsize=4096)
def _label_name(key: str) -> str:
    text = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    text = re.sub(r"__+", "_", text)
    return f"key_{text}" if not text or text[0].isdigit() else text


def _labels(attributes: Mapping[str, Any], *, own: bool = True) -> str:
    merged: dict[str, str] = {}
    for key, value in attributes.items():
        name, text = _label_name(key), _label_value(value)
        if own and name in _TAKEN:
            name = f"exported_{name}"
        # Keys that became one: "their values MUST be concatenated together, separated by ;".
        merged[name] = f"{merged[name]};{text}" if name in merged else text
    return ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in merged.items())


def _label_value(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _bound(value: float) -> str:
    # 0.3 / 0.001 is 300.00000000000006 to a computer.
    return repr(round(float(value), 9))


def _exemplar(found: Exemplar | None, scale: float) -> str:
    if found is None:
        return ""
    value, seconds, trace_id, span_id = found
    return f' # {{trace_id="{trace_id:032x}",span_id="{span_id:016x}"}} {_number(value / scale)} {seconds:.3f}'
