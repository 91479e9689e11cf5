"""Newer policies, while requests go on: loaded and checked first, then exchanged in one step, or refused.

A refusal changes nothing in what decides; it is logged, is an entry of the ledger, and `/ready` tells of it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.errors import UserError
from companyos.server.pdp import Generation, NegotiatedEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.authz.authorizer import Authorizer
    from companyos.authz.engines.pool import WorkerEngine
    from companyos.ports import DecisionEngine, LedgerPort
    from companyos.server.pdp import Pdp
    from companyos.server.policies import Loaded, PolicySource

__all__ = ("ENTRY", "Reloader", "Status")

ENTRY = "companyos.server.policies"
"""Type of the entry that says which policies the server took, or refused."""
SOURCE = "companyos/server"
_log = logging.getLogger("companyos.server")


@dataclass(frozen=True, slots=True)
class Status:
    """Which policies decide, and whether newer ones were refused."""

    policy_digest: str
    """Version of the policies in force."""
    workers: int
    """How many workers should be there."""
    alive: int
    """How many are there."""
    refused: str | None
    """Why newer policies were refused; None if the newest are in force."""


class Reloader:
    """Keeps the policies of a `Pdp` up to date."""

    def __init__(
        self,
        source: PolicySource,
        make_authorizer: Callable[[DecisionEngine], Authorizer],
        ledger: LedgerPort,
        *,
        also: Callable[[], None] | None = None,
        retry_seconds: float = 60.0,
    ) -> None:
        """`also` is called with each look at the policies: what else may have changed.

        What was refused is tried again every `retry_seconds`, though it did not change: time or memory may have.
        """
        self._source = source
        self._make = make_authorizer
        self._ledger = ledger
        self._also = also
        self._seen = ""
        self._pending = ""
        self._refused: str | None = None
        self._told = ("", "")
        self._retry_seconds = retry_seconds
        self._retry_at = math.inf
        self._engine: WorkerEngine | None = None
        self._identity = ""
        self._asked = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="companyos-reload")

    def first(self) -> Generation:
        """The policies to begin with.

        Raises:
            UserError: they cannot be used; there is nothing to decide by.
        """
        self._seen = self._source.fingerprint()
        loaded = self._source.load()
        generation = self._generation(loaded)
        self._record("loaded", loaded.engine.version, None, **loaded.origin)
        self._engine, self._identity = loaded.engine, loaded.identity
        return generation

    def status(self) -> Status:
        """What decides at present."""
        engine = self._engine
        if engine is None:
            return Status("", 0, 0, self._refused)
        return Status(engine.version, engine.size, engine.alive, self._refused)

    def ask(self) -> None:
        """Look at once, and do not wait until what changed is quiet."""
        self._asked.set()

    async def run(self, pdp: Pdp, seconds: float) -> None:
        """Look for newer policies every so many seconds, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._asked.wait()
            was_asked = self._asked.is_set()
            self._asked.clear()
            await loop.run_in_executor(self._thread, self.look, pdp, was_asked)

    def look(self, pdp: Pdp, at_once: bool = False) -> bool:
        """Exchange the policies if there are newer ones that are good; whether that was done.

        What has just changed may still be changing: unless `at_once`, it is loaded when two looks saw the same.
        """
        try:
            if self._also is not None:
                self._also()
            found = self._source.fingerprint()
            if found == self._seen and not at_once and time.monotonic() < self._retry_at:
                return False
            if found != self._pending and not at_once:
                self._pending = found
                return False
            self._seen = found
            return self._exchange(pdp)
        except Exception:  # noqa: BLE001 - whatever it is, the old policies stay, and it is looked again
            self._seen = ""
            _log.exception("looking for newer policies failed; the old ones stay")
            return False

    def close(self) -> None:
        """Look no more."""
        self._thread.shutdown(wait=True)

    def _exchange(self, pdp: Pdp) -> bool:
        before = self.status().policy_digest
        try:
            loaded = self._source.load()
            if loaded.identity == self._identity:
                loaded.close()
                self._accept()
                return False
            generation = self._generation(loaded)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old policies stay
            self._refuse(error, before)
            return False
        try:
            self._record("loaded", loaded.engine.version, before, **loaded.origin)
        except BaseException:
            generation.retire()
            raise
        self._engine, self._identity = loaded.engine, loaded.identity
        self._accept()
        pdp.exchange(generation)
        _log.info("policies in force: %s", loaded.engine.version)
        return True

    def _accept(self) -> None:
        self._refused, self._told, self._retry_at = None, ("", ""), math.inf

    def _refuse(self, error: Exception, digest: str) -> None:
        """Remember a refusal, and tell of it once, however often the same is tried again."""
        # `what` is without what was got: that says how late it is, and is new each time.
        what, problem = (error.what, error.message) if isinstance(error, UserError) else (type(error).__name__,) * 2
        self._refused, self._retry_at = problem, time.monotonic() + self._retry_seconds
        if self._told == (self._seen, what):
            return
        _log.error("newer policies are refused, the old ones stay: %s", problem)
        self._record("refused", digest, digest, problem=problem[:2000])
        self._told = self._seen, what

    def _generation(self, loaded: Loaded) -> Generation:
        try:
            authorizer = self._make(NegotiatedEngine(loaded.engine))
        except BaseException:
            loaded.close()
            raise

        def close() -> None:
            try:
                # An authorizer that records in batches writes its last one here.
                getattr(authorizer, "close", lambda: None)()
            finally:
                loaded.close()

        return Generation(authorizer, close)

    def _record(self, outcome: str, digest: str, previous: str | None, **more: Any) -> None:
        data: dict[str, Any] = {"outcome": outcome, "policy_digest": digest, "previous_digest": previous, **more}
        self._ledger.append(ENTRY, data, id=str(uuid.uuid4()), source=SOURCE)
