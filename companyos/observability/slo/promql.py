"""What must be known of a PromQL query to put a window into it, and whether it is one at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction

__all__ = (
    "Query",
    "UnusableQueryError",
    "is_counter",
    "masks_absence",
    "number",
    "quoted",
    "read_query",
    "require_promql",
)

_STRING = r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`"""
_TOKEN = re.compile(rf"(?P<string>{_STRING})|(?P<comment>\#[^\n]*)|(?P<range>\[[^\[\]\"'`]*\])|(?P<bracket>[(){{}}])")
_PLACEHOLDER = re.compile(r"\{\{\s*\.?[wW]indow\s*\}\}")
_ANY_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}|\$\{?__?\w+")
_RANGE = re.compile(r"\[\s*((?:[0-9]+(?:ms|[smhdwy]))+)\s*\]")
_METRIC = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_MATCHERS = rf"\{{(?:[^{{}}\"'`]|{_STRING})*\}}"
_SELECTOR = re.compile(rf"\s*(?:{_METRIC}\s*(?:{_MATCHERS})?|{_MATCHERS})\s*")
_SUMMED = re.compile(rf"\s*sum\s*\(\s*(?P<selector>{_METRIC}\s*(?:{_MATCHERS})?)\s*\)\s*")
_SUM = re.compile(r"sum\s*\(")
_COUNTER = re.compile(r"\s*\w*(_total|_count|_bucket|_sum)\b")
_MASKED = re.compile(r"\bor\s+(on\s*\(\s*\)\s*)?vector\s*\(")
_QUOTED_NAME = re.compile(r"""[{,]\s*["'`]""")
_CLOSING = {")": "(", "}": "{"}
_MARK = "\x00"
"""Stands for the window while a query is taken apart; YAML has no way to write it that the reader lets through."""


class UnusableQueryError(ValueError):
    """The query cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query, taken apart where the window goes."""

    parts: tuple[str, ...]
    """What stands between the windows; a single part where there is no place for one."""
    selector: str | None
    """The metric, where the query is nothing but a selector or the sum of one."""
    summed: bool = False
    """Whether the whole query is one `sum(…)`, and its result a single number."""

    def over(self, window: str) -> str:
        """The query with `window` (Prometheus notation) in its place."""
        return window.join(self.parts)

    def in_sum(self) -> Query:
        """The query with the series of its result added up, so that it is a single number whatever their labels."""
        if self.summed:
            return self
        first, *others = self.parts
        *others, last = (f"sum({first}", *others)
        return Query((*others, f"{last})"), self.selector, summed=True)

    @property
    def has_window(self) -> bool:
        """Whether there is a place for a window."""
        return len(self.parts) > 1


def read_query(text: str) -> Query:
    """Take a query apart.

    The window's place is written `{{.window}}`, as Sloth made common; where it is not, every range must be the same,
    as in `[5m]`, and is taken for the window.

    Raises:
        UnusableQueryError: empty, brackets or quotes left open, another placeholder, or ranges that differ.
    """
    marked = _PLACEHOLDER.sub(_MARK, text)
    other = _ANY_PLACEHOLDER.search(marked)
    if other is not None:
        raise UnusableQueryError(
            f"the placeholder {other[0][:60]!r} is not known; the window is written {{{{.window}}}}"
        )
    plain = _balanced(marked)
    if not plain:
        raise UnusableQueryError("the query is empty")
    if _MARK in plain:
        return Query(tuple(plain.split(_MARK)), None, _is_one_sum(plain))
    summed = _SUMMED.fullmatch(plain)
    if summed is not None:
        return Query((plain,), summed["selector"].strip())
    if _SELECTOR.fullmatch(plain):
        return Query((plain,), plain.strip())
    return Query(_by_range(plain), None, _is_one_sum(plain))


def require_promql(text: str) -> None:
    """Refuse what no Prometheus would load, while it can still be said where it was written.

    Raises:
        UnusableQueryError: it is not PromQL (that of Prometheus 2.42). What later versions added is let pass: names in
            quotes, and whatever the simulator knows of but does not evaluate.
    """
    from companyos.observability.slo.simulate.errors import RuleFileError, UnsupportedRuleError
    from companyos.observability.slo.simulate.parser import parse

    if _QUOTED_NAME.search(text):
        return
    try:
        parse(text, place="the query")
    except UnsupportedRuleError:
        return
    except RuleFileError as error:
        raise UnusableQueryError(f"is not PromQL: {error.what}") from error


def is_counter(selector: str) -> bool:
    """Whether the name ends as those of counters do (OpenMetrics 1.0, "Counter" and "Histogram")."""
    return _COUNTER.match(selector) is not None


def masks_absence(text: str) -> bool:
    """Whether the query puts a number in place of what is not there."""
    return _MASKED.search(text) is not None


def _balanced(text: str) -> str:
    """`text` on one line and without comments, after a look at its brackets and quotes."""
    opened: list[str] = []
    kept: list[str] = []
    end = 0
    for token in _TOKEN.finditer(text):
        kept.append(_between(text[end : token.start()]))
        end = token.end()
        if token.lastgroup == "comment":
            continue
        kept.append(token[0])
        if token.lastgroup == "bracket":
            if token[0] in "({":
                opened.append(token[0])
            elif not opened or opened.pop() != _CLOSING[token[0]]:
                raise UnusableQueryError(f"the query closes a {token[0]!r} that was not opened")
    if opened:
        raise UnusableQueryError(f"the query leaves a {opened[-1]!r} open")
    kept.append(_between(text[end:]))
    return "".join(kept).strip()


def _is_one_sum(plain: str) -> bool:
    if not _SUM.match(plain):
        return False
    depth = 0
    for token in _TOKEN.finditer(plain):
        if token.lastgroup == "bracket":
            depth += 1 if token[0] in "({" else -1
            if depth == 0:
                return token.end() == len(plain)
    return False


def _between(text: str) -> str:
    for sign in "\"'`[]":
        if sign in text:
            raise UnusableQueryError(f"the query leaves a {sign} open")
    return re.sub(r"\s+", " ", text)


def _by_range(plain: str) -> tuple[str, ...]:
    spans = [token for token in _TOKEN.finditer(plain) if token.lastgroup == "range"]
    found = [_RANGE.fullmatch(token[0]) for token in spans]
    if not spans:
        return (plain,)
    written = {match[1] for match in found if match}
    if None in found or len(written) > 1:
        ranges = ", ".join(sorted({token[0] for token in spans}))
        raise UnusableQueryError(f"the query has the ranges {ranges}; write {{{{.window}}}} where the window goes")
    parts, end = [], 0
    for token in spans:
        parts.append(plain[end : token.start() + 1])
        end = token.end() - 1
    return (*parts, plain[end:])


def quoted(text: str) -> str:
    """`text` as a string of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def number(value: float | Decimal | Fraction) -> str:
    """A number as PromQL and people read it: 15 significant digits, no exponent unless needed."""
    return f"{float(value):.15g}"
