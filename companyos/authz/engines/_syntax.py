"""What a parsed policy says: its rules, what it refers to and calls, read once from the tree that regorus gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import PolicyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

__all__ = ("WILD", "Module", "Path", "Rule", "parse", "path_of", "statements")

Path = tuple[str, ...]
"""The parts of a reference, for example `("input", "resource", "type")`."""
WILD = "*"
"""The part of a path that is worked out at run time."""
_REFERENCES = frozenset({"Var", "RefDot", "RefBrack"})
_ROOTS = frozenset({"input", "data"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a module."""

    path: Path
    """Its full name, from `data` on."""
    kind: str
    """`Set`, `Compr` (a value or object), `Func` or `Default`."""
    line: int
    """Where it begins."""
    start: int
    """The same in bytes from the start of the file."""
    bodies: Sequence[Mapping[str, Any]]
    """Its bodies as parsed, those after `else` included; none means that it always holds."""
    references: frozenset[Path]
    """Everything below `data` that it may refer to, in full; a name that may be another rule's counts as one."""
    inputs: frozenset[Path]
    """Everything of the request that it reads by name."""
    written: tuple[tuple[Path, int], ...]
    """Every path of `input` or `data` that it names as such, or by an import of it, with the line of its first use."""
    calls: tuple[tuple[str, int], ...]
    """Every function that it calls, with imported names in full, and the line."""


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file."""

    file: str
    """Its name."""
    text: str
    """What it holds."""
    package: Path
    """Its package, from `data` on."""
    rules: tuple[Rule, ...]
    """Its rules, in order."""

    def only(self, kept: Collection[int]) -> str:
        """The text with the rules that start at these bytes, and blank lines for the others: lines keep numbers."""
        source = self.text.encode()
        starts = [rule.start for rule in self.rules]
        parts = [source[: starts[0]] if starts else source]
        for start, end in zip(starts, [*starts[1:], len(source)], strict=False):
            parts.append(source[start:end] if start in kept else b"\n" * source.count(b"\n", start, end))
        return b"".join(parts).decode()


def parse(entries: Iterable[Mapping[str, Any]]) -> list[Module]:
    """The modules of a decoded syntax tree, in its order.

    Raises:
        PolicyError: a file gives `input` or `data` another meaning, or nests too deeply.
    """
    try:
        return [_module(entry) for entry in entries]
    except RecursionError as error:
        raise PolicyError("a policy nests too deeply") from error


def path_of(node: Mapping[str, Any]) -> Path:
    """The parts of a reference; what does not begin with a name begins with `?`."""
    for kind, body in node.items():
        if kind == "Var":
            return (str(body["value"]),)
        if kind == "RefDot":
            field = body["field"]
            return (*path_of(body["refr"]), str(field[1] if isinstance(field, list) else field))
        if kind == "RefBrack":
            index = body["index"]
            literal = index.get("String") or index.get("RawString")
            return (*path_of(body["refr"]), literal["value"] if literal else WILD)
        break
    return ("?",)


def statements(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every literal in a part of the tree, those within comprehensions included."""
    if isinstance(node, list):
        for item in node:
            yield from statements(item)
    elif isinstance(node, dict):
        yield from node.get("stmts", ())
        for item in node.values():
            if isinstance(item, dict | list):
                yield from statements(item)


