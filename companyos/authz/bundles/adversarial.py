"""Questions that policies may choke on: made of their own constants, and of values as large as a request may hold.

A policy that works hard only for one action, one value or one long list answers a plain request at once. Each rule is
therefore asked what makes it hold, alone and together with what makes others hold; then so once more with what it reads
grown to the limit of a request (`MAX_SIZE`, `MAX_DEPTH`): long lists, texts, objects, records, and deep trees.

The same policies are always asked the same questions, and never more than a fixed number. It is a search: it can find a
request that takes too much, never that there is none.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.questions import bases, in_turn, random_requests, singles, together, two_bodies, with_value
from companyos.authz.request import MAX_SIZE, attribute_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from companyos.authz.bundles.vocabulary import Vocabulary

__all__ = ("MAX_LARGE", "MAX_SMALL", "SHAPES", "Question", "questions")

MAX_SMALL = 2000
"""Most questions of ordinary size."""
MAX_LARGE = 160
"""Most questions of the largest size; one takes some 50 ms by itself."""
_ROOM = MAX_SIZE - 4096
"""What large values may take of a request, the rest being for what is around them."""
_MOST_ACTIONS = 4
_MOST_FIELDS = 6
_LONGEST_FIELD = 32
_DEPTH, _FAN = 6, 3
"""A tree within `MAX_DEPTH`, wherever in a request it stands."""
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One request, small on paper."""

    request: Mapping[str, Any]
    """The request, without what is large."""
    large: tuple[Path, ...] = ()
    """Where something large stands."""
    shape: str = ""
    """What it is: one of `SHAPES`."""
    words: tuple[str, ...] = ()
    """Names or marks of the policies that it is made of."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Question:
        """The question that `to_dict` gave."""
        large = tuple(tuple(path) for path in value.get("large", ()))
        return cls(value["request"], large, value.get("shape", ""), tuple(value.get("words", ())))

    def to_dict(self) -> dict[str, Any]:
        """The question as a JSON object."""
        if not self.large:
            return {"request": dict(self.request)}
        large = [list(path) for path in self.large]
        return {"request": dict(self.request), "large": large, "shape": self.shape, "words": list(self.words)}

    def build(self) -> dict[str, Any]:
        """The whole request."""
        request = dict(self.request)
        for path in self.large:
            request = with_value(request, path, SHAPES[self.shape](_ROOM // len(self.large), self.words))
        return request

    def __str__(self) -> str:
        text = json.dumps(self.request, ensure_ascii=True)
        where = " and ".join(".".join(path) for path in self.large)
        return f"{text} with {self.shape} at {where}" if self.large else text


def questions(vocabulary: Vocabulary) -> Iterator[Question]:
    """What to ask policies with this vocabulary, small questions first."""
    yield from (Question(request) for request in itertools.islice(_small(vocabulary), MAX_SMALL))
    yield from _large(vocabulary)


def _small(vocabulary: Vocabulary) -> Iterator[dict[str, Any]]:
    for action in vocabulary.actions:
        yield from bases(action)
    for body in vocabulary.bodies:
        yield from together(vocabulary, body)
    dice = random.Random(0)  # noqa: S311 - a search that can be repeated, no secret
    likely = [(path, value) for path, values in vocabulary.values.items() for value in values[:6]]
    streams = [
        _all_at_once(vocabulary),
        singles(vocabulary, likely),
        two_bodies(vocabulary, dice),
        random_requests(vocabulary, dice),
    ]
    yield from in_turn(streams)


def _all_at_once(vocabulary: Vocabulary) -> Iterator[dict[str, Any]]:
    """For each action, everything that the policies read set to the likeliest value of its own, then to the next."""
    for turn, action in itertools.product(range(3), vocabulary.actions[:24]):
        request = bases(action)[1]
        for path in vocabulary.reads:
            values = vocabulary.values.get(path)
            if values:
                request = with_value(request, path, values[turn % len(values)])
        yield request


def _large(vocabulary: Vocabulary) -> list[Question]:
    """A choice of the large questions, spread over all shapes and rules."""
    found: dict[str, Question] = {}
    for shape in SHAPES:
        for request, paths in _targets(vocabulary):
            fitting = tuple(path for path in paths if _fits(shape, path))
            if fitting == paths:
                question = Question(request, paths, shape, _words(shape, vocabulary))
                found.setdefault(json.dumps(question.to_dict()), question)
    listed = list(found.values())
    if len(listed) <= MAX_LARGE:
        return listed
    chosen = random.Random(0).sample(range(len(listed)), MAX_LARGE)  # noqa: S311 - as above
    return [listed[place] for place in sorted(chosen)]


def _targets(vocabulary: Vocabulary) -> Iterator[tuple[dict[str, Any], tuple[Path, ...]]]:
    """Requests, each with the places in it that are to be large: those that one rule reads, one by one and together."""
    for body in _distinct_bodies(vocabulary):
        own = [value for path, value in body if path == ("action",) and isinstance(value, str)]
        places = list(dict.fromkeys(path for path, _ in body if len(path) > 1))
        free = tuple(dict.fromkeys(path for path, value in body if value is True and attribute_type(path) is None))
        targets = [(place,) for place in places] + ([free] if len(free) > 1 else [])
        for action, target in itertools.product(own[:1] or vocabulary.actions[:_MOST_ACTIONS], targets):
            kept = [(path, value) for path, value in body if path not in target and path != ("action",)]
            yield _set(bases(action)[1], kept), target
    alone = [path for path in vocabulary.reads if len(path) > 1]
    for action, path in itertools.product(vocabulary.actions[:_MOST_ACTIONS], alone):
        yield bases(action)[1], (path,)


def _distinct_bodies(vocabulary: Vocabulary) -> list[list[tuple[Path, Any]]]:
    """One body of those that differ in nothing but which constant of several they take."""
    found: dict[tuple[Path, ...], list[tuple[Path, Any]]] = {}
    for body in vocabulary.bodies:
        action = tuple(str(value) for path, value in body if path == ("action",))
        found.setdefault((*(path for path, _ in body), action), body)
    return list(found.values())


def _set(request: dict[str, Any], values: Sequence[tuple[Path, Any]]) -> dict[str, Any]:
    for path, value in values:
        if path[0] in request and len(path) > 1:
            request = with_value(request, path, value)
    return request


def _fits(shape: str, path: Path) -> bool:
    """Whether a request may have it there; what has a type of its own takes nothing else."""
    if path[1:] in {("id",), ("type",), ("domain",), ("service",)}:
        return False
    expected = attribute_type(path)
    if expected is None:
        return True
    kinds = {"words": list, "text": str, "marked text": str, "an object": dict}
    kind = kinds.get(shape)
    return kind is not None and (expected is kind or (isinstance(expected, tuple) and kind in expected))


def _words(shape: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    if shape == "records":
        return tuple(vocabulary.fields[:_MOST_FIELDS])
    return tuple(vocabulary.marks[:3]) if shape == "marked text" else ()


def _numbers(room: int, _: Sequence[str]) -> list[int]:
    return list(range(room - 1))


def _texts(room: int, _: Sequence[str]) -> list[str]:
    return [f"{number:04x}" for number in range(room // 5 - 1)]


def _text(room: int, _: Sequence[str]) -> str:
    return "a" * (room - 1)


def _marked_text(room: int, marks: Sequence[str]) -> str:
    """A text of many parts, whichever of the marks it is split by."""
    unit = "".join(f"a{mark}" for mark in marks or ("/", ".", ","))
    return unit * ((room - 1) // len(unit))


def _object(room: int, _: Sequence[str]) -> dict[str, int]:
    return {f"{number:04x}": number for number in range(room // 5 - 1)}


def _records(room: int, names: Sequence[str]) -> list[dict[str, int]]:
    """As many objects as there is room for, with the names that policies read of items."""
    fields = [name for name in names if len(name) <= _LONGEST_FIELD] or ["id"]
    each = 1 + sum(len(name) + 1 for name in fields)
    return [dict.fromkeys(fields, number) for number in range((room - 1) // each)]


def _tree(room: int, _: Sequence[str], depth: int = _DEPTH) -> Any:
    if depth == 0:
        return list(range(room - 1))
    return [_tree((room - 1) // _FAN, (), depth - 1) for _ in range(_FAN)]


SHAPES: Mapping[str, Callable[[int, Sequence[str]], Any]] = {
    "numbers": _numbers,
    "words": _texts,
    "text": _text,
    "marked text": _marked_text,
    "an object": _object,
    "records": _records,
    "a tree": _tree,
}
"""What is as large as there is room for, by its name."""
