"""How objectives stand, by what a Prometheus with the compiled rules says.

A verdict is `kept` only if the whole period could be looked at; where it could not, the verdict is `undetermined`,
with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.errors import COULD_NOT_CHECK, FINDINGS
from companyos.observability.slo.durations import notation
from companyos.observability.slo.errors import PrometheusError
from companyos.observability.slo.expressions import BEYOND, RATIO, TOTAL
from companyos.observability.slo.periods import calendar_start
from companyos.observability.slo.promql import number
from companyos.observability.slo.rules import objectives, percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.observability.slo.openslo import Documents
    from companyos.observability.slo.prometheus import Prometheus, Sample
    from companyos.observability.slo.rules import Compiled

__all__ = ("Alert", "Standing", "exit_status", "standings")

KEPT, SPENT, UNDETERMINED = "kept", "spent", "undetermined"
_SERIES = '{__name__=~"slo:(sli_error:ratio_rate.+|objective:ratio|sli_total:rate5m)", slo_id!=""}'
_RETENTION = re.compile(r"([0-9]+)(ms|[smhdwy])")
_UNIT_SECONDS = {"ms": 0, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
DEFAULT_RETENTION_SECONDS = 15 * 86_400
"""What Prometheus keeps where no flag says otherwise."""
_TOLERANCE = 1e-9
_LOOKS = 200
"""How often in the period it is looked whether the rules were evaluated."""
_ENOUGH = 0.98
"""The share of these that must have found them: nobody is to be kept from a verdict by a restart."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that is pending or firing."""

    name: str
    """The label `slo_alert`."""
    severity: str
    """Such as `page`."""
    state: str
    """`pending` or `firing`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one objective stands."""

    slo_id: str
    """Its identity."""
    objective: str
    """In percent."""
    period: str
    """Such as `30d`, or `1M from 2026-11-01T00:00:00+00:00`."""
    verdict: str
    """`kept`, `spent` or `undetermined`."""
    reason: str
    """Why it is undetermined; empty otherwise."""
    sli: float | None = None
    """The share of good over the period."""
    budget_left: float | None = None
    """The share of the error budget that is left; below 0 where more than all is spent."""
    burn_rates: dict[str, float] = field(default_factory=dict)
    """By window."""
    alerts: tuple[Alert, ...] = ()
    """Those that are pending or firing."""

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "slo_id": self.slo_id,
            "objective": self.objective,
            "period": self.period,
            "verdict": self.verdict,
            "reason": self.reason,
            "sli": self.sli,
            "budget_left": self.budget_left,
            "burn_rates": self.burn_rates,
            "alerts": [{"name": a.name, "severity": a.severity, "state": a.state} for a in self.alerts],
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the Prometheus holds, by objective."""

    values: dict[tuple[str, str], float]
    """By identity and name of the series."""
    alerts: dict[str, list[Alert]]
    """By identity."""
    retention_seconds: int | None
    """None where it does not say."""


def standings(documents: Documents, prometheus: Prometheus, *, now: datetime | None = None) -> list[Standing]:
    """How every objective stands, sorted by identity.

    Raises:
        PrometheusError: it does not answer, so that nothing at all is known.
        SloError: as `compile_rules` does.
    """
    items = objectives(documents)
    seen = _look(prometheus)
    return [_standing(item, seen, prometheus, now or datetime.now(UTC)) for item in items]


def exit_status(found: Iterable[Standing]) -> int:
    """1 where a budget is spent, else 3 where something could not be determined, else 0."""
    verdicts = {standing.verdict for standing in found}
    if SPENT in verdicts:
        return FINDINGS
    return 0 if verdicts == {KEPT} else COULD_NOT_CHECK


def _look(prometheus: Prometheus) -> _Seen:
    values: dict[tuple[str, str], float] = {}
    for sample in prometheus.query(_SERIES):
        values[sample.labels.get("slo_id", ""), sample.labels.get("__name__", "")] = sample.value
    alerts: dict[str, list[Alert]] = {}
    for sample in prometheus.query('ALERTS{slo_id!=""}'):
        alerts.setdefault(sample.labels.get("slo_id", ""), []).append(_alert(sample))
    return _Seen(values, alerts, _retention(prometheus))


def _alert(sample: Sample) -> Alert:
    labels = sample.labels
    name = labels.get("slo_alert", labels.get("alertname", ""))
    return Alert(name, labels.get("severity", ""), labels.get("alertstate", ""))


def _retention(prometheus: Prometheus) -> int | None:
    """How far back it remembers; None where it has no such notion, as other stores behind the same API."""
    try:
        flags = prometheus.ask("/api/v1/status/flags")
    except PrometheusError:
        return None
    written = flags.get("storage.tsdb.retention.time") if isinstance(flags, dict) else None
    if not isinstance(written, str):
        return None
    seconds = sum(int(count) * _UNIT_SECONDS[unit] for count, unit in _RETENTION.findall(written))
    return seconds or DEFAULT_RETENTION_SECONDS


def _standing(item: Compiled, seen: _Seen, prometheus: Prometheus, now: datetime) -> Standing:
    period_seconds = item.slo.window.seconds
    period, share, looked_at = notation(period_seconds), 1.0, period_seconds
    if item.slo.window.calendar is None:
        error = seen.values.get((item.slo_id, f"{RATIO}{period}"))
    else:
        began, ends = calendar_start(item.slo.window, now)
        looked_at = max(300, int((now - began).total_seconds()))
        share = min(1.0, looked_at / (ends - began).total_seconds())
        period = f"{item.slo.window.shorthand} from {began.isoformat()}"
        found = prometheus.query(item.measure.period_error_ratio(notation(looked_at)))
        error = found[0].value if len(found) == 1 else None
    left = None if error is None else 1 - error / float(item.budget) * share
    verdict, reason = _verdict(item, seen, error, left, looked_at)
    if verdict == KEPT and (lacking := _blind(item, prometheus, error) or _lacking(item, prometheus, looked_at)):
        verdict, reason = UNDETERMINED, lacking
    return Standing(
        item.slo_id,
        percent(item.objective),
        period,
        verdict,
        reason,
        None if error is None else 1 - error,
        left,
        _burn_rates(item, seen),
        tuple(sorted(seen.alerts.get(item.slo_id, []), key=lambda alert: (alert.severity, alert.name, alert.state))),
    )


def _verdict(item: Compiled, seen: _Seen, error: float | None, left: float | None, looked_at: int) -> tuple[str, str]:
    loaded = seen.values.get((item.slo_id, "slo:objective:ratio"))
    target = float(item.objective.target)
    if loaded is None:
        return UNDETERMINED, "its rules are not loaded: compile the files, and name the result under rule_files"
    if abs(loaded - target) > _TOLERANCE:
        return UNDETERMINED, f"the rules loaded are for an objective of {number(loaded)}: compile and load them again"
    if left is None:
        traffic = seen.values.get((item.slo_id, TOTAL))
        nothing = "no events in the period" if traffic is not None else "its queries find no data"
        return UNDETERMINED, nothing
    if error is not None and error > 1 + BEYOND:
        return UNDETERMINED, f"its queries give an error ratio of {number(error)}, which is none"
    if left <= 0:
        return SPENT, ""
    if error is not None and error < -BEYOND:
        return UNDETERMINED, "its queries count more good events than events: they do not select the same"
    if seen.retention_seconds is not None and seen.retention_seconds < looked_at:
        kept = notation(seen.retention_seconds)
        return UNDETERMINED, f"Prometheus keeps only {kept} of the period: raise --storage.tsdb.retention.time"
    if seen.values.get((item.slo_id, f"{RATIO}{notation(item.base_seconds)}")) is None and not _quiet(item, seen):
        return UNDETERMINED, "there was data, and there is none now"
    return KEPT, ""


def _lacking(item: Compiled, prometheus: Prometheus, looked_at: int) -> str:
    """What part of the period is on record, where that is not all of it: a young Prometheus, or one that was away."""
    step = max(60, looked_at // _LOOKS)
    recorded = f"slo:objective:ratio{item.selector}[{looked_at}s:{step}s]"
    found = prometheus.query(f"count_over_time({recorded})")
    looks = found[0].value if len(found) == 1 else 0
    if looks >= _ENOUGH * (looked_at // step) - 1:
        return ""
    return f"only {notation(int(looks) * step)} of {notation(looked_at)} are on record"


def _blind(item: Compiled, prometheus: Prometheus, error: float | None) -> str:
    """What counter of bad events is not there, where none was seen: it may be misspelt."""
    names = () if error or item.bad_may_be_absent else item.measure.bad_names
    missing = [name for name in names if prometheus.query(f"absent({name})")]
    if not missing:
        return ""
    return f"no bad event can be seen: there is no {', '.join(missing)}. Mend the name, or export it as 0"


def _quiet(item: Compiled, seen: _Seen) -> bool:
    """Whether nothing is measured because nothing happens: counters are there, and do not move."""
    return item.measure.counts_events and (item.slo_id, TOTAL) in seen.values


def _burn_rates(item: Compiled, seen: _Seen) -> dict[str, float]:
    rates = {}
    for size in item.windows:
        window = notation(size)
        error = seen.values.get((item.slo_id, f"{RATIO}{window}"))
        if error is not None:
            rates[window] = error / float(item.budget)
    return rates
