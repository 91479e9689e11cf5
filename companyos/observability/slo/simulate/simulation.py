"""Incidents and healthy months against the alerts of each objective."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate import burnrate, traffic
from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.engine import replay
from companyos.observability.slo.simulate.incidents import INCIDENTS, Incident, Stretch
from companyos.observability.slo.simulate.outcomes import (
    AlertOutcome,
    HealthyOutcome,
    IncidentOutcome,
    SubjectOutcome,
)
from companyos.observability.slo.simulate.sources import Source, source_of
from companyos.observability.slo.simulate.subjects import Subject, severity, subjects, window_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from companyos.observability.slo.simulate.engine import Placed, Replay
    from companyos.observability.slo.simulate.rulefile import RuleGroup
    from companyos.observability.slo.simulate.series import Series
    from companyos.observability.slo.simulate.traffic import Events

__all__ = ("Options", "Run", "incident_run", "simulate")

HEALTHY_DAYS = 30


@dataclass(frozen=True, slots=True)
class Options:
    """What is simulated."""

    incidents: tuple[Incident, ...] = tuple(INCIDENTS.values())
    """Which."""
    healthy: bool = True
    """Whether a healthy month is, too."""
    traffic_rps: float = 10.0
    """Requests a second."""
    seed: int = 1
    """Of the healthy month."""


@dataclass(frozen=True, slots=True)
class Run:
    """One incident, replayed; `inputs` are what promtool needs to do the same."""

    subject: Subject
    """The objective."""
    stretches: tuple[Stretch, ...]
    """The incident."""
    begin_ms: int
    """When it began."""
    until_ms: int
    """When the replay ended."""
    step_ms: int
    """Between samples."""
    inputs: tuple[Series, ...]
    """The counters."""
    done: Replay = field(repr=False)
    """What came out."""


def simulate(
    groups: Iterable[RuleGroup],
    options: Options,
    *,
    progress: Callable[[str], None] = lambda _: None,
    watch: Callable[[str, Run], None] = lambda *_: None,
) -> list[SubjectOutcome]:
    """Replay incidents and a healthy month against the alerts of every objective.

    `progress` is told what begins; `watch` is given the name and the replay of each incident.

    Raises:
        ReplayError: Prometheus would refuse an evaluation.
        UnsupportedRuleError: there is no objective in the rules, or one that cannot be simulated.
    """
    return [_simulated(subject, options, progress, watch) for subject in subjects(groups)]


def _simulated(
    subject: Subject, options: Options, progress: Callable[[str], None], watch: Callable[[str, Run], None]
) -> SubjectOutcome:
    source = source_of(subject)
    incidents = []
    for incident in options.incidents:
        progress(f"{subject.slo_id}: {incident.name}")
        run = incident_run(subject, source, incident, traffic_rps=options.traffic_rps)
        watch(incident.name, run)
        incidents.append(_outcome(run, source, incident))
    if options.healthy:
        progress(f"{subject.slo_id}: {HEALTHY_DAYS} healthy days")
    return SubjectOutcome(
        subject.slo_id,
        1 - subject.budget,
        subject.period_seconds / 86_400,
        options.traffic_rps,
        options.seed,
        tuple(incidents),
        _healthy(subject, source, options) if options.healthy else None,
        tuple(_warnings(subject, source, options)),
    )


def _longest_ms(subject: Subject) -> int:
    return max(window_ms(one.rule) for one in subject.rules)


def incident_run(subject: Subject, source: Source, incident: Incident, *, traffic_rps: float) -> Run:
    """Replay one incident: a quiet time as long as the longest window, the incident, and again as long a time."""
    stretches = incident.stretches(budget=subject.budget, period_seconds=subject.period_seconds)
    interval, step = subject.interval_ms, subject.step_ms
    quiet = math.ceil(_longest_ms(subject) / interval) * interval + interval
    length = math.ceil(sum(stretch.seconds for stretch in stretches) * 1000 / interval) * interval
    until = quiet + length + quiet
    if incident.single_failure_per_hour:
        events = traffic.single_failure(
            per_hour=incident.single_failure_per_hour, begin_ms=quiet, until_ms=until, step_ms=step
        )
    else:
        events = traffic.of_incident(stretches, begin_ms=quiet, until_ms=until, step_ms=step, rate=traffic_rps)
    inputs = _inputs(source, events)
    return Run(subject, stretches, quiet, until, step, inputs, replay(subject.rules, inputs, until_ms=until))


def _inputs(source: Source, events: Events) -> tuple[Series, ...]:
    return tuple(source.series(events.times, events.good, events.bad))


def _outcome(run: Run, source: Source, incident: Incident) -> IncidentOutcome:
    computable = source.linear and not incident.single_failure_per_hour
    budget, period = run.subject.budget, run.subject.period_seconds
    whole = burnrate.spent(run.stretches, until=math.inf, budget=budget, period_seconds=period)
    return IncidentOutcome(
        incident.name,
        incident.title,
        incident.expect.value,
        tuple((stretch.seconds, stretch.errors) for stretch in run.stretches),
        0.0 if incident.single_failure_per_hour else whole,
        tuple(_alert_outcome(run, alert, computable=computable) for alert in run.subject.alerts),
    )


def _spans(run: Run, alert: Placed) -> list[tuple[float, float | None]]:
    """When any alert of the rule fired, in seconds since the beginning of the incident."""
    masks = [trace for rule, trace in run.done.alerts if rule is alert.rule]
    spans = sorted((span for trace in masks for span in trace.spans_ms), key=lambda span: span[0])
    return [
        ((begin - run.begin_ms) / 1000, None if end is None else (end - run.begin_ms) / 1000) for begin, end in spans
    ]


def _alert_outcome(run: Run, alert: Placed, *, computable: bool) -> AlertOutcome:
    spans = _spans(run, alert)
    conditions = burnrate.conditions(alert, run.subject) if computable else None
    expected = _by_mathematics(alert, conditions, run.stretches)
    errors_end = _end_of_errors(run.stretches)
    detection = spans[0][0] if spans else None
    end = spans[-1][1] if spans else None
    computable = computable and conditions is not None
    return AlertOutcome(
        alert.rule.name,
        alert.rule.labels.get("slo_alert", ""),
        severity(alert.rule),
        detection,
        expected[0][0] if expected else None,
        None if end is None else end - errors_end,
        expected[-1][1] - errors_end if expected else None,
        computable,
        None
        if detection is None or not computable
        else burnrate.spent(
            run.stretches,
            until=detection,
            budget=run.subject.budget,
            period_seconds=run.subject.period_seconds,
        ),
        len(spans),
        tuple(spans),
    )


def _end_of_errors(stretches: Sequence[Stretch]) -> float:
    ends = np.cumsum([stretch.seconds for stretch in stretches])
    return max((float(end) for end, stretch in zip(ends, stretches, strict=True) if stretch.errors), default=0.0)


def _by_mathematics(
    alert: Placed, conditions: list[burnrate.Conjunction] | None, stretches: Sequence[Stretch]
) -> list[tuple[float, float]]:
    """When the alert must fire: its condition must have held for `for`, and it is kept firing afterwards."""
    hold, keep = alert.rule.for_ms / 1000, alert.rule.keep_firing_ms / 1000
    spans = burnrate.true_spans(conditions, stretches) if conditions else []
    return [(begin + hold, end + keep) for begin, end in spans if end - begin > hold]


def _healthy(subject: Subject, source: Source, options: Options) -> HealthyOutcome:
    warm_up = _longest_ms(subject)
    events = traffic.healthy(
        days=HEALTHY_DAYS,
        step_ms=subject.step_ms,
        rate=options.traffic_rps,
        budget=subject.budget,
        seed=options.seed,
        warm_up_ms=warm_up,
    )
    until = warm_up + HEALTHY_DAYS * traffic.DAY_SECONDS * 1000
    done = replay(subject.rules, _inputs(source, events), until_ms=until)
    counted = events.times > warm_up
    firings = []
    for alert in subject.alerts:
        begins = [span[0] for rule, trace in done.alerts if rule is alert.rule for span in trace.spans_ms]
        # What fires while the windows are still filling is the simulation's doing, not the month's.
        number = sum(begin > warm_up for begin in begins)
        firings.append((alert.rule.name, severity(alert.rule), number))
    good, bad = int(events.good[counted].sum()), int(events.bad[counted].sum())
    return HealthyOutcome(HEALTHY_DAYS, good + bad, bad, tuple(firings))


def _warnings(subject: Subject, source: Source, options: Options) -> list[str]:
    """Whether the traffic is enough for one failed request not to fire a page; and what could not be computed."""
    if not source.linear:
        return [
            "the error ratio does not count all events alike (time slices?): there is no mathematics to compare with"
        ]
    rates = {options.traffic_rps: ""}
    for incident in options.incidents:
        if incident.single_failure_per_hour:
            rates[incident.single_failure_per_hour / 3600] = f"{incident.name}: "
    found = []
    for alert in subject.alerts:
        conditions = burnrate.conditions(alert, subject)
        needed = burnrate.requests_needed(conditions) if conditions else None
        if severity(alert.rule) != "page" or needed is None:
            continue
        rate, breach = needed
        found += [
            f"{prefix}at {_rate(traffic)} a single failed request pages ({alert.rule.name}); from {_rate(rate)} on it "
            f"does not, which is {math.ceil(1 / breach.threshold)} requests in {breach.window_seconds / 3600:g} h"
            for traffic, prefix in rates.items()
            if traffic < rate
        ]
    return found


def _rate(per_second: float) -> str:
    return f"{per_second:.3g} requests/s" if per_second >= 1 else f"{per_second * 3600:.3g} requests/h"
