"""What runs in a metered child: load the policies of a bundle, ask them, run its tests."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.bundle import SCOPE, Bundle
from companyos.authz.bundles.interface import BundleUnverifiableError
from companyos.authz.interface import PolicyError, RequestError
from companyos.authz.metering import Limits, MeterExceededError, metered
from companyos.authz.request import request_from_dict
from companyos.config import parse_yaml
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from companyos.authz.engines.rego import RegoEngine
    from companyos.ports import DecisionEngine, Opinion

__all__ = ("Case", "TestReport", "check_in_child", "engine_of", "evaluate_in_child", "meter", "outcome", "read_cases")

_EXPECTABLE = {"decision", "reason", "obligations"}


@dataclass(frozen=True, slots=True)
class Case:
    """One declared test: a request, and what must be decided."""

    name: str
    """The file and the case's own name."""
    request: Mapping[str, Any]
    """The request with the playbook's keys."""
    expect: Mapping[str, Any]
    """`decision` (allow or deny), and optionally `reason` and `obligations` (ids, in any order)."""


@dataclass(frozen=True, slots=True)
class TestReport:
    """What became of the declared tests."""

    total: int
    """How many there are."""
    failures: tuple[str, ...]
    """One sentence for each that failed."""
    scopes: tuple[str, ...] = ()
    """What requests must say of their resource's place, as found in the policies."""

    @property
    def passed(self) -> bool:
        """There are tests, and all passed."""
        return self.total > 0 and not self.failures


def read_cases(texts: Mapping[str, str]) -> list[Case]:
    """The cases in test files by name: each a YAML list of `name`, `request`, `expect`.

    Raises:
        PolicyError: one is malformed; a test that cannot be read is not one that passes.
    """
    return [case for name, text in sorted(texts.items()) for case in _cases(name, text)]


def engine_of(bundle: Bundle) -> RegoEngine:
    """The engine that a bundle is for, over its policies.

    Raises:
        BundleUnverifiableError: there is no such engine here.
    """
    if bundle.manifest.engine != "rego":
        raise BundleUnverifiableError(
            f"policies for {bundle.manifest.engine} cannot be evaluated from a bundle yet", expected="rego"
        )
    from companyos.authz.engines.rego import RegoEngine

    return RegoEngine.of(bundle.policy_set())


def outcome(opinion: Opinion) -> dict[str, Any]:
    """What of an opinion is compared: decision, reason, obligations with their properties."""
    return {
        "decision": "allow" if opinion.allow else "deny",
        "reason": opinion.reason,
        "obligations": sorted((item.to_dict() for item in opinion.obligations), key=json.dumps),
    }


def meter(bundle: Bundle, limits: Limits | None = None) -> TestReport:
    """The report of the declared tests, if the policies load and answer within their limits.

    Raises:
        PolicyError: a policy or a test is refused.
        MeterExceededError: it takes too long or too much; the text names the file.
        MeterFailedError, EngineError: it could not be found out.
    """
    bounds = limits or Limits()
    packed = base64.b64encode(bundle.to_bytes()).decode()
    what = f"{bundle.manifest.name} {bundle.manifest.version}"
    try:
        answer = metered(f"{__name__}:check_in_child", {"bundle": packed}, bounds, what=what)
    except MeterExceededError as error:
        raise MeterExceededError(
            f"{_culprit(bundle, bounds)}: takes more time or memory than policies may",
            got=error.got,
            expected=error.expected,
            hint=error.hint,
        ) from error
    return TestReport(answer["total"], tuple(answer["failures"]), tuple(answer["scopes"]))


def check_in_child(argument: Mapping[str, Any]) -> dict[str, Any]:
    """Run in the child: load the policies, ask them, and run the tests."""
    bundle = Bundle.from_bytes(base64.b64decode(argument["bundle"]))
    engine = engine_of(bundle)
    scopes = list(engine.loaded().slicing.scopes)
    if bundle.scopes() not in (None, scopes):
        raise PolicyError(f"data.{SCOPE} is not what the policies need", got=bundle.scopes(), expected=scopes)
    engine.decide(request_from_dict(_PROBE))
    cases = read_cases(bundle.tests())
    failures = [failure for case in cases for failure in _failures(case, engine)]
    return {"total": len(cases), "failures": failures, "scopes": scopes}


