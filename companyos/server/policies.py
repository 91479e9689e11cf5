"""The policies that the server decides by: a snapshot of what is configured, loaded into killable workers.

Workers read a copy of the policy directories, so that a worker that is replaced decides by the same policies as the
others, whatever became of the directories meanwhile.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from companyos.authz.engines.pool import WorkerEngine
from companyos.authz.interface import PolicyError
from companyos.config import AuthzSection
from companyos.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from companyos.ports import DecisionEngine

__all__ = ("ConfiguredPolicies", "Loaded", "PolicySource", "configured_engine")

_MAX_FILES = 10_000
_MAX_BYTES = 256 * 1024 * 1024


class Loaded(Protocol):
    """An engine over one state of the policies, and what to do when it is no longer needed."""

    @property
    def engine(self) -> WorkerEngine:
        """What decides."""
        ...

    @property
    def identity(self) -> str:
        """What is the same only for what decides the same, for as long."""
        ...

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where the policies come from, for the ledger's entry; nothing if the settings say it all."""
        ...

    def close(self) -> None:
        """End its workers and remove its copy of the policies."""
        ...


class PolicySource(Protocol):
    """Where policies come from, and whether there are newer ones."""

    def fingerprint(self) -> str:
        """What is different as soon as the policies may be different; cheap, and asked often."""
        ...

    def load(self) -> Loaded:
        """An engine over the present policies, checked.

        Raises:
            UserError: they cannot be used.
        """
        ...


class ConfiguredPolicies:
    """The engine and the policy directories of the section `authz`."""

    def __init__(
        self,
        section: AuthzSection,
        root: Path,
        *,
        allow: Iterable[str] = (),
        workers: int = 2,
        deadline_seconds: float = 1.0,
        memory_bytes: int = 1024**3,
        start_seconds: float = 30.0,
    ) -> None:
        """`root` is where relative directories start from; `allow` names the plugins that may give engines."""
        self._section = section
        self._directories = [root / path for path in section.policies]
        self._allow = sorted(allow)
        self._pool: dict[str, Any] = {
            "workers": workers,
            "deadline_seconds": deadline_seconds,
            "memory_bytes": memory_bytes,
            "start_seconds": start_seconds,
        }

    def fingerprint(self) -> str:
        """Digest over names, sizes, times and inodes of all files; what cannot be read is part of it."""
        state = hashlib.sha256()
        for directory in self._directories:
            state.update(f"\0{directory.resolve()}".encode("utf-8", "surrogateescape"))
            try:
                for path, size, changed, inode in _files(directory):
                    state.update(f"\0{path}\0{size}\0{changed}\0{inode}".encode("utf-8", "surrogateescape"))
            except (OSError, PolicyError) as error:
                state.update(f"\0{type(error).__name__}".encode())
        return state.hexdigest()

    def load(self) -> Loaded:
        """Copy the directories and start workers over the copy.

        Raises:
            PolicyError: they cannot be read, changed meanwhile, or are refused by the engine.
        """
        scratch = Path(tempfile.mkdtemp(prefix="companyos-policies-"))
        try:
            before = self.fingerprint()
            copies = [_copy(directory, scratch / str(place)) for place, directory in enumerate(self._directories)]
            _check_unchanged(before, self.fingerprint())
            settings = self._section.model_dump(mode="json") | {"policies": copies}
            engine = WorkerEngine(
                f"{__name__}:configured_engine", {"settings": settings, "allow": self._allow}, **self._pool
            )
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return _Snapshot(engine, scratch)


class _Snapshot:
    __slots__ = ("_scratch", "engine")

    def __init__(self, engine: WorkerEngine, scratch: Path) -> None:
        self.engine = engine
        self._scratch = scratch

    @property
    def identity(self) -> str:
        return self.engine.version

    @property
    def origin(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        self.engine.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def configured_engine(settings: dict[str, Any], allow: Sequence[str]) -> DecisionEngine:
    """The engine that the section `authz` chooses; what a worker makes.

    Raises:
        ConfigError: there is none of that name.
    """
    section = AuthzSection.model_validate(settings)
    return Plugins(allow).engine(section.engine, section.model_dump())


def _check_unchanged(before: str, after: str) -> None:
    if before != after:
        raise PolicyError("the policies changed while they were read", hint="they are read again")


def _files(directory: Path) -> Iterator[tuple[str, int, int, int]]:
    total = 0
    for number, path in enumerate(sorted(directory.rglob("*"))):
        found = path.lstat()
        total += found.st_size
        if number >= _MAX_FILES or total > _MAX_BYTES:
            raise PolicyError(f"{directory} holds too much", expected=f"at most {_MAX_FILES} files")
        yield str(path.relative_to(directory)), found.st_size, found.st_mtime_ns, found.st_ino


def _copy(directory: Path, target: Path) -> str:
    if not directory.is_dir():
        raise PolicyError("policy directory not found", got=directory, hint="mend authz.policies in companyos.yaml")
    for _ in _files(directory):
        pass
    try:
        shutil.copytree(directory.resolve(), target, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise PolicyError(f"cannot read {directory}", got=error) from error
    return str(target)
