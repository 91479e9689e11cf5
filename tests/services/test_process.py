"""Servers stop with the tests, however those end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services import ServerDiedError, ServerProcess, fresh_folder
from tests.services.process import free_port, group_exists, process_exists

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_SECONDS = 30
HOLDER = """
import sys, time
from tests.services import ServerProcess, fresh_folder
server = ServerProcess("sleeper", fresh_folder("test"))
child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
server.start([sys.executable, "-c", child])
print(server.pid, server.folder, flush=True)
time.sleep(600)
"""


def eventually(condition):
    """Whether the condition comes true with patience."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def server():
    """A server process that is not started yet."""
    process = ServerProcess("sample", fresh_folder("test"))
    yield process
    process.stop()


def sleeper():
    """The command of something that runs until it is stopped."""
    return [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_killed_test_run_leaves_no_server():
    """After `kill -9` of the tests, the server, its children and its folder are gone."""
    tests = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid, _, folder = tests.stdout.readline().strip().partition(" ")

    tests.send_signal(signal.SIGKILL)
    tests.wait()
    tests.stdout.close()

    assert eventually(lambda: not process_exists(int(pid)))
    assert eventually(lambda: not Path(folder).exists())
    assert eventually(lambda: not group_exists(int(pid)))


def test_kill_is_at_once_and_keeps_the_folder(server):
    """`kill` ends the server without a farewell; what it wrote stays for the restart."""
    server.start(sleeper())
    (server.folder / "data").write_text("kept")

    server.kill()

    assert not server.alive
    assert (server.folder / "data").read_text() == "kept"


def test_a_server_that_ends_shows_its_log(server):
    """A server that does not come up is an error with the end of its log."""
    server.start([sys.executable, "-c", "import sys; sys.exit('no room on the device')"])

    with pytest.raises(ServerDiedError, match="no room on the device"):
        server.wait_until(lambda: False)


def test_a_program_that_is_not_there_is_named(server):
    """A command that cannot be run says so at once."""
    with pytest.raises(ServerDiedError, match="no-such-program"):
        server.start(["/no-such-program"])


def test_stop_ignores_a_server_that_is_gone(server):
    """Stopping a dead server, twice, is fine, and removes the folder."""
    server.start(sleeper())
    server.kill()

    server.stop()
    server.stop()

    assert not server.folder.exists()


def test_a_stubborn_server_is_killed():
    """A server that ignores the polite signal is stopped by force."""
    server = ServerProcess("stubborn", fresh_folder("test"), grace_seconds=0.2)
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    server.start([sys.executable, "-c", code])
    server.wait_until(lambda: "up" in server.log_tail())
    pid = server.pid

    server.stop()

    assert not process_exists(pid)


def test_free_port_can_be_bound():
    """A free port is a port number that an ordinary user may listen on."""
    assert 1024 <= free_port() <= 65535
