"""Specimens of G03, held against a small index of their own: no specimen ever asks the network."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from companyos.controls import Specimen, tree_specimen
from companyos.guardrails.packages.control import Trial
from companyos.guardrails.packages.indexes import SnapshotIndex
from companyos.guardrails.packages.public import PUBLIC_PYPI

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ("INDEX", "specimens")


def _sha(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


_INTEGRITY = "sha512-" + "A" * 86 + "=="
INDEX: dict[str, Any] = {
    "pypi": {
        "click": {"8.1.7": {"hashes": [_sha("click")]}},
        "attrs": {"24.2": {"hashes": [_sha("attrs")]}, "21.1.0": {"hashes": [_sha("old")], "yanked": True}},
        "pyyaml": {"6.0.2": {"hashes": [_sha("pyyaml")]}},
        "reqeusts": {"1.0": {"hashes": [_sha("squat")]}},
        "hatchling": {"1.27.0": {"hashes": [_sha("hatchling")]}},
    },
    "npm": {
        "react": {"18.2.0": {"hashes": [_INTEGRITY]}},
        "loadash": {"1.0.0": {"hashes": [_INTEGRITY]}},
        "@types/node": {"20.1.0": {"hashes": [_INTEGRITY]}},
    },
}
"""What the specimens' index holds."""


def specimens() -> tuple[Specimen, ...]:
    """Planted dependencies that are not real, not pinned or not what was locked, and sound ones."""
    planted = [_trial(name, {path: text}, rule) for rule, name, path, text in _planted()]
    planted += [_trial(name, files, rule) for rule, name, files in _planted_in_several()]
    return (*planted, *(_trial(name, files, None) for name, files in _clean()))


def _trial(name: str, files: dict[str, str], violates: str | None) -> Specimen:
    plain = tree_specimen(name, files)

    def build(scratch: Path) -> Trial:
        return Trial(plain.build(scratch), SnapshotIndex(INDEX, "specimens"))

    return Specimen(name, build, violates)


def _pin(name: str, version: str, digest: str) -> str:
    return f"{name}=={version} --hash={digest}\n"


def _lock(name: str, version: str, integrity: str = _INTEGRITY) -> str:
    entry = {"version": version, "integrity": integrity} if integrity else {"version": version}
    packages = {"": {"name": "x"}, f"node_modules/{name}": entry}
    return json.dumps({"lockfileVersion": 3, "packages": packages}, indent=2)


def _project(*dependencies: str) -> str:
    listed = ", ".join(f'"{dependency}"' for dependency in dependencies)
    return f'[project]\nname = "orders"\ndependencies = [{listed}]\n'


