"""Runs one server and outlives the tests only long enough to stop it: `python keeper.py FOLDER USER GRACE COMMAND...`.

It holds the reading end of a pipe whose writing end is held by the test process. When that closes, because the tests
ended, crashed or were killed, the server is stopped and its folder removed (kept, if a byte `k` came before).
`USER` is a numeric user id to run as, or `-`; `GRACE` is how many seconds the server may take to stop by itself.
Standard library only and no imports of ours: it starts fast.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    """Start the server, report its process id on stdout, and stop it when stdin closes."""
    folder, user, grace_seconds, *command = arguments
    server = start(command, Path(folder), None if user == "-" else int(user))
    for ignored in SIGNALS:
        signal.signal(ignored, signal.SIG_IGN)
    print(server.pid, flush=True)
    # Reaps the server at once if it dies, so that its process id stops existing and the tests can see that.
    threading.Thread(target=server.wait, daemon=True).start()
    keep = b"k" in read_to_end()
    stop(server, float(grace_seconds))
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def start(command: list[str], folder: Path, user: int | None) -> subprocess.Popen[bytes]:
    """The server, in a session of its own, writing to `FOLDER/log`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )


def read_to_end() -> bytes:
    """Everything the tests write until they let go of the pipe."""
    received = b""
    while chunk := os.read(0, 4096):
        received += chunk
    return received


def stop(server: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Stop the server and all it started: politely, and if need be by force."""
    signal_group(server.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(grace_seconds)
    signal_group(server.pid, signal.SIGKILL)
    server.wait()


def signal_group(group: int, number: int) -> None:
    """Signal every process of the server; none left is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
