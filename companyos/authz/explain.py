"""Why a request was decided as it was, and which single change would turn the decision around.

Changes are looked for, not guessed: each is made of constants that the policies themselves name, and is shown only
because the policies, asked again, gave the other answer.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz._changes import Change, Said, candidates, changed, said_by
from companyos.authz.engines._cedar_terms import terms
from companyos.authz.engines._trace import Trace, trace
from companyos.authz.engines.embedded import Recipe
from companyos.authz.engines.rego import RegoEngine
from companyos.authz.interface import EngineError, RequestError
from companyos.authz.request import request_from_dict
from companyos.authz.slices import DIMENSIONS, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from companyos.authz.engines._cedar_policies import CedarPolicy
    from companyos.authz.engines.cedar import CedarEngine
    from companyos.ports import AccessRequest, DecisionEngine, Opinion

__all__ = ("Change", "Explanation", "Flip", "Trace", "explain")

MOST_CHANGES = 5
"""How many ways to turn a decision are shown."""
MOST_QUESTIONS = 2000
"""How often the policies are asked while looking for them."""


@dataclass(frozen=True, slots=True)
class Flip:
    """What would turn the decision around."""

    changes: tuple[Change, ...]
    """What to change in the request; nearly always one thing."""
    reason: str
    """The reason of the decision that comes out."""
    obligations: tuple[str, ...]
    """Ids of the obligations that come with it."""

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object."""
        changes = [change.to_dict() for change in self.changes]
        return {"changes": changes, "reason": self.reason, "obligations": list(self.obligations)}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, taken apart."""

    opinion: Opinion
    """What the policies say."""
    facts: dict[str, str | None]
    """The facts that chose the slice."""
    evaluated: int
    """How many rules the slice holds."""
    of: int
    """How many rules there are."""
    rules: tuple[Trace, ...]
    """Every rule of the slice that could have decided, in order."""
    flips: tuple[Flip, ...]
    """What would turn the decision around; none means that no change was found, not that there is none."""

    @property
    def deciding(self) -> tuple[Trace, ...]:
        """The rules that decided: those that deny, or if none does those that allow."""
        fired = [rule for rule in self.rules if rule.fired]
        kind = "deny" if any(rule.kind == "deny" for rule in fired) else "allow"
        return tuple(rule for rule in fired if rule.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as a JSON object."""
        return {
            "decision": "allow" if self.opinion.allow else "deny",
            "reason": self.opinion.reason,
            "message": self.opinion.message,
            "obligations": [item.to_dict() for item in self.opinion.obligations],
            "decided_by": [rule.place for rule in self.deciding],
            "slice": {"facts": self.facts, "rules": self.evaluated, "of": self.of},
            "rules": [rule.to_dict() for rule in self.rules],
            "would_change_it": [flip.to_dict() for flip in self.flips],
        }


def explain(engine: RegoEngine | CedarEngine, request: AccessRequest) -> Explanation:
    """Take a decision apart; nothing is recorded.

    Of Cedar's policies it is known which were satisfied, not which of their conditions held.

    Raises:
        PolicyError: the policies cannot be used.
        EngineError: they could not be evaluated for this request.
    """
    parts = _parts_of_rego(engine, request) if isinstance(engine, RegoEngine) else _parts_of_cedar(engine, request)
    options = candidates(request, parts.said)
    flips = itertools.islice(_flips(engine, request, options, wanted=not parts.opinion.allow), MOST_CHANGES)
    facts = dict(zip(DIMENSIONS, key_of(request), strict=True))
    return Explanation(parts.opinion, facts, parts.evaluated, parts.of, parts.rules, tuple(flips))


def explain_in_child(argument: Mapping[str, Any]) -> dict[str, Any]:
    """Run in a metered child: the explanation of a request by the engine of a recipe, as a JSON object."""
    engine = Recipe(**argument["recipe"]).make()
    return explain(engine, request_from_dict(argument["request"])).to_dict()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an engine says of one decision."""

    opinion: Opinion
    rules: tuple[Trace, ...]
    said: Sequence[Said]
    evaluated: int
    of: int


def _parts_of_rego(engine: RegoEngine, request: AccessRequest) -> _Parts:
    loaded = engine.loaded()
    opinion = engine.decide(request)
    members = loaded.slicing.members(key_of(request))
    rules = tuple(rule for rule in trace(loaded, request) if rule.id is not None or rule.fired or rule.conditions)
    visible = tuple(rule for rule in rules if rule.file != loaded.modules[0].file or rule.fired)
    said = [said_by(rule, loaded.data) for _, rule in loaded.slicing.rules(members)]
    return _Parts(opinion, visible, said, len(members), len(loaded.slicing.everything))


def _parts_of_cedar(engine: CedarEngine, request: AccessRequest) -> _Parts:
    loaded = engine.loaded()
    opinion = engine.decide(request)
    policies = loaded.applicable(request)
    rules = tuple(_traced(policy, fired=loaded.holds(policy, request)) for policy in policies)
    talk = [terms(policy.tree) for policy in policies]
    said = [Said(spoken.paths, spoken.constants) for spoken in talk]
    return _Parts(opinion, rules, said, len(policies), len(loaded.policies.policies))


def _traced(policy: CedarPolicy, *, fired: bool) -> Trace:
    kind = "obligation" if policy.obliges_only else "allow" if policy.permits else "deny"
    file, _, line = policy.place.rpartition(":")
    return Trace(kind, policy.id, file, int(line), fired, ())


def _flips(
    engine: DecisionEngine, request: AccessRequest, options: Sequence[Change], *, wanted: bool
) -> Iterator[Flip]:
    """Single changes first, one for each attribute; two at once only where no single one is enough."""
    enough, shown = False, set()
    for count, changes in enumerate(_combinations(options)):
        if count >= MOST_QUESTIONS or (enough and len(changes) > 1):
            return
        places = frozenset(change.path for change in changes)
        opinion = None if places in shown else _ask(engine, request, changes)
        if opinion is not None and opinion.allow is wanted:
            shown.add(places)
            enough = enough or len(changes) == 1
            yield Flip(changes, opinion.reason, tuple(sorted({item.id for item in opinion.obligations})))


def _combinations(options: Sequence[Change]) -> Iterable[tuple[Change, ...]]:
    pairs = (pair for pair in itertools.combinations(options, 2) if pair[0].path != pair[1].path)
    return itertools.chain(((option,) for option in options), pairs)


def _ask(engine: DecisionEngine, request: AccessRequest, changes: Sequence[Change]) -> Opinion | None:
    try:
        return engine.decide(changed(request, changes))
    except (RequestError, EngineError):
        return None
