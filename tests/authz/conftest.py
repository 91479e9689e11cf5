from __future__ import annotations

import pytest

from companyos.authz import Authorizer, LogEvent, MaskFields, RegoEngine, RequireApproval, RequireMfa
from companyos.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture(scope="session")
def playbook():
    return RegoEngine()


@pytest.fixture
def handlers():
    return (LogEvent(), MaskFields(), RequireApproval(), RequireMfa())


@pytest.fixture
def authorizer(playbook, ledger, handlers):
    return Authorizer(playbook, ledger, handlers=handlers)


@pytest.fixture
def policies(tmp_path):
    """Writes a policy directory holding the given files, with metadata unless it is given."""

    def write(name="policies", /, **files):
        directory = tmp_path / name
        directory.mkdir(parents=True)
        files = {"metadata.yaml": "owner: team\nversion: 1.0.0\n"} | {
            key.replace("__", "."): text for key, text in files.items()
        }
        for file, text in files.items():
            (directory / file).write_text(text, encoding="utf-8")
        return directory

    return write
