"""A control with its specimens: no debugger may be left in Python code."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from companyos.controls import Control, tree_specimen
from companyos.decision import Decision, Finding

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("CONTROL",)

_DEBUGGERS = {"pdb", "ipdb", "pudb"}


def _line(node: ast.AST) -> int | None:
    match node:
        case ast.Call(func=ast.Name(id="breakpoint")):
            return node.lineno
        case ast.Import(names=names) if any(name.name in _DEBUGGERS for name in names):
            return node.lineno
        case ast.ImportFrom(module=module) if module in _DEBUGGERS:
            return node.lineno
    return None


def check(tree: Path) -> Decision:
    """Look for debuggers in every Python file under `tree`."""
    findings = []
    for path in sorted(tree.rglob("*.py")):
        name = path.relative_to(tree).as_posix()
        try:
            nodes = ast.walk(ast.parse(path.read_bytes()))
        except (SyntaxError, ValueError) as error:
            return Decision.undetermined("EX01.unreadable", f"{name} is not Python: {error}")
        for node in nodes:
            line = _line(node)
            if line is not None:
                findings.append(Finding("EX01.debugger", "a debugger is left in the code", path=name, line=line))
    if findings:
        return Decision.denied("EX01.debugger", f"{len(findings)} debuggers left in the code", findings=findings)
    return Decision.allowed("EX01.clean")


CONTROL = Control(
    id="EX01",
    title="Debuggers left in the code",
    check=check,
    rules={"EX01.debugger": "A debugger is started or imported."},
    docs="README.md",
    specimens=(
        tree_specimen("breakpoint()", {"app.py": "def f():\n    breakpoint()\n"}, violates="EX01.debugger"),
        tree_specimen("import pdb", {"app.py": "import os, pdb\n"}, violates="EX01.debugger"),
        tree_specimen("from ipdb", {"lib/a.py": "from ipdb import set_trace\n"}, violates="EX01.debugger"),
        tree_specimen("the word alone", {"app.py": "text = 'set a breakpoint() with pdb'\n"}),
        tree_specimen("a method of that name", {"app.py": "game.breakpoint()\n"}),
    ),
)