def _planted() -> Iterable[tuple[str, str, str, str]]:
    requirements, click = "requirements.txt", _pin("click", "8.1.7", _sha("click"))
    yield "G03.unknown-package", "an invented name", requirements, click + _pin("fastapi-easy-auth", "1.0", _sha("x"))
    yield "G03.unknown-package", "in pyproject.toml", "pyproject.toml", _project("click>=8", "structlog-magic>=1")
    yield "G03.unknown-package", "in package.json", "package.json", '{"dependencies": {"react-easy-auth": "1.0.0"}}\n'
    yield "G03.unknown-package", "in package-lock.json", "package-lock.json", _lock("left-pad-pro", "1.0.0")
    yield "G03.unknown-package", "in uv.lock", "uv.lock", _uv("ghost-lib", "1.0", _sha("g"))
    yield "G03.unknown-version", "requirements", requirements, _pin("click", "99.0", _sha("click"))
    yield "G03.unknown-version", "package-lock", "package-lock.json", _lock("react", "99.0.0")
    yield "G03.yanked", "a withdrawn version", requirements, _pin("attrs", "21.1", _sha("old"))
    yield "G03.unpinned", "a range in a requirement file", requirements, "click>=8\n"
    yield "G03.unpinned", "a bare name and no lock", "pyproject.toml", _project("click")
    yield "G03.unpinned", "latest, npm", "package.json", '{"dependencies": {"react": "latest"}}\n'
    yield "G03.no-hash", "a pin without digest", requirements, "click==8.1.7\n"
    yield "G03.no-hash", "a URL without digest", requirements, "thing @ https://files.corp/thing-1.0-py3-none-any.whl\n"
    yield "G03.no-hash", "package-lock without integrity", "package-lock.json", _lock("react", "18.2.0", "")
    yield "G03.no-hash", "an editable checkout", requirements, "-e git+https://git.corp/x.git@main#egg=thing\n"
    yield "G03.no-hash", "a URL in pyproject.toml", "pyproject.toml", _project("thing @ https://x.corp/t-1.0.tar.gz")
    yield "G03.no-hash", "a URL in package.json", "package.json", '{"dependencies": {"t": "https://x.corp/t.tgz"}}\n'
    yield "G03.no-hash", "a branch in package.json", "package.json", '{"dependencies": {"t": "github:corp/t"}}\n'
    yield "G03.unknown-package", "requirements of another name", "dev-requirements.txt", _pin("ghost", "1", _sha("x"))
    yield "G03.unknown-package", "a requirement to be compiled", "requirements.in", "ghost-lib>=1\n"
    yield "G03.unknown-package", "a constraint", "constraints.txt", "ghost-lib==1\n"
    poetry = '[tool.poetry.group.dev.dependencies]\nghost-lib = "^1"\n'
    yield "G03.unknown-package", "a group of poetry", "pyproject.toml", poetry
    grouped = '[dependency-groups]\ndev = ["ghost-lib>=1"]\n'
    yield "G03.unknown-package", "a dependency group", "pyproject.toml", grouped
    for tool in ("uv]\ndev-dependencies", "pdm.dev-dependencies]\ntest", "hatch.envs.x]\ndependencies"):
        name = f"a table of {tool.partition(']')[0]}"
        yield "G03.unknown-package", name, "pyproject.toml", f'[tool.{tool} = ["ghost-lib>=1"]\n'
    yield "G03.foreign-index", "an index", requirements, f"--index-url https://pkg.evil.example/simple\n{click}"
    yield "G03.foreign-index", "one more index", requirements, f"--extra-index-url=https://evil.example/x\n{click}"
    yield "G03.foreign-index", "files elsewhere", requirements, f"-f https://evil.example/files\n{click}"
    source = '[[tool.uv.index]]\nurl = "https://evil.example/simple"\n'
    yield "G03.foreign-index", "a source in pyproject.toml", "pyproject.toml", _project("click>=8") + source
    yield "G03.hash-mismatch", "another file than the index has", requirements, _pin("click", "8.1.7", _sha("other"))
    yield "G03.hash-mismatch", "npm", "package-lock.json", _lock("react", "18.2.0", "sha512-" + "B" * 86 + "==")
    yield "G03.lookalike", "two letters swapped", requirements, _pin("reqeusts", "1.0", _sha("squat"))
    yield "G03.lookalike", "a letter too many, npm", "package-lock.json", _lock("loadash", "1.0.0")
    yield "G03.unprovided-import", "a module nobody provides", "src/app.py", "import fastapi_turbo\n"
    yield (
        "G03.unprovided-import",
        "inside a function",
        "app.py",
        "def f():\n    from llm_magic.core import run\n    return run()\n",
    )
    yield "G03.unreadable", "broken TOML", "pyproject.toml", "[project\nname = 1\n"
    yield "G03.unreadable", "JSON that is no lock", "package-lock.json", "[1, 2]\n"


def _planted_in_several() -> Iterable[tuple[str, str, dict[str, str]]]:
    click = _pin("click", "8.1.7", _sha("click"))
    drawn = {"requirements.txt": f"-r deps/prod.list\n{click}", "deps/prod.list": _pin("ghost-lib", "1", _sha("x"))}
    yield "G03.unknown-package", "a file that another draws in", drawn
    hidden = {"package.json": '{"dependencies": {"ghost-lib": "file:./x"}}', "x/a.js": "1", "requirements.txt": click}
    hidden["requirements.txt"] += _pin("ghost-lib", "1", _sha("x"))
    yield "G03.unknown-package", "the name of a local npm package", hidden
    yield "G03.unpinned", "a lock of other packages", {"pyproject.toml": _project("pyyaml"), "requirements.txt": click}


