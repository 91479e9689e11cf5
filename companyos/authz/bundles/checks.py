"""What runs in a metered child: load the policies of a bundle, ask them, run its tests."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.adversarial import Question, questions
from companyos.authz.bundles.bundle import SCOPE, Bundle
from companyos.authz.bundles.vocabulary import read_vocabulary
from companyos.authz.engines.embedded import engine_of_policies
from companyos.authz.interface import EngineError, PolicyError, RequestError
from companyos.authz.metering import Limits, MeterExceededError, compute_at_most, metered
from companyos.authz.policytests import parse_cases, run_cases
from companyos.authz.request import request_from_dict
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.authz.engines.cedar import CedarEngine
    from companyos.authz.engines.rego import RegoEngine
    from companyos.authz.policytests import Case
    from companyos.ports import Opinion

__all__ = (
    "TestReport",
    "check_in_child",
    "declared_cases",
    "declared_requests",
    "engine_of",
    "evaluate_in_child",
    "meter",
    "outcome",
)


@dataclass(frozen=True, slots=True)
class TestReport:
    """What became of the declared tests."""

    total: int
    """How many there are."""
    failures: tuple[str, ...]
    """One sentence for each that failed."""
    scopes: tuple[str, ...] = ()
    """What requests must say of their resource's place, as found in the policies."""
    asked: int = 0
    """How many questions the policies were asked besides, to find one that they choke on."""

    @property
    def passed(self) -> bool:
        """There are tests, and all passed."""
        return self.total > 0 and not self.failures


def declared_cases(bundle: Bundle) -> list[Case]:
    """The tests that a bundle declares, by file.

    Raises:
        PolicyError: one is malformed; a test that cannot be read is not one that passes.
    """
    try:
        return [case for name, text in sorted(bundle.tests().items()) for case in parse_cases(text, name)]
    except PolicyError:
        raise
    except ConfigError as error:
        raise PolicyError(error.what, got=error.got) from error


def declared_requests(bundle: Bundle) -> list[Mapping[str, Any]]:
    """The requests of the declared tests, but for those that are malformed on purpose."""
    return [case.request for case in declared_cases(bundle) if _is_request(case.request)]


def engine_of(bundle: Bundle) -> RegoEngine | CedarEngine:
    """The engine that a bundle is for, over its policies."""
    return engine_of_policies(bundle.manifest.engine, bundle.policy_set())


def outcome(opinion: Opinion) -> dict[str, Any]:
    """What of an opinion is compared: decision, reason, obligations with their properties."""
    return {
        "decision": "allow" if opinion.allow else "deny",
        "reason": opinion.reason,
        "obligations": sorted((item.to_dict() for item in opinion.obligations), key=json.dumps),
    }


def meter(bundle: Bundle, limits: Limits | None = None) -> TestReport:
    """The report of the declared tests, if the policies load and answer within their limits.

    They are asked a plain request, those of the tests, and the questions of `adversarial.questions`.

    Raises:
        PolicyError: a policy or a test is refused.
        MeterExceededError: it takes too long or too much; the text names the file, and the request
            if it was one of many.
        MeterFailedError, EngineError: it could not be found out.
    """
    bounds = limits or Limits()
    packed = base64.b64encode(bundle.to_bytes()).decode()
    what = f"{bundle.manifest.name} {bundle.manifest.version}"
    with tempfile.NamedTemporaryFile() as notes:
        argument = {"bundle": packed, "notes": notes.name, "seconds": bounds.question_seconds}
        try:
            answer = metered(f"{__name__}:check_in_child", argument, bounds, what=what)
        except MeterExceededError as error:
            question = _noted(notes.read())
            raise MeterExceededError(
                f"{_culprit(bundle, bounds, question)}: takes more time or memory than policies may",
                got=error.got if question is None else f"{error.got} when asked {question}",
                expected=error.expected,
                hint=error.hint,
            ) from error
    return TestReport(answer["total"], tuple(answer["failures"]), tuple(answer["scopes"]), answer["asked"])


