"""The default engine: Rego v1 policies, evaluated in this process by regorus."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz.derived import derive, facts_digest
from companyos.authz.engines import _lint
from companyos.authz.engines._regorus import Evaluator, first_lines, prepare
from companyos.authz.interface import EngineError, PolicyError
from companyos.authz.policyset import PolicySet, load_policies
from companyos.canonical import digest
from companyos.decision import Obligation
from companyos.errors import CompanyOSError
from companyos.ports import AccessRequest, Opinion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ("RegoEngine",)

FIXED = "decision.rego"
"""Name of the fixed rule by which opinions are combined; every policy set is evaluated with it."""
RULE = f"data.{_lint.PACKAGE}.decision"
DEFAULT_DENY = "policy.default_deny"
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
OBLIGATION_TYPES = frozenset({"step-up", "notification", "session_termination", "custom"})
"""The types of the AuthZEN Obligations Profile (draft 1)."""


class RegoEngine:
    """Decides by Rego v1 policies in the package `companyos.access`.

    A policy adds objects to `deny` and `allow` (`id`, `message`) and to `obligation` (`id`, `type`, `properties`). Its
    `input` is the request with the derived facts under `derived`. Policies are read and checked on first use; any
    thread may ask.
    """

    def __init__(self, directories: Iterable[Path] = ()) -> None:
        """Take the policies from `directories`, in order; none at all means the built-in playbook."""
        self._directories = tuple(Path(directory) for directory in directories)
        self._given: PolicySet | None = None
        self._lock = threading.Lock()
        self._loaded: tuple[PolicySet, Evaluator, str] | None = None

    @classmethod
    def over(cls, policies: PolicySet) -> RegoEngine:
        """An engine over policies that were read already, such as those of a verified bundle."""
        engine = cls()
        engine._given = policies
        return engine

    @property
    def name(self) -> str:
        """`rego`."""
        return "rego"

    @property
    def version(self) -> str:
        """Digest over the policy files, the fixed combination and the tables of derived facts.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return self._load()[2]

    @property
    def extends_playbook(self) -> bool:
        """Whether the built-in policies are among those it decides by, so that their specimens prove it.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return self._load()[0].extends_playbook

    def decide(self, request: AccessRequest) -> Opinion:
        """The policies' opinion of a request.

        Raises:
            PolicyError: the policies cannot be used.
            EngineError: they could not be evaluated for this request.
        """
        return self._ask(self._load()[1], request)

    def _load(self) -> tuple[PolicySet, Evaluator, str]:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._checked()
        return self._loaded

    def _checked(self) -> tuple[PolicySet, Evaluator, str]:
        policies = load_policies(self._directories) if self._given is None else self._given
        combination = (Path(__file__).parent / FIXED).read_text(encoding="utf-8")
        sources = {FIXED: combination, **policies.sources}
        _check_sources(sources, policies.data)
        evaluator = Evaluator(sources, policies.data, RULE)
        try:
            self._ask(evaluator, AccessRequest({"id": "?", "type": "?"}, "?", {"id": "?", "type": "?"}))
        except EngineError as error:
            raise PolicyError("the policies cannot be evaluated", got=error.got) from error
        version = digest({"combination": combination, "facts": facts_digest(), "policies": policies.digest})
        return policies, evaluator, version

    def _ask(self, evaluator: Evaluator, request: AccessRequest) -> Opinion:
        return _opinion(evaluator.evaluate(_encode({**request.to_dict(), "derived": derive(request)})))


def _check_sources(sources: Mapping[str, str], data: Mapping[str, Any]) -> None:
    try:
        tree = prepare(sources, data).get_ast_as_json()
    except CompanyOSError:
        raise
    except Exception as error:  # regorus raises RuntimeError; a value it cannot take is another kind
        raise PolicyError(
            "a policy does not parse", got=first_lines(error), expected="Rego v1", hint="mend the place named above"
        ) from error
    _lint.check(tree, FIXED)


def _opinion(decision: Any) -> Opinion:
    """What the combination answered, with its shape checked: policies are other people's files."""
    try:
        reasons = [(str(entry["id"]), str(entry.get("message", ""))) for entry in decision["reasons"]]
        obligations = tuple(_obligation(entry) for entry in decision["obligations"])
        allow = decision["allow"] is True
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise EngineError(
            "a policy added something without the agreed shape",
            got=f"{type(error).__name__}: {error}",
            expected="deny and allow hold objects with id and message, obligation those with id, type and properties",
        ) from error
    if not reasons:
        return Opinion(False, DEFAULT_DENY, "no policy allows this", obligations)
    return Opinion(allow, _first(reasons), _messages(reasons), obligations)


def _first(reasons: Sequence[tuple[str, str]]) -> str:
    return min(identity for identity, _ in reasons)


def _messages(reasons: Sequence[tuple[str, str]]) -> str:
    return "; ".join(dict.fromkeys(message for _, message in sorted(reasons) if message))


def _obligation(entry: Mapping[str, Any]) -> Obligation:
    kind = entry.get("type", "custom")
    properties = entry.get("properties", {})
    if not isinstance(entry["id"], str) or kind not in OBLIGATION_TYPES or not isinstance(properties, dict):
        raise ValueError(f"obligation {entry['id']!r} of type {kind!r}")
    return Obligation(entry["id"], kind, properties)
