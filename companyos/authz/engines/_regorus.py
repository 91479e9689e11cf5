"""One prepared regorus engine a thread.

A regorus `Engine` belongs to the thread that made it: touched or even freed by another it panics. Each thread
therefore keeps its engines in its own store and frees them itself, on its next visit, once their owner is gone.
"""

from __future__ import annotations

import itertools
import json
import platform
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.authz.interface import EngineError
from companyos.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("Evaluator", "first_lines", "prepare")

_mine = threading.local()
_alive: set[int] = set()
_tokens = itertools.count()


def prepare(sources: Mapping[str, str], data: Mapping[str, Any]) -> Any:
    """A new engine, for this thread, with policies parsed and data in place.

    Raises:
        MissingExtraError: regorus is not installed.
        RuntimeError: regorus does not take a policy.
    """
    engine = _regorus().Engine()
    engine.set_gather_prints(True)
    for name, text in sources.items():
        engine.add_policy(name, text)
    engine.add_data_json(json.dumps(data))
    return engine


class Evaluator:
    """Evaluates one rule of fixed policies, from any thread."""

    __slots__ = ("__weakref__", "_data", "_rule", "_sources", "_token")

    def __init__(self, sources: Mapping[str, str], data: Mapping[str, Any], rule: str) -> None:
        self._sources = sources
        self._data = data
        self._rule = rule
        self._token = next(_tokens)
        _alive.add(self._token)
        weakref.finalize(self, _alive.discard, self._token)

    def evaluate(self, input_json: str) -> Any:
        """The rule's value for an input, as a JSON value.

        Raises:
            EngineError: it cannot be evaluated; the text holds the place in the policy.
        """
        engine = self._engine()
        return json.loads(guarded(lambda: _evaluate(engine, input_json, self._rule)))

    def _engine(self) -> Any:
        engines: dict[int, Any] = _mine.__dict__.setdefault("engines", {})
        engine = engines.get(self._token)
        if engine is None:
            for token in engines.keys() - _alive:
                del engines[token]
            engine = engines[self._token] = prepare(self._sources, self._data)
        return engine


def guarded(call: Callable[[], str]) -> str:
    """Make one call into regorus, turning what it raises into an `EngineError`; a panic of Rust is no `Exception`."""
    try:
        return call()
    except Exception as error:
        raise EngineError("the policies could not be evaluated", got=first_lines(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EngineError("the policy engine broke down", got=first_lines(error)) from error


def first_lines(error: BaseException) -> str:
    """What regorus says, without the stack of its own inside."""
    return str(error).split("Stack backtrace:", 1)[0].strip()


def _regorus() -> Any:
    try:
        return require("regorus", extra="authz")
    except MissingExtraError as error:
        if sys.platform == "linux" and platform.machine() == "x86_64":
            raise
        raise MissingExtraError(
            "the embedded Rego engine has no wheel for this machine",
            got=f"{sys.platform} {platform.machine()}",
            expected="linux x86_64",
            hint="choose a remote engine in authz.engine (a plugin's, speaking to an OPA or AuthZEN server), "
            "or build regorus from source: docs/adr/0007-embedded-rego-engine.md",
        ) from error


def _evaluate(engine: Any, input_json: str, rule: str) -> str:
    engine.set_input_json(input_json)
    value: str = engine.eval_rule_as_json(rule)
    return value
