"""What the tests of this room share."""

from __future__ import annotations

import pytest


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
