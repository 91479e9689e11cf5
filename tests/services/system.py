"""Servers from the system's own packages: only with `SYSTEM_PACKAGES=1`, because installing changes the machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.services.errors import NotAvailableError

__all__ = ("SystemPackages", "from_environment")


@dataclass(frozen=True, slots=True)
class SystemPackages:
    """What may be taken from the system."""

    allowed: bool
    """Whether `SYSTEM_PACKAGES=1` was set."""

    def program(self, name: str, *, package: str, places: tuple[str, ...] = ()) -> Path:
        """The path of a program, installed from a Debian package if need be.

        `places` are glob patterns of directories that are not on the PATH.

        Raises:
            NotAvailableError: not allowed, or not to be installed here.
        """
        if not self.allowed:
            raise NotAvailableError(f"{name} from the system's packages needs SYSTEM_PACKAGES=1")
        found = locate(name, places)
        if found is None:
            install(package)
            found = locate(name, places)
        if found is None:
            raise NotAvailableError(f"package {package} is installed but holds no {name}")
        return found


def from_environment() -> SystemPackages:
    """What the environment allows."""
    return SystemPackages(allowed=os.environ.get("SYSTEM_PACKAGES") == "1")


def locate(name: str, places: tuple[str, ...]) -> Path | None:
    """The program on the PATH or in one of the places, the highest version first."""
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path)
    matches = [path for place in places for path in sorted(Path("/").glob(f"{place.lstrip('/')}/{name}"))]
    return matches[-1] if matches else None


def install(package: str) -> None:
    """Install a Debian package; several test processes take turns.

    Raises:
        NotAvailableError: no apt here, not root, or apt failed.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise NotAvailableError(f"package {package} is missing and there is no apt-get here")
    if os.geteuid() != 0:
        raise NotAvailableError(f"package {package} is missing; run: sudo apt-get install {package}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with (Path(tempfile.gettempdir()) / "companyos-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for arguments in (("update", "-q"), ("install", "-q", "-y", "--no-install-recommends", package)):
            result = subprocess.run(
                [apt, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                last = (result.stderr.strip().splitlines() or ["no message"])[-1]
                raise NotAvailableError(f"apt-get {arguments[0]} failed for {package}: {last}")
