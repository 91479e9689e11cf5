"""Imports in Python source that neither the standard library, nor the tree, nor a declared dependency provides."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from companyos.guardrails.interface import Hit
from companyos.guardrails.packages.manifests import normalise
from companyos.guardrails.tree import is_production

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ("unprovided_imports",)

_PROVIDES = {
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "crypto": ("pycryptodome",),
    "cv2": ("opencv-python", "opencv-python-headless"),
    "dateutil": ("python-dateutil",),
    "docx": ("python-docx",),
    "dotenv": ("python-dotenv",),
    "fitz": ("pymupdf",),
    "git": ("gitpython",),
    "google": ("protobuf",),
    "jose": ("python-jose",),
    "jwt": ("pyjwt",),
    "magic": ("python-magic",),
    "multipart": ("python-multipart",),
    "nacl": ("pynacl",),
    "openssl": ("pyopenssl",),
    "pil": ("pillow",),
    "pkg_resources": ("setuptools",),
    "psycopg2": ("psycopg2-binary",),
    "serial": ("pyserial",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "yaml": ("pyyaml",),
    "zmq": ("pyzmq",),
}
_SOURCE_ROOTS = frozenset(("src", "lib", "python"))


def unprovided_imports(
    texts: Mapping[str, str], declared: Iterable[str], *, in_tests: Iterable[str] = ()
) -> Iterator[Hit]:
    """Imports that nothing provides, given the paths and texts of a tree and the names it declares.

    An import inside `try: ... except ImportError` is optional and not judged. What a declared distribution provides
    is known from its installed metadata where there is any, from a table of well-known names, and else from its name.
    """
    names = frozenset(map(normalise, declared))
    for_product = _Provided(names)
    for_tests = _Provided(names | frozenset(map(normalise, in_tests)))
    local = _Local(path for path in texts if path.endswith((".py", ".pyi")))
    for path, text in texts.items():
        if not path.endswith(".py"):
            continue
        provided = for_product if is_production(path) else for_tests
        # What builds a project that has a setup.py is there before anything is declared.
        building = {"setuptools"} if path.rpartition("/")[2] == "setup.py" else set()
        for module, line in _imports(text):
            if (
                module in building
                or module in sys.stdlib_module_names
                or local.has(module, path)
                or provided.has(module)
            ):
                continue
            yield Hit(path, line, f"no declared dependency provides the module {module}")


def _imports(text: str) -> Iterator[tuple[str, int]]:
    try:
        pending: list[ast.AST] = [ast.parse(text)]
    except (SyntaxError, ValueError, RecursionError):
        return  # G01 reports files that do not parse
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0], node.lineno
        if isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
            pending += [*node.handlers, *node.orelse, *node.finalbody]
        else:
            pending += ast.iter_child_nodes(node)


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    return bool(re.search(r"ImportError|ModuleNotFoundError", ast.dump(handler.type) if handler.type else ""))


class _Local:
    def __init__(self, paths: Iterable[str]) -> None:
        self._children: dict[str, set[str]] = {}
        for path in paths:
            parts = path.split("/")
            for depth, part in enumerate(parts):
                name = part.removesuffix(".pyi").removesuffix(".py")
                self._children.setdefault("/".join(parts[:depth]), set()).add(name)
        self._roots = [place for place in self._children if place.rpartition("/")[2] in _SOURCE_ROOTS]

    def has(self, module: str, path: str) -> bool:
        parts = path.split("/")[:-1]
        above = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
        return any(module in self._children.get(place, ()) for place in (*above, *self._roots))


class _Provided:
    def __init__(self, declared: frozenset[str]) -> None:
        self._declared = declared
        self._known: set[str] | None = None

    def has(self, module: str) -> bool:
        # Reading metadata is slow: names are tried first, and mostly suffice.
        return self._by_name(module.lower()) or module in self._by_metadata()

    def _by_name(self, module: str) -> bool:
        wanted = normalise(module)
        if any(name in self._declared for name in (wanted, *_PROVIDES.get(module, ()))):
            return True
        return any(re.search(rf"(^|-){re.escape(wanted)}(-|$)", name) for name in self._declared)

    def _by_metadata(self) -> set[str]:
        if self._known is None:
            pending, seen = list(self._declared), set(self._declared)
            self._known = set()
            while pending:
                modules, requires = _metadata(pending.pop())
                self._known |= modules
                pending += requires - seen
                seen |= requires
        return self._known


@lru_cache(maxsize=2048)
def _metadata(name: str) -> tuple[frozenset[str], frozenset[str]]:
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return frozenset(), frozenset()
    modules = {
        str(file).split("/")[0].partition(".")[0] for file in distribution.files or () if str(file).endswith(".py")
    }
    requires = {
        normalise(match.group())
        for line in distribution.requires or ()
        if "extra ==" not in line and (match := re.match(r"[A-Za-z0-9._-]+", line))
    }
    return frozenset(modules), frozenset(requires)
