"""Places where packages are looked up: the registries over HTTP, a local directory, a snapshot, and several in turn."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import cached_property
from typing import TYPE_CHECKING, Any

from companyos.guardrails.packages.interface import Answer, IndexUnreachableError
from companyos.guardrails.packages.manifests import normalise
from companyos.guardrails.packages.simple import ProjectFile, answer_from, canonical, files_in, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ("ChainIndex", "DirectoryIndex", "HttpIndex", "OfflineIndex", "SnapshotIndex", "load_snapshot")

_PAGE_LIMIT_BYTES = 32 * 1024 * 1024
_TIMEOUT_SECONDS = 10.0
_WAITS_SECONDS = (0.2, 1.0)
"""Pauses before a look-up is tried again."""
_PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses that may be gone a moment later."""
_GIVE_UP_AFTER = 3
_NOT_FOUND = frozenset((404, 410))


class HttpIndex:
    """A registry over HTTP: pip's simple API for Python, the registry API for npm.

    Answers are bounded in time and size, and pages are fetched once. After three requests in a row that got no
    connection it is taken for unreachable and not asked again.
    """

    def __init__(self, pypi: str | None, npm: str | None = None, *, cafile: str | None = None) -> None:
        self._addresses = {"pypi": pypi, "npm": npm}
        self._cafile = cafile
        self._pages: dict[str, bytes | None] = {}
        self._failures = 0
        self._lock = threading.Lock()

    def serves(self, ecosystem: str) -> bool:
        """Whether it is an index of such packages."""
        return self._addresses.get(ecosystem) is not None

    @property
    def name(self) -> str:
        """Its addresses without credentials."""
        return ", ".join(_public(address) for address in self._addresses.values() if address)

    def find(self, ecosystem: str, name: str, version: str | None) -> Answer:
        """What the registry says.

        Raises:
            IndexUnreachableError: it does not answer, or in a form that cannot be read.
        """
        address = self._addresses.get(ecosystem)
        if address is None:
            raise IndexUnreachableError(f"no index for {ecosystem} packages is configured")
        return self._find_npm(address, name, version) if ecosystem == "npm" else self._find_pypi(address, name, version)

    def _find_pypi(self, address: str, name: str, version: str | None) -> Answer:
        page = self._page(f"{address.rstrip('/')}/{urllib.parse.quote(normalise(name))}/", "text/html")
        return Answer(exists=False) if page is None else answer_from(files_in(page.decode("utf-8", "replace")), version)

    def _find_npm(self, address: str, name: str, version: str | None) -> Answer:
        base = f"{address.rstrip('/')}/{urllib.parse.quote(name, safe='@')}"
        page = self._page(f"{base}/{urllib.parse.quote(version or 'latest')}", "application/json")
        if page is None:
            return Answer(exists=version is not None and self._page(f"{base}/latest", "application/json") is not None)
        try:
            entry = json.loads(page)
            integrity = frozenset(str(entry.get("dist", {}).get("integrity", "")).split())
        except (ValueError, AttributeError) as error:
            raise IndexUnreachableError("the npm registry's answer cannot be read", got=error) from error
        return Answer(exists=True, version_exists=True, hashes=integrity)

    def _page(self, url: str, accept: str) -> bytes | None:
        if url not in self._pages:
            self._pages[url] = self._fetch(url, accept)
        return self._pages[url]

    def _fetch(self, url: str, accept: str) -> bytes | None:
        if self._failures >= _GIVE_UP_AFTER:
            raise IndexUnreachableError(f"{self.name} cannot be reached", hint="try again, or use a local snapshot")
        try:
            data = self._patiently(url, accept)
        except urllib.error.HTTPError as error:
            if error.code in _NOT_FOUND:
                return None
            raise IndexUnreachableError(f"{_public(url)} answered with status {error.code}") from error
        except (OSError, ValueError) as error:
            with self._lock:
                self._failures += 1
            raise IndexUnreachableError(f"{_public(url)} cannot be reached", got=_cause(error)) from error
        if len(data) > _PAGE_LIMIT_BYTES:
            raise IndexUnreachableError(f"{_public(url)} is too large", expected=f"at most {_PAGE_LIMIT_BYTES} bytes")
        self._failures = 0
        return data

    def _patiently(self, url: str, accept: str, waits: tuple[float, ...] = _WAITS_SECONDS) -> bytes:
        """The page, asked for again where the network or the server only stumbled."""
        try:
            with urllib.request.urlopen(  # noqa: S310 - the scheme is checked by _request
                _request(url, accept), timeout=_TIMEOUT_SECONDS, context=self._context
            ) as answer:
                data: bytes = answer.read(_PAGE_LIMIT_BYTES + 1)
        except OSError as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code not in _PASSING
            if final or not waits or self._failures >= _GIVE_UP_AFTER:
                raise
            time.sleep(waits[0])
            return self._patiently(url, accept, waits[1:])
        return data

    @cached_property
    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._cafile)
        except OSError as error:
            raise IndexUnreachableError("the certificate file of the index cannot be read", got=error) from error


