from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from companyos.scaffold.bundle import template_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test sees the cache, the home or the Git identity of whoever runs it."""
    cache, home = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("home")
    monkeypatch.setenv("COMPANYOS_CACHE_DIR", str(cache))
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    return cache


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A small wheel of the right name, for tests that never install it."""
    return make_wheel(tmp_path_factory.mktemp("wheel"), "ours")


@pytest.fixture
def checkout(tmp_path):
    """A copy of the template's sources, to be changed."""
    target = tmp_path / "checkout"
    for relative in template_files(ROOT):
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / relative, target / relative)
    return target


def make_wheel(directory, says, version="0.1.0"):
    """A valid wheel called companyos whose only module says who made it."""
    path = directory / f"companyos-{version}-py3-none-any.whl"
    info = f"companyos-{version}.dist-info"
    extras = "".join(f"Provides-Extra: {name}\n" for name in ("authz", "flags", "observability"))
    files = {
        "companyos/__init__.py": f"MAKER = {says!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: companyos\nVersion: {version}\n{extras}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return path


@pytest.fixture
def wheel_maker():
    """`make_wheel`."""
    return make_wheel
