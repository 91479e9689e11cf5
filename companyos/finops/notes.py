"""Cost Notes: what a pull request says about money, with the digest of the data it was worked out from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from companyos.finops.forecast import SETTING, forecast_period
from companyos.finops.gate import gate
from companyos.finops.markdown import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from companyos.config import Budget, ForecastSetting
    from companyos.decision import Decision
    from companyos.finops.interface import CostLine, CostStore
    from companyos.finops.plan import RemediationPlan

__all__ = ("CostNote", "cost_note")

TOP_SERVICES = 5
SHOWN_FILES = 20
FORMAT = "companyos.cost-note/1"
"""Name of the machine form, with its version."""


@dataclass(frozen=True, slots=True)
class CostNote:
    """The costs behind a change, for people (`to_markdown`) and machines (`to_dict`)."""

    as_of: datetime
    """The moment it speaks of: aware, UTC."""
    extract: str | None
    """Digest of the data, as in `Coverage.digest`."""
    decisions: tuple[Decision, ...]
    """The verdict on each budget, in the order of the settings."""
    top_services: tuple[CostLine, ...]
    """The dearest services of the seven days before `until`."""
    until: date
    """The day on which those seven days end, exclusive."""
    files: tuple[str, ...] = ()
    """`sha256:<hex>` of each raw file that the extract is made of; the store keeps it byte for byte."""

    def to_dict(self) -> dict[str, Any]:
        """The note as a JSON object."""
        return {
            "format": FORMAT,
            "as_of": self.as_of.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "extract": self.extract,
            "files": list(self.files),
            "budgets": [decision.to_dict() for decision in self.decisions],
            "top_services": [line.to_dict() for line in self.top_services],
            "top_services_until": self.until.isoformat(),
        }

    def to_markdown(self) -> str:
        """The note as a Markdown section titled Cost Notes."""
        lines = ["## Cost Notes", "", f"- Extract: `{self.extract or 'none'}`"]
        lines += [f"- File: `{digest}`" for digest in self.files[:SHOWN_FILES]]
        if len(self.files) > SHOWN_FILES:
            lines.append(f"- and {len(self.files) - SHOWN_FILES} files more, all in the JSON form")
        lines += [f"- As of: {self.as_of:%Y-%m-%d %H:%M} UTC", ""]
        lines += ["| Budget | Period | Spent | Forecast | Upper bound | Target | Ceiling | Verdict |"]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"]
        lines += [_budget_row(decision) for decision in self.decisions]
        for decision in self.decisions:
            lines += ["", f"{escaped(decision.message)}. Method: {decision.facts['method']}, "]
            lines[-1] += f"{decision.facts['history_days']} days of history, {_trust(decision.facts)}."
        if self.top_services:
            lines += ["", f"| Service, seven days before {self.until} | Cost |", "| --- | ---: |"]
            lines += [f"| {escaped(line.key)} | {line.currency} {line.amount:,.2f} |" for line in self.top_services]
        return "\n".join(lines) + "\n"


def cost_note(
    store: CostStore,
    budgets: Sequence[Budget],
    *,
    as_of: datetime,
    remediation_plan: RemediationPlan | None = None,
    setting: ForecastSetting = SETTING,
) -> CostNote:
    """The Cost Note for a change made at `as_of`: every budget's verdict and the dearest services of the last week."""
    decisions = tuple(
        gate(
            budget,
            forecast_period(store, budget.period, budget.currency, as_of, setting=setting),
            remediation_plan=remediation_plan,
        )
        for budget in budgets
    )
    coverage = store.coverage(until=as_of)
    until = (coverage.data_through or as_of).date()
    services = store.total(until - timedelta(days=7), until, by="service")
    return CostNote(as_of, coverage.digest, decisions, services[:TOP_SERVICES], until, coverage.files)


def _budget_row(decision: Decision) -> str:
    facts = decision.facts
    amounts = (facts["spent"], facts["forecast"], facts["upper_bound"], facts["target"], facts["ceiling"])
    cells = [
        escaped(facts["budget"]),
        f"{facts['period']} from {facts['period_start']}",
        *(f"{facts['currency']} {_cents(amount)}" if amount else "unknown" for amount in amounts),
        f"**{decision.verdict.value}** `{decision.reason}`",
    ]
    return f"| {' | '.join(cells)} |"


def _trust(facts: Mapping[str, Any]) -> str:
    if facts["method"] == "conformal":
        return f"interval calibrated at {Decimal(facts['level']) * 100:f} %"
    return "nothing open" if facts["calibrated"] else "interval not calibrated"


def _cents(amount: str) -> str:
    whole, _, fraction = amount.partition(".")
    return amount if len(fraction) <= 2 else f"{whole}.{fraction[:2]}…"
