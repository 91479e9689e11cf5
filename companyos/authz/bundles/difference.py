"""The difference between two bundles in what they decide: requests whose decision changes, searched for.

A search can find a difference, never that there is none: what is reported is how many requests were tried. First each
value that the policies talk about is varied alone and in pairs around a few plain requests, then at random with a fixed
seed, so that the same two bundles always give the same answer.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.bundle import Bundle
from companyos.authz.bundles.checks import declared_requests, engine_of, outcome
from companyos.authz.bundles.questions import candidates
from companyos.authz.bundles.vocabulary import read_vocabulary
from companyos.authz.interface import EngineError, RequestError
from companyos.authz.metering import Limits, metered
from companyos.authz.request import request_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.ports import DecisionEngine

__all__ = ("Change", "Difference", "find_difference")

DEFAULT_REQUESTS = 20_000
"""How many requests are tried unless told otherwise."""
MAX_KINDS = 50
"""After so many kinds of change the search ends: they are different enough."""


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change, shown by the smallest request that was found for it."""

    request: Mapping[str, Any]
    """The request, with nothing in it that could be left out."""
    old: Mapping[str, Any]
    """What the old bundle answers: decision, reason, obligations."""
    new: Mapping[str, Any]
    """What the new bundle answers."""

    def to_dict(self) -> dict[str, Any]:
        """The change as a JSON object."""
        return {"request": dict(self.request), "old": dict(self.old), "new": dict(self.new)}


@dataclass(frozen=True, slots=True)
class Difference:
    """What a search found."""

    changes: tuple[Change, ...]
    """One for each kind of change, changed verdicts first."""
    tried: int
    """How many requests both bundles were asked."""
    changed: int
    """How many of those were answered differently."""
    seed: int
    """The seed of the random part."""
    complete: bool
    """Whether all requests that were asked for were tried; False if the time or the kinds were used up."""

    def to_dict(self) -> dict[str, Any]:
        """The difference as a JSON object."""
        return {
            "tried": self.tried,
            "changed": self.changed,
            "complete": self.complete,
            "seed": self.seed,
            "changes": [change.to_dict() for change in self.changes],
        }


def find_difference(
    old: Bundle, new: Bundle, *, requests: int = DEFAULT_REQUESTS, seed: int = 0, limits: Limits | None = None
) -> Difference:
    """Search for requests that two bundles decide differently, in a metered child; the search ends before its deadline.

    Raises:
        PolicyError: the policies of one are refused.
        MeterExceededError: the policies take too much time or memory for a search.
    """
    bounds = limits or Limits(deadline_seconds=120)
    argument = {
        "bundles": [base64.b64encode(bundle.to_bytes()).decode() for bundle in (old, new)],
        "requests": requests,
        "seed": seed,
        "seconds": bounds.deadline_seconds * 0.8,
    }
    answer = metered(f"{__name__}:search_in_child", argument, bounds, what="a search of the two bundles")
    changes = tuple(Change(**change) for change in answer.pop("changes"))
    return Difference(changes=changes, **answer)


def search_in_child(argument: Mapping[str, Any]) -> dict[str, Any]:
    """Run in the child: the difference as a JSON object."""
    old, new = (Bundle.from_bytes(base64.b64decode(packed)) for packed in argument["bundles"])
    search = _Search(engine_of(old), engine_of(new), time.monotonic() + argument["seconds"])
    vocabulary = read_vocabulary(*((bundle.sources(), bundle.data()) for bundle in (old, new)))
    declared = [dict(request) for bundle in (old, new) for request in declared_requests(bundle)]
    asked = itertools.chain(declared, candidates(vocabulary, argument["seed"]))
    complete = search.run(asked, argument["requests"])
    changes = [search.minimal(change) for change in search.kinds.values()]
    changes.sort(key=lambda change: (change.old["decision"] == change.new["decision"], json.dumps(change.to_dict())))
    return Difference(tuple(changes), search.tried, search.changed, argument["seed"], complete).to_dict()


@dataclass(slots=True)
class _Search:
    old: DecisionEngine
    new: DecisionEngine
    deadline: float
    tried: int = 0
    changed: int = 0
    kinds: dict[str, Change] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def run(self, candidates: Iterator[dict[str, Any]], budget: int) -> bool:
        """Try candidates until the budget is spent (True), or time or kinds are (False)."""
        repeated = 0
        for request in candidates:
            if self.tried >= budget or repeated > budget:
                return True
            if time.monotonic() > self.deadline or len(self.kinds) >= MAX_KINDS:
                return False
            text = json.dumps(request, sort_keys=True)
            repeated += text in self._seen
            if text not in self._seen:
                self._seen.add(text)
                self._try(request)
        return True

    def minimal(self, change: Change) -> Change:
        """The same kind of change with every key left out that can be."""
        kind, request = _kind(change), dict(change.request)
        shrunk = True
        while shrunk and time.monotonic() < self.deadline:
            shrunk = False
            for smaller in _smaller(request):
                found = self._compare(smaller)
                if found is not None and _kind(found) == kind:
                    change, request, shrunk = found, smaller, True
                    break
        return change

    def _try(self, request: dict[str, Any]) -> None:
        try:
            found = self._compare(request)
        except RequestError:
            return
        self.tried += 1
        if found is not None:
            self.changed += 1
            known = self.kinds.setdefault(_kind(found), found)
            if _size(found) < _size(known):
                self.kinds[_kind(found)] = found

    def _compare(self, value: dict[str, Any]) -> Change | None:
        request = request_from_dict(value)
        before, after = _ask(self.old, request), _ask(self.new, request)
        return None if before == after else Change(value, before, after)


def _ask(engine: DecisionEngine, request: Any) -> dict[str, Any]:
    try:
        return outcome(engine.decide(request))
    except EngineError as error:
        return {"decision": "undetermined", "reason": error.code, "obligations": []}


def _kind(change: Change) -> str:
    """What tells kinds of change apart: verdict, reason and the ids of obligations, before and after."""
    sides = [
        [side["decision"], side["reason"], sorted(item["id"] for item in side["obligations"])]
        for side in (change.old, change.new)
    ]
    return json.dumps(sides)


def _size(change: Change) -> int:
    return len(json.dumps(change.request))


def _smaller(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The request with one key less, anywhere but where a request needs it."""
    for part in ("environment", "resource", "subject"):
        for keys in _keys(request.get(part, {})):
            if keys[0] not in {"id", "type"} or part == "environment":
                copy = json.loads(json.dumps(request))
                place = copy[part]
                for key in keys[:-1]:
                    place = place[key]
                del place[keys[-1]]
                yield copy


def _keys(value: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (key,)
            yield from ((key, *more) for more in _keys(item))
