"""The real OPA engine as a library, for comparing answers: installed once into a folder of its own, never beside us.

Its wheel asks for a newer Python than it needs, so that no lock file can name it; pip is told not to mind, and takes
exactly the file with the hash below.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.errors import NotAvailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

__all__ = ("Opa", "UndefinedError", "find", "opa")

NAME = "opa-golib-python-bindings"
VERSION = "0.4.4"
WHEEL_SHA256 = "d411c901e14b8c7c3023e23e4a944f4cf429c1d31baf80e959e57d11efbfd24a"
FOLDER = Path(__file__).resolve().parents[2] / ".cache" / f"{NAME}-{VERSION}"
TIMEOUT_SECONDS = 300


class UndefinedError(Exception):
    """OPA has no value for what was asked, or could not work it out; the text says which."""


class Opa:
    """One OPA engine with policies and data."""

    def __init__(self, module: ModuleType, sources: Mapping[str, str], data: Mapping[str, Any]) -> None:
        self._errors = module.OpaError
        self._engine = module.OpaEngine()
        for name, text in sources.items():
            self._engine.add_policy(name, text)
        if data:
            self._engine.add_data(json.loads(json.dumps(data)))

    def ask(self, path: str, document: Any = None) -> Any:
        """The value at a path below `data` (`a.b.c`), for an input.

        Raises:
            UndefinedError: there is none.
        """
        try:
            return self._engine.eval_document(path, document)
        except self._errors as error:
            raise UndefinedError(str(error)) from error

    def close(self) -> None:
        """Let go of it."""
        self._engine.close()


@contextmanager
def opa(module: ModuleType, sources: Mapping[str, str], data: Mapping[str, Any] | None = None) -> Iterator[Opa]:
    """An engine for the length of a block; `module` is what `available("opa_engine")` gives."""
    engine = Opa(module, sources, data or {})
    try:
        yield engine
    finally:
        engine.close()


def find() -> ModuleType:
    """The library's engine module, installed into the clone's cache on the first call.

    Raises:
        NotAvailableError: it is not to be had here.
    """
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (FOLDER / "opa_bindings").is_dir():
            _install()
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    try:
        return importlib.import_module("opa_bindings.engine")
    except (ImportError, OSError) as error:
        raise NotAvailableError(f"{NAME} is installed and cannot be loaded: {error}") from error


def _install() -> None:
    fresh = FOLDER.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    wanted = fresh / "requirements.txt"
    wanted.write_text(f"{NAME}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n")
    options = ("--quiet", "--disable-pip-version-check", "--ignore-requires-python", "--no-deps", "--require-hashes")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(fresh), "--requirement", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAvailableError(f"pip could not install {NAME}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        shutil.rmtree(fresh, ignore_errors=True)
        raise NotAvailableError(f"pip could not install {NAME}: {last}")
    fresh.rename(FOLDER)
