"""Turns of callers at the server's threads: one caller has not all of them, however much it asks at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from companyos.authz.engines._share import ByCaller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ("Turns",)


class Turns:
    """How many things may be done for one caller at a time; the others wait, in order. Used from one event loop."""

    __slots__ = ("_of",)

    def __init__(self, most: int) -> None:
        self._of = ByCaller(lambda: asyncio.Semaphore(most))

    @asynccontextmanager
    async def turn(self, caller: str | None) -> AsyncIterator[None]:
        """Wait for a turn and have it within; None need not wait. A caller that has nothing to do is forgotten."""
        if caller is None:
            yield
            return
        semaphore = self._of.enter(caller)
        try:
            async with semaphore:
                yield
        finally:
            self._of.leave(caller)

    def __len__(self) -> int:
        return len(self._of)
