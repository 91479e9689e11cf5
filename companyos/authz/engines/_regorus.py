"""Prepared regorus engines: in each thread one for every slice that was asked for lately.

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
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from companyos._extras import require
from companyos.authz.engines._nesting import check_nesting
from companyos.authz.interface import EngineError
from companyos.errors import CompanyOSError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ("MAX_ENGINES", "Evaluator", "first_lines", "guarded", "prepare")

MAX_ENGINES = 512
"""Most slices for which a thread keeps an engine; of some 50 KB each with a handful of policies."""

_mine = threading.local()
_alive: set[int] = set()
_tokens = itertools.count()


def prepare(sources: Mapping[str, str], data: Mapping[str, Any]) -> Any:
    """A new engine, for this thread, with policies parsed and data in place.

    Raises:
        PolicyError: a policy nests so deeply that regorus would not come to an end with it.
        MissingExtraError: regorus is not installed.
        RuntimeError: regorus does not take a policy.
    """
    check_nesting(sources)
    engine = _regorus().Engine()
    engine.set_gather_prints(True)
    for name, text in sources.items():
        engine.add_policy(name, text)
    engine.add_data_json(json.dumps(data))
    return engine


class Evaluator:
    """Evaluates one rule of fixed policies, or of some of them, from any thread."""

    __slots__ = ("__weakref__", "_always", "_data", "_limit", "_rule", "_texts", "_token")

    def __init__(
        self,
        texts: Callable[[frozenset[int]], Iterable[tuple[str, str]]],
        data: Mapping[str, Any],
        rule: str,
        *,
        always: frozenset[int] = frozenset(),
        limit: int = MAX_ENGINES,
    ) -> None:
        """Take what gives the named texts of some of the policies; `always` is a part of whatever is evaluated.

        Each thread keeps at most `limit` engines, those that it used last.
        """
        self._texts = texts
        self._data = data
        self._rule = rule
        self._always = always
        self._limit = limit
        self._token = next(_tokens)
        _alive.add(self._token)
        weakref.finalize(self, _alive.discard, self._token)

    def evaluate(self, input_json: str, members: frozenset[int]) -> str:
        """The rule's value for an input, as JSON, by these of the policies.

        Raises:
            EngineError: it cannot be evaluated; the text holds the place in the policy.
        """
        try:
            shelf = _mine.engines[self._token]
            engine = shelf.engines[members]
            shelf.engines.move_to_end(members)
        except (AttributeError, KeyError):
            engine = guarded(lambda: self._prepare(members))
        try:
            engine.set_input_json(input_json)
            value: str = engine.eval_rule_as_json(self._rule)
        except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
            _fail(error)
        return value

    @property
    def kept(self) -> int:
        """How many engines this thread keeps for it."""
        return len(self._shelf().engines)

    def _prepare(self, members: frozenset[int]) -> Any:
        shelf = self._shelf()
        engine = shelf.base.clone()
        for name, text in self._texts(members - self._always):
            engine.add_policy(name, text)
        shelf.engines[members] = engine
        if len(shelf.engines) > self._limit:
            shelf.engines.popitem(last=False)
        return engine

    def _shelf(self) -> _Shelf:
        shelves: dict[int, _Shelf] = _mine.__dict__.setdefault("engines", {})
        shelf = shelves.get(self._token)
        if shelf is None:
            for token in shelves.keys() - _alive:
                del shelves[token]
            base = prepare(dict(self._texts(self._always)), self._data)
            shelf = shelves[self._token] = _Shelf(base, OrderedDict())
        return shelf


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What one thread keeps for one evaluator."""

    base: Any
    """The data and what is always evaluated, parsed; never asked itself, so that copies of it are small."""
    engines: OrderedDict[frozenset[int], Any]
    """An engine for each slice, the one used last at the end."""


def guarded(call: Callable[[], Any]) -> Any:
    """Make one call into regorus, turning what it raises into an `EngineError`; a panic of Rust is no `Exception`."""
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
        _fail(error)


def _fail(error: BaseException) -> NoReturn:
    if isinstance(error, CompanyOSError):
        raise error
    if isinstance(error, Exception):
        raise EngineError("the policies could not be evaluated", got=first_lines(error)) from error
    if type(error).__name__ != "PanicException":
        raise error
    raise EngineError("the policy engine broke down", got=first_lines(error)) from error


def first_lines(error: BaseException) -> str:
    """What regorus says, without the stack of its own inside."""
    return str(error).split("Stack backtrace:", 1)[0].strip()


def _regorus() -> Any:
    try:
        return require("regorus", extra="authz")
    except MissingExtraError as error:
        raise MissingExtraError(
            "the embedded Rego engine is not there",
            got=f"{error.__cause__ or error.what}, on {_machine()}",
            expected="its wheel, which runs on linux x86_64 with glibc 2.34 or later",
            hint=f"{error.hint}; on another machine let an OPA server decide, whose engine is built in "
            "(authz.engine: opa with authz.remote.url), or Cedar in this process (authz.engine: cedar): "
            "docs/authz-engines.md",
        ) from error


def _machine() -> str:
    return " ".join((sys.platform, platform.machine(), *filter(None, platform.libc_ver())))
