"""The habits of the house that can be read off the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted((ROOT / "companyos").rglob("*.py"))
PROGRAMS = sorted(path for name in ("scripts", "benchmarks") for path in (ROOT / name).rglob("*.py"))
ROOMS = [path for path in MODULES if path.name == "__init__.py" and path.parent.parent.name == "companyos"]
FACES = {"cli"}
"""Rooms whose `__init__` is the front door itself."""
LONGEST_MODULE = 650
LONGEST_FUNCTION = 60


def name_of(path: Path) -> str:
    """A file's path from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


def exported(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, or None if there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def order(name: str) -> tuple[int, str]:
    """The order of `__all__`: constants, classes, the rest; each by name."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_is_public(path):
    """A module that defines public functions or classes has an `__all__`, sorted, and a docstring."""
    tree = tree_of(path)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    names = exported(tree)

    assert ast.get_docstring(tree), "no docstring"
    assert names is not None or not public, f"no __all__, but {', '.join(public)}"
    assert sorted(set(names or []), key=order) == (names or [])


@pytest.mark.parametrize("path", [room for room in ROOMS if room.parent.name not in FACES], ids=name_of)
def test_a_room_promises_and_does_nothing_else(path):
    """A room's `__init__` holds imports, `__all__`, and what loads names on use."""
    for node in tree_of(path).body:
        assert allowed_in_a_room(node), f"line {node.lineno}: {type(node).__name__}"


def allowed_in_a_room(node: ast.stmt) -> bool:
    """Docstring, imports (also for typing only), `__all__`, constants and `attach` for lazy loading."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id="__getattr__"), ast.Name(id="__dir__")])]):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name.startswith("_")
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return all(isinstance(inner, (ast.Import, ast.ImportFrom)) for inner in node.body)
    return False


@pytest.mark.parametrize("path", [*MODULES, *PROGRAMS], ids=name_of)
def test_nothing_is_too_long(path):
    """No module is longer than 650 lines, no function longer than 60."""
    text = path.read_text(encoding="utf-8")
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    long = {node.name: length for node in functions if (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION}

    assert len(text.splitlines()) <= LONGEST_MODULE
    assert {} == long