class _Reader:
    """Walks a module once and notes what it mentions."""

    def __init__(self, file: str, source: bytes) -> None:
        self._file = file
        self._source = source
        self.paths: dict[Path, int] = {}
        self.calls: list[tuple[Path, int]] = []

    def visit(self, node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                if isinstance(item, dict | list):
                    self.visit(item)
        elif isinstance(node, dict):
            for kind, item in node.items():
                if kind in _REFERENCES:
                    self.refer({kind: item})
                elif isinstance(item, dict | list) and kind != "span":
                    self._note(kind, item)
                    self.visit(item)

    def refer(self, node: Mapping[str, Any]) -> None:
        """Note the longest path of a reference, and visit what stands in its brackets."""
        ((_, whole),) = node.items()
        self.paths.setdefault(path_of(node), whole["span"]["line"])
        while True:
            ((kind, body),) = node.items()
            if kind not in _REFERENCES:
                return self.visit(node)
            if kind == "Var":
                return None
            if kind == "RefBrack":
                self.visit(body["index"])
            node = body["refr"]

    def _note(self, kind: str, item: Any) -> None:
        if kind == "Call":
            self.calls.append((path_of(item["fcn"]), item["span"]["line"]))
        elif kind == "SomeVars":
            self.declare(item["vars"])
        elif kind in {"Every", "SomeIn"}:
            self.declare([item.get("key"), item.get("value")])
        elif kind == "Func" and "args" in item:
            self.declare(item["args"])

    def declare(self, nodes: Sequence[Any]) -> None:
        """Refuse a local name that hides `input` or `data`; OPA refuses it too."""
        for node in nodes:
            if node is not None and _ROOTS & self._names(node):
                raise PolicyError(f"{self._file} gives input or data another meaning", hint="rename the variable")

    def _names(self, node: Any) -> set[str]:
        if isinstance(node, dict) and "start" in node:
            return {self._source[node["start"] : node["end"]].decode()}
        inner = _Reader(self._file, self._source)
        inner.visit(node)
        return {path[0] for path in inner.paths if len(path) == 1}


def _module(entry: Mapping[str, Any]) -> Module:
    tree, text, file = entry["ast"], entry["source"]["contents"], entry["source"]["file"]
    names = _Names(file, text.encode(), ("data", *path_of(tree["package"]["refr"])))
    names.read(tree["imports"])
    rules = sorted((names.rule(item) for item in tree["rules"]), key=lambda rule: rule.start)
    return Module(file, text, names.package, tuple(rules))


class _Names:
    """What names mean in one file."""

    def __init__(self, file: str, source: bytes, package: Path) -> None:
        self._file = file
        self._source = source
        self._imports: dict[str, Path] = {}
        self.package = package

    def read(self, imports: Iterable[Mapping[str, Any]]) -> None:
        """Take note of what is imported under which name."""
        for item in imports:
            path, alias = path_of(item["refr"]), item.get("as")
            name = self._source[alias["start"] : alias["end"]].decode() if alias else path[-1]
            if name in _ROOTS:
                raise PolicyError(f"{self._file} gives input or data another meaning", hint="rename the import")
            self._imports[name] = path

    def rule(self, item: Mapping[str, Any]) -> Rule:
        """One rule, with everything it mentions."""
        reader = _Reader(self._file, self._source)
        if "Default" in item:
            kind, body = "Default", item["Default"]
            head, bodies = body, ()
            reader.visit([body["value"], body["args"]])
        else:
            body = item["Spec"]
            ((kind, head),) = body["head"].items()
            bodies = body["bodies"]
            _visit_head(kind, head, reader)
            reader.visit(bodies)
        paths = {full for path in reader.paths for full in self._in_full(path)}
        references = frozenset(path for path in paths if path[0] == "data")
        calls = tuple((self._called(path), line) for path, line in reader.calls)
        path, span = (*self.package, *path_of(head["refr"])), body["span"]
        inputs, written = frozenset(paths - references), tuple(self._written(reader.paths))
        return Rule(path, kind, span["line"], span["start"], bodies, references, inputs, written, calls)

    def _written(self, paths: Mapping[Path, int]) -> Iterator[tuple[Path, int]]:
        """The paths that are certain to be those of the request or of the data; any other may be a local name."""
        for (head, *rest), line in paths.items():
            path = (*self._imports.get(head, (head,)), *rest)
            if path[0] in _ROOTS:
                yield path, line

    def _in_full(self, path: Path) -> Iterator[Path]:
        """What a name may mean: something imported, something below `data`, a rule of its own package."""
        head, *rest = path
        if head in self._imports:
            yield (*self._imports[head], *rest)
        if head in _ROOTS:
            yield path
        elif head != "?":
            yield (*self.package, *path)

    def _called(self, path: Path) -> str:
        head, *rest = path
        return ".".join((*self._imports[head], *rest) if head in self._imports else path)


def _visit_head(kind: str, head: Mapping[str, Any], reader: _Reader) -> None:
    """Visit a head, without its own name, for a rule does not refer to itself by being defined."""
    reader.visit({kind: {name: part for name, part in head.items() if name != "refr"}})
    node = head["refr"]
    while "Var" not in node:
        ((shape, body),) = node.items()
        if shape == "RefBrack":
            reader.visit(body["index"])
        node = body["refr"]
