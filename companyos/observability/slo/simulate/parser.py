"""A parser of PromQL for the subset that is evaluated here, with the precedence and the types of Prometheus.

Source: the grammar of Prometheus 2.42, https://prometheus.io/docs/prometheus/2.42/querying/basics/ and .../operators/.
What is PromQL but not in the subset is refused by name and place, never skipped.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import NoReturn

from companyos.observability.slo.simulate.errors import UnsupportedRuleError, place_in
from companyos.observability.slo.simulate.lexer import Token, duration_ms, refuse_syntax, tokens, unquoted
from companyos.observability.slo.simulate.nodes import (
    Aggregate,
    Binary,
    Call,
    Matcher,
    Negated,
    Node,
    Number,
    Selector,
    Subquery,
)

__all__ = ("AGGREGATIONS", "COMPARISONS", "FUNCTIONS", "SET_OPERATORS", "kind_of", "parse")

MAX_DEPTH = 60
"""Deeper nesting is not one that people write."""
MAX_OPERATORS = 200
"""Longer chains neither: each operator is one more level of the tree."""
SET_OPERATORS = frozenset({"and", "or", "unless"})
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
AGGREGATIONS = frozenset({"sum", "avg", "min", "max", "count", "group"})
_PRECEDENCE = (
    {"or": 1, "and": 2, "unless": 2}
    | dict.fromkeys(COMPARISONS, 3)
    | {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6}
)
_NO_METRIC = frozenset({"atan2", "bool", "group_left", "group_right", "ignoring", "on"})
"""Words that are not taken for the name of a metric; all others are, by their place."""
_UNARY_PRECEDENCE = 5  # of multiplication: -2 ^ 2 is -(2 ^ 2)
_MATRIX, _VECTOR, _SCALAR = "matrix", "vector", "scalar"
FUNCTIONS: dict[str, tuple[tuple[str, ...], int, str]] = (
    dict.fromkeys(("rate", "increase", "absent_over_time"), ((_MATRIX,), 0, _VECTOR))
    | {
        f"{name}_over_time": ((_MATRIX,), 0, _VECTOR)
        for name in ("sum", "avg", "min", "max", "count", "last", "present")
    }
    | dict.fromkeys(("absent", "abs", "ceil", "floor"), ((_VECTOR,), 0, _VECTOR))
    | dict.fromkeys(("clamp_min", "clamp_max"), ((_VECTOR, _SCALAR), 0, _VECTOR))
    | {
        "clamp": ((_VECTOR, _SCALAR, _SCALAR), 0, _VECTOR),
        "histogram_quantile": ((_SCALAR, _VECTOR), 0, _VECTOR),
        "round": ((_VECTOR, _SCALAR), 1, _VECTOR),
        "scalar": ((_VECTOR,), 0, _SCALAR),
        "time": ((), 0, _SCALAR),
        "vector": ((_SCALAR,), 0, _VECTOR),
    }
)
"""Name to: types of the arguments, how many of the last may be left out, type of the result."""
_RE2_ONLY = re.compile(r"\(\?(?!:|[is]+\)|[is]+:)|\\(?![.dDwWsSbB\\/+*?()\[\]{}|^$tnrfv_-])|[*+?}]\+|\[\[:")
"""Where the regular expressions of Python and of RE2 (https://github.com/google/re2/wiki/Syntax) may differ."""


_OTHERS = frozenset(
    re.findall(
        r"\w+",
        "acos acosh asin asinh atan atanh changes cos cosh day_of_month day_of_week day_of_year days_in_month "
        "deg delta deriv double_exponential_smoothing exp histogram_avg histogram_count histogram_fraction "
        "histogram_quantiles histogram_stddev histogram_stdvar histogram_sum holt_winters hour idelta info "
        "irate label_join label_replace ln log10 log2 mad_over_time minute month pi predict_linear "
        "quantile_over_time rad resets sgn sin sinh sort sort_by_label sort_by_label_desc sort_desc sqrt "
        "stddev_over_time stdvar_over_time tan tanh timestamp ts_of_first_over_time ts_of_last_over_time "
        "ts_of_max_over_time ts_of_min_over_time first_over_time year end start bottomk count_values limitk "
        "limit_ratio quantile stddev stdvar topk step range ",
    )
)
"""What else is called in PromQL (Prometheus 3), and not evaluated here."""
_CALLED = (*FUNCTIONS, *AGGREGATIONS, *_OTHERS)
_MISSPELT = 0.8
"""How alike a name is to one of them that is taken for a slip of it, and not for what a later version has."""


def kind_of(node: Node) -> str:
    """The type of an expression: `scalar`, `vector` or `matrix`."""
    if isinstance(node, Number):
        return _SCALAR
    if isinstance(node, Call):
        return FUNCTIONS[node.name][2]
    if isinstance(node, Selector):
        return _VECTOR if node.range_ms is None else _MATRIX
    if isinstance(node, Subquery):
        return _MATRIX
    if isinstance(node, Negated):
        return kind_of(node.expr)
    if isinstance(node, Binary):
        return _SCALAR if kind_of(node.left) == kind_of(node.right) == _SCALAR else _VECTOR
    return _VECTOR


def parse(text: str, *, place: str = "expression") -> Node:
    """Parse an expression; `place` begins the text of every error.

    Raises:
        RuleFileError: it is not PromQL.
        UnsupportedRuleError: it is, but not of the part that is evaluated here.
    """
    return _Parser(text, place).whole()


class _Parser:
    """A parser by precedence climbing over the tokens of one expression."""

    def __init__(self, text: str, place: str) -> None:
        self._text = text
        self._place = place
        self._tokens = tokens(text, place)
        self._next = 0
        self._depth = 0
        self._operators = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if self._peek.kind != "end":
            self._refuse(self._peek.at, f"unexpected {self._peek.text!r}")
        if kind_of(node) == _MATRIX:
            self._refuse(node.at, "a range vector is not a result of a rule", expected="an instant vector or a scalar")
        return node

    @property
    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _accept(self, *texts: str) -> Token | None:
        return self._take() if self._peek.kind in {"op", "word"} and self._peek.text in texts else None

    def _expect(self, text: str) -> Token:
        token = self._take()
        if token.text != text:
            self._refuse(token.at, f"unexpected {token.text or 'end'!r}", expected=text)
        return token

    def _refuse(self, at: int, problem: str, *, expected: str | None = None) -> NoReturn:
        refuse_syntax(self._text, self._place, at, problem, expected=expected)

    def _unsupported(self, at: int, what: str) -> NoReturn:
        raise UnsupportedRuleError(
            f"{self._place}: {place_in(self._text, at)}: {what} is not simulated",
            got=self._text,
            expected=f"functions {', '.join(sorted(FUNCTIONS))}; aggregations {', '.join(sorted(AGGREGATIONS))}",
            hint="nothing can be said about the alerts of this file; leave the rule out or write it otherwise",
        )

    def _expression(self, least: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._unsupported(self._peek.at, f"nesting deeper than {MAX_DEPTH}")
        left = self._operand()
        while True:
            operator = self._peek
            strength = _PRECEDENCE.get(operator.text.lower(), 0) if operator.kind in {"op", "word"} else 0
            if strength <= least:
                self._depth -= 1
                return left
            self._take()
            if operator.text.lower() == "atan2":
                self._unsupported(operator.at, "atan2")
            left = self._binary(operator, left, strength)

    def _operand(self) -> Node:
        sign = self._accept("-", "+")
        if sign is None:
            return self._primary()
        inner = self._expression(_UNARY_PRECEDENCE)
        if kind_of(inner) == _MATRIX:
            self._refuse(sign.at, "a sign before a range vector")
        if sign.text == "+":
            return inner
        return Number(sign.at, -inner.value) if isinstance(inner, Number) else Negated(sign.at, inner)

    def _binary(self, operator: Token, left: Node, strength: int) -> Node:
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            self._unsupported(operator.at, f"an expression of more than {MAX_OPERATORS} operators")
        op = operator.text.lower()
        to_bool = self._accept("bool")
        matching = self._accept("on", "ignoring")
        labels = frozenset(self._labels()) if matching else frozenset()
        grouping = self._accept("group_left", "group_right") if matching else None
        include = tuple(self._labels()) if grouping and self._peek.text == "(" else ()
        right = self._expression(strength - 1 if op == "^" else strength)
        node = Binary(
            operator.at,
            op,
            left,
            right,
            to_bool=to_bool is not None,
            on=matching is not None and matching.text == "on",
            labels=labels,
            group=grouping.text.removeprefix("group_") if grouping else "",
            include=include,
        )
        self._judge(node, matching)
        return node

    def _judge(self, node: Binary, modifier: Token | None) -> None:
        kinds = (kind_of(node.left), kind_of(node.right))
        if _MATRIX in kinds:
            self._refuse(node.at, f"{node.op} with a range vector", expected="instant vectors and scalars")
        if node.to_bool and node.op not in COMPARISONS:
            self._refuse(node.at, f"bool after {node.op}", expected="bool only after a comparison")
        if node.op in COMPARISONS and kinds == (_SCALAR, _SCALAR) and not node.to_bool:
            self._refuse(node.at, "a comparison between scalars", expected=f"{node.op} bool")
        if _SCALAR in kinds and (node.op in SET_OPERATORS or modifier is not None):
            self._refuse(node.at, f"{node.op} with label matching, or a set operator, and a scalar")
        if node.op in SET_OPERATORS and node.group:
            self._refuse(node.at, f"grouping after {node.op}")
        both = set(node.include) & node.labels
        if node.on and both:
            self._refuse(node.at, f"label {min(both)!r} both in on and in the grouping")

    def _primary(self) -> Node:
        token = self._take()
        if token.kind == "number":
            value = float(int(token.text, 16)) if token.text[:2] in {"0x", "0X"} else float(token.text)
            return Number(token.at, value)
        if token.text == "(":
            inner = self._expression(0)
            self._expect(")")
            # A subquery may follow, but neither a range nor an offset: those belong to a selector.
            return self._subquery(inner, token.at) if self._peek.text == "[" else inner
        if token.text == "{":
            self._next -= 1
            return self._selector("", token.at)
        if token.kind == "word":
            return self._named(token)
        if token.kind == "string":
            self._unsupported(token.at, "a string")
        return self._refuse(token.at, f"unexpected {token.text or 'end'!r}", expected="an expression")

    def _named(self, token: Token) -> Node:
        lower = token.text.lower()
        if lower in {"inf", "nan"}:
            return Number(token.at, math.inf if lower == "inf" else math.nan)
        following = self._peek.text
        if lower in AGGREGATIONS and following.lower() in {"(", "by", "without"}:
            return self._after(self._aggregate(lower, token.at))
        if following == "(" or (following in {"by", "without"} and lower not in AGGREGATIONS):
            return self._after(self._call(token))
        if lower in _NO_METRIC:
            self._refuse(token.at, f"unexpected {token.text!r}", expected="an expression")
        return self._selector(token.text, token.at)

    def _after(self, node: Node) -> Node:
        return self._subquery(node, node.at) if self._peek.text == "[" else node

    def _aggregate(self, op: str, at: int) -> Node:
        grouping = self._accept("by", "without")
        labels = self._labels() if grouping else []
        self._expect("(")
        inner = self._expression(0)
        if self._peek.text == ",":
            self._refuse(self._peek.at, f"a second argument of {op}")
        self._expect(")")
        if grouping is None:
            grouping = self._accept("by", "without")
            labels = self._labels() if grouping else []
        if kind_of(inner) != _VECTOR:
            self._refuse(inner.at, f"{op} of a {kind_of(inner)}", expected=_VECTOR)
        return Aggregate(at, op, inner, frozenset(labels), grouping is not None and grouping.text == "without")

    def _call(self, token: Token) -> Node:
        name = token.text
        if name not in FUNCTIONS:
            meant = [] if name.lower() in _OTHERS else difflib.get_close_matches(name, _CALLED, 1, _MISSPELT)
            if meant:
                self._refuse(token.at, f"there is no {name}(…)", expected=f"{meant[0]}(…)")
            self._unsupported(token.at, f"{name}(…)")
        self._expect("(")
        args: list[Node] = []
        while not self._accept(")"):
            args.append(self._expression(0))
            if self._peek.text != ")":
                self._expect(",")
        kinds, optional, _ = FUNCTIONS[name]
        if not len(kinds) - optional <= len(args) <= len(kinds):
            self._refuse(token.at, f"{name} with {len(args)} arguments", expected=f"{len(kinds)}")
        for arg, kind in zip(args, kinds, strict=False):
            if kind_of(arg) != kind:
                self._refuse(arg.at, f"{name} of a {kind_of(arg)}", expected=kind)
        return Call(token.at, name, tuple(args))

    def _selector(self, name: str, at: int) -> Node:
        matchers = self._matchers() if self._peek.text == "{" else []
        named = [matcher for matcher in matchers if matcher.name == "__name__"]
        if name and named:
            self._refuse(at, "the metric is named twice")
        if not name:
            if len(named) != 1 or named[0].op != "=":
                self._unsupported(at, "a selector without the name of one metric")
            name = named[0].value
            matchers.remove(named[0])
        if self._peek.text == "[":
            if self._tokens[self._next + 2].text == ":":
                return self._subquery(Selector(at, name, tuple(matchers), None, self._offset()), at)
            self._take()
            range_ms = self._duration()
            self._expect("]")
            return Selector(at, name, tuple(matchers), range_ms, self._offset())
        node = Selector(at, name, tuple(matchers), None, self._offset())
        return self._subquery(node, at) if self._peek.text == "[" else node

    def _matchers(self) -> list[Matcher]:
        self._expect("{")
        found: list[Matcher] = []
        while not self._accept("}"):
            label = self._take()
            if label.kind != "word" or ":" in label.text:
                self._refuse(label.at, f"unexpected {label.text or 'end'!r}", expected="a label name")
            op = self._take()
            if op.text not in {"=", "!=", "=~", "!~"}:
                self._refuse(op.at, f"unexpected {op.text or 'end'!r}", expected="=, !=, =~ or !~")
            found.append(self._matcher(label.text, op.text, self._take()))
            if self._peek.text != "}":
                self._expect(",")
        return found

    def _matcher(self, label: str, op: str, token: Token) -> Matcher:
        if token.kind != "string":
            self._refuse(token.at, f"unexpected {token.text or 'end'!r}", expected="a quoted value")
        try:
            value = unquoted(token.text)
        except ValueError as error:
            self._refuse(token.at, f"there is no escape {error}")
        if "~" not in op:
            return Matcher(label, op, value)
        if _RE2_ONLY.search(value):
            self._unsupported(token.at, f"the regular expression {value!r}")
        try:
            return Matcher(label, op, value, re.compile(value, re.ASCII))
        except (re.error, OverflowError, RecursionError) as error:
            self._refuse(token.at, f"the regular expression does not compile: {error}")

    def _subquery(self, inner: Node, at: int) -> Node:
        if kind_of(inner) != _VECTOR:
            self._refuse(at, f"a subquery of a {kind_of(inner)}", expected=_VECTOR)
        self._expect("[")
        range_ms = self._duration()
        self._expect(":")
        step_ms = None if self._peek.text == "]" else self._duration()
        self._expect("]")
        return self._after(Subquery(at, inner, range_ms, step_ms, self._offset()))

    def _offset(self) -> int:
        if self._peek.text == "@":
            self._unsupported(self._peek.at, "the @ modifier")
        if not self._accept("offset"):
            return 0
        if self._peek.text == "-":
            self._unsupported(self._peek.at, "a negative offset, which reads what is not yet known,")
        offset = self._duration()
        if self._peek.text == "@":
            self._unsupported(self._peek.at, "the @ modifier")
        return offset

    def _duration(self) -> int:
        token = self._take()
        found = duration_ms(token.text) if token.kind == "duration" else None
        if not found:
            self._refuse(token.at, f"unexpected {token.text or 'end'!r}", expected="a duration above zero, such as 5m")
        return found

    def _labels(self) -> list[str]:
        self._expect("(")
        found: list[str] = []
        while not self._accept(")"):
            token = self._take()
            if token.kind != "word" or ":" in token.text:
                self._refuse(token.at, f"unexpected {token.text or 'end'!r}", expected="a label name")
            found.append(token.text)
            if self._peek.text != ")":
                self._expect(",")
        return found
