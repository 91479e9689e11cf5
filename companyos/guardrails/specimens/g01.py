"""Specimens of G01. They are text inside this file, so that the file itself holds no stub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.controls import Specimen, tree_specimen

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("specimens",)


def specimens() -> tuple[Specimen, ...]:
    """Planted stubs of every kind, and code that only looks like one."""
    planted = [tree_specimen(name, {path: text}, violates=rule) for rule, name, path, text in _planted()]
    return (*planted, *(tree_specimen(name, files) for name, files in _clean()))


def _planted() -> Iterable[tuple[str, str, str, str]]:
    yield "G01.empty-body", "pass", "src/a.py", "def send(order):\n    pass\n"
    yield "G01.empty-body", "an ellipsis", "src/a.py", "class A(Base):\n    async def send(self, order):\n        ...\n"
    yield "G01.empty-body", "only a docstring", "src/a.py", 'def send(order):\n    """Send the order."""\n'
    yield "G01.empty-body", "an empty class", "src/a.py", "class Gateway:\n    pass\n"
    yield "G01.empty-body", "a function, TypeScript", "src/a.ts", "export function send(order: Order): void {\n}\n"
    yield "G01.empty-body", "an arrow, TypeScript", "src/a.tsx", "const onSave = async (x: X) => {\n  // later\n};\n"
    yield "G01.not-implemented", "raised", "src/a.py", "def send(order):\n    raise NotImplementedError\n"
    yield "G01.not-implemented", "in one branch", "src/a.py", _BRANCH
    yield (
        "G01.not-implemented",
        "TypeScript",
        "src/a.ts",
        'function f(a: A) { throw new Error("Not implemented yet"); }\n',
    )
    yield "G01.constant-return", "verify says yes", "src/a.py", "def verify_signature(data, key):\n    return True\n"
    yield "G01.constant-return", "nothing", "src/a.py", "def verify_signature(data):\n    return None\n"
    yield "G01.constant-return", "a bare return", "src/a.py", "def process_payment(order):\n    return\n"
    yield "G01.constant-return", "an empty list", "src/a.py", "def search_orders(query):\n    return []\n"
    yield "G01.constant-return", "an empty object", "src/a.py", "def parse(text):\n    return {}\n"
    yield "G01.constant-return", "by a name", "src/a.py", "def verify_token(t):\n    ok = True\n    return ok\n"
    yield "G01.constant-return", "a lambda", "src/a.py", "verify_token = lambda token: True\n"
    yield "G01.constant-return", "a short arrow", "src/a.ts", "export const verifyToken = (t: string) => true;\n"
    said = 'def send(order):\n    raise RuntimeError("not imple' + 'mented yet")\n'
    yield "G01.not-implemented", "another error that says so", "src/a.py", said
    yield "G01.open-marker", "lower case", "src/a.py", "x = 1  # to" + "do: real value\n"
    yield "G01.open-marker", "Kotlin", "src/a.kt", "val x = 1 // TO" + "DO\n"
    yield "G01.constant-return", "after a log line", "src/a.py", _LOGGED
    yield (
        "G01.constant-return",
        "a made-up object",
        "src/a.py",
        "def analyze_risk(x):\n    return {'risk': 'low', 'n': 3}\n",
    )
    yield (
        "G01.constant-return",
        "TypeScript",
        "src/a.ts",
        "export const isValidToken = (t: string): boolean => { return true; };\n",
    )
    yield (
        "G01.constant-return",
        "TypeScript function",
        "a.ts",
        "function validateUser(user: User) {\n  return true;\n}\n",
    )
    yield from _planted_words()


def _planted_words() -> Iterable[tuple[str, str, str, str]]:
    yield "G01.mock-import", "from unittest", "src/a.py", "from unittest import mock\n"
    yield (
        "G01.mock-import",
        "inside a function",
        "src/a.py",
        "def f(x):\n    import unittest.mock as m\n    return m.call(x)\n",
    )
    yield "G01.mock-import", "by name", "src/a.py", "import importlib\nm = importlib.import_module('unittest.mock')\n"
    yield "G01.mock-import", "jest in src", "src/a.ts", 'jest.mock("./api");\n'
    yield "G01.mock-import", "sinon in src", "src/a.js", "import sinon from 'sinon';\n"
    yield "G01.open-marker", "Python", "src/a.py", "x = 1  # TO" + "DO: real value\n"
    yield "G01.open-marker", "a docstring", "src/a.py", '"""Module. FIX' + 'ME later."""\n'
    yield "G01.open-marker", "TypeScript", "src/a.ts", "/* TB" + "D */ const x = 1;\n"
    yield "G01.open-marker", "a Dockerfile", "Dockerfile", "FROM x\n# XX" + "X pin\n"
    yield "G01.open-marker", "Terraform", "infra/main.tf", "region = 1 # TO" + "DO\n"
    yield "G01.placeholder-text", "filler", "src/a.py", "BODY = 'Lorem  ip" + "sum dolor'\n"
    yield "G01.placeholder-text", "a key to fill in", "src/a.py", "connect('your-api" + "-key')\n"
    yield "G01.placeholder-text", "TypeScript", "src/a.ts", 'const k = "change' + 'me";\n'
    yield "G01.invented-metric", "a variable", "src/a.py", _INVENTED
    yield (
        "G01.invented-metric",
        "an answer",
        "src/a.py",
        "def get_metrics(run):\n    return {'p95_ms': 87, 'n': len(run)}\n",
    )
    yield "G01.invented-metric", "an argument", "src/a.py", "def evaluate(m):\n    return Score(m, accuracy=0.97)\n"
    yield (
        "G01.invented-metric",
        "TypeScript",
        "a.ts",
        "function measureModel(m: M) {\n  const accuracy = 0.95;\n  return m.with(accuracy);\n}\n",
    )
    yield "G01.unparsable", "cut off", "src/a.py", "def send(order:\n"


def _clean() -> Iterable[tuple[str, dict[str, str]]]:
    yield "declarations", {"src/ports.py": _DECLARATIONS, "src/types.pyi": "def send(order: int) -> None: ...\n"}
    yield "command groups and hook specifications", {"src/cli.py": _GROUPS}
    yield "nothing, on purpose", {"src/null.py": _NOTHING, "src/error.py": "class Refused(Exception):\n    pass\n"}
    yield "constants that are right", {"src/constants.py": _CONSTANTS}
    yield "figures that are measured", {"src/measure.py": _MEASURED}
    yield (
        "mocks in tests",
        {
            "src/__init__.py": "",
            "tests/test_a.py": "from unittest.mock import Mock\n\n\ndef test_a():\n    pass  # TO" + "DO\n",
            "src/api.test.ts": 'jest.mock("./api");\n',
        },
    )
    yield (
        "words that only look like markers",
        {
            "src/words.py": 'NAME = "todo-list"  # the todo list\nTODOS = ["TO' + 'DO"]\n',
            "src/words.ts": 'const s = "// TO' + 'DO in a string";\nconst noop = () => {};\n',
            "README.md": "TO" + "DO lists are managed elsewhere\n",
        },
    )
    yield "overrides that need do nothing", {"src/over.py": _OVERRIDES}
    yield "TypeScript that works", {"src/work.ts": _WORK_TS}


_OVERRIDES = """class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class Scope:
    def __exit__(self, *error):
        pass


