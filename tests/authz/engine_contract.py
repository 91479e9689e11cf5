"""What every decision engine must keep, whatever it is made of: subclass and say how to make one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from companyos.authz import build_request
from companyos.errors import UnverifiableError
from companyos.ports import Opinion

READ = build_request({"id": "u-1", "type": "user"}, "read", {"id": "d-1", "type": "document"})
UNKNOWN = build_request({"id": "u-1", "type": "user"}, "launch", {"id": "d-1", "type": "document"})
MASKED = build_request(
    {"id": "u-1", "type": "user", "attributes": {"clearance": "low"}},
    "read",
    {"id": "d-1", "type": "document", "required_clearance": "high"},
)


class EngineContract:
    """The contract; `make()` gives an engine that decides by the playbook, `make_broken()` one that cannot decide."""

    def make(self):
        raise NotImplementedError

    def make_broken(self):
        raise NotImplementedError

    def test_has_a_name_and_a_version(self):
        """An engine says by which name it is chosen and by which policies it decides."""
        engine = self.make()

        assert engine.name
        assert engine.version.startswith("sha256:")

    def test_version_is_reproducible(self):
        """Two engines over the same policies have the same version."""
        assert self.make().version == self.make().version

    def test_allows_with_a_reason(self):
        """What a policy allows is allowed, and the opinion names the policy."""
        opinion = self.make().decide(READ)

        assert isinstance(opinion, Opinion)
        assert (opinion.allow, opinion.reason, opinion.obligations) == (True, "policy.baseline", ())

    def test_denies_what_no_policy_allows(self):
        """No opinion at all is a deny with its own reason."""
        opinion = self.make().decide(UNKNOWN)

        assert (opinion.allow, opinion.reason) == (False, "policy.default_deny")

    def test_carries_obligations(self):
        """Obligations come with id, type and properties."""
        (obligation,) = self.make().decide(MASKED).obligations

        assert obligation.to_dict() == {"id": "mask_fields", "type": "custom", "properties": {"fields": ["*"]}}

    def test_same_request_same_opinion(self):
        """Nothing of an earlier request is left when the next one comes."""
        engine = self.make()
        first = [engine.decide(request) for request in (READ, UNKNOWN, MASKED)]

        assert first == [engine.decide(request) for request in (READ, UNKNOWN, MASKED)]

    def test_any_thread_may_ask(self):
        """Many threads share one engine and get the answers that one thread gets."""
        engine = self.make()
        requests = [READ, UNKNOWN, MASKED] * 40
        expected = [engine.decide(request) for request in requests]

        with ThreadPoolExecutor(4) as pool:
            assert expected == list(pool.map(engine.decide, requests))

    def test_cannot_decide_is_an_error(self):
        """An engine that cannot evaluate raises instead of having an opinion."""
        with pytest.raises(UnverifiableError):
            self.make_broken().decide(READ)
