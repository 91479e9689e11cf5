"""Steps 3 to 5: an export is denied, planted faults turn the gate red, and money is held to its ceiling."""

from __future__ import annotations

import json
import secrets
import shutil
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from companyos.cli.demo.stage import require_that

if TYPE_CHECKING:
    from companyos.cli.demo.stage import Stage

__all__ = ("deny_export", "guard", "judge_costs", "plant_faults")

SUBJECT = {"id": "ana@orders.example", "type": "user", "attributes": {"clearance": "high"}}
NOT_COPIED = shutil.ignore_patterns(".venv", ".git", ".env.local", ".companyos", "build", "vendor")
RESOURCE = {
    "id": "customers-eu",
    "type": "dataset",
    "owner": "sales",
    "region": "us-east-1",
    "contains_pii": True,
    "required_clearance": "low",
}


def deny_export(stage: Stage) -> str:
    """Ask for an export of EU personal data that lies in the US: denied, with reason, obligations and audit id."""
    decision = stage.companyos_json(
        "authz-eval",
        "authz",
        "eval",
        "--subject",
        json.dumps(SUBJECT),
        "--action",
        "export",
        "--resource",
        json.dumps(RESOURCE),
        expect=1,
    )
    require_that(decision["decision"] == "deny" and decision["audit_id"], "the export was not denied", got=decision)
    logged = stage.companyos("ledger-find", "ledger", "tail", "-n", "5", "--json")
    require_that(decision["audit_id"] in logged, "the audit id is not on the ledger", got=logged)
    obligations = ", ".join(obligation["id"] for obligation in decision["obligations"]) or "none"
    return f"deny: {decision['reason']}; obligations: {obligations}; audit id {decision['audit_id']}"


def guard(stage: Stage) -> str:
    """Run the guardrails over the service as it was born: green."""
    stage.reports.mkdir(parents=True, exist_ok=True)
    sarif = stage.reports / "findings.sarif"
    report = stage.companyos_json("check-clean", "check", ".", "--sarif", str(sarif))
    stage.look_at["findings (SARIF)"] = sarif
    return f"green: {len(report['controls'])} controls, no findings"


def plant_faults(stage: Stage) -> str:
    """Plant a secret and a stub in a copy of the service: the gate turns red for each."""
    copy = stage.root / "planted"
    shutil.copytree(stage.service, copy, ignore=NOT_COPIED)
    package = copy / "src" / "orders" / "services"
    # Made up here, so that no scanner finds a secret in companyos itself.
    key = "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
    (package / "billing.py").write_text(f'"""Billing."""\n\nACCESS_KEY = "{key}"\n', encoding="utf-8")
    stub = 'def refund(order_id: str) -> bool:\n    """Pay an order back."""\n    raise NotImplementedError\n'
    (package / "refunds.py").write_text(stub, encoding="utf-8")
    report = stage.companyos_json("check-planted", "check", ".", "--only", "G01", "--only", "G02", cwd=copy, expect=1)
    found = {(finding["path"], finding["rule"].partition(".")[0]) for finding in _findings(report)}
    for path, control in (("src/orders/services/billing.py", "G02"), ("src/orders/services/refunds.py", "G01")):
        require_that((path, control) in found, f"{control} did not catch what was planted in {path}", got=found)
    return "red: " + ", ".join(sorted(f"{control} {path.rpartition('/')[2]}" for path, control in found))


def judge_costs(stage: Stage) -> str:
    """Ingest the FOCUS sample; the gate passes at its forecast and refuses a planted overspend."""
    from companyos.finops.samples import AS_OF, plant_overspend, sample_path

    as_of = ("--as-of", AS_OF.date().isoformat())
    ingested = stage.companyos_json("finops-ingest", "finops", "ingest", str(sample_path()))
    passed = stage.companyos_json("finops-gate", "finops", "gate", *as_of)
    cost = stage.reports / "cost-gate.json"
    cost.write_text(json.dumps(passed, indent=2), encoding="utf-8")
    note = stage.reports / "cost-note.md"
    note.write_text(stage.companyos("finops-notes", "finops", "notes", *as_of), encoding="utf-8")
    planted = plant_overspend(stage.root / "overspend.csv")
    apart = stage.root / "overspend"
    shutil.copytree(stage.service, apart, ignore=NOT_COPIED)
    stage.companyos("finops-ingest-overspend", "finops", "ingest", str(planted), cwd=apart)
    refused = stage.companyos_json("finops-gate-overspend", "finops", "gate", *as_of, cwd=apart, expect=1)
    require_that(refused["reason"] == "budget.over_ceiling", "the overspend was not refused", got=refused)
    stage.look_at["cost note"] = note
    return f"{ingested['rows_ingested']} rows; {_forecast(passed)} passes, {_forecast(refused)} is refused"


def _findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for control in report["controls"] for finding in control["findings"]]


def _forecast(decision: dict[str, Any]) -> str:
    part = decision["facts"]["parts"][0]["facts"]
    return f"{part['currency']} {Decimal(part['forecast']).quantize(Decimal(1))} a week"
