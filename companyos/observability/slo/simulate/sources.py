"""From the rules to the series that they read: which counters there must be, and which of them count an error.

Nothing is guessed from names. For each metric that no rule records, label sets are made up that the selectors tell
apart; then the evaluator is asked which of them, counting alone or together, give the error ratio 0, and which give 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.engine import replay
from companyos.observability.slo.simulate.errors import UnsupportedRuleError
from companyos.observability.slo.simulate.samples import candidates
from companyos.observability.slo.simulate.series import NAME, Series, labels_of
from companyos.observability.slo.simulate.subjects import ancestors, window_ms, writers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.observability.slo.simulate.engine import Placed
    from companyos.observability.slo.simulate.nodes import Matcher
    from companyos.observability.slo.simulate.series import Labels, Times, Values
    from companyos.observability.slo.simulate.subjects import Subject

__all__ = ("Source", "source_of")

MOST_SERIES = 8
"""Series that an objective may read at the most, of those that its selectors tell apart."""
MOST_LABEL_SETS = 4096
SUFFICES = 1e-9


@dataclass(frozen=True, slots=True)
class Source:
    """The counters that the rules of an objective read."""

    counters: tuple[Labels, ...]
    """All of them."""
    good: frozenset[Labels]
    """Those that count an event that went well."""
    bad: frozenset[Labels]
    """Those that count one that failed."""
    linear: bool
    """Whether half of the events failed gives the error ratio one half; if not, it is time that is counted."""

    def series(self, times: Times, good: Values, bad: Values) -> list[Series]:
        """The counters, from the numbers of good and bad events up to each time since the time before."""
        totals = (np.cumsum(good), np.cumsum(bad))
        zero = np.zeros(len(times))
        return [
            Series(
                labels,
                times,
                (totals[0] if labels in self.good else zero) + (totals[1] if labels in self.bad else zero),
            )
            for labels in self.counters
        ]


def source_of(subject: Subject) -> Source:
    """What an objective's error ratio is made of.

    Raises:
        UnsupportedRuleError: no series were found that make it 0 and 1.
    """
    rules = ancestors([subject.sli], writers(subject.rules))
    counters = _counters(rules)
    if 1 <= len(counters) <= MOST_SERIES:
        sizes = range(1, len(counters) + 1)
        subsets = [frozenset(chosen) for size in sizes for chosen in combinations(counters, size)]
        ratios = {chosen: _ratio(subject, rules, counters, chosen, frozenset()) for chosen in subsets}
        good = next((chosen for chosen, ratio in ratios.items() if _near(ratio, 0)), None)
        bad = next((chosen for chosen, ratio in ratios.items() if _near(ratio, 1)), None)
        if good is not None and bad is not None:
            linear = _near(_ratio(subject, rules, counters, good, bad), 0.5)
            return Source(counters, good, bad, linear)
    raise UnsupportedRuleError(
        f"{subject.sli.rule.place}: found no series for which this error ratio is 0, and others for which it is 1",
        got=subject.sli.rule.text,
        expected=f"a ratio of at most {MOST_SERIES} counters",
        hint="nothing can be said about the alerts of this objective",
    )


def _near(ratio: float | None, value: float) -> bool:
    return ratio is not None and abs(ratio - value) < SUFFICES


def _counters(rules: Sequence[Placed]) -> tuple[Labels, ...]:
    """Label sets of the metrics that no rule records: one for each combination of selectors that match."""
    recorded = {one.rule.name for one in rules}
    selectors: dict[str, dict[tuple[Matcher, ...], None]] = {}
    for one in rules:
        for node in one.rule.selectors:
            if node.name not in recorded:
                selectors.setdefault(node.name, {})[node.matchers] = None
    found: list[Labels] = []
    for name, matchers in selectors.items():
        found += _told_apart(name, list(matchers))
    return tuple(found)


def _told_apart(name: str, selectors: list[tuple[Matcher, ...]]) -> list[Labels]:
    by_label: dict[str, list[Matcher]] = {}
    for matchers in selectors:
        for matcher in matchers:
            by_label.setdefault(matcher.name, []).append(matcher)
    values = {label: candidates(matchers) for label, matchers in by_label.items()}
    if name.endswith("_bucket") and "le" not in values:
        # A quantile is asked for: a bucket for the fast, one for the slow, and the one that a histogram must have.
        values["le"] = ["0.001", "1000000", "+Inf"]
    found: dict[tuple[object, ...], Labels] = {}
    for number, chosen in enumerate(product(*values.values())):
        if number == MOST_LABEL_SETS:
            break
        labels = dict(zip(values, chosen, strict=True))
        matched = tuple(all(one.matches(labels[one.name]) for one in matchers) for matchers in selectors)
        if any(matched):
            bucket = labels["le"] if "le" in values and "le" not in by_label else ""
            found.setdefault((*matched, bucket), labels_of(labels | {NAME: name}))
    return list(found.values())


def _ratio(
    subject: Subject,
    rules: Sequence[Placed],
    counters: tuple[Labels, ...],
    one: frozenset[Labels],
    other: frozenset[Labels],
) -> float | None:
    """The error ratio if events are counted by these counters, the two kinds in turn; None if there is none."""
    longest = max(window_ms(each.rule) for each in rules) or subject.interval_ms
    interval = subject.interval_ms
    until = 2 * longest + 2 * interval
    times = np.arange(0, until + 1, subject.step_ms, dtype=np.int64)
    kinds = ((one, 1.0), (other, 1.0))
    series = [
        Series(labels, times, np.cumsum(np.full(len(times), sum(amount for kind, amount in kinds if labels in kind))))
        for labels in counters
    ]
    found = replay(rules, series, until_ms=until).store.select(subject.sli.rule.name, ())
    if len(found) != 1 or not len(found[0].live[1]) or int(found[0].live[0][-1]) != until // interval * interval:
        return None
    value = float(found[0].live[1][-1])
    return value if np.isfinite(value) else None
