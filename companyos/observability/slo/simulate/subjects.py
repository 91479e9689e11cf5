"""Which rules belong to which objective, and what they say about it: its budget, its period, its alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.engine import Placed, placed, reads
from companyos.observability.slo.simulate.errors import UnsupportedRuleError
from companyos.observability.slo.simulate.evaluator import Evaluator
from companyos.observability.slo.simulate.series import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.observability.slo.simulate.rulefile import Rule, RuleGroup

    Writers = Mapping[str, Sequence[Placed]]
    """By metric."""

__all__ = ("Subject", "ancestors", "severity", "subjects", "window_ms", "writers")

SLI_PREFIX = "slo:sli_error:ratio_rate"
"""How the recorded error ratios are named, since Sloth."""
BUDGET = "slo:error_budget:ratio"
PERIOD = "slo:time_period:days"
MOST_SAMPLES = 3_000_000
"""Of a series in a simulated month: all of them are held in memory."""
MONTH_MS = 30 * 86_400_000
_ID_LABELS = ("slo_id", "sloth_id")
_SEVERITY_LABELS = ("sloth_severity", "severity")


@dataclass(frozen=True, slots=True)
class Subject:
    """One objective and the rules about it."""

    slo_id: str
    """Label `slo_id` of its series (`sloth_id` in the files of Sloth)."""
    budget: float
    """Share of events that may fail."""
    period_seconds: float
    """Over which."""
    interval_ms: int
    """The longest interval of its groups: the resolution of everything that is measured."""
    sli: Placed
    """The recorded error ratio over the shortest window."""
    rules: tuple[Placed, ...]
    """What its alerts need, and the alerts."""

    @property
    def step_ms(self) -> int:
        """Between samples: half a minute, or less where evaluations or windows are short."""
        ranges = [node.range_ms for one in self.rules for node in one.rule.selectors if node.range_ms]
        return max(1, min(30_000, self.interval_ms // 2, *(each // 2 for each in ranges)))

    @property
    def alerts(self) -> tuple[Placed, ...]:
        """Its alerting rules."""
        return tuple(one for one in self.rules if one.rule.alerts)


def severity(rule: Rule) -> str:
    """`page`, `ticket` or whatever the rule says."""
    return next((rule.labels[name] for name in _SEVERITY_LABELS if name in rule.labels), "none")


def window_ms(rule: Rule) -> int:
    """The longest range that an expression reads."""
    return max((node.range_ms or 0 for node in rule.selectors), default=0)


def writers(rules: Iterable[Placed]) -> Writers:
    """Which rules write each metric."""
    found: dict[str, list[Placed]] = {}
    for one in rules:
        for name in ("ALERTS", "ALERTS_FOR_STATE") if one.rule.alerts else (one.rule.name,):
            found.setdefault(name, []).append(one)
    return found


def ancestors(of: Iterable[Placed], among: Writers) -> list[Placed]:
    """These rules and all that they read, at any remove, in the order of evaluation."""
    found = {one.order: one for one in of}
    waiting = list(found.values())
    while waiting:
        reader = waiting.pop()
        for name in {node.name for node in reader.rule.selectors}:
            for writer in among.get(name, ()):
                if writer.order not in found and reads(reader, writer):
                    found[writer.order] = writer
                    waiting.append(writer)
    return [found[order] for order in sorted(found)]


def subjects(groups: Iterable[RuleGroup]) -> list[Subject]:
    """The objectives of rule files, in order.

    Raises:
        UnsupportedRuleError: there is none, or one lacks its budget, its period or its alerts.
    """
    rules = placed(groups)
    ids = dict.fromkeys(
        _id_of(one.rule) for one in rules if not one.rule.alerts and one.rule.name.startswith(SLI_PREFIX)
    )
    if not ids:
        raise UnsupportedRuleError(
            "no objective found in these rules",
            expected=f"recording rules {SLI_PREFIX}<WINDOW> with a label slo_id, as by `companyos slo compile`",
            hint="compile the SLO file, or rename the rules",
        )
    among = writers(rules)
    alerts = [(one, {each.order for each in ancestors([one], among)}) for one in rules if one.rule.alerts]
    own: dict[str, list[Placed]] = {}
    for one in rules:
        if not one.rule.alerts:
            own.setdefault(_id_of(one.rule), []).append(one)
    return [_subject(slo_id, own[slo_id], alerts, among) for slo_id in ids]


def _id_of(rule: Rule) -> str:
    return next((rule.labels[name] for name in _ID_LABELS if name in rule.labels), "")


def _subject(
    slo_id: str, own: Sequence[Placed], all_alerts: Sequence[tuple[Placed, set[int]]], among: Writers
) -> Subject:
    slis = sorted(
        (one for one in own if one.rule.name.startswith(SLI_PREFIX)), key=lambda one: (window_ms(one.rule), one.order)
    )
    orders = {one.order for one in own}
    alerts = [one for one, reached in all_alerts if not reached.isdisjoint(orders)]
    if not alerts:
        raise UnsupportedRuleError(f"no alert reads what is recorded for {slo_id}", hint="add its alerting rules")
    subject = Subject(
        slo_id,
        _constant(slo_id, BUDGET, own),
        _constant(slo_id, PERIOD, own) * 86_400,
        max(one.interval_ms for one in own),
        slis[0],
        tuple(ancestors([slis[0], *alerts], among)),
    )
    if MONTH_MS // subject.step_ms > MOST_SAMPLES:
        raise UnsupportedRuleError(
            f"{slo_id}: intervals or windows so short that a month has more than {MOST_SAMPLES} samples",
            got=f"an evaluation every {subject.interval_ms} ms, a sample every {subject.step_ms} ms",
            hint="give the groups longer intervals for the simulation",
        )
    return subject


def _constant(slo_id: str, name: str, own: Sequence[Placed]) -> float:
    rule = next((one.rule for one in own if one.rule.name == name), None)
    rows = [] if rule is None else Evaluator(Store(), rule.text, rule.place).vector(rule.node, np.zeros(1, np.int64))
    value = float(rows[0].values[0]) if rows else float("nan")
    if not value > 0:
        raise UnsupportedRuleError(
            f"{slo_id} does not say its {'budget' if name == BUDGET else 'period'}",
            got=None if rule is None else rule.text,
            expected=f"a recording rule {name} with a constant above zero",
        )
    return value
