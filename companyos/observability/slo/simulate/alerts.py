"""The states of alerts: inactive, pending, firing.

Source: Prometheus 2.42 `rules/alerting.go`, `AlertingRule.Eval`, and
https://prometheus.io/docs/prometheus/2.42/configuration/alerting_rules/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.series import NAME, Labels, Row, labels_of, without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.observability.slo.simulate.rulefile import Rule
    from companyos.observability.slo.simulate.series import Mask, Times

__all__ = ("AlertTrace", "alert_labels", "trace", "written_by")


@dataclass(frozen=True, slots=True)
class AlertTrace:
    """What became of one alert of a rule over all evaluations of its group."""

    labels: Labels
    """Identity of the alert, `alertname` included."""
    ticks: Times
    """When the rule was evaluated, in milliseconds."""
    pending: Mask
    """At which evaluations it was pending."""
    firing: Mask
    """At which evaluations it was firing."""
    active_since: Times
    """When it became active, at each evaluation where it is; in milliseconds."""

    @property
    def spans_ms(self) -> tuple[tuple[int, int | None], ...]:
        """From which evaluation it fired, and the first one at which it did so no more; None if it never stopped."""
        edges = np.diff(np.concatenate(([False], self.firing, [False])).astype(np.int8))
        begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        last = len(self.ticks)
        return tuple(
            (int(self.ticks[begin]), int(self.ticks[end]) if end < last else None)
            for begin, end in zip(begins, ends, strict=True)
        )


def alert_labels(rule: Rule, row: Row) -> Labels:
    """The identity of an alert: the labels of the element without its name, those of the rule, and `alertname`."""
    return labels_of(dict(without(row.labels, (NAME,))) | dict(rule.labels) | {"alertname": rule.name})


def trace(rule: Rule, row: Row, ticks: Times) -> AlertTrace:
    """Pending from the first evaluation at which the condition holds, firing once it held for `for`, then inactive.

    `row` has the labels of the alert already.
    """
    pending = np.zeros(len(ticks), dtype=np.bool_)
    firing = np.zeros(len(ticks), dtype=np.bool_)
    since = np.zeros(len(ticks), dtype=np.int64)
    kept_until = active_at = -1
    for begin, end in _runs(row.present):
        # A condition that comes back while the alert is kept firing finds it firing, and active since long ago.
        if begin < kept_until:
            fires = begin
        else:
            active_at = int(ticks[begin])
            fires = int(np.searchsorted(ticks, active_at + rule.for_ms, side="left"))
        pending[begin : min(fires, end)] = True
        kept_until = -1
        if fires >= end:
            since[begin:end] = active_at
            continue
        kept_until = end
        if rule.keep_firing_ms and end < len(ticks):
            kept_until = int(np.searchsorted(ticks, ticks[end] + rule.keep_firing_ms, side="left"))
        firing[fires:kept_until] = True
        since[begin:kept_until] = active_at
    return AlertTrace(row.labels, ticks, pending, firing, since)


def _runs(present: Mask) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
    yield from zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)


def written_by(alert: AlertTrace) -> Iterator[Row]:
    """The series that Prometheus writes for an alert: `ALERTS` by state, and `ALERTS_FOR_STATE`."""
    ones = np.ones(len(alert.ticks))
    labels = dict(alert.labels)
    for state, mask in (("pending", alert.pending), ("firing", alert.firing)):
        if mask.any():
            yield Row(labels_of(labels | {NAME: "ALERTS", "alertstate": state}), ones, mask)
    active = alert.pending | alert.firing
    yield Row(labels_of(labels | {NAME: "ALERTS_FOR_STATE"}), alert.active_since / 1000.0, active)
