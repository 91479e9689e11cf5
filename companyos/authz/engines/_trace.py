"""Which rules fired for a request, and which of their conditions held, from the engine's own account of what it ran."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz.engines._guards import CONTRIBUTES
from companyos.authz.engines._loaded import RULE, document
from companyos.authz.engines._regorus import guarded, prepare
from companyos.authz.slices import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.authz.engines._loaded import Loaded
    from companyos.authz.engines._syntax import Module, Rule
    from companyos.ports import AccessRequest

__all__ = ("Condition", "Trace", "trace")

_ID = re.compile(rb'\w+\s+contains\s+\{\s*"id":\s*("(?:[^"\\]|\\.)*")')
"""The head of a rule that gives a fixed id."""
HELD, FAILED, UNREACHED = "held", "failed", "not reached"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule."""

    text: str
    """As it is written."""
    line: int
    """Where."""
    state: str
    """`held`, `failed` or `not reached`."""

    def to_dict(self) -> dict[str, Any]:
        """The condition as a JSON object."""
        return {"text": self.text, "line": self.line, "state": self.state}


@dataclass(frozen=True, slots=True)
class Trace:
    """What became of one rule that decides."""

    kind: str
    """`allow`, `deny` or `obligation`."""
    id: str | None
    """The id that it gives; None where it is worked out at run time."""
    file: str
    """Where it is written."""
    line: int
    """The line it begins in."""
    fired: bool
    """Whether it added to the decision."""
    conditions: tuple[Condition, ...]
    """Its conditions in order. One that loops is said to have held if it did so at least once."""

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"

    def to_dict(self) -> dict[str, Any]:
        """The rule as a JSON object."""
        conditions = [condition.to_dict() for condition in self.conditions]
        return {
            "kind": self.kind,
            "id": self.id,
            "place": self.place,
            "fired": self.fired,
            "conditions": conditions,
        }


def trace(loaded: Loaded, request: AccessRequest) -> list[Trace]:
    """Every rule of the request's slice that could have decided.

    Raises:
        EngineError: the policies could not be evaluated for this request.
    """
    members = loaded.slicing.members(key_of(request))
    spread = {name: _Spread(text) for name, text in loaded.slicing.texts(members)}
    rules = [(module, rule) for module, rule in loaded.slicing.rules(members) if rule.path[:4] in CONTRIBUTES]
    for module, rule in rules:
        spread[module.file].split(_starts(module, rule))
    covered = _run({name: text.finished() for name, text in spread.items()}, loaded.data, document(request))
    return [_traced(module, rule, spread[module.file], covered.get(module.file, set())) for module, rule in rules]


class _Spread:
    """A text in which chosen places begin lines of their own, so that what was run is told apart by line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._cuts: set[int] = set()
        self._lines: dict[int, int] = {}

    def split(self, lines_and_columns: Sequence[tuple[int, int]]) -> None:
        """Begin a line at each of these places, given as line and byte within it."""
        self._cuts.update(self._offset(*place) for place in lines_and_columns)

    def finished(self) -> str:
        """The text."""
        source, parts, before = self._text.encode(), [], 0
        for count, cut in enumerate(sorted(self._cuts)):
            parts.append(source[before:cut])
            self._lines[cut] = source.count(b"\n", 0, cut) + count + 2
            before = cut
        return b"\n".join([*parts, source[before:]]).decode()

    def line(self, line: int, column: int) -> int:
        """Where a place that was split off is now."""
        return self._lines[self._offset(line, column)]

    def _offset(self, line: int, column: int) -> int:
        lines = self._text.encode().split(b"\n")
        return sum(len(text) + 1 for text in lines[: line - 1]) + column


def _starts(module: Module, rule: Rule) -> list[tuple[int, int]]:
    """Line and byte of the rule itself and of each of its conditions."""
    source = module.text.encode()
    offsets = [rule.start, *(_start(statement, source) for statement in _statements(rule))]
    return [(source.count(b"\n", 0, offset) + 1, offset - (source.rfind(b"\n", 0, offset) + 1)) for offset in offsets]


def _statements(rule: Rule) -> list[Mapping[str, Any]]:
    return [statement for body in rule.bodies for statement in body["query"]["stmts"]]


def _start(statement: Mapping[str, Any], source: bytes) -> int:
    """Where a condition begins; regorus counts a text from behind its quotation mark."""
    start: int = statement["span"]["start"]
    return start - 1 if source[start - 1 : start] in {b'"', b"`"} else start


def _run(sources: Mapping[str, str], data: Mapping[str, Any], input_json: str) -> dict[str, set[int]]:
    def run() -> str:
        engine = prepare(sources, data)
        engine.set_enable_coverage(True)
        engine.set_input_json(input_json)
        engine.eval_rule_as_json(RULE)
        for opinion in CONTRIBUTES:
            # What is denied is not asked whether it is allowed; that too is worth knowing, unless it is an error.
            with contextlib.suppress(Exception):
                engine.eval_rule_as_json(".".join(opinion))
        report: str = engine.get_coverage_report_as_json()
        return report

    return {file["path"]: set(file["covered"]) for file in json.loads(guarded(run))["files"]}


def _traced(module: Module, rule: Rule, spread: _Spread, covered: set[int]) -> Trace:
    head, *starts = _starts(module, rule)
    fired = spread.line(*head) in covered
    reached = [spread.line(*start) in covered for start in starts]
    states = map(_state, reached, [*reached[1:], fired])
    conditions = tuple(
        Condition(text, line, state)
        for text, (line, _), state in zip(_texts(module, rule), starts, states, strict=True)
    )
    return Trace(rule.path[3], _id_of(module, rule), module.file, rule.line, fired, conditions)


def _state(reached: bool, next_reached: bool) -> str:
    if not reached:
        return UNREACHED
    return HELD if next_reached else FAILED


def _texts(module: Module, rule: Rule) -> list[str]:
    """The conditions, each in one line."""
    source, found = module.text.encode(), []
    for body in rule.bodies:
        starts = [_start(statement, source) for statement in body["query"]["stmts"]]
        end = body["query"]["span"]["end"]
        end += source[end : end + 1] in {b'"', b"`"}
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            text = " ".join(source[start:stop].decode().split()).rstrip(" ;")
            found.append(text[:-1].rstrip() if text.count("}") > text.count("{") else text)
    return found


def _id_of(module: Module, rule: Rule) -> str | None:
    found = _ID.match(module.text.encode()[rule.start :])
    return str(json.loads(found.group(1))) if found else None
