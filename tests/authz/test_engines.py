"""The contract of engines, kept by each of ours; and the playbook, decided the same by each."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companyos.authz import RegoEngine, RequestError, build_request, playbook_control, request_from_dict
from companyos.authz.engines import rego
from companyos.authz.engines._remote import RemoteSettings
from companyos.authz.engines.cedar import CedarEngine
from companyos.authz.engines.opa import OpaEngine
from companyos.authz.specimens.tables import table_specimens
from companyos.canonical import digest
from companyos.controls import prove
from companyos.testing import EngineContract
from tests.authz.requests import MASKED, READ, UNKNOWN

METADATA = "owner: team\nversion: 1.0.0\n"
FIXED = (Path(rego.__file__).parent / "decision.rego").read_text(encoding="utf-8")
REGO = "package companyos.access\n\nimport rego.v1\n\n"
READ_RULE = REGO + 'allow contains {"id": "contract.allow"} if { input.action == "read" }\n'
IN_REGO = {
    "allow": READ_RULE,
    "deny": READ_RULE + 'deny contains {"id": "contract.deny"} if { input.resource.id == "secret" }\n',
    "oblige": READ_RULE
    + 'obligation contains {"id": "contract_log", "type": "notification", '
    + '"properties": {"to": "contract", "body": input.action}} if '
    + '{ input.action == "read" }\n',
    "write": READ_RULE.replace('"read"', '"write"'),
    "malformed": REGO + "allow contains if if\n",
    "failing": READ_RULE
    + 'deny contains {"id": "contract.deny"} if { input.resource.id == "trap"; to_number(input.resource.id) > 0 }\n',
}
PERMIT = '@id("contract.allow") permit (principal, action == Action::"read", resource);\n'
IN_CEDAR = {
    "allow": PERMIT,
    "deny": PERMIT + '@id("contract.deny") forbid (principal, action, resource) when { resource.id == "secret" };\n',
    "oblige": PERMIT
    + '@id("contract.log") @obligations("[{\\"id\\": \\"contract_log\\", \\"type\\": \\"notification\\", '
    + '\\"properties\\": {\\"to\\": \\"contract\\", \\"body\\": {\\"$from\\": \\"action\\"}}}]") '
    + 'forbid (principal, action == Action::"read", resource);\n',
    "write": PERMIT.replace('"read"', '"write"'),
    "malformed": '@id("contract.allow") permit (principal, action);\n',
    "failing": PERMIT
    + '@id("contract.deny") forbid (principal, action, resource) when { resource.id == "trap" && resource.missing };\n',
}


class _Playbook(EngineContract):
    """The playbook in the engine's own language."""

    allowed: ClassVar = READ
    denied: ClassVar = UNKNOWN

    def test_the_playbook_proves_itself(self):
        """Everything planted is caught by the right policy, and nothing clean is refused."""
        proof = prove(playbook_control(self.make_engine()))

        assert proof.to_dict()["failures"] == []
        assert proof.planted >= 150

    def test_decides_as_rego_does(self):
        """On every specimen each engine has the reason, the message and the obligations that Rego has."""
        engine, rego_engine = self.make_engine(), RegoEngine()
        requests = [READ, UNKNOWN, MASKED, *_specimens()]

        assert [_told(engine.decide(request)) for request in requests] == [
            _told(rego_engine.decide(request)) for request in requests
        ]
        assert len(requests) > 200


class TestRego(_Playbook):
    def make_engine(self):
        return RegoEngine()

    def make_engine_with(self, case, folder):
        (folder / "metadata.yaml").write_text(METADATA, encoding="utf-8")
        (folder / "policy.rego").write_text(IN_REGO[case], encoding="utf-8")
        return RegoEngine([folder])


class TestCedar(_Playbook):
    def make_engine(self):
        return CedarEngine()

    def make_engine_with(self, case, folder):
        (folder / "metadata.yaml").write_text(METADATA, encoding="utf-8")
        (folder / "policy.cedar").write_text(IN_CEDAR[case], encoding="utf-8")
        return CedarEngine([folder])


