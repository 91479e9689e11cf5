"""The OpenTelemetry metrics API in front of our instruments, for libraries that measure themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics as api
from opentelemetry.metrics import CallbackOptions, Observation

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

    from companyos.observability.series import Instrument

__all__ = ("Meter", "MeterProvider")

Register = Callable[..., "Instrument"]
Clean = Callable[["Mapping[str, Any] | None"], dict[str, Any]]


class MeterProvider(api.MeterProvider):
    """For instrumentation that wants a provider handed to it."""

    def __init__(self, register: Register, clean: Clean) -> None:
        self._register = register
        self._clean = clean

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,  # noqa: ARG002 - the API's parameter
    ) -> api.Meter:
        """As the API says."""
        return Meter(self._register, self._clean, name, version, schema_url)


class Meter(api.Meter):
    """Makes instruments as the API says; the same name again is the same instrument."""

    def __init__(
        self, register: Register, clean: Clean, name: str, version: str | None, schema_url: str | None
    ) -> None:
        super().__init__(name, version, schema_url)
        self._register = register
        self._clean = clean

    def create_counter(self, name: str, unit: str = "", description: str = "") -> api.Counter:
        """As the API says."""
        return _Counter(self._of("counter", name, unit, description), self._clean)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> api.UpDownCounter:
        """As the API says."""
        return _UpDownCounter(self._of("updown", name, unit, description), self._clean)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> _Gauge:
        """As the API says."""
        return _Gauge(self._of("gauge", name, unit, description), self._clean)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> api.Histogram:
        """As the API says."""
        made = self._of("histogram", name, unit, description, bounds=explicit_bucket_boundaries_advisory)
        return _Histogram(made, self._clean)

    def create_observable_counter(
        self, name: str, callbacks: Sequence[Any] | None = None, unit: str = "", description: str = ""
    ) -> api.ObservableCounter:
        """As the API says."""
        return _ObservableCounter(self._observed("counter", name, unit, description, callbacks))

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[Any] | None = None, unit: str = "", description: str = ""
    ) -> api.ObservableUpDownCounter:
        """As the API says."""
        return _ObservableUpDownCounter(self._observed("updown", name, unit, description, callbacks))

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[Any] | None = None, unit: str = "", description: str = ""
    ) -> api.ObservableGauge:
        """As the API says."""
        return _ObservableGauge(self._observed("gauge", name, unit, description, callbacks))

    def _of(self, kind: str, name: str, unit: str, description: str, **options: Any) -> Instrument:
        return self._register(kind, name, unit, description, scope=(self.name, self.version or ""), **options)

    def _observed(
        self, kind: str, name: str, unit: str, description: str, callbacks: Sequence[Any] | None
    ) -> Instrument:
        made = self._of(kind, name, unit, description)
        made.observe.extend(_Observed(callback, self._clean) for callback in callbacks or ())
        return made


class _Observed:
    """A callback of the API, which is a function or a generator; what it raises costs its own values only."""

    def __init__(self, callback: Any, clean: Clean) -> None:
        self._callback = callback
        self._clean = clean
        if isinstance(callback, Generator):
            next(callback)
            self._callback = callback.send

    def __call__(self) -> Iterable[tuple[float, Mapping[str, Any]]]:
        try:
            seen: Iterable[Observation] = self._callback(CallbackOptions())
            return [(point.value, self._clean(point.attributes)) for point in seen if math.isfinite(point.value)]
        except Exception:  # noqa: BLE001 - reading the metrics goes on; the next reading asks again
            return []


class _Told:
    """An instrument that is told; what is not a finite number is left out, because the API never raises."""

    def __init__(self, instrument: Instrument, clean: Clean) -> None:
        self._instrument = instrument
        self._clean = clean

    def _series(self, value: float, attributes: Attributes) -> Any:
        return self._instrument.series(self._clean(attributes)) if math.isfinite(value) else None


class _Counter(_Told, api.Counter):
    def add(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:  # noqa: ARG002
        series = self._series(amount, attributes)
        if series is not None and amount >= 0:
            series.add(amount)


class _UpDownCounter(_Told, api.UpDownCounter):
    def add(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:  # noqa: ARG002
        series = self._series(amount, attributes)
        if series is not None:
            series.add(amount)


class _Gauge(_Told, api._Gauge):  # noqa: SLF001 - the API keeps its class under this name
    def set(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:  # noqa: ARG002
        series = self._series(amount, attributes)
        if series is not None:
            series.set(amount)


class _Histogram(_Told, api.Histogram):
    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:  # noqa: ARG002
        series = self._series(amount, attributes)
        if series is not None:
            series.record(amount, self._instrument.exemplar(amount))


class _Seen:
    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument


class _ObservableCounter(_Seen, api.ObservableCounter):
    pass


class _ObservableUpDownCounter(_Seen, api.ObservableUpDownCounter):
    pass


class _ObservableGauge(_Seen, api.ObservableGauge):
    pass
