"""The control OBS-ALERTS: incidents that must page, healthy months that must not, and rules that get it wrong.

Objectives are those of the kits, compiled by the compiler, and replayed by the simulator. Of an incident the check
answers as the alerts do: denied if somebody is paged. Of a file of rules it says whether they page when they must, and
only then.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.observability.slo.simulate.outcomes import IncidentOutcome, SubjectOutcome
    from companyos.observability.slo.simulate.rulefile import RuleGroup

__all__ = ("ID", "AlertCase", "alerts_control", "check")

ID = "OBS-ALERTS"
RULES = {
    f"{ID}.page": "Somebody is paged for an incident that costs the error budget.",
    f"{ID}.silent": "Rules page for every incident that must page.",
    f"{ID}.early": "A page that was there before an incident is not taken for its detection.",
    f"{ID}.noisy": "Rules page for nothing else: not for blips, slow leaks or healthy months.",
}
_PAGE = ("outage", "slow-burn", "recovery")
_QUIET = ("leak", "blips")
_SERVICE = "specimen"
_KITS = {"api": ("availability", "latency"), "worker": ("job-success",), "frontend": ("latency",)}


@dataclass(frozen=True, slots=True)
class AlertCase:
    """One objective of a kit, and what happens to the service."""

    kit: str
    """`api`, `worker` or `frontend`."""
    objective: str
    """Name of the objective in the kit."""
    incident: str | None
    """Name of the incident; None for a healthy month."""
    traffic_rps: float = 10.0
    """Requests or jobs a second."""
    seed: int = 1
    """Of the healthy month."""


def check(case: AlertCase | Path) -> Decision:
    """Is somebody paged? For a file of rules: when they must be, and only then?"""
    if isinstance(case, Path):
        return _of_rules(case)
    group = next(group for group in _compiled(case.kit) if group.name == f"slo-{_SERVICE}-{case.objective}")
    (outcome,) = _simulated((group,), case.incident, healthy=case.incident is None, case=case)
    paged = any(one.paged for one in outcome.incidents) or bool(outcome.healthy and outcome.healthy.false_pages)
    if not paged:
        return Decision.allowed(f"{ID}.quiet", "nobody is paged")
    what = case.incident or "a healthy month"
    finding = Finding(f"{ID}.page", f"{outcome.slo_id}: somebody is paged for {what}", Severity.HIGH)
    return Decision.denied(f"{ID}.page", finding.message, findings=[finding])


def alerts_control() -> Control:
    """The control over burn-rate alerts."""
    return Control(
        id=ID,
        title="Alerts that sleep through incidents or wake people for nothing",
        check=check,
        rules=RULES,
        specimens=tuple(_specimens()),
        docs="slo.md",
        subject="alert rules",
    )


def _of_rules(path: Path) -> Decision:
    from companyos.observability.slo.simulate.rulefile import read_rules

    groups = read_rules(path.read_text(encoding="utf-8"), name=path.name)
    findings = [
        Finding(f"{ID}.{_fault(one)}", f"{outcome.slo_id}: {one.title}")
        for outcome in _simulated(groups, *_PAGE, *_QUIET, healthy=False)
        for one in outcome.incidents
        if not one.as_expected
    ]
    if not findings:  # a month takes its time, and rules that fail an incident are wrong anyway
        findings = [
            Finding(f"{ID}.noisy", f"{outcome.slo_id}: {outcome.healthy.false_pages} pages in a healthy month")
            for outcome in _simulated(groups, healthy=True)
            if outcome.healthy is not None and outcome.healthy.false_pages
        ]
    if findings:
        return Decision.denied(f"{ID}.wrong", f"findings: {len(findings)}", findings=findings)
    return Decision.allowed(f"{ID}.right", "the rules page when they must, and only then")


def _fault(outcome: IncidentOutcome) -> str:
    return "early" if outcome.paged_before else "noisy" if outcome.paged else "silent"


def _simulated(
    groups: tuple[RuleGroup, ...], *incidents: str | None, healthy: bool, case: AlertCase | None = None
) -> list[SubjectOutcome]:
    from companyos.observability.slo.simulate.incidents import INCIDENTS
    from companyos.observability.slo.simulate.simulation import Options, simulate

    chosen = tuple(INCIDENTS[name] for name in incidents if name is not None)
    traffic, seed = (10.0, 1) if case is None else (case.traffic_rps, case.seed)
    return simulate(groups, Options(chosen, healthy=healthy, traffic_rps=traffic, seed=seed))


@functools.lru_cache(maxsize=4)
def _rules_text(kit: str) -> str:
    from companyos.observability.slo import compile_rules, read
    from companyos.observability.slo.kits import render

    return compile_rules(read({f"{kit}.yaml": render(kit, _SERVICE).encode()})).to_yaml()


def _compiled(kit: str) -> tuple[RuleGroup, ...]:
    from companyos.observability.slo.simulate.rulefile import read_rules

    return read_rules(_rules_text(kit), name=f"{kit}.rules.yaml")


def _broken(*changes: tuple[str, str]) -> Callable[[Path], Path]:
    """The rules of the availability of an API with every occurrence of a text replaced by another."""

    def build(scratch: Path) -> Path:
        text = _rules_text("api").partition(f'  - name: "slo-{_SERVICE}-latency"')[0]
        for old, new in changes:
            if old not in text:
                raise LookupError(f"the compiled rules hold no {old!r} any more")
            text = text.replace(old, new)
        path = scratch / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return build


def _specimens() -> list[Specimen]:
    found: list[Specimen] = []
    for kit, objectives in _KITS.items():
        for objective in objectives:
            name = f"{objective} of the kit {kit}"
            found += [_incident(f"{one}: {name}", AlertCase(kit, objective, one), f"{ID}.page") for one in _PAGE]
            found += [_incident(f"{one}: {name}", AlertCase(kit, objective, one)) for one in _QUIET]
    healthy = (("api", "availability", 1), ("api", "latency", 2), ("worker", "job-success", 3))
    found += [
        _incident(f"a healthy month: {objective} of the kit {kit}", AlertCase(kit, objective, None, seed=seed))
        for kit, objective, seed in healthy
    ]
    wrong: list[tuple[str, str, tuple[tuple[str, str], ...]]] = [
        ("burn rates that cannot be reached", "silent", (("> (14.4 *", "> (14400 *"), ("> (6 *", "> (6000 *"))),
        ("a page that only writes a ticket", "silent", (('severity: "page"', 'severity: "ticket"'),)),
        ("alerts that wait for two days", "silent", ((_LAST, _LAST.replace("labels", "for: 2d\n        labels")),)),
        # It is there before the incident, of which it tells nobody.
        ("a page that always fires", "early", (("> (14.4 *", "> (-1 *"), ("> (6 *", "> (-1 *"))),
        (
            "alerts that ask for a misspelt record",
            "silent",
            (("max(slo:sli_error:ratio_rate", "max(slo:sli_errors:ratio_rate"),),
        ),
        ("alerts without their slower half", "silent", (("> (6 *", "> (6000 *"),)),
        ("a burn of 1 that pages", "noisy", (('severity: "ticket"', 'severity: "page"'),)),
        ("burn rates far too low", "noisy", (("> (14.4 *", "> (0.1 *"), ("> (6 *", "> (0.1 *"))),
        (
            "alerts with short windows only",
            "noisy",
            (("max(slo:sli_error:ratio_rate1h", "max(slo:sli_error:ratio_rate5m"),),
        ),
    ]
    found += [Specimen(name, _broken(*changes), f"{ID}.{rule}") for name, rule, changes in wrong]
    found.append(Specimen("the rules of a kit as compiled", _broken()))
    return found


_LAST = "          )\n        labels:"


def _incident(name: str, case: AlertCase, violates: str | None = None) -> Specimen:
    return Specimen(name, lambda _: case, violates)