_PROBE = {"subject": {"id": "?", "type": "?"}, "action": "read", "resource": {"id": "?", "type": "?"}}


def _failures(case: Case, engine: DecisionEngine) -> Iterator[str]:
    got = outcome(engine.decide(request_from_dict(case.request)))
    actual = {**got, "obligations": sorted(item["id"] for item in got["obligations"])}
    expected = {key: sorted(value) if key == "obligations" else value for key, value in case.expect.items()}
    wrong = [key for key, value in expected.items() if actual[key] != value]
    if wrong:
        told = "; ".join(f"{key} is {actual[key]!r}, expected {expected[key]!r}" for key in wrong)
        yield f"{case.name}: {told}"


def _cases(name: str, text: str) -> Iterator[Case]:
    try:
        value = parse_yaml(text, name)
    except ConfigError as error:
        raise PolicyError(f"{name} holds no tests", got=error.what) from error
    if not isinstance(value, list) or not value:
        raise PolicyError(f"{name} holds no tests", expected="a list of name, request, expect")
    for place, item in enumerate(value):
        yield _case(name, place, item)


def _case(name: str, place: int, item: Any) -> Case:
    if not isinstance(item, dict) or set(item) != {"name", "request", "expect"}:
        raise PolicyError(f"{name}: test {place + 1} has other keys", expected="name, request, expect")
    label = f"{name}: {item['name']}"
    expect = item["expect"]
    if not isinstance(expect, dict) or "decision" not in expect or not expect.keys() <= _EXPECTABLE:
        raise PolicyError(f"{label}: expects nothing that can be checked", expected="decision; reason, obligations")
    if expect["decision"] not in {"allow", "deny"}:
        raise PolicyError(f"{label}: expects an unknown decision", got=expect["decision"], expected="allow or deny")
    obligations = expect.get("obligations", [])
    if not isinstance(obligations, list) or not all(isinstance(entry, str) for entry in obligations):
        raise PolicyError(f"{label}: obligations are no list of ids", got=obligations)
    try:
        request_from_dict(item["request"])
    except RequestError as error:
        raise PolicyError(f"{label}: the request is malformed", got=error.what) from error
    return Case(label, item["request"], expect)


def _culprit(bundle: Bundle, limits: Limits) -> str:
    """The file with which the policies first exceed their limits, helpers first, found by halving.

    The more so the policies of one file call those of another, the less it says; it is where to look first.
    """
    names = _helpers_first(bundle.sources())
    shorter = Limits(min(limits.deadline_seconds, 3.0), limits.memory_bytes)
    low, high = 0, len(names)  # names[:low] are within, names[:high] exceed
    while high - low > 1:
        middle = (low + high) // 2
        if _exceeds(bundle, names[:middle], shorter):
            high = middle
        else:
            low = middle
    return names[high - 1] if names else bundle.manifest.name


def _helpers_first(sources: Mapping[str, str]) -> list[str]:
    return sorted(sources, key=lambda name: ("package companyos.access" in sources[name], name))


def _exceeds(bundle: Bundle, names: Sequence[str], limits: Limits) -> bool:
    requests = [_PROBE, *(case.request for case in read_cases(bundle.tests()))]
    argument: dict[str, Any] = {"sources": {name: bundle.sources()[name] for name in names}, "data": bundle.data()}
    argument["requests"] = requests
    try:
        metered(f"{__name__}:evaluate_in_child", argument, limits)
    except MeterExceededError:
        return True
    except Exception:  # noqa: BLE001 - a part of the policies may fail as it likes; only what exceeds is looked for
        return False
    return False


def evaluate_in_child(argument: Mapping[str, Any]) -> None:
    """Run in the child: evaluate all that a part of the policies defines, unchecked."""
    from companyos.authz.derived import derive
    from companyos.authz.engines._regorus import Evaluator

    for rule in ("deny", "allow", "obligation"):
        evaluator = Evaluator(lambda _: argument["sources"].items(), argument["data"], f"data.companyos.access.{rule}")
        everything = frozenset(range(len(argument["sources"])))
        for value in argument["requests"]:
            request = request_from_dict(value)
            try:
                evaluator.evaluate(json.dumps({**request.to_dict(), "derived": derive(request)}), everything)
            except ConfigError:
                raise
            except Exception:  # noqa: BLE001, S112 - a rule that is not there
                continue
