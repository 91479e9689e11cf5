"""What the tests of this room share."""

from __future__ import annotations

import importlib.util

import pytest

from companyos import plugins


@pytest.fixture(autouse=True)
def _installed_rooms(monkeypatch):
    """Only rooms that this checkout holds are asked for controls."""

    def is_there(module):
        try:
            return importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            return False

    present = tuple(builtin for builtin in plugins.BUILTINS if is_there(builtin[1]))
    monkeypatch.setattr(plugins, "BUILTINS", present)


@pytest.fixture
def plant(tmp_path):
    """Writes files (relative path to text or bytes) into a fresh tree and returns it."""

    def write(files):
        root = tmp_path / "tree"
        root.mkdir(exist_ok=True)
        for path, content in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return write
