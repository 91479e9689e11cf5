"""Dependencies out of the files that declare them: requirement files, pyproject.toml, Python locks, npm's two files.

Formats: pip's requirements file format, PEP 508, PEP 621, PEP 735, PEP 751, uv.lock, poetry.lock, package-lock v2/v3.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from companyos.guardrails.packages.interface import Dependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ("Manifest", "normalise", "read_manifest")

_REQUIREMENT_FILE = re.compile(
    r"(^|/)([^/]*requirements[^/]*\.(txt|lock|in)|constraints[^/]*\.txt|requirements/[^/]+\.(txt|lock|in))$"
)
_NOT_A_LOCK = re.compile(r"(^|/)(constraints[^/]*\.txt|[^/]+\.in)$")
_UNSUPPORTED = re.compile(
    r"(^|/)(pnpm-lock\.yaml|yarn\.lock|bun\.lockb?|Pipfile(\.lock)?|environment\.ya?ml|conda-lock\.ya?ml|Cargo\.(toml|lock)|"
    r"Gemfile(\.lock)?|[^/]+\.gemspec|composer\.(json|lock)|go\.(mod|sum)|pom\.xml|build\.gradle(\.kts)?|pubspec\.(yaml|lock)|"
    r"mix\.(exs|lock)|Package\.(swift|resolved)|[^/]+\.csproj|packages\.(config|lock\.json))$"
)
_SETUP = re.compile(r"(^|/)setup\.(py|cfg)$")
_SETUP_REQUIRES = re.compile(
    r"\b(install_requires|setup_requires|tests_require|extras_require|options\.extras_require)\b"
)
_COMMIT = re.compile(r"[@#=](?P<commit>[0-9a-f]{40})\b")
_OPTION = re.compile(
    r"(?:(?P<editable>-e|--editable)|(?P<include>-[rc]|--requirement|--constraint)|"
    r"(?P<index>-[if]|--index-url|--extra-index-url|--find-links)|--?[a-z][a-z-]*)[= ]*(?P<value>\S*).*"
)
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
    includes: list[tuple[int, str]] = field(default_factory=list)
    """Line and place of the requirement files that it draws in."""
    indexes: list[tuple[int, str]] = field(default_factory=list)
    """Line and place of the indexes and directories of packages that it names."""
    problem: str = ""
    """Why it cannot be read, if so."""
    unsupported: str = ""
    """Why it is not judged, if so; such a file is a gap, never a pass."""


def normalise(name: str) -> str:
    """The normalised form of a Python package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_manifest(path: str, text: str, *, named: bool = False, drawn_in: bool = False) -> Manifest | None:
    """What a file declares; None when it is no file that declares dependencies.

    A text file that a caller named is taken for a requirement file whatever it is called, and so is any file that
    another requirement file draws in.
    """
    manifest = Manifest(path)
    base = path.rpartition("/")[2]
    reader: Callable[[Manifest, str], None] | None = _requirements if drawn_in else _READERS.get(base)
    if reader is None and re.fullmatch(r"pylock\.[^/]+\.toml", base):
        reader = _pylock
    if reader is None and (_REQUIREMENT_FILE.search(path) or (named and path.endswith((".txt", ".lock")))):
        reader = _requirements
    if reader is None:
        declares = _UNSUPPORTED.search(path) or (_SETUP.search(path) and _SETUP_REQUIRES.search(text))
        manifest.unsupported = f"{path}: dependencies declared in such a file cannot be judged yet"
        return manifest if declares else None
    try:
        reader(manifest, text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        manifest.problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return manifest


def _requirements(manifest: Manifest, text: str) -> None:
    locked = not _NOT_A_LOCK.search(manifest.path)
    for number, line in _logical_lines(text):
        option = _OPTION.match(line)
        if option is None:
            manifest.dependencies += [_requirement(manifest.path, number, line, locked=locked)] if line else []
        elif option.group("editable"):
            editable = _requirement(manifest.path, number, option.group("value"), locked=locked)
            manifest.dependencies.append(editable if editable.direct else replace(editable, direct=editable.name))
        elif option.group("include"):
            manifest.includes.append((number, option.group("value")))
        elif option.group("index"):
            manifest.indexes.append((number, option.group("value")))


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


def _requirement(path: str, number: int, line: str, *, locked: bool = True) -> Dependency:
    hashes = frozenset(match.group("hash").lower() for match in _HASH.finditer(line))
    line = re.sub(r"\s--[a-z].*$", "", _HASH.sub("", line))
    text = line.partition(";")[0].strip() if " @ " not in line else line.strip()
    if _LOCAL.match(text) or text in {".", ".."} or re.match(r"^[a-z+]+://", text):
        egg = re.search(r"#egg=(?P<name>[\w.-]+)", text)
        name = egg or re.match(r"(?P<name>.+?)-\d", text.rpartition("/")[2])
        found = hashes | _digests(text)
        return Dependency(
            "pypi", normalise(name.group("name") if name else text), None, path, number, found, locked, True, text
        )
    return _pep508(path, number, text, hashes, locked=locked)


def _digests(source: str) -> frozenset[str]:
    found = {f"{m.group(1)}:{m.group(2).lower()}" for m in re.finditer(r"[#&](sha\d+)=([0-9a-fA-F]+)", source)}
    # A commit's full id is the digest of what it holds.
    commit = _COMMIT.search(source) if "git" in source else None
    return frozenset(found | ({f"git:{commit.group('commit')}"} if commit else set()))


def _pep508(
    path: str, number: int, text: str, hashes: frozenset[str] = frozenset(), *, locked: bool = False
) -> Dependency:
    named = _NAMED.match(text.strip())
    if named is None:
        raise ValueError(f"line {number}: not a requirement: {text[:60]!r}")
    name, rest = normalise(named.group("name")), named.group("rest")
    if rest.startswith("@"):
        source = rest[1:].partition(" ;")[0].strip()
        return Dependency("pypi", name, None, path, number, hashes | _digests(source), locked, True, source)
    specifier = rest.partition(";")[0].strip().strip("()")
    exact = _EXACT.match(specifier)
    return Dependency(
        "pypi", name, exact.group("version") if exact else None, path, number, hashes, locked, bool(specifier)
    )


def _pyproject(manifest: Manifest, text: str) -> None:
    data = tomllib.loads(text)
    project, tool = data.get("project", {}), data.get("tool", {})
    poetry = tool.get("poetry", {})
    own = project.get("name") or poetry.get("name")
    manifest.own_name = normalise(own) if own else None
    declared = [*project.get("dependencies", ()), *data.get("build-system", {}).get("requires", ())]
    for group in (*project.get("optional-dependencies", {}).values(), *data.get("dependency-groups", {}).values()):
        declared += [item for item in group if isinstance(item, str)]
    for requirement in (*declared, *_of_tools(tool)):
        if requirement.startswith("-e ") or "{" in requirement.partition(";")[0]:
            manifest.unsupported = f"{manifest.path}: {requirement[:60]!r} cannot be judged yet"
            continue
        manifest.dependencies.append(_pep508(manifest.path, _line_with(text, requirement), requirement))
    groups = [poetry, {"dependencies": poetry.get("dev-dependencies", {})}, *poetry.get("group", {}).values()]
    for name, wanted in ((n, w) for group in groups for n, w in group.get("dependencies", {}).items()):
        for one in wanted if isinstance(wanted, list) else [wanted]:
            manifest.dependencies += [] if name == "python" else [_poetry(manifest.path, text, name, one)]
    named = (*tool.get("uv", {}).get("index", ()), *poetry.get("source", ()), *tool.get("pdm", {}).get("source", ()))
    manifest.indexes += [(_line_with(text, entry["url"]), entry["url"]) for entry in named if "url" in entry]


def _of_tools(tool: Mapping[str, Any]) -> Iterator[str]:
    yield from tool.get("uv", {}).get("dev-dependencies", ())
    for group in tool.get("pdm", {}).get("dev-dependencies", {}).values():
        yield from group
    for environment in tool.get("hatch", {}).get("envs", {}).values():
        yield from environment.get("dependencies", ())
        yield from environment.get("extra-dependencies", ())


def _poetry(path: str, text: str, name: str, wanted: Any) -> Dependency:
    table = wanted if isinstance(wanted, dict) else {"version": str(wanted)}
    version = str(table.get("version", "*")).strip()
    direct = table.get("git") or table.get("url") or table.get("path")
    exact = re.fullmatch(r"={2,3}\s*([^\s,*]+)", version)
    hashes = _digests(f"git@{table['rev']}" if "rev" in table else str(direct or ""))
    line = text.count("\n", 0, max(text.find(f"\n{name} ") + 1, text.find(f"\n{name}=") + 1)) + 1
    return Dependency(
        "pypi", normalise(name), exact.group(1) if exact else None, path, line, hashes, False, version != "*", direct
    )


def _line_with(text: str, value: str) -> int:
    places = (text.find(f'"{value}"'), text.find(f"'{value}'"))
    return text.count("\n", 0, max(0, *places)) + 1


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
        git = f"git+{source['git']}" if "git" in source else None
        direct = git or source.get("url") or source.get("path")
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
    found = frozenset(value.lower() for value in hashes if ":" in value) | _digests(direct or "")
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
    bounded = wanted not in {"", "*", "latest", "x"}
    hashes = _digests(f"git {direct}") if direct else frozenset()
    return Dependency("npm", name, exact, path, line, hashes, bounded=bounded, direct=direct)


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
        hashes |= _digests(resolved) if direct else frozenset()
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
