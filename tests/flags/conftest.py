from __future__ import annotations

import pytest
import yaml
from openfeature import api


@pytest.fixture
def write(tmp_path):
    """Writes a file of flags (a mapping of them, or raw text) and returns its path."""
    path = tmp_path / "feature-flags" / "flags.yaml"
    path.parent.mkdir()

    def write_flags(content):
        path.write_text(content if isinstance(content, str) else yaml.safe_dump({"flags": content}), encoding="utf-8")
        return path

    return write_flags


@pytest.fixture(autouse=True)
def _no_providers_left():
    yield
    api.clear_providers()
