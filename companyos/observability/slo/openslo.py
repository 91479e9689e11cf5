"""What OpenSLO files say, as value objects; the names are those of OpenSLO v1, section "Object Types"."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from companyos.observability.slo.errors import Problem
    from companyos.observability.slo.promql import Query

__all__ = (
    "AlertCondition",
    "AlertNotificationTarget",
    "AlertPolicy",
    "BudgetingMethod",
    "Calendar",
    "DataSource",
    "Documents",
    "EventRatio",
    "Indicator",
    "Metadata",
    "Objective",
    "Place",
    "RawRatio",
    "Service",
    "Slo",
    "ThresholdMetric",
    "TimeWindow",
)


class BudgetingMethod(Enum):
    """What the budget is counted in."""

    OCCURRENCES = "Occurrences"
    """Good events among all events."""
    TIMESLICES = "Timeslices"
    """Good slices of time among all slices in which there was something to judge."""
    RATIO_TIMESLICES = "RatioTimeslices"
    """The mean of the success ratios of all slices in which there was something to judge."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands."""

    file: str
    """As it was named by the caller."""
    line: int
    """Counted from 1."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What every object has."""

    name: str
    """Unique among the objects of its kind."""
    display_name: str
    """For people; the name where none is given."""
    labels: Mapping[str, str]
    """Labels; a list of values is joined by commas."""
    annotations: Mapping[str, str]
    """Annotations."""
    place: Place
    """Where the object begins."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where metrics come from."""

    metadata: Metadata
    """Who it is."""
    type: str
    """Such as `Prometheus`."""


@dataclass(frozen=True, slots=True)
class EventRatio:
    """A `ratioMetric` of `good` or `bad` events and their `total`."""

    counted: Query
    """The good ones, or the bad ones."""
    are_bad: bool
    """Which of the two."""
    total: Query
    """All events."""


@dataclass(frozen=True, slots=True)
class RawRatio:
    """A `ratioMetric` that somebody else computed: `raw`."""

    query: Query
    """The ratio."""
    is_failure: bool
    """`rawType: failure`: it is the share of bad events."""


@dataclass(frozen=True, slots=True)
class ThresholdMetric:
    """A `thresholdMetric`: a value that objectives compare with theirs."""

    query: Query
    """The value."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """An SLI."""

    metadata: Metadata
    """Who it is."""
    metric: EventRatio | RawRatio | ThresholdMetric
    """What it measures."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One target of an SLO."""

    display_name: str
    """For people; may be empty."""
    target: Decimal
    """The share that must be good, above 0 and below 1."""
    op: str | None
    """`lte`, `gte`, `lt` or `gt`: how good values compare with `value`."""
    value: float | None
    """What values of a `thresholdMetric` are compared with."""
    slice_target: Decimal | None
    """The share that must be good within one slice."""
    slice_seconds: int | None
    """Length of a slice."""
    place: Place
    """Where it begins."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where calendar-aligned windows begin."""

    start: str
    """Local time, `YYYY-MM-DD HH:MM:SS`."""
    time_zone: str
    """Name in the IANA database."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """The time for which the budget is."""

    seconds: int
    """Its length."""
    shorthand: str
    """As written."""
    calendar: Calendar | None
    """None for a rolling window."""


@dataclass(frozen=True, slots=True)
class AlertCondition:
    """A burn rate that must not be reached."""

    metadata: Metadata
    """Who it is."""
    description: str
    """For people."""
    severity: str
    """Such as `page`."""
    threshold: Decimal
    """Multiple of the burn rate that uses up the budget exactly at the end of the window."""
    or_equal: bool
    """`op: gte`: the threshold itself breaches, too."""
    lookback_seconds: int
    """Over which the burn rate is taken."""
    after_seconds: int
    """How long the condition must hold."""
    place: Place
    """Where its threshold stands."""


@dataclass(frozen=True, slots=True)
class AlertNotificationTarget:
    """Whom to tell."""

    metadata: Metadata
    """Who it is."""
    target: str
    """Such as `slack`."""


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """When to tell whom."""

    metadata: Metadata
    """Who it is."""
    condition: AlertCondition
    """The only condition that v1 allows."""
    when_breaching: bool
    """Alert while the condition holds; true where nothing is said."""
    when_no_data: bool | None
    """Alert where nothing can be measured; None where nothing is said."""
    targets: tuple[AlertNotificationTarget, ...]
    """Whom to tell."""


@dataclass(frozen=True, slots=True)
class Service:
    """What SLOs are grouped by."""

    metadata: Metadata
    """Who it is."""


@dataclass(frozen=True, slots=True)
class Slo:
    """A service level objective."""

    metadata: Metadata
    """Who it is."""
    description: str
    """For people."""
    service: str
    """Name of its service."""
    indicator: Indicator
    """What is measured."""
    window: TimeWindow
    """For how long."""
    method: BudgetingMethod
    """What is counted."""
    objectives: tuple[Objective, ...]
    """At least one."""
    policies: tuple[AlertPolicy, ...]
    """Empty for the alerts of the playbook."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What a set of files says, references resolved."""

    slos: tuple[Slo, ...]
    """In the order of the files."""
    services: tuple[Service, ...]
    """In the order of the files."""
    warnings: tuple[Problem, ...]
    """What is not wrong, but not as its author may think."""
    digest: str
    """`sha256:…` of the files' bytes, whatever their order."""