def compute_interval(data):
    return stats.t.interval(confidence=0.95, df=len(data))
"""
_BRANCH = (
    "def send(order, how):\n    if how == 'mail':\n        return post(order)\n    raise NotImplementedError(how)\n"
)
_LOGGED = "def authorize(user, action):\n    logger.info('asked')\n    _ = user\n    return {'allow': True}\n"
_INVENTED = "def measure_model(model, data):\n    accuracy = 0.95\n    return accuracy, model.name\n"
_DECLARATIONS = '''from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, overload

if TYPE_CHECKING:
    def typed(x: int) -> int: ...


class Port(Protocol):
    def send(self, order: int) -> None: ...


class Base(ABC):
    @abstractmethod
    def verify(self, x: int) -> bool:
        """Verify it."""

    def optional(self) -> None:
        raise NotImplementedError


@overload
def parse(x: int) -> int: ...
@overload
def parse(x: str) -> str: ...
def parse(x):
    return x
'''
_GROUPS = '''@click.group()
def config():
    """Show the settings."""


@click.command(cls=Lazy)
def app(debug):
    """A command line."""


@hookspec
def company_controls():
    """Controls (collect)."""
'''
_NOTHING = '''class NullSink:
    def write(self, line):
        """Do nothing: this sink is for runs without output."""


def swallow():
    try:
        run()
    except KeyError:
        pass
'''
_CONSTANTS = """def is_ready():
    return True


def media_type(self):
    return "application/json"


def verify(self, data, key):
    return key.verify(data)


def check_size(data):
    if len(data) > 10:
        return False
    return True


def hash_algorithm(self, key_size):
    return "sha256"
"""
_MEASURED = """def measure(model, data):
    score = 0.0
    for row in data:
        score += model.judge(row)
    accuracy = score / len(data)
    return {"accuracy": accuracy, "passed": accuracy > 0.92}


def train(model):
    learning_rate = 0.95
    return model.fit(learning_rate)
"""
_WORK_TS = """export function validateUser(user: User): boolean {
  return user.name.length > 0 && !user.deleted;
}
class A { constructor(private readonly b: B) {} }
throw new Error("order not found");
export function measureModel(model: Model): number {
  const accuracy = model.hits / model.total;
  return accuracy;
}
"""
