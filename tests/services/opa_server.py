"""A server that answers like OPA, by the real OPA engine: see `opa_program.py` for what of it is real."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.process import ServerProcess, fresh_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("OpaServer",)

PROGRAM = Path(__file__).with_name("opa_program.py")


class OpaServer:
    """A running server."""

    def __init__(self) -> None:
        self.process = ServerProcess("opa", fresh_folder("opa"))
        self.port = 0
        self._numbers = itertools.count()
        try:
            self.restart()
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def load(
        self, sources: Mapping[str, str], data: Mapping[str, Any] | None = None, revision: str | None = "r1"
    ) -> str:
        """Load policies under a place of their own, and return its URL; what OPA does not take is a `ValueError`."""
        content = {"sources": dict(sources), "data": dict(data or {}), "revision": revision}
        return self._put("sets", json.dumps(content).encode())

    def answer(self, body: bytes) -> str:
        """A place that answers every question with these bytes."""
        return self._put("answers", body)

    def fault(self, kind: str) -> str:
        """A place that misbehaves."""
        return f"{self.url}/faults/{kind}"

    def seen(self) -> list[dict[str, str]]:
        """Path and authorization of each decision asked for, oldest first."""
        import httpx

        found: list[dict[str, str]] = httpx.get(f"{self.url}/seen", timeout=10).json()
        return found

    def kill(self) -> None:
        """`kill -9` the server; what it held is lost."""
        self.process.kill()

    def restart(self) -> None:
        """Start the server, empty, and wait until it answers; the port stays the same."""
        self.process.serve(
            self, lambda: [sys.executable, PROGRAM, str(self.port)], self._answers, taken="Address already in use"
        )

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        self.process.stop()

    def _put(self, kind: str, body: bytes) -> str:
        import httpx

        place = f"{self.url}/{kind}/{next(self._numbers)}"
        answer = httpx.put(place, content=body, timeout=30)
        if answer.status_code != 200:
            raise ValueError(answer.text)
        return place

    def _answers(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.url}/health", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False
