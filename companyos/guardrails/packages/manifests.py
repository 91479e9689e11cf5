"""Dependencies out of the files that declare them: requirement files, pyproject.toml, Python locks, npm's two files.

Formats: pip's requirements file format, PEP 508, PEP 621, PEP 735, PEP 751, uv.lock, poetry.lock, package-lock v2/v3.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.guardrails.packages.interface import Dependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ("Manifest", "normalise", "read_manifest")

_REQUIREMENT_FILE = re.compile(r"(^|/)(requirements[^/]*\.(txt|lock)|requirements/[^/]+\.(txt|lock))$")
_UNSUPPORTED = re.compile(r"(^|/)(pnpm-lock\.yaml|yarn\.lock|Pipfile\.lock|bun\.lockb?|environment\.ya?ml)$")
_HASH = re.compile(r"--hash[= ](?P<hash>[a-z0-9]+:[0-9a-fA-F]+)")
_NAMED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*(?P<rest>.*)$")
_EXACT = re.compile(r"^={2,3}\s*(?P<version>[^\s,;*]+)$")
_EXACT_NPM = re.compile(r"^=?v?\d+\.\d+\.\d+([-+][\w.\-+]+)?$")
_LOCAL = re.compile(r"^(\.{0,2}/|file:|[^:@\s]+\.(whl|tar\.gz|zip)(\s|$))")


@dataclass
class Manifest:
    """What one file declares."""

    path: str
    """The file, relative to the tree."""
    dependencies: list[Dependency] = field(default_factory=list)
    """What it declares."""
    own_name: str | None = None
    """The project it belongs to, if it says so."""
    links: list[str] = field(default_factory=list)
    """Directories it names by `--find-links`, relative to the tree."""
    problem: str = ""
    """Why it cannot be read, if so."""
    unsupported: str = ""
    """Why it is not judged, if so; such a file is a gap, never a pass."""


def normalise(name: str) -> str:
    """The normalised form of a Python package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_manifest(path: str, text: str, *, named: bool = False) -> Manifest | None:
    """What a file declares; None when it is no file that declares dependencies.

    A text file that a caller named is taken for a requirement file whatever it is called.
    """
    manifest = Manifest(path)
    base = path.rpartition("/")[2]
    reader: Callable[[Manifest, str], None] | None = _READERS.get(base)
    if reader is None and re.fullmatch(r"pylock\.[^/]+\.toml", base):
        reader = _pylock
    if reader is None and (_REQUIREMENT_FILE.search(path) or (named and path.endswith((".txt", ".lock")))):
        reader = _requirements
    if reader is None:
        if not _UNSUPPORTED.search(path):
            return None
        manifest.unsupported = f"{path}: this kind of lock file cannot be judged yet"
        return manifest
    try:
        reader(manifest, text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        manifest.problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return manifest


def _requirements(manifest: Manifest, text: str) -> None:
    here = manifest.path.rpartition("/")[0]
    for number, line in _logical_lines(text):
        option = re.match(r"(-f|--find-links)[= ]+(\S+)", line)
        if option and "://" not in option.group(2):
            manifest.links += [option.group(2), f"{here}/{option.group(2)}"]
        if line.startswith("-") or not line:
            continue
        manifest.dependencies.append(_requirement(manifest.path, number, line))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    parts: list[str] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        start = start if parts else number
        if line.endswith("\\"):
            parts.append(line[:-1].strip())
            continue
        yield start, " ".join([*parts, line]).strip()
        parts = []
    if parts:
        yield start, " ".join(parts)


def _requirement(path: str, number: int, line: str) -> Dependency:
    hashes = frozenset(match.group("hash").lower() for match in _HASH.finditer(line))
    text = _HASH.sub("", line).partition(";")[0].strip() if " @ " not in line else _HASH.sub("", line).strip()
    if _LOCAL.match(text) or re.match(r"^[a-z+]+://", text):
        name = re.match(r"(?P<name>.+?)-\d", text.rpartition("/")[2])
        return Dependency(
            "pypi", normalise(name.group("name") if name else text), None, path, number, hashes, True, True, text
        )
    return _pep508(path, number, text, hashes, locked=True)


def _pep508(
    path: str, number: int, text: str, hashes: frozenset[str] = frozenset(), *, locked: bool = False
) -> Dependency:
    named = _NAMED.match(text.strip())
    if named is None:
        raise ValueError(f"line {number}: not a requirement: {text[:60]!r}")
    name, rest = normalise(named.group("name")), named.group("rest")
    if rest.startswith("@"):
        source = rest[1:].partition(" ;")[0].strip()
        fragment = re.search(r"[#&](sha\d+)=([0-9a-fA-F]+)", source)
        found = hashes | ({f"{fragment.group(1)}:{fragment.group(2).lower()}"} if fragment else frozenset())
        return Dependency("pypi", name, None, path, number, found, locked, True, source)
    specifier = rest.partition(";")[0].strip().strip("()")
    exact = _EXACT.match(specifier)
    return Dependency(
        "pypi", name, exact.group("version") if exact else None, path, number, hashes, locked, bool(specifier)
    )


def _pyproject(manifest: Manifest, text: str) -> None:
    data = tomllib.loads(text)
    project = data.get("project", {})
    manifest.own_name = normalise(project["name"]) if "name" in project else None
    declared = [*project.get("dependencies", ()), *data.get("build-system", {}).get("requires", ())]
    for group in (*project.get("optional-dependencies", {}).values(), *data.get("dependency-groups", {}).values()):
        declared += [item for item in group if isinstance(item, str)]
    lines = text.splitlines()
    for requirement in declared:
        number = next(
            (n for n, line in enumerate(lines, start=1) if f'"{requirement}"' in line or f"'{requirement}'" in line), 1
        )
        manifest.dependencies.append(_pep508(manifest.path, number, requirement))
    for name in data.get("tool", {}).get("poetry", {}).get("dependencies", {}):
        if name != "python":
            manifest.dependencies.append(Dependency("pypi", normalise(name), None, manifest.path, 1))


def _toml_lock(manifest: Manifest, text: str) -> None:
    data = tomllib.loads(text)
    for package in data.get("package", ()):
        source = package.get("source", {})
        if not isinstance(source, dict) or {"virtual", "editable", "workspace", "directory"} & source.keys():
            continue
        files = [
            *package.get("files", ()),
            *package.get("wheels", ()),
            *([package["sdist"]] if "sdist" in package else []),
        ]
        direct = source.get("git") or source.get("url") or source.get("path")
        manifest.dependencies.append(
            _locked(manifest.path, text, package, [str(f.get("hash", "")) for f in files], direct)
        )


def _pylock(manifest: Manifest, text: str) -> None:
    for package in tomllib.loads(text)["packages"]:
        if "directory" in package:
            continue
        files = [*package.get("wheels", ()), *(package[key] for key in ("sdist", "archive") if key in package)]
        hashes = [f"{kind}:{value}" for file in files for kind, value in file.get("hashes", {}).items()]
        vcs = package.get("vcs", package.get("archive"))
        manifest.dependencies.append(_locked(manifest.path, text, package, hashes, str(vcs) if vcs else None))


def _locked(path: str, text: str, package: Mapping[str, Any], hashes: Iterable[str], direct: str | None) -> Dependency:
    name = normalise(package["name"])
    line = text.count("\n", 0, max(text.find(f'name = "{package["name"]}"'), 0)) + 1
    found = frozenset(value.lower() for value in hashes if ":" in value)
    return Dependency("pypi", name, package.get("version"), path, line, found, True, True, direct)


def _package_json(manifest: Manifest, text: str) -> None:
    data = _object(json.loads(text))
    for section in ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies"):
        for name, wanted in _object(data.get(section, {})).items():
            manifest.dependencies.append(_npm(manifest.path, text, name, str(wanted)))


def _npm(path: str, text: str, name: str, wanted: str) -> Dependency:
    line = text.count("\n", 0, max(text.find(f'"{name}"'), 0)) + 1
    alias = re.match(r"npm:(@?[^@]+)@(.+)", wanted)
    name, wanted = (alias.group(1), alias.group(2)) if alias else (name, wanted)
    direct = (
        wanted if re.match(r"(file|link|workspace|portal|git[+\w]*|https?|github):|[\w.-]+/[\w.-]+", wanted) else None
    )
    exact = wanted.lstrip("=v") if _EXACT_NPM.match(wanted) else None
    return Dependency("npm", name, exact, path, line, bounded=wanted not in {"", "*", "latest", "x"}, direct=direct)


def _package_lock(manifest: Manifest, text: str) -> None:
    data = _object(json.loads(text))
    if data.get("lockfileVersion") not in {2, 3}:
        manifest.unsupported = f"{manifest.path}: lock file version {data.get('lockfileVersion')!r}, expected 2 or 3"
        return
    for place, entry in _object(data["packages"]).items():
        if "node_modules/" not in place or entry.get("link") or entry.get("inBundle"):
            continue
        name = entry.get("name") or place.rpartition("node_modules/")[2]
        line = text.count("\n", 0, max(text.find(f'"{place}"'), 0)) + 1
        hashes = frozenset(str(entry.get("integrity", "")).split())
        resolved = str(entry.get("resolved", ""))
        direct = resolved if resolved.startswith(("git", "file:")) else None
        manifest.dependencies.append(
            Dependency("npm", name, entry["version"], manifest.path, line, hashes, True, True, direct)
        )


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a JSON object, got {type(value).__name__}")
    return value


_READERS: dict[str, Callable[[Manifest, str], None]] = {
    "package-lock.json": _package_lock,
    "npm-shrinkwrap.json": _package_lock,
    "package.json": _package_json,
    "poetry.lock": _toml_lock,
    "pylock.toml": _pylock,
    "pyproject.toml": _pyproject,
    "uv.lock": _toml_lock,
}
