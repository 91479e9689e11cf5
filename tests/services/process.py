"""A server process in a fresh folder under the temporary directory, tied to the life of the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ("ServerDiedError", "ServerProcess", "free_port", "fresh_folder", "stop_all")

KEEPER = Path(__file__).with_name("keeper.py")
DEADLINE_SECONDS = 60.0
"""How long a server may take to come up on a loaded machine; reached only when something is wrong."""
POLL_SECONDS = 0.02


class ServerDiedError(RuntimeError):
    """A server did not come up, or went away by itself; the text holds the end of its log."""


ATTEMPTS = 5
"""Starts before giving up: the port may be taken in between, or a killed predecessor may still hold its memory."""


class HasPort(Protocol):
    """What a server process listens for."""

    port: int


class ServerProcess:
    """One server: `start`, `wait_until`, `kill`, `stop`.

    Its keeper stops it when the tests end in whatever way, `kill -9` of the test process included: with SIGINT, and
    with SIGKILL after `grace_seconds`. `user` is the numeric id to run as.
    """

    running: ClassVar[list[ServerProcess]] = []
    """All that were started and not yet stopped."""

    def __init__(self, name: str, folder: Path, *, user: int | None = None, grace_seconds: float = 10.0) -> None:
        self.name = name
        self.folder = folder
        self.user = user
        self.grace_seconds = grace_seconds
        self.pid: int | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str | Path]) -> None:
        """Start the server; it is not said to be ready yet."""
        if self._keeper is not None:
            self.stop(keep=True)
        user = "-" if self.user is None else str(self.user)
        how = [str(self.folder), user, str(self.grace_seconds)]
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), *how, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        if not line.strip():
            _, errors = self._keeper.communicate()
            self._keeper = None
            raise ServerDiedError(f"{self.name} could not be started: {errors.decode(errors='replace').strip()}")
        self.pid = int(line)
        self.running.append(self)

    @property
    def alive(self) -> bool:
        """Whether the server's first process is there."""
        return self.pid is not None and process_exists(self.pid)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()` is true.

        Raises:
            ServerDiedError: the server ended, or was not ready in time.
        """
        limit = time.monotonic() + DEADLINE_SECONDS
        while not ready():
            if not self.alive:
                raise ServerDiedError(f"{self.name} ended while starting; its log ends:\n{self.log_tail()}")
            if time.monotonic() > limit:
                raise ServerDiedError(f"{self.name} not ready in {DEADLINE_SECONDS:.0f} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def serve(
        self, server: HasPort, command: Callable[[], Sequence[str | Path]], ready: Callable[[], bool], *, taken: str
    ) -> None:
        """Start the server anew on its port, or on a free one if it has none, and wait until `ready()` is true.

        Where its log says `taken`, somebody else has the port, and another one is tried.

        Raises:
            ServerDiedError: it did not start in several attempts.
        """
        for attempt in range(1, ATTEMPTS + 1):
            self.stop(keep=True)
            server.port = server.port or free_port()
            self.start(command())
            try:
                self.wait_until(ready)
            except ServerDiedError:
                if attempt == ATTEMPTS:
                    raise
                if taken in self.log_tail():
                    server.port = 0
            else:
                return

    def kill(self) -> None:
        """`kill -9` the server and everything it started, at once; its folder stays."""
        if self.pid is not None:
            os.killpg(self.pid, signal.SIGKILL)
            limit = time.monotonic() + DEADLINE_SECONDS
            while self.alive and time.monotonic() < limit:
                time.sleep(POLL_SECONDS)

    def stop(self, *, keep: bool = False) -> None:
        """Stop the server and remove its folder, unless it is to be kept; stopping twice is fine."""
        keeper, self._keeper, self.pid = self._keeper, None, None
        if keeper is not None:
            keeper.communicate(b"k" if keep else b"")
            self.running.remove(self)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines the server wrote."""
        log = self.folder / "log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def fresh_folder(name: str) -> Path:
    """A new folder of its own under the temporary directory, for its owner only."""
    return Path(tempfile.mkdtemp(prefix=f"companyos-{name}-"))


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process_exists(pid: int) -> bool:
    """Whether there is such a process, and it is more than a zombie that nobody has collected yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _state(pid) not in {"Z", "X"}


def group_exists(pgid: int) -> bool:
    """Whether any living process belongs to the group."""
    return any(_group(int(entry.name)) == pgid and process_exists(int(entry.name)) for entry in _processes())


def _processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _state(pid: int) -> str:
    fields = _fields(pid)
    return fields[0] if fields else "X"


def _group(pid: int) -> int | None:
    fields = _fields(pid)
    return int(fields[2]) if fields else None


def _fields(pid: int) -> list[str]:
    """What the kernel says of a process after its name, which may hold spaces; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def stop_all() -> None:
    """Stop every server that is still running."""
    for server in list(ServerProcess.running):
        server.stop()
