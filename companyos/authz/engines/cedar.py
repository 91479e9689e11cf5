"""Cedar policies, evaluated in this process by cedarpy; see `_cedar_policies` for their annotations."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from companyos._extras import require
from companyos.authz.derived import derive
from companyos.authz.engines._cedar_policies import CedarPolicy, load_cedar, parse_cedar
from companyos.authz.engines._cedar_reads import EVERYTHING, Tree, tree
from companyos.authz.engines._cedar_request import translate
from companyos.authz.engines._shape import combined
from companyos.authz.interface import EngineError
from companyos.authz.layout import STAGES
from companyos.authz.slices import key_of
from companyos.ports import Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from companyos.authz.engines._cedar_policies import CedarPolicies
    from companyos.authz.policyset import PolicySet
    from companyos.decision import Obligation
    from companyos.ports import AccessRequest

__all__ = ("CedarEngine",)

UNSTATED = "policy.scope_unstated"
"""The reason for a request that does not say where its resource belongs, where policies depend on it."""
_MAX_SETS = 1024
"""How many sets of policies are kept parsed; there are as many as slices can overlap in different ways."""
_canonical = msgspec.json.Encoder(order="deterministic").encode
_POSITION = re.compile(r"policy(\d+)")


class CedarEngine:
    """Decides by Cedar policies: what none permits is denied, and what one forbids is denied whoever permits it.

    A policy that fails on a request (a missing attribute, a wrong type) makes the whole request undecided; Cedar
    alone would pass over it, be it a `forbid`. Policies are read and checked on first use; any thread may ask.
    """

    def __init__(self, directories: Iterable[Path] = (), *, stage: str = STAGES[-1], pruned: bool = True) -> None:
        """Take the policies from `directories`, in order; none at all means the built-in playbook in Cedar.

        Of a directory laid out by domain, service, stage and version it takes `stage`. Policies get what they can read
        of a request; with `pruned=False` all of it.
        """
        self._pruned = pruned
        self._directories = tuple(Path(directory) for directory in directories)
        self._stage = stage
        self._lock = threading.Lock()
        self._given: PolicySet | None = None
        self._ready: Loaded | None = None

    @classmethod
    def of(cls, policies: PolicySet) -> CedarEngine:
        """An engine for policies that were read already."""
        engine = cls()
        engine._given = policies
        return engine

    @property
    def name(self) -> str:
        """`cedar`."""
        return "cedar"

    @property
    def version(self) -> str:
        """Digest over the policy files and the tables of derived facts.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return self.loaded().policies.version

    @property
    def extends_playbook(self) -> bool:
        """Whether the built-in policies are among those it decides by, so that their specimens prove it.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return self.loaded().policies.extends_playbook

    def decide(self, request: AccessRequest) -> Opinion:
        """The policies' opinion of a request.

        Raises:
            PolicyError: the policies cannot be used.
            EngineError: one of them failed on this request, or the request holds a value that Cedar cannot.
        """
        return (self._ready or self.loaded()).ask(request)

    @property
    def scopes(self) -> list[str]:
        """`domain`, `service` or both: what requests must say of their resource's place.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return list(self.loaded().scopes)

    def loaded(self) -> Loaded:
        """The policies as they are evaluated, read on the first call.

        Raises:
            PolicyError: the policies cannot be used.
        """
        ready = self._ready
        if ready is None:
            with self._lock:
                ready = self._ready
                if ready is None:
                    ready = self._ready = Loaded(self._read(), pruned=self._pruned)
        return ready

    def _read(self) -> CedarPolicies:
        if self._given is not None:
            return parse_cedar(self._given)
        return load_cedar(self._directories, stage=self._stage)


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Policies with the handle by which Cedar knows them; it calls them by their position."""

    policies: Sequence[CedarPolicy]
    """The policies, in order."""
    handle: Any
    """Their `cedarpy.PolicySet`."""
    wanted: Tree
    """What of a request they can read."""

    @classmethod
    def of(cls, policies: Sequence[CedarPolicy], *, whole: bool) -> _Parsed:
        """Parse policies once; `whole` says that they get all of a request, whatever they read."""
        cedar = require("cedarpy", extra="authz-cedar")
        handle = cedar.PolicySet.from_str("\n".join(policy.text for policy in policies))
        if len(handle) != len(policies):
            raise EngineError("Cedar read another number of policies", got=len(handle), expected=len(policies))
        read = EVERYTHING if whole else {read for policy in policies for read in policy.reads}
        return cls(policies, handle, tree(read))


class Loaded:
    """Policies made ready to be asked; those that share a slice of requests are parsed together, once."""

    def __init__(self, policies: CedarPolicies, *, pruned: bool) -> None:
        self._pruned = pruned
        self._cedar: Any = require("cedarpy", extra="authz-cedar")
        self.policies = policies
        self._schema = None if policies.schema is None else self._cedar.Schema.from_str(policies.schema)
        self._slices = tuple(dict.fromkeys(policy.slice for policy in policies.policies))
        self.scopes = [
            name
            for place, name in ((2, "domain"), (3, "service"))
            if any(found.values()[place] is not None for found in self._slices)
        ]
        self._sets: dict[tuple[bool, ...], tuple[_Parsed, _Parsed]] = {}
        self._members((True,) * len(self._slices))

    def ask(self, request: AccessRequest) -> Opinion:
        """The opinion on a request."""
        unstated = [name for name in self.scopes if not request.resource.get(name)]
        if unstated:
            message = f"resource.{unstated[0]} is not stated, and policies depend on it"
            return Opinion(False, UNSTATED, message)
        key = key_of(request)
        every, permits = self._members(tuple(found.holds(key) for found in self._slices))
        asked = translate(request, every.wanted)
        entities = _guarded(lambda: self._cedar.Entities.from_json_str(asked.entities, self._schema))
        allow, decided = self._evaluate(every, asked.request, entities)
        obliging = [policy for policy in decided if policy.obligations]
        refusing = [policy for policy in decided if not policy.permits and not policy.obligations]
        if obliging and not allow and not refusing:
            # Nothing refuses; whether anything permits, Cedar does not say beside what forbids.
            narrow = asked.request if "context" in permits.wanted else {**asked.request, "context": "{}"}
            allow, decided = self._evaluate(permits, narrow, entities)
            obliging += [policy for policy in decided if policy.obligations]
            refusing = decided
        reasons = [(policy.reason, policy.message) for policy in (decided if allow else refusing)]
        return combined(reasons, _obligations(obliging, request), allow=allow)

    def applicable(self, request: AccessRequest) -> list[CedarPolicy]:
        """The policies whose slice a request lies in, in order."""
        key = key_of(request)
        return [policy for policy in self.policies.policies if policy.slice.holds(key)]

    def holds(self, policy: CedarPolicy, request: AccessRequest) -> bool:
        """Whether one policy, by itself, is satisfied by a request.

        Raises:
            EngineError: it fails on it.
        """
        alone = _Parsed.of([policy], whole=self.policies.schema is not None or not self._pruned)
        asked = translate(request, alone.wanted)
        entities = _guarded(lambda: self._cedar.Entities.from_json_str(asked.entities, self._schema))
        return bool(self._evaluate(alone, asked.request, entities)[1])

    def _members(self, holds: tuple[bool, ...]) -> tuple[_Parsed, _Parsed]:
        found = self._sets.get(holds)
        if found is None:
            if len(self._sets) >= _MAX_SETS:
                self._sets.clear()
            slices = {part for part, within in zip(self._slices, holds, strict=True) if within}
            policies = [policy for policy in self.policies.policies if policy.slice in slices]
            permits = [policy for policy in policies if policy.permits]
            # A schema is about all of a request.
            whole = self.policies.schema is not None or not self._pruned
            found = self._sets[holds] = (_Parsed.of(policies, whole=whole), _Parsed.of(permits, whole=whole))
        return found

    def _evaluate(self, parsed: _Parsed, request: Any, entities: Any) -> tuple[bool, list[CedarPolicy]]:
        """Whether Cedar allows it, and the policies that decided."""
        result = _guarded(
            lambda: self._cedar.is_authorized(request, parsed.handle, entities, self._schema)  # one of three answers
        )
        errors = result.diagnostics.errors
        if errors:
            raise EngineError(
                "a policy failed on this request",
                got=_POSITION.sub(lambda match: _name(parsed.policies, int(match[1])), "; ".join(errors)),
                hint="ask for an attribute that may be missing by `has` first",
            )
        decision = result.decision
        if decision not in {self._cedar.Decision.Allow, self._cedar.Decision.Deny}:
            raise EngineError("Cedar came to no decision", got=decision)
        decided = [parsed.policies[int(reason.removeprefix("policy"))] for reason in result.diagnostics.reasons]
        return decision is self._cedar.Decision.Allow, decided


def _guarded(call: Callable[[], Any]) -> Any:
    """Make one call into Cedar, turning what it raises into an `EngineError`; a panic of Rust is no `Exception`."""
    try:
        return call()
    except Exception as error:
        raise EngineError("Cedar does not take this request", got=error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EngineError("the policy engine broke down", got=error) from error


def _name(policies: Sequence[CedarPolicy], position: int) -> str:
    return policies[position].id if position < len(policies) else f"policy{position}"


def _obligations(policies: Sequence[CedarPolicy], request: AccessRequest) -> list[Obligation]:
    """The obligations of policies for a request, each once, in the order of their ids."""
    if not policies:
        return []
    templates = [template for policy in policies for template in policy.obligations]
    document = request.to_dict()
    if any("derived" in template.roots for template in templates):
        document["derived"] = derive(request)
    found = [template.fill(document) for template in templates]
    if len(found) == 1:
        return found
    distinct = {_canonical(item.to_dict()): item for item in found}
    return [distinct[key] for key in sorted(distinct, key=lambda key: (distinct[key].id, key))]