class TestOpa(_Playbook):
    @pytest.fixture(autouse=True)
    def server(self, opa_server):
        self.opa = opa_server
        self.opened = []
        yield
        for engine in self.opened:
            engine.close()

    def make_engine(self):
        loaded = RegoEngine().loaded()
        sources = {module.file: module.text for module in loaded.modules}
        return self._engine(sources, loaded.data)

    def make_engine_with(self, case, folder):
        if case == "malformed":
            # What does not parse an OPA refuses itself; what parses and is no decision it serves.
            return self._engine({"policy.rego": REGO + 'decision := "yes"\n'}, {})
        return self._engine({"decision.rego": FIXED, "policy.rego": IN_REGO[case]}, {})

    def _engine(self, sources, data):
        revision = digest({"sources": sources, "data": data})
        engine = OpaEngine(RemoteSettings(self.opa.load(sources, data, revision), timeout_seconds=20, read_seconds=20))
        self.opened.append(engine)
        return engine


def _specimens():
    for specimen in (*playbook_control().specimens, *table_specimens()):
        try:
            yield request_from_dict(specimen.build(Path()))
        except RequestError:
            continue


def _told(opinion):
    """What an opinion says, without the order of obligations, which no engine promises, and the policies' digest."""
    return (
        opinion.allow,
        opinion.reason,
        opinion.message,
        sorted((item.to_dict() for item in opinion.obligations), key=repr),
    )


_ORGANISATIONS = st.sampled_from(["acme", "other", ""])
_REGIONS = st.sampled_from(["eu", "eu-west-1", "us-east-1", "norwayeast", "moon", ""])
_LEVELS = st.one_of(st.sampled_from(["none", "low", "medium", "high", "top", "zz", ""]), st.integers(-1, 6))
_WORDS = st.one_of(st.sampled_from(["public", "pii", "internal", "high", "low", "Restricted"]), st.text(max_size=3))


def _some(**values):
    return st.fixed_dictionaries({}, optional=values)


_ATTRIBUTES = _some(
    clearance=_LEVELS,
    region=_REGIONS,
    jurisdiction=_REGIONS,
    org_id=_ORGANISATIONS,
    roles=st.lists(st.sampled_from(["editor", "admin", "Editor", "", "*"]), max_size=3),
)
_SUBJECTS = _some(
    status=st.sampled_from(["active", "suspended", "", "Active"]),
    org_id=_ORGANISATIONS,
    region=_REGIONS,
    attributes=_ATTRIBUTES,
)
_RESOURCES = _some(
    owner=st.sampled_from(["u-1", "u-2", ""]),
    org_id=_ORGANISATIONS,
    region=_REGIONS,
    jurisdiction=_REGIONS,
    destination_region=_REGIONS,
    contains_pii=st.booleans(),
    classification=_WORDS,
    sensitivity=_WORDS,
    required_clearance=_LEVELS,
    masked_fields=st.lists(st.text(max_size=4), max_size=3),
)
_ENVIRONMENTS = _some(
    approval_ticket=st.sampled_from(["CHG-7", "", " ", "  ", "x"]),
    auth_strength=st.sampled_from(["mfa", "password", "MFA", "aal2", ""]),
    destination_region=_REGIONS,
    note=st.text(max_size=5),
)
_ACTIONS = st.sampled_from(["read", "export", "write", "delete", "transfer", "launch", "archive"])


@settings(max_examples=400, deadline=None)
@given(_SUBJECTS, _ACTIONS, _RESOURCES, _ENVIRONMENTS)
def test_cedar_decides_as_rego_on_generated_requests(subject, action, resource, environment):
    """The playbook in Cedar and in Rego is one playbook: the same verdict, reason, message and obligations."""
    request = build_request(
        {"id": "u-1", "type": "user", **subject}, action, {"id": "d-1", "type": "document", **resource}, environment
    )

    assert _told(CEDAR.decide(request)) == _told(PLAYBOOK.decide(request))


CEDAR, PLAYBOOK = CedarEngine(), RegoEngine()
