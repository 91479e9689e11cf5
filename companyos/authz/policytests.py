"""Tests of policies: cases in `tests/*.yaml` beside `metadata.yaml`, each a request and what must be answered to it.

```yaml
- name: an export without a ticket
  request:
    subject: {id: u-1, type: user}
    action: export
    resource: {id: d-1, type: document}
  expect: {decision: deny, reason: policy.export_approval, obligations: [log_event, require_approval]}
```

What `expect` leaves out is not looked at. They are data and no `*_test.rego`, so that they hold for every engine.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from companyos.authz.authorizer import evaluate
from companyos.authz.interface import EngineTimeoutError, PolicyError, RequestError
from companyos.authz.layout import TESTS, read_text
from companyos.authz.request import request_from_dict
from companyos.config import parse_yaml
from companyos.decision import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.authz.layout import Place
    from companyos.ports import DecisionEngine

__all__ = ("Case", "Outcome", "junit", "parse_cases", "read_cases", "run_cases")

_EXPECTED: Mapping[str, type] = {"decision": str, "reason": str, "obligations": list}


@dataclass(frozen=True, slots=True)
class Case:
    """One request with what must be answered to it."""

    name: str
    """What it shows."""
    file: str
    """Where it is written: the label of its policies and the file's name."""
    request: Mapping[str, Any]
    """The request, as JSON."""
    expected: Mapping[str, Any]
    """`decision`, and optionally `reason` and `obligations` (ids, in any order)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    case: Case
    """The case."""
    problem: str
    """What was answered instead; empty where it passed."""

    @property
    def passed(self) -> bool:
        """Whether the answer was the expected one."""
        return not self.problem

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return {"name": self.case.name, "file": self.case.file, "passed": self.passed, "problem": self.problem}


def read_cases(places: Iterable[Place]) -> list[Case]:
    """All cases of these policy directories, in order.

    Raises:
        PolicyError: a file of cases says something that is not known, or two of its cases have one name.
    """
    found = []
    for place in places:
        for path in sorted((place.directory / TESTS).glob("*.yaml")):
            file = f"{place.label}/{TESTS}/{path.name}"
            found += parse_cases(read_text(path), file)
    return found


def parse_cases(text: str, file: str) -> list[Case]:
    """The cases in the text of one file.

    Raises:
        ConfigError: it says something that is not known, or two of its cases have one name.
    """
    values = parse_yaml(text, file)
    if not isinstance(values, list):
        raise PolicyError(f"{file} is not a list of cases", got=type(values).__name__)
    cases = [_case(value, file, number) for number, value in enumerate(values, 1)]
    if len({case.name for case in cases}) < len(cases):
        raise PolicyError(f"{file} has two cases of one name")
    return cases


def run_cases(engine: DecisionEngine, cases: Iterable[Case]) -> list[Outcome]:
    """Ask the engine each case's request; nothing is recorded. A case that is not answered in time has failed.

    Raises:
        PolicyError: the engine's policies cannot be used.
    """
    facts = {"engine": engine.name}
    with suppress(EngineTimeoutError):  # then no case has an answer, and each says so
        facts["policy_digest"] = engine.version
    return [Outcome(case, _compare(_answer(engine, case, facts), case.expected)) for case in cases]


def junit(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a JUnit report."""
    failures = sum(not outcome.passed for outcome in outcomes)
    counts = {"tests": str(len(outcomes)), "failures": str(failures), "errors": "0", "skipped": "0"}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": "companyos authz test", **counts})
    for outcome in outcomes:
        names = {"classname": _printable(outcome.case.file), "name": _printable(outcome.case.name)}
        element = ET.SubElement(suite, "testcase", names)
        if not outcome.passed:
            ET.SubElement(element, "failure", {"message": _printable(outcome.problem)})
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(value: Any, file: str, number: int) -> Case:
    where = f"{file}, case {number}"
    if not isinstance(value, dict) or value.keys() != {"name", "request", "expect"}:
        got = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise PolicyError(f"{where} is not a case", got=got, expected="name, request and expect")
    name, request, expected = value["name"], value["request"], value["expect"]
    if not isinstance(name, str) or not isinstance(request, dict) or not isinstance(expected, dict):
        raise PolicyError(f"{where} is not a case", expected="name: a text, request and expect: mappings")
    for key, wanted in expected.items():
        if key not in _EXPECTED or not isinstance(wanted, _EXPECTED[key]):
            raise PolicyError(f"{where}: expect.{key} is not valid", got=repr(wanted), expected=", ".join(_EXPECTED))
    if expected.get("decision") not in {"allow", "deny"}:
        raise PolicyError(f"{where}: expect.decision is not valid", expected="allow or deny")
    if not all(isinstance(item, str) for item in expected.get("obligations", ())):
        raise PolicyError(f"{where}: expect.obligations is not valid", expected="a list of ids")
    return Case(name, file, request, expected)


def _answer(engine: DecisionEngine, case: Case, facts: Mapping[str, Any]) -> Decision:
    try:
        request = request_from_dict(case.request)
    except RequestError as error:
        return Decision.denied("request.invalid", error.message)
    return evaluate(engine, request, facts=facts)


def _compare(decision: Decision, expected: Mapping[str, Any]) -> str:
    got = {
        "decision": decision.verdict.value,
        "reason": decision.reason,
        "obligations": sorted(item.id for item in decision.obligations),
    }
    wrong = [
        f"{key} is {_shown(got[key])}, expected {_shown(wanted)}"
        for key, wanted in expected.items()
        if got[key] != (sorted(wanted) if isinstance(wanted, list) else wanted)
    ]
    if wrong and decision.verdict is Verdict.UNDETERMINED:
        wrong.append(decision.reason)
    if wrong and decision.message:
        wrong.append(decision.message)
    return "; ".join(wrong)


def _shown(value: Any) -> str:
    return (", ".join(sorted(value)) or "none") if isinstance(value, list) else str(value)


def _printable(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
