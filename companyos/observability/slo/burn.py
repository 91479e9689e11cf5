"""Burn-rate alerts: which windows, which factors, and whether they can fire at all.

A burn rate of 1 uses up the budget exactly at the end of the period. To have spent the share S of the budget within
a window W of a period P, errors must come S * P / W times as fast: that is the factor of the window. Each long window
is joined by one of a twelfth of it, so that the alert ends soon after the errors do (Google, The Site Reliability
Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from companyos.observability.slo.durations import DAY, HOUR, MINUTE, WEEK, notation
from companyos.observability.slo.promql import number

if TYPE_CHECKING:
    from companyos.observability.slo.openslo import AlertPolicy

__all__ = ("BurnAlert", "BurnWindow", "of_playbook", "of_policy")

SHORT_WINDOW = "companyos.short-window"
"""Annotation of an AlertCondition: the window that must breach as well, in OpenSLO's shorthand."""
SHORTEST_LONG = 5 * MINUTE
SHORTEST_SHORT = MINUTE
PLAYBOOK = (
    ("page", Fraction(2, 100), HOUR),
    ("page", Fraction(5, 100), 6 * HOUR),
    ("ticket", Fraction(10, 100), DAY),
    ("ticket", Fraction(10, 100), 3 * DAY),
)
"""Severity, share of the budget, long window: the playbook's two pages, and the workbook's tickets."""


@dataclass(frozen=True, slots=True)
class BurnWindow:
    """One burn rate over one window."""

    factor: Fraction
    """The burn rate above which it breaches."""
    long_seconds: int
    """The window."""
    short_seconds: int | None
    """The window that must breach as well, or None."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Seconds of its windows, the shorter first."""
        return (self.long_seconds,) if self.short_seconds is None else (self.short_seconds, self.long_seconds)

    @property
    def text(self) -> str:
        """Such as `14.4 over 1h`."""
        return f"{number(self.factor)} over {notation(self.long_seconds)}"


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """One alert: it fires while any of its windows breaches."""

    key: str
    """The label `slo_alert`."""
    severity: str
    """The label `severity`."""
    windows: tuple[BurnWindow, ...]
    """The shortest first."""
    after_seconds: int = 0
    """How long it must breach."""
    policy: AlertPolicy | None = None
    """Where it comes from; None for the playbook's."""


def of_playbook(period_seconds: int, slice_seconds: int) -> list[BurnAlert]:
    """The playbook's alerts, fitted to a period of any length.

    Below a week the windows shrink with the period. No factor is below 1: that would alert on a service that keeps
    its objective; of several windows that end up there the longest is kept. No window is shorter than a slice.
    """
    alerts = []
    for severity in ("page", "ticket"):
        fitted = [
            window
            for name, share, base in PLAYBOOK
            if name == severity and (window := _fitted(share, base, period_seconds, slice_seconds)) is not None
        ]
        floored = [window for window in fitted if window.factor == 1][:-1]
        windows = tuple(dict.fromkeys(window for window in fitted if window not in floored))
        if windows:
            alerts.append(BurnAlert(f"burn-{severity}", severity, windows))
    return alerts


def _fitted(share: Fraction, base: int, period: int, slice_seconds: int) -> BurnWindow | None:
    long = base
    if period < WEEK:
        long = max(SHORTEST_LONG, round(Fraction(base * period, 30 * DAY) / MINUTE) * MINUTE)
    short = max(long // 12, SHORTEST_SHORT, slice_seconds)
    if long >= period or short >= long:
        return None
    return BurnWindow(max(Fraction(1), share * period / long), long, short)


def of_policy(policy: AlertPolicy, short_seconds: int | None) -> BurnAlert:
    """The alert that an AlertPolicy asks for."""
    condition = policy.condition
    window = BurnWindow(Fraction(condition.threshold), condition.lookback_seconds, short_seconds)
    return BurnAlert(policy.metadata.name, condition.severity, (window,), condition.after_seconds, policy)
