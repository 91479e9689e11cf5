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


FREEZE = """package companyos.access

import rego.v1

deny contains {"id": "policy.freeze", "message": "nothing is deleted in a freeze"} if {
\tinput.action == "delete"
\tinput.environment.freeze
}
"""
FREEZE_TESTS = """- name: nothing is deleted in a freeze
  request:
    subject: {id: u-1, type: user}
    action: delete
    resource: {id: d-1, type: document, owner: u-1}
    environment: {freeze: true}
  expect: {decision: deny, reason: policy.freeze, obligations: [require_mfa]}
- name: the owner deletes
  request:
    subject: {id: u-1, type: user}
    action: delete
    resource: {id: d-1, type: document, owner: u-1}
    environment: {auth_strength: mfa}
  expect: {decision: allow}
"""


@pytest.fixture
def freeze(tmp_path):
    """Writes the freeze policy as a directory: version, policy, tests."""

    def write(version="1.0.0", policy=FREEZE, tests=FREEZE_TESTS, name="freeze"):
        directory = tmp_path / version / name
        (directory / "tests").mkdir(parents=True)
        (directory / "metadata.yaml").write_text(f"owner: platform\nversion: {version}\nextends: playbook\n")
        (directory / "freeze.rego").write_text(policy)
        if tests is not None:
            (directory / "tests" / "freeze.yaml").write_text(tests)
        return directory

    return write