def _clean() -> Iterable[tuple[str, dict[str, str]]]:
    pins = _pin("click", "8.1.7", _sha("click")) + _pin("PyYAML", "6.0.2", _sha("pyyaml"))
    yield (
        "pinned with digests, over several lines",
        {
            "requirements.txt": f"# locked\nclick==8.1.7 \\\n    --hash={_sha('click')}"
            f" \\\n    --hash={_sha('second')}\n",
            "src/app.py": "import os\nimport click\n",
        },
    )
    yield (
        "a project with its lock",
        {
            "pyproject.toml": '[build-system]\nrequires = ["hatchling>=1.27"]\n' + _project("click", "pyyaml>=6"),
            "requirements.lock": pins,
            "src/orders/main.py": "import yaml\nfrom orders.models import Order\nfrom . import models\n",
            "src/orders/models.py": "import click\n\n\nclass Order(click.Command):\n    kind = 1\n",
        },
    )
    yield (
        "npm with its lock",
        {
            "package.json": '{"dependencies": {"react": "^18.0.0"}, "devDependencies": {"@types/node": "20.1.0"}}\n',
            "package-lock.json": _lock("react", "18.2.0"),
        },
    )
    yield (
        "a stated source with its digest",
        {
            "requirements.txt": f"companyos @ https://files.corp/companyos-1.0-py3-none-any.whl --hash={_sha('w')}\n",
            "pyproject.toml": _project("companyos[authz]>=1"),
            "src/a.py": "import companyos\n",
        },
    )
    yield (
        "an optional import",
        {"src/a.py": "try:\n    import ujson_fast as json\nexcept ImportError:\n    import json\n"},
    )
    yield from _clean_sources()


def _clean_sources() -> Iterable[tuple[str, dict[str, str]]]:
    pins = _pin("click", "8.1.7", _sha("click")) + _pin("PyYAML", "6.0.2", _sha("pyyaml"))
    yield "uv.lock", {"uv.lock": _uv("click", "8.1.7", _sha("click")), "src/a.py": "import click\n"}
    yield (
        "tests with requirements of their own",
        {"tests/requirements.txt": "ghost-lib==1.0\n", "tests/test_a.py": "import ghost_lib\n", "app.py": "x = 1\n"},
    )
    yield (
        "sources of the tree itself, and a commit",
        {
            "requirements.txt": f"-e ./libs/core\n-e git+https://git.corp/x.git@{'0a' * 20}#egg=thing\n",
            "libs/core/core.py": "x = 1\n",
            "package.json": '{"dependencies": {"ours": "workspace:*", "core": "file:libs/core"}}\n',
        },
    )
    files = {
        "requirements/base.txt": f"--find-links ../wheels\n--index-url {PUBLIC_PYPI}\n{pins}",
        "requirements/dev.txt": "-r base.txt\n-c ../constraints.txt\n",
        "constraints.txt": "click==8.1.7\n",
        "wheels/readme.txt": "Wheels lie here.\n",
    }
    yield "files that draw each other in", files
    yield "setup.py that declares nothing", {"setup.py": "from setuptools import setup\n\nsetup()\n"}
    yield "no dependency at all", {"src/a.py": "import sys\n\nsys.exit(0)\n"}
    yield "manifests of tests", {"src/a.py": "import os\n", "tests/fixtures/bad/requirements.txt": "invented-name\n"}


def _uv(name: str, version: str, digest: str) -> str:
    return (
        f'version = 1\n\n[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "r" }}\n'
        f'wheels = [{{ hash = "{digest}" }}]\n\n[[package]]\nname = "orders"\n'
        'version = "0"\nsource = { virtual = "." }\n'
    )
