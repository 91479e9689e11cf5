"""SARIF 2.1.0 out of a report: one run, the same bytes for the same findings.

The log holds no time, no user and no absolute path. A control that could not check makes the invocation
unsuccessful, so that a reader does not take an empty list of results for a clean tree (SARIF 2.1.0, 3.20.14).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from companyos._version import __version__
from companyos.decision import Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.controls import Control
    from companyos.decision import Finding
    from companyos.guardrails.runner import Report, Result

__all__ = ("FINGERPRINT", "SCHEMA", "to_bytes", "to_sarif")

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
"""Where the schema of the format is published."""
FINGERPRINT = "companyosFinding/v1"
"""Name of the fingerprint: SHA-256 of rule, path, message and the finding's ordinal among equals; no line numbers."""
_LEVEL = {
    Severity.INFO: "note",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}
_SCORE = {
    Severity.INFO: "0.0",
    Severity.LOW: "3.0",
    Severity.MEDIUM: "5.5",
    Severity.HIGH: "8.0",
    Severity.CRITICAL: "9.5",
}


def to_bytes(report: Report) -> bytes:
    """The SARIF log as UTF-8 JSON, keys sorted, ending in a newline."""
    return (json.dumps(to_sarif(report), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def to_sarif(report: Report) -> dict[str, Any]:
    """The SARIF 2.1.0 log of a report, as a JSON object."""
    rules = [rule for result in report.results for rule in _rules(result.control)]
    index = {rule["id"]: position for position, rule in enumerate(rules)}
    findings = [finding for result in report.results for finding in result.decision.findings]
    driver = {
        "name": "companyos",
        "semanticVersion": __version__,
        "informationUri": "https://github.com/companyos/companyos",
        "rules": rules,
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "invocations": [_invocation(report.results)],
                "results": _results(findings, index),
            }
        ],
    }


def _rules(control: Control) -> list[dict[str, Any]]:
    return [
        {
            "id": rule,
            "shortDescription": {"text": meaning},
            "help": {"text": f"{control.id} {control.title}. See docs/{control.docs}."},
            "defaultConfiguration": {"level": _LEVEL[control.severity]},
            "properties": {"security-severity": _SCORE[control.severity], "tags": [control.id]},
        }
        for rule, meaning in sorted(control.rules.items())
    ]


def _invocation(results: Iterable[Result]) -> dict[str, Any]:
    gaps = [result for result in results if result.decision.verdict is Verdict.UNDETERMINED or _gaps(result)]
    return {
        "executionSuccessful": not gaps,
        "toolExecutionNotifications": [
            {
                "level": "error",
                "descriptor": {"id": gap.decision.reason},
                "message": {"text": "; ".join(_gaps(gap)) or gap.decision.message or gap.decision.reason},
            }
            for gap in gaps
        ],
    }


def _gaps(result: Result) -> list[str]:
    return [str(gap) for gap in result.decision.facts.get("unchecked", ())]


def _results(findings: Iterable[Finding], index: dict[str, int]) -> list[dict[str, Any]]:
    seen: dict[tuple[str, ...], int] = {}
    found = []
    for finding in sorted(findings, key=lambda f: (f.rule, f.path or "", f.line or 0, f.message)):
        identity = (finding.rule, finding.path or "", finding.message)
        seen[identity] = seen.get(identity, 0) + 1
        found.append(_result(finding, index, seen[identity]))
    return found


def _result(finding: Finding, index: dict[str, int], ordinal: int) -> dict[str, Any]:
    text = f"{finding.message}. Next: {finding.hint}." if finding.hint else finding.message
    identity = "\0".join((finding.rule, finding.path or "", finding.message, str(ordinal)))
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": _LEVEL[finding.severity],
        "message": {"text": text},
        "partialFingerprints": {FINGERPRINT: hashlib.sha256(identity.encode()).hexdigest()},
        "properties": {"severity": finding.severity.label},
    }
    if finding.rule in index:
        result["ruleIndex"] = index[finding.rule]
    if finding.path:
        location: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.path), "uriBaseId": "%SRCROOT%"}}
        if finding.line:
            location["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": location}]
    return result
