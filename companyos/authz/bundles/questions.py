"""Requests made of what policies talk about: the questions of a search, plain ones first, the same every time."""

from __future__ import annotations

import itertools
import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.authz.bundles.vocabulary import Vocabulary

__all__ = ("bases", "candidates", "in_turn", "random_requests", "singles", "together", "two_bodies", "with_value")


def bases(action: str) -> tuple[dict[str, Any], ...]:
    """A plain request, and one by somebody who may do anything, so that what denies is seen, too."""
    plain = {
        "subject": {"id": "u-1", "type": "user"},
        "action": action,
        "resource": {"id": "r-1", "type": "document"},
        "environment": {},
    }
    granted = {
        "subject": {"id": "u-1", "type": "user", "attributes": {"roles": ["admin"], "clearance": "top"}},
        "action": action,
        "resource": {"id": "r-1", "type": "document", "owner": "u-1", "region": "eu-central-1"},
        "environment": {"approval_ticket": "CHG-1", "auth_strength": "mfa"},
    }
    return plain, granted


def candidates(vocabulary: Vocabulary, seed: int) -> Iterator[dict[str, Any]]:
    """What each rule compares, each likely value alone, then pairs, other values and random requests in turn."""
    for action in vocabulary.actions:
        yield from bases(action)
    likely = [(path, value) for path, values in vocabulary.values.items() for value in values[:6]]
    rest = [(path, value) for path, values in vocabulary.values.items() for value in values[6:]]
    for body in vocabulary.bodies:
        yield from together(vocabulary, body)
    yield from singles(vocabulary, likely)
    dice = random.Random(seed)  # noqa: S311 - a search that can be repeated, no secret
    streams = [
        two_bodies(vocabulary, dice),
        pairs(vocabulary, likely, dice),
        singles(vocabulary, rest),
        random_requests(vocabulary, dice),
    ]
    yield from in_turn(streams)


def in_turn(streams: Sequence[Iterator[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """One request of each stream after the other, for ever: one of them at least must not end."""
    while True:
        for stream in streams:
            if (request := next(stream, None)) is not None:
                yield request


def together(vocabulary: Vocabulary, body: Sequence[tuple[tuple[str, ...], Any]]) -> Iterator[dict[str, Any]]:
    """All that one rule compares, set at once, for its own action or some others."""
    actions = [value for path, value in body if path == ("action",)] or vocabulary.actions[:6]
    for action in actions:
        for base in bases(action):
            request = base
            for path, value in body:
                if path[0] in base and len(path) > 1:
                    request = with_value(request, path, value)
            yield request


def two_bodies(vocabulary: Vocabulary, dice: random.Random) -> Iterator[dict[str, Any]]:
    """What two rules compare, set at once, for as long as there are two."""
    while len(vocabulary.bodies) > 1:
        one, two = dice.sample(vocabulary.bodies, 2)
        yield from together(vocabulary, [*one, *two])


def singles(vocabulary: Vocabulary, values: Sequence[tuple[tuple[str, ...], Any]]) -> Iterator[dict[str, Any]]:
    """Each value alone at its place, for some actions."""
    for path, value in values:
        for action in vocabulary.actions[:12]:
            for base in bases(action):
                yield with_value(base, path, value)


def pairs(
    vocabulary: Vocabulary, values: Sequence[tuple[tuple[str, ...], Any]], dice: random.Random
) -> Iterator[dict[str, Any]]:
    """Two values at two places, in an order thrown by the dice."""
    found = [(one, two) for one, two in itertools.combinations(values, 2) if one[0] != two[0]]
    dice.shuffle(found)
    for one, two in found:
        for action in vocabulary.actions[:4]:
            yield with_value(with_value(bases(action)[1], *one), *two)


def random_requests(vocabulary: Vocabulary, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Requests with a few values each, the likelier ones more often, for ever."""
    paths = list(vocabulary.values)
    while True:
        request = dice.choice(bases(dice.choice(vocabulary.actions)))
        for path in dice.sample(paths, k=min(len(paths), dice.randint(1, 8))):
            values = vocabulary.values[path]
            request = with_value(request, path, values[min(dice.randrange(len(values)), dice.randrange(len(values)))])
        yield request


def with_value(request: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of a request with one value set; where a value is in the way, it is replaced."""
    copy: dict[str, Any] = json.loads(json.dumps(request))
    place = copy
    for key in path[:-1]:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    place[path[-1]] = value
    return copy
