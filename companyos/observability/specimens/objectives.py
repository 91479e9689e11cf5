"""The control OBS-SLO: objectives that look kept, rules that never alert, and releases that look steady.

Each case goes through what people use: the compiler with its warnings, `slo status` over what a Prometheus answers,
and the judgement of a release. The check allows only what all of them call good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("ID", "Release", "Status", "Text", "check", "objectives_control")

ID = "OBS-SLO"
RULES = {
    f"{ID}.compiled": "What can never alert, or what no Prometheus would load, is refused or warned of.",
    f"{ID}.kept": "An objective is kept only where its error ratio is one, and could be measured.",
    f"{ID}.steady": "A release is steady only where the service is well and its latency was measured.",
}
_SERVICE = "specimen"
_NAMES = {"slo_id": f"{_SERVICE}-availability"}


@dataclass(frozen=True, slots=True)
class Text:
    """An OpenSLO file to be compiled."""

    text: str
    """Its content."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a Prometheus says about the availability of an API."""

    error: float | None
    """The error ratio over the period; None: no data."""
    text: str = ""
    """The OpenSLO file; empty: the kit's."""
    without: str = ""
    """A metric that is not there."""

    def query(self, expression: str) -> list[Any]:
        """As `Prometheus.query`."""
        from companyos.observability.slo.prometheus import Sample

        def sample(value: float, name: str = "") -> Sample:
            return Sample(_NAMES | {"__name__": name}, value)

        if expression.startswith("absent("):
            return [sample(1)] if self.without and self.without in expression else []
        if expression.startswith("count_over_time"):
            return [sample(10_000)]
        if "ALERTS" in expression:
            return []
        found = [sample(0.9995, "slo:objective:ratio"), sample(7, "slo:sli_total:rate5m")]
        found.append(sample(0, "slo:sli_error:ratio_rate5m"))
        return found if self.error is None else [*found, sample(self.error, "slo:sli_error:ratio_rate30d")]

    def ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:  # noqa: ARG002 - as Prometheus has it
        """As `Prometheus.ask`."""
        return {"storage.tsdb.retention.time": "90d"}


@dataclass(frozen=True, slots=True)
class Release:
    """Burn rates before and after a release, and its latency."""

    before: float
    """Burn rate."""
    after: float
    """Burn rate."""
    seconds: tuple[float | None, float | None] = (0.1, 0.1)
    """The 95th percentile before and after; None where it could not be measured."""


Case = Text | Status | Release


def check(case: Case) -> Decision:
    """Is this good? Denied with what is said against it."""
    kind, wrong = _judged(case)
    if not wrong:
        return Decision.allowed(f"{ID}.good", "nothing is said against it")
    return Decision.denied(f"{ID}.{kind}", wrong, findings=[Finding(f"{ID}.{kind}", wrong, Severity.HIGH)])


def objectives_control() -> Control:
    """The control over verdicts about objectives and releases."""
    return Control(
        id=ID,
        title="Objectives and releases that look good because nobody could tell",
        check=check,
        rules=RULES,
        specimens=tuple(_specimens()),
        docs="slo.md",
        subject="objective",
    )


def _judged(case: Case) -> tuple[str, str]:
    """What kind of case it is, and what is said against it; empty where nothing is."""
    if isinstance(case, Text):
        return "compiled", _compiled(case.text)
    if isinstance(case, Status):
        from companyos.observability.slo.reader import read
        from companyos.observability.slo.status import KEPT, standings

        documents = read({"slo.yaml": (case.text or _kit()).encode()})
        found = next(one for one in standings(documents, case) if one.slo_id == _NAMES["slo_id"])  # type: ignore[arg-type]
        return "kept", "" if found.verdict == KEPT else f"{found.verdict}: {found.reason}"
    from companyos.observability.markers.compare import judged
    from companyos.observability.markers.shift import Shift

    decision = judged(case.before, case.after, (Shift("p95", *case.seconds, 0.0, None, 60.0),))
    return "steady", "" if decision.allow else decision.message


def _compiled(text: str) -> str:
    from companyos.observability.slo.errors import SloError
    from companyos.observability.slo.reader import read
    from companyos.observability.slo.rules import compile_rules

    try:
        return "; ".join(str(warning) for warning in compile_rules(read({"slo.yaml": text.encode()})).warnings)
    except SloError as error:
        return error.message


def _kit() -> str:
    from companyos.observability.slo.kits import render

    return render("api", _SERVICE)


def _changed(*changes: tuple[str, str]) -> str:
    """The kit of an API with the first occurrence of each text replaced."""
    text = _kit()
    for old, new in changes:
        if old not in text:
            raise LookupError(f"the kit holds no {old!r} any more")
        text = text.replace(old, new, 1)
    return text


def _sliced(window: str) -> str:
    sliced = f"target: 0.9995\n      timeSliceTarget: 0.95\n      timeSliceWindow: {window}"
    return _changed(("budgetingMethod: Occurrences", "budgetingMethod: Timeslices"), ("target: 0.9995", sliced))


_END = "[{{.window}}]))"
_BAD = 'http_server_request_duration_seconds_count{service_name="specimen",error_type!=""}'


def _own_counter(name: str) -> str:
    return _changed((_BAD, f"{name}{{}}"))


def _specimens() -> list[Specimen]:
    wrong: list[tuple[str, str, Callable[[], Case]]] = [
        ("slices of 14 days, for which no alert fits", "compiled", lambda: Text(_sliced("14d"))),
        ("a query that is no PromQL", "compiled", lambda: Text(_changed(("sum(rate(", "sum(rat(")))),
        ("a query that makes up a value", "compiled", lambda: Text(_changed((_END, f"{_END} or vector(0)")))),
        ("an SLI of 300 %", "kept", lambda: Status(-2.0)),
        ("an SLI of -9750 %", "kept", lambda: Status(98.5)),
        ("an objective without data", "kept", lambda: Status(None)),
        ("errors whose counter is misspelt", "kept", lambda: Status(0.0, _own_counter("erors_total"), "erors_total")),
        ("a spent budget", "kept", lambda: Status(0.01)),
        ("a release whose latency was not measured", "steady", lambda: Release(0.1, 0.1, (0.1, None))),
        ("a release before which latency was not measured", "steady", lambda: Release(0.1, 0.1, (None, 0.1))),
        ("a service that fails before and after its release", "steady", lambda: Release(60.0, 60.0)),
        ("a release that fails", "steady", lambda: Release(0.1, 60.0)),
    ]  # fmt: skip
    good: list[tuple[str, Callable[[], Case]]] = [
        ("the kit of an API", lambda: Text(_kit())),
        ("slices of five minutes", lambda: Text(_sliced("5m"))),
        ("an objective that is kept", lambda: Status(0.0001)),
        ("no error, and a counter that says so", lambda: Status(0.0, _own_counter("errors_total"))),
        ("an error ratio a little below zero, as scrapes are apart", lambda: Status(-0.001)),
        ("a steady release", lambda: Release(0.4, 0.5)),
        ("a release that mends a failing service", lambda: Release(60.0, 0.4)),
    ]
    return [
        *(Specimen(name, lambda _, make=make: make(), f"{ID}.{rule}") for name, rule, make in wrong),  # type: ignore[misc]
        *(Specimen(name, lambda _, make=make: make()) for name, make in good),  # type: ignore[misc]
    ]
