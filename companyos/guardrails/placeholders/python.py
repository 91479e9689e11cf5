"""Detectors of G01 for Python, over its syntax tree.

Left alone: protocols, abstract and overloaded methods, stub files, hook specifications, command groups whose body is
their help text, and a function whose docstring says that it does nothing.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from companyos.guardrails.interface import Hit
from companyos.guardrails.placeholders.words import (
    MARKER,
    METRIC,
    MOCK_LIBRARIES,
    NOT_IMPLEMENTED,
    PLACEHOLDER_TEXT,
    PROMISES_FIGURE,
    PROMISES_WORK,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ("PYTHON_DETECTORS", "PythonFile")

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_INTERFACE_BASES = frozenset(("Protocol", "ABC"))
_INTERFACE_DECORATORS = re.compile(
    r"(^|\.)(abstractmethod|overload|hookspec\w*|group|callback|fixture|singledispatch)$"
)
_SAYS_NOTHING = re.compile(r"\b(nothing|no-?op|not used|ignored?s?|on purpose)\b", re.IGNORECASE)

_PROPERTY = re.compile(r"_(algorithm|type|name|version|format|mode|kind|prefix|scheme|method|label)$")


@dataclass(frozen=True, slots=True)
class _Place:
    function: _Function
    owner: ast.ClassDef | None


class PythonFile:
    """One Python file, parsed once for all detectors."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    @cached_property
    def tree(self) -> ast.Module | None:
        """Its syntax tree; None when it does not parse."""
        try:
            return ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError):
            return None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes outside `if TYPE_CHECKING`."""
        return [] if self.tree is None else list(_walk(self.tree))

    @cached_property
    def functions(self) -> list[_Place]:
        """All functions that are more than a declaration, with the class they are in."""
        owners = {id(member): node for node in self.nodes if isinstance(node, ast.ClassDef) for member in node.body}
        places = [
            _Place(n, owners.get(id(n))) for n in self.nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        return [place for place in places if not _is_declaration(place)]

    @cached_property
    def docstrings(self) -> dict[int, ast.Constant]:
        """Docstrings by the identity of their node."""
        found = {}
        for node in self.nodes:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0] if node.body else None
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    found[id(first.value)] = first.value
        return found

    def hit(self, node: ast.AST, message: str = "") -> Hit:
        """A hit at a node of this file."""
        return Hit(self.path, getattr(node, "lineno", 1), message)


def _walk(root: ast.AST) -> Iterator[ast.AST]:
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If) and _name(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
        else:
            pending += ast.iter_child_nodes(node)


def _name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _is_declaration(place: _Place) -> bool:
    for decorator in place.function.decorator_list:
        if _INTERFACE_DECORATORS.search(_name(decorator)):
            return True
        if isinstance(decorator, ast.Call) and any(keyword.arg == "cls" for keyword in decorator.keywords):
            return True
    return place.owner is not None and any(_name(base).rpartition(".")[2] == "Protocol" for base in place.owner.bases)


def _is_abstract(owner: ast.ClassDef | None) -> bool:
    if owner is None:
        return False
    bases = {_name(base).rpartition(".")[2] for base in owner.bases}
    return bool(bases & _INTERFACE_BASES) or any(
        keyword.arg == "metaclass" and _name(keyword.value).endswith("ABCMeta") for keyword in owner.keywords
    )


def _body(node: _Function | ast.ClassDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def _is_empty(statement: ast.stmt) -> bool:
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or constant


def _empty_body(file: PythonFile) -> Iterator[Hit]:
    for place in file.functions:
        documented = ast.get_docstring(place.function) or ""
        if _overrides(place) and any(isinstance(statement, ast.Pass) for statement in _body(place.function)):
            continue
        if all(map(_is_empty, _body(place.function))) and not _SAYS_NOTHING.search(documented):
            yield file.hit(place.function, f"{place.function.name} has no body")
    for node in file.nodes:
        plain = isinstance(node, ast.ClassDef) and not node.bases and not node.keywords and not node.decorator_list
        if plain and isinstance(node, ast.ClassDef) and _body(node) and all(map(_is_empty, _body(node))):
            yield file.hit(node, f"class {node.name} has no body")


def _overrides(place: _Place) -> bool:
    name = place.function.name
    return place.owner is not None and (bool(place.owner.bases) or (name.startswith("__") and name.endswith("__")))


def _not_implemented(file: PythonFile) -> Iterator[Hit]:
    interfaces = {
        id(inner)
        for node in file.nodes
        if isinstance(node, ast.ClassDef) and _is_abstract(node)
        for inner in ast.walk(node)
    }
    declared = {id(inner) for inner in _declared(file)}
    for node in file.nodes:
        raised = isinstance(node, ast.Raise) and (
            _name(node.exc).rpartition(".")[2] == "NotImplementedError" or _says_not_implemented(node.exc)
        )
        if raised and id(node) not in interfaces and id(node) not in declared:
            yield file.hit(node)


def _says_not_implemented(node: ast.expr | None) -> bool:
    texts = [a.value for a in node.args if isinstance(a, ast.Constant)] if isinstance(node, ast.Call) else []
    return any(isinstance(text, str) and NOT_IMPLEMENTED.search(text) for text in texts)


def _declared(file: PythonFile) -> Iterator[ast.AST]:
    real = {id(place.function) for place in file.functions}
    for node in file.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and id(node) not in real:
            yield from ast.walk(node)


def _constant_return(file: PythonFile) -> Iterator[Hit]:
    for place in file.functions:
        function = place.function
        if not PROMISES_WORK.match(function.name) or not _parameters(function):
            continue
        work = [statement for statement in _body(function) if not _is_idle(statement)]
        if _answers_constant(work) and not _names_a_property(function, work[-1]):
            yield file.hit(function, f"{function.name} answers a constant whatever it is given")
    for node in file.nodes:
        for name, value in _named_values(node) if isinstance(node, ast.Assign | ast.AnnAssign) else ():
            given = isinstance(value, ast.Lambda) and bool(value.args.args) and _is_constant(value.body)
            if given and PROMISES_WORK.match(name):
                yield file.hit(value, f"{name} answers a constant whatever it is given")


def _answers_constant(work: list[ast.stmt]) -> bool:
    last = work[-1] if work else None
    if not isinstance(last, ast.Return):
        return False
    if len(work) == 2 and isinstance(last.value, ast.Name) and isinstance(work[0], ast.Assign | ast.AnnAssign):
        return any(name == last.value.id and _is_constant(value) for name, value in _named_values(work[0]))
    empty = isinstance(last.value, ast.List | ast.Tuple) and not last.value.elts
    empty = empty or (isinstance(last.value, ast.Dict) and not last.value.keys)
    return len(work) == 1 and (_is_constant(last.value) or empty or _is_nothing(last.value))


def _is_nothing(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None)


def _names_a_property(function: _Function, answer: ast.stmt) -> bool:
    value = answer.value if isinstance(answer, ast.Return) else None
    named = isinstance(value, ast.Constant) and isinstance(value.value, str)
    said = _SAYS_NOTHING.search(ast.get_docstring(function) or "")
    return bool(said) or (named and bool(_PROPERTY.search(function.name)))


def _parameters(function: _Function) -> list[str]:
    arguments = function.args
    named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    extra = [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [name for name in (*named, *extra) if name not in {"self", "cls"}]


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass | ast.Delete) or _is_empty(statement):
        return True
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id.startswith("_") for target in statement.targets)
    called = _name(statement.value) if isinstance(statement, ast.Expr) else ""
    return bool(re.search(r"(^print$|(^|\.)(log|logger|logging|_log)\.|sleep$)", called))


def _is_constant(node: ast.expr | None) -> bool:
    if node is None:
        return False
    if isinstance(node, ast.Constant):
        return node.value is not None
    if isinstance(node, ast.UnaryOp):
        return _is_constant(node.operand)
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return bool(node.elts) and all(map(_is_constant, node.elts))
    return isinstance(node, ast.Dict) and bool(node.values) and all(map(_is_constant, node.values))


def _invented_metric(file: PythonFile) -> Iterator[Hit]:
    for place in file.functions:
        if PROMISES_FIGURE.match(place.function.name):
            yield from _figures(file, place.function)


def _figures(file: PythonFile, function: _Function) -> Iterator[Hit]:
    inside = list(ast.walk(function))
    stores = [n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    for node in inside:
        for name, value in _named_values(node):
            changed = isinstance(node, ast.Assign | ast.AnnAssign) and stores.count(name) > 1
            if METRIC.search(name) and _is_figure(value) and not changed:
                yield file.hit(value, f"{name} in {function.name} is written down, not measured")


def _named_values(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value
    elif isinstance(node, ast.Dict):
        yield from (
            (str(k.value), v) for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)
        )
    elif isinstance(node, ast.Call):
        # The confidence that is asked of an interval is given, not measured.
        yield from ((k.arg, k.value) for k in node.keywords if k.arg not in {None, "confidence"} and k.arg)


def _is_figure(node: ast.expr) -> bool:
    number = isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)
    # Nothing, one and a hundred are where counting starts and limits lie; a measurement is hardly ever one of them.
    return number and isinstance(node, ast.Constant) and node.value not in {0, 1, -1, 100}


def _mock_import(file: PythonFile) -> Iterator[Hit]:
    for node in file.nodes:
        for module in _imported(node):
            if MOCK_LIBRARIES.match(module):
                yield file.hit(node, f"{module} is loaded by production code")


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and _name(node).rpartition(".")[2] in {"import_module", "__import__"} and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _open_marker(file: PythonFile) -> Iterator[Hit]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
            found = MARKER.search(token.string) if token.type == tokenize.COMMENT else None
            if found:
                yield Hit(file.path, token.start[0], f"{found.group()} in a comment")
    except (tokenize.TokenError, SyntaxError):
        return  # a file that does not parse is a finding of its own
    for docstring in file.docstrings.values():
        if isinstance(docstring.value, str) and MARKER.search(docstring.value):
            yield file.hit(docstring, "a docstring marks unfinished work")


def _placeholder_text(file: PythonFile) -> Iterator[Hit]:
    for node in file.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in file.docstrings:
            yield from [file.hit(node)] if PLACEHOLDER_TEXT.search(node.value) else []


def _unparsable(file: PythonFile) -> Iterator[Hit]:
    if file.tree is None:
        yield Hit(file.path, 1)


PYTHON_DETECTORS: dict[str, Callable[[PythonFile], Iterable[Hit]]] = {
    "G01.constant-return": _constant_return,
    "G01.empty-body": _empty_body,
    "G01.invented-metric": _invented_metric,
    "G01.mock-import": _mock_import,
    "G01.not-implemented": _not_implemented,
    "G01.open-marker": _open_marker,
    "G01.placeholder-text": _placeholder_text,
    "G01.unparsable": _unparsable,
}
"""One detector a rule."""