class DirectoryIndex:
    """A local directory: a simple index (one directory a package) or a folder of wheels and sdists."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @staticmethod
    def serves(ecosystem: str) -> bool:
        """Whether it is an index of such packages."""
        return ecosystem == "pypi"

    @property
    def exists(self) -> bool:
        """Whether there is such a directory."""
        return self._root.is_dir()

    @property
    def name(self) -> str:
        """The directory's own name."""
        return f"directory {self._root.name}"

    def find(self, ecosystem: str, name: str, version: str | None) -> Answer:
        """What lies in the directory; it knows Python packages only.

        Raises:
            IndexUnreachableError: asked for another ecosystem, or the directory cannot be read.
        """
        if ecosystem != "pypi":
            raise IndexUnreachableError(f"{self.name} holds no {ecosystem} packages")
        page = self._root / normalise(name) / "index.html"
        try:
            files = files_in(page.read_text(encoding="utf-8")) if page.is_file() else self._files(normalise(name))
        except OSError as error:
            raise IndexUnreachableError(f"{self.name} cannot be read", got=error.strerror) from error
        return answer_from(files, version)

    def _files(self, name: str) -> list[ProjectFile]:
        found = [path for path in (*self._root.iterdir(), *self._below(name)) if version_of(path.name)]
        return [
            ProjectFile(path.name, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", yanked=False)
            for path in found
            if normalise(path.name).startswith(f"{name}-") and _distribution(path.name) == name
        ]

    def _below(self, name: str) -> list[Path]:
        folder = self._root / name
        return list(folder.iterdir()) if folder.is_dir() else []


class SnapshotIndex:
    """What an index said at one time: `{"pypi": {name: {version: {"hashes": [...], "yanked": false}}}, "npm": ...}`."""

    def __init__(self, data: Mapping[str, Any], name: str = "snapshot") -> None:
        self._data = data
        self.name = name

    def serves(self, ecosystem: str) -> bool:
        """Whether it says anything of such packages."""
        return ecosystem in self._data

    def find(self, ecosystem: str, name: str, version: str | None) -> Answer:
        """What the snapshot holds.

        Raises:
            IndexUnreachableError: it says nothing of this ecosystem, or is not shaped as documented.
        """
        if ecosystem not in self._data:
            raise IndexUnreachableError(f"{self.name} says nothing of {ecosystem} packages")
        try:
            versions = self._data[ecosystem].get(normalise(name) if ecosystem == "pypi" else name)
            if versions is None or version is None:
                return Answer(exists=versions is not None)
            wanted = canonical(version) if ecosystem == "pypi" else version
            known = {(canonical(key) if ecosystem == "pypi" else key): value for key, value in versions.items()}
            entry = known.get(wanted)
            if entry is None:
                return Answer(exists=True)
            return Answer(True, True, frozenset(entry.get("hashes", ())), bool(entry.get("yanked", False)))
        except (AttributeError, TypeError) as error:
            raise IndexUnreachableError(f"{self.name} is not shaped as documented", got=error) from error


class ChainIndex:
    """Several indexes: a package exists if one of them holds it; a miss counts only when all of them answered."""

    def __init__(self, parts: Sequence[HttpIndex | DirectoryIndex | SnapshotIndex]) -> None:
        self._parts = tuple(parts)

    @property
    def name(self) -> str:
        """The names of its parts."""
        return ", ".join(part.name for part in self._parts) or "no index"

    def find(self, ecosystem: str, name: str, version: str | None) -> Answer:
        """The answers of all parts in one.

        Raises:
            IndexUnreachableError: none of them holds it, and one of them did not answer.
        """
        answers: list[Answer] = []
        unreachable: IndexUnreachableError | None = None
        for part in self._parts:
            try:
                answers += [part.find(ecosystem, name, version)] if part.serves(ecosystem) else []
            except IndexUnreachableError as error:
                unreachable = error
        found = [answer for answer in answers if answer.version_exists or (version is None and answer.exists)]
        if not found and (unreachable is not None or not answers):
            raise unreachable or IndexUnreachableError(f"no index for {ecosystem} packages is configured")
        return Answer(
            exists=any(answer.exists for answer in answers),
            version_exists=any(answer.version_exists for answer in found),
            hashes=frozenset().union(*(answer.hashes for answer in found)),
            yanked=bool(found) and all(answer.yanked for answer in found),
        )


class OfflineIndex:
    """The index of a run that may not use the network and was given no snapshot: it knows nothing."""

    name = "offline"

    def find(self, ecosystem: str, name: str, version: str | None) -> Answer:
        """No answer, ever.

        Raises:
            IndexUnreachableError: always.
        """
        asked = f"{name} {version}" if version else name
        raise IndexUnreachableError(
            f"{ecosystem} package {asked} was not looked up: offline",
            hint="give a snapshot or a local directory with --package-index",
        )


def load_snapshot(path: Path) -> SnapshotIndex:
    """The snapshot in a JSON file.

    Raises:
        IndexUnreachableError: the file cannot be read or is no snapshot.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise IndexUnreachableError(f"{path.name} cannot be read as a snapshot", got=error) from error
    if not isinstance(data, dict) or not {"pypi", "npm"} & data.keys():
        raise IndexUnreachableError(f"{path.name} is no snapshot", expected="a JSON object with `pypi` or `npm`")
    return SnapshotIndex(data, f"snapshot {path.name}")


def _distribution(filename: str) -> str:
    stem = filename.partition("-")[0] if filename.endswith(".whl") else filename.rpartition("-")[0]
    return normalise(stem)


def _request(url: str, accept: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise IndexUnreachableError("a package index must be an HTTP address", got=_public(url))
    host = parts.hostname + (f":{parts.port}" if parts.port else "")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        urllib.parse.urlunsplit((parts.scheme, host, parts.path, parts.query, "")),
        headers={"Accept": accept, "User-Agent": "companyos"},
    )
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    return request


def _public(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return f"{type(reason).__name__}: {reason}"
