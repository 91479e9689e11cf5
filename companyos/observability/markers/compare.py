"""Before and after a release: golden signals, the burn of the error budget, and whether latency rose with it.

Burn rate: share of errors divided by the share that the objective allows (The Site Reliability Workbook, chapter 5).
An incident is a burn of more than ten times the normal one. Normal is the burn before the release; but as long as the
budget is not spent faster than it accrues, a burn of 1, there is no incident, however quiet it was before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from companyos.decision import Decision, Finding, Severity
from companyos.observability.markers.errors import MarkerError
from companyos.observability.markers.shift import Shift, shift_in
from companyos.observability.markers.signals import QUANTILES, Signals, queries_for

if TYPE_CHECKING:
    from companyos.observability.dashboards.prometheus import PrometheusOverTime
    from companyos.observability.markers.marker import Marker
    from companyos.observability.markers.signals import Queries

__all__ = ("INCIDENT_FACTOR", "OBJECTIVE", "Comparison", "compare", "judged")

OBJECTIVE = 0.9995
"""Share of good events that is promised, unless another is given: the playbook's availability of an API."""
INCIDENT_FACTOR = 10.0
"""A burn of more than this many times the normal one is an incident."""
FEWEST = 20
"""With fewer events in either window nothing is said."""
SHORTEST_SECONDS = 60
"""With less time than this since the release nothing is said."""
STEPS = 60
"""Points drawn and looked at in each of the two windows, at most."""
WATCHED = ("p95", "p99")
_REASONS = {
    "release.burn": "release.incident",
    "release.failing": "release.failing",
    "release.latency": "release.latency_spike",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a release did to a service."""

    marker: Marker
    """The release."""
    before_seconds: int
    """Length of the window before it."""
    after_seconds: int
    """Length of the window after it: as long, or up to now."""
    before: Signals | None = None
    """The signals before."""
    after: Signals | None = None
    """The signals after."""
    objective: float = OBJECTIVE
    """Share of good events that is promised."""
    shifts: tuple[Shift, ...] = ()
    """How each of the upper quantiles of latency moved."""
    traces: tuple[str, ...] = ()
    """Traces of failed events after the release."""
    decision: Decision = field(default_factory=lambda: Decision.undetermined("release.not_compared"))
    """Allowed if nothing got worse, denied with findings, undetermined without data."""

    def undetermined(self, reason: str, why: str) -> Comparison:
        """The same, with nothing concluded."""
        return replace(self, decision=Decision.undetermined(reason, why))

    def burn(self, signals: Signals | None) -> float | None:
        """The burn rate of the error budget; 1 spends exactly what the objective allows."""
        share = None if signals is None else signals.error_share
        return None if share is None else _burn(share, self.objective)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as a JSON object; times in seconds, shares from 0 to 1."""
        return {
            "marker": self.marker.to_cdevent(),
            "before_seconds": self.before_seconds,
            "after_seconds": self.after_seconds,
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "objective": self.objective,
            "burn_before": self.burn(self.before),
            "burn_after": self.burn(self.after),
            "shifts": [shift.to_dict() for shift in self.shifts],
            "traces": list(self.traces),
            "decision": self.decision.to_dict(),
        }


def compare(
    marker: Marker,
    source: PrometheusOverTime,
    *,
    window_seconds: int = 1800,
    objective: float = OBJECTIVE,
    now: float | None = None,
) -> Comparison:
    """Compare the golden signals of the marker's service and environment before and after it.

    `source` is asked about `window_seconds` on either side, up to `now` (Unix seconds).

    Raises:
        MarkerError: the window is shorter than a minute, or the objective is not between 0 and 1.
        UnverifiableError: the Prometheus does not answer.
    """
    if window_seconds < SHORTEST_SECONDS:
        raise MarkerError("the window is too short", got=window_seconds, expected=f"{SHORTEST_SECONDS} s or more")
    if not 0 < objective < 1:
        raise MarkerError("no such objective", got=objective, expected="a share between 0 and 1, such as 0.9995")
    released = marker.at.timestamp()
    after_seconds = max(0, int(min(window_seconds, (time.time() if now is None else now) - released)))
    blank = Comparison(marker, window_seconds, after_seconds, objective=objective)
    if after_seconds < SHORTEST_SECONDS:
        return blank.undetermined(
            "release.too_early", f"the release is {after_seconds} s old; {SHORTEST_SECONDS} s are needed"
        )
    until = released + after_seconds
    queries = queries_for(marker, source, until=until, window=after_seconds)
    if queries is None:
        return blank.undetermined("release.no_data", "no request or job is measured after the release")
    before = queries.over(source, window_seconds, until=released)
    after = queries.over(source, after_seconds, until=until)
    found = replace(blank, before=before, after=after)
    if before.error_share is None or after.error_share is None:
        when = "before" if before.error_share is None else "after"
        return found.undetermined("release.no_data", f"no request or job is measured {when} the release")
    fewest = min((before.rate or 0) * window_seconds, (after.rate or 0) * after_seconds)
    if fewest < FEWEST:
        return found.undetermined(
            "release.no_data", f"only {fewest:.0f} events on one side of the release; {FEWEST} are needed"
        )
    shifts = tuple(_shift(queries, source, name, found) for name in WATCHED)
    burns = _burn(before.error_share, objective), _burn(after.error_share, objective)
    traces = queries.failing_traces(source, start=released, end=until)
    return replace(found, shifts=shifts, traces=traces, decision=judged(*burns, shifts))


def _burn(error_share: float, objective: float) -> float:
    return error_share / (1 - objective)


def _shift(queries: Queries, source: PrometheusOverTime, name: str, found: Comparison) -> Shift:
    released = found.marker.at.timestamp()
    step = max(1, min(found.before_seconds, found.after_seconds) // STEPS)
    window = max(SHORTEST_SECONDS, 3 * step)
    start, end = released - found.before_seconds + window, released + found.after_seconds
    series = source.over(queries.quantile(QUANTILES[name], window), start=start, end=end, step=step)
    points = series[0].points if len(series) == 1 else ()
    return shift_in(name, points, released, lag_seconds=window + 2 * step)


def judged(normal: float, burn: float, shifts: tuple[Shift, ...]) -> Decision:
    """What burn rates before and after a release, and the movements of latency, come to."""
    findings = []
    limit = max(INCIDENT_FACTOR * normal, 1.0)
    if burn > limit:
        text = f"the error budget burns at {burn:.1f} after the release, {normal:.2f} before; more than {limit:.1f}"
        hint = "roll back, then open an incident"
        findings.append(Finding("release.burn", text, Severity.CRITICAL, hint=hint))
    elif burn > 1 < normal:
        text = f"the error budget burns at {burn:.1f} after the release, and did at {normal:.1f} before it"
        hint = "the release is not the cause, nor the cure: look for what fails"
        findings.append(Finding("release.failing", text, Severity.HIGH, hint=hint))
    findings += [
        Finding("release.latency", shift.sentence(), Severity.HIGH, hint="look at the traces of slow requests")
        for shift in shifts
        if shift.follows_release
    ]
    facts = {"burn_before": normal, "burn_after": burn, "burn_limit": limit}
    if findings:
        reason = _REASONS[findings[0].rule]
        return Decision.denied(reason, "; ".join(f.message for f in findings), findings=findings, facts=facts)
    unknown = [shift.name for shift in shifts if shift.before is None or shift.after is None]
    if unknown:
        text = f"{', '.join(unknown)}: too few values to tell whether latency rose; wait, or take a longer window"
        return Decision.undetermined("release.no_latency", text, facts=facts)
    text = f"burn rate {burn:.2f} after the release, {normal:.2f} before; latency did not rise with it"
    return Decision.allowed("release.steady", text, facts=facts)
