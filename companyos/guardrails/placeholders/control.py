"""G01: no mock, stub or placeholder in production code."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from companyos.guardrails.interface import Hit, TreeControl, judge, tree_control
from companyos.guardrails.placeholders.python import PYTHON_DETECTORS, PythonFile
from companyos.guardrails.placeholders.rules import RULES
from companyos.guardrails.placeholders.typescript import TYPESCRIPT_DETECTORS, TYPESCRIPT_SUFFIXES, ScriptFile
from companyos.guardrails.placeholders.words import MARKER
from companyos.guardrails.tree import is_production

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from companyos.decision import Decision
    from companyos.guardrails.tree import Tree

__all__ = ("LINE_DETECTORS", "placeholders_control")

_COMMENTED = re.compile(r"(?:^|\s)(?:#|//|--|;|<!--|/\*|\*)(?P<comment>.*)")
_LINE_FILES = re.compile(
    r"(^|/)(Dockerfile[^/]*|Makefile|[^/]*\.(ya?ml|toml|tf|hcl|sh|bash|sql|css|scss|html|rego|cedar|ini|cfg|go|rs|java|kts?|rb|php|vue|"
    r"svelte|swift|scala|cs|c|h|cpp|hpp|dart|exs?|lua))$"
)
_OTHER_LANGUAGE = re.compile(
    r"(\.(?:go|rs|java|kts?|rb|php|vue|svelte|swift|scala|cs|c|h|cpp|hpp|dart|exs?|lua|pl|r|sh|bash|sql))$"
)


def _open_marker(path: str, text: str) -> Iterator[Hit]:
    for number, line in enumerate(text.splitlines(), start=1):
        comment = _COMMENTED.search(line)
        found = MARKER.search(comment.group("comment")) if comment else None
        if found:
            yield Hit(path, number, f"{found.group()} in a comment")


def _not_judged(tree: Tree) -> dict[str, int]:
    # Bodies in these languages are not read: that is said, so that nobody takes it for green.
    found = (_OTHER_LANGUAGE.search(path) for path in tree.texts if is_production(path))
    return dict(sorted(Counter(match.group(1) for match in found if match).items()))


LINE_DETECTORS: dict[str, Callable[[str, str], Iterable[Hit]]] = {"G01.open-marker": _open_marker}
"""Detectors for files that are judged line by line."""


def placeholders_control(
    *,
    python: Mapping[str, Callable[[PythonFile], Iterable[Hit]]] = PYTHON_DETECTORS,
    typescript: Mapping[str, Callable[[ScriptFile], Iterable[Hit]]] = TYPESCRIPT_DETECTORS,
    lines: Mapping[str, Callable[[str, str], Iterable[Hit]]] = LINE_DETECTORS,
) -> TreeControl:
    """The control G01 over these detectors (default: all)."""
    from companyos.guardrails.specimens.g01 import specimens

    def inspect(tree: Tree) -> Decision:
        found = [
            RULES[rule].finding(hit)
            for path, text in tree.texts.items()
            if is_production(path)
            for rule, hits in _hits(path, text)
            for hit in hits
        ]
        return judge("G01", tree, found, facts={"not_judged": _not_judged(tree)})

    def _hits(path: str, text: str) -> Iterator[tuple[str, Iterable[Hit]]]:
        file: Any = None
        detectors: Mapping[str, Callable[[Any], Iterable[Hit]]] = {}
        if path.endswith(".py"):
            file, detectors = PythonFile(path, text), python
        elif path.endswith(TYPESCRIPT_SUFFIXES):
            file, detectors = ScriptFile(path, text), typescript
        elif _LINE_FILES.search(path):
            yield from ((rule, detect(path, text)) for rule, detect in lines.items())
        yield from ((rule, detect(file)) for rule, detect in detectors.items())

    return tree_control(
        "G01",
        "Mocks, stubs and placeholders in production code",
        inspect,
        rules=RULES.values(),
        specimens=specimens(),
    )