def check_in_child(argument: Mapping[str, Any]) -> dict[str, Any]:
    """Run in the child: load the policies, ask them, and run the tests."""
    bundle = Bundle.from_bytes(base64.b64decode(argument["bundle"]))
    engine = engine_of(bundle)
    scopes = engine.scopes
    if bundle.scopes() not in (None, scopes):
        raise PolicyError(f"data.{SCOPE} is not what the policies need", got=bundle.scopes(), expected=scopes)
    if bundle.manifest.engine == "rego":  # Cedar has no loops, and may rightly fail where a request says so little
        engine.decide(request_from_dict(_PROBE))
    outcomes = run_cases(engine, declared_cases(bundle))
    failures = [f"{it.case.file}: {it.case.name}: {it.problem}" for it in outcomes if not it.passed]
    asked = _ask_questions(engine, bundle, argument["notes"], argument["seconds"])
    return {"total": len(outcomes), "failures": failures, "scopes": scopes, "asked": asked}


def _ask_questions(engine: RegoEngine | CedarEngine, bundle: Bundle, notes: str, seconds: int) -> int:
    """Ask what policies may choke on, each question noted before; how many were asked."""
    asked = 0
    with open(notes, "wb", buffering=0) as file:  # noqa: PTH123 - unbuffered: this process may be ended at any moment
        for question in questions(read_vocabulary((bundle.sources(), bundle.data()))):
            try:
                request = request_from_dict(question.build())
            except RequestError:
                continue  # nobody can ask that
            note = json.dumps(question.to_dict()).encode()
            os.pwrite(file.fileno(), note, 0)
            os.ftruncate(file.fileno(), len(note))
            compute_at_most(seconds)
            with suppress(EngineError):  # what cannot be evaluated denies
                engine.decide(request)
            asked += 1
    return asked


def _noted(note: bytes) -> Question | None:
    """The question that was asked last; None if it was none of the many."""
    try:
        return Question.from_dict(json.loads(note))
    except (ValueError, KeyError, TypeError):
        return None


_PROBE = {"subject": {"id": "?", "type": "?"}, "action": "read", "resource": {"id": "?", "type": "?"}}


def _is_request(value: Mapping[str, Any]) -> bool:
    try:
        request_from_dict(value)
    except RequestError:
        return False
    return True


def _culprit(bundle: Bundle, limits: Limits, question: Question | None) -> str:
    """The file with which the policies first exceed their limits, helpers first, found by halving.

    The more so the policies of one file call those of another, the less it says; it is where to look first.
    """
    if bundle.manifest.engine != "rego":  # every Cedar policy comes to an end; what takes too much is the whole
        return bundle.manifest.name
    names = _helpers_first(bundle.sources())
    shorter = replace(limits, deadline_seconds=min(limits.deadline_seconds, 5.0 + limits.question_seconds))
    asked = [Question(value) for value in (_PROBE, *declared_requests(bundle))] if question is None else [question]
    low, high = 0, len(names)  # names[:low] are within, names[:high] exceed
    while high - low > 1:
        middle = (low + high) // 2
        if _exceeds(bundle, names[:middle], asked, shorter):
            high = middle
        else:
            low = middle
    return names[high - 1] if names else bundle.manifest.name


def _helpers_first(sources: Mapping[str, str]) -> list[str]:
    return sorted(sources, key=lambda name: ("package companyos.access" in sources[name], name))


def _exceeds(bundle: Bundle, names: Sequence[str], asked: Sequence[Question], limits: Limits) -> bool:
    argument: dict[str, Any] = {"sources": {name: bundle.sources()[name] for name in names}, "data": bundle.data()}
    argument |= {"questions": [question.to_dict() for question in asked], "seconds": limits.question_seconds}
    try:
        metered(f"{__name__}:evaluate_in_child", argument, limits)
    except MeterExceededError:
        return True
    except Exception:  # noqa: BLE001 - a part of the policies may fail as it likes; only what exceeds is looked for
        return False
    return False


def evaluate_in_child(argument: Mapping[str, Any]) -> None:
    """Run in the child: evaluate all that a part of the policies defines, unchecked; rules that are not there fail."""
    from companyos.authz.derived import derive
    from companyos.authz.engines._regorus import guarded, prepare

    engine = prepare(argument["sources"], argument["data"])
    for value in argument["questions"]:
        request = request_from_dict(Question.from_dict(value).build())
        compute_at_most(argument["seconds"])
        engine.set_input_json(json.dumps({**request.to_dict(), "derived": derive(request)}))
        for rule in ("deny", "allow", "obligation"):
            with suppress(EngineError):
                guarded(partial(engine.eval_rule_as_json, f"data.companyos.access.{rule}"))
