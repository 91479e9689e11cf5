"""Policies made ready to be asked: parsed, checked, sliced, and evaluated once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from companyos.authz.derived import derive, facts_digest
from companyos.authz.engines import _lint, _probe
from companyos.authz.engines._dangling import check_references
from companyos.authz.engines._regorus import MAX_ENGINES, Evaluator, first_lines, prepare
from companyos.authz.engines._shape import opinion
from companyos.authz.engines._slicing import Slicing
from companyos.authz.engines._syntax import Module, parse
from companyos.authz.interface import EngineError, PolicyError
from companyos.authz.slices import key_of
from companyos.canonical import digest
from companyos.errors import CompanyOSError
from companyos.ports import AccessRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.authz.policyset import PolicySet
    from companyos.ports import Opinion

__all__ = ("FIXED", "RULE", "SCOPE", "Loaded", "document", "load")

FIXED = "decision.rego"
"""Name of the fixed rule by which opinions are combined; every policy set is evaluated with it."""
RULE = f"data.{_lint.PACKAGE}.decision"
"""What is evaluated."""
SCOPE = "companyos_scope"
"""Where the fixed rule finds, below `data`, what a request must say of its resource's place in the company."""
_PROBE = AccessRequest({"id": "?", "type": "?"}, "?", {"id": "?", "type": "?"})


def _mapping(value: Any) -> Any:
    if hasattr(value, "items"):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_encode = msgspec.json.Encoder(enc_hook=_mapping).encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policies that may be asked."""

    policies: PolicySet
    """The files they come from."""
    version: str
    """Digest over the policy files, the fixed combination and the tables of derived facts."""
    modules: tuple[Module, ...]
    """Every file as parsed, the fixed combination first."""
    data: Mapping[str, Any]
    """What is evaluated as `data` beside the rules. With the modules' texts it is all that another OPA needs."""
    slicing: Slicing
    """Which rules a request needs."""
    evaluator: Evaluator
    """What evaluates them."""

    def ask(self, request: AccessRequest, *, sliced: bool = True) -> Opinion:
        """The opinion on a request, by its slice or by everything.

        Raises:
            EngineError: the policies could not be evaluated for this request.
        """
        members = self.slicing.members(key_of(request)) if sliced else self.slicing.everything
        return opinion(_decode(self.evaluator.evaluate(document(request), members)))


def document(request: AccessRequest) -> str:
    """What policies see as `input`, as JSON."""
    return _encode(
        {
            "subject": request.subject,
            "action": request.action,
            "resource": request.resource,
            "environment": request.environment,
            "derived": derive(request),
        }
    ).decode()


def load(policies: PolicySet, *, most_engines: int = MAX_ENGINES) -> Loaded:
    """Parse and check policies, infer their slices, and evaluate all of them once.

    Raises:
        PolicyError: they cannot be used; the text names file, line and reason.
    """
    if any(name.endswith(".cedar") for name in policies.sources):
        raise PolicyError("these are policies for Cedar", got=", ".join(policies.sources), hint="use CedarEngine.of")
    combination = (Path(__file__).parent / FIXED).read_text(encoding="utf-8")
    modules = _parsed({FIXED: combination, **policies.sources}, policies.data)
    _probe.check(_lint.check(modules, FIXED))
    check_references(modules, {**policies.data, SCOPE: []})
    slicing = Slicing(modules, policies.data, policies.declared)
    data = {**policies.data, SCOPE: list(slicing.scopes)}
    evaluator = Evaluator(slicing.texts, data, RULE, always=slicing.always, limit=most_engines)
    version = digest({"combination": combination, "facts": facts_digest(), "policies": policies.digest})
    loaded = Loaded(policies, version, tuple(modules), data, slicing, evaluator)
    try:
        loaded.ask(_PROBE, sliced=False)
    except EngineError as error:
        raise PolicyError("the policies cannot be evaluated", got=error.got) from error
    return loaded


def _parsed(sources: Mapping[str, str], data: Mapping[str, Any]) -> list[Module]:
    try:
        tree = prepare(sources, data).get_ast_as_json()
    except CompanyOSError:
        raise
    except Exception as error:  # regorus raises RuntimeError; a value it cannot take is another kind
        raise PolicyError(
            "a policy does not parse", got=first_lines(error), expected="Rego v1", hint="mend the place named above"
        ) from error
    try:
        return parse(_decode(tree))
    except RecursionError as error:
        raise PolicyError("a policy nests too deeply") from error
