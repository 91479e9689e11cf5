"""The OPA engine: what of an answer counts, and by which policies it was given."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.authz import Authorizer, EngineError, evaluate
from companyos.authz.engines._remote import RemoteSettings
from companyos.authz.engines._shape import opinion
from companyos.authz.engines.opa import OpaEngine
from companyos.decision import Verdict
from companyos.errors import ConfigError
from companyos.ports import Opinion
from tests.authz.requests import READ
from tests.services.process import free_port

DIGEST = f"sha256:{'a' * 64}"
ALLOWING = {"allow": True, "reasons": [{"id": "policy.mine", "message": "mine"}], "obligations": []}
SAYING = {"bundles": {"companyos": {"revision": "r1"}}}
ECHO = """package companyos.access

import rego.v1

decision := {"allow": true, "reasons": [{"id": "policy.mine", "message": message}], "obligations": []} if {
	message := json.marshal(input)
}
"""


@pytest.fixture
def engine():
    """Makes engines that are closed when the test is over."""
    made = []

    def make(url, *, timeout_seconds=30.0, **options):
        settings = RemoteSettings(
            url, timeout_seconds=timeout_seconds, read_seconds=30.0, attempts=1, failures=1000, cool_down_seconds=0
        )
        made.append(OpaEngine(settings, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def answering(engine, opa_server):
    """An engine whose server gives this answer to everything."""
    return lambda answer, **options: engine(opa_server.answer(json.dumps(answer).encode()), **options)


def test_policies_get_the_request_and_the_derived_facts(engine, opa_server):
    """The input is what the embedded engine gives: the request with the facts under `derived`."""
    seen = json.loads(engine(opa_server.load({"policy.rego": ECHO})).decide(READ).message)

    assert {key: seen[key] for key in READ.to_dict()} == READ.to_dict()
    assert seen["derived"]["resource"]["personal"] is False


class TestWhatIsNoDecision:
    @pytest.mark.parametrize(
        "change",
        [
            {"allow": "true"},
            {"allow": 1},
            {"allow": None},
            {"reasons": None},
            {"reasons": "policy.mine"},
            {"reasons": {"id": "policy.mine"}},
            {"reasons": [{"message": "mine"}]},
            {"reasons": [{"id": None}]},
            {"reasons": [{"id": ""}]},
            {"reasons": [{"id": "policy.mine", "message": 7}]},
            {"reasons": [["policy.mine"]]},
            {"obligations": None},
            {"obligations": [{"type": "custom"}]},
            {"obligations": [{"id": 7}]},
            {"obligations": [{"id": ""}]},
            {"obligations": [{"id": "x", "type": "unheard-of"}]},
            {"obligations": [{"id": "x", "type": ["custom"]}]},
            {"obligations": [{"id": "x", "properties": []}]},
            {"obligations": ["mask_fields"]},
        ],
        ids=json.dumps,
    )
    def test_another_shape(self, answering, change):
        """Nothing is read into an answer that is not exactly a decision."""
        with pytest.raises(EngineError, match="agreed shape"):
            answering({"result": {**ALLOWING, **change}, "provenance": SAYING}).decide(READ)

    @pytest.mark.parametrize("key", ["allow", "reasons", "obligations"])
    def test_a_part_missing(self, answering, key):
        """A decision has all three parts."""
        result = {name: value for name, value in ALLOWING.items() if name != key}

        with pytest.raises(EngineError, match="agreed shape"):
            answering({"result": result, "provenance": SAYING}).decide(READ)

    @pytest.mark.parametrize("result", [True, "allow", 1, None, [], [ALLOWING]], ids=json.dumps)
    def test_a_bare_value(self, answering, result):
        """A server whose rule is `allow := true` has not given a decision."""
        with pytest.raises(EngineError):
            answering({"result": result, "provenance": SAYING}).decide(READ)

    @pytest.mark.parametrize("answer", [{}, {"provenance": SAYING}, {"warning": {"code": "api_usage_warning"}}])
    def test_undefined(self, answering, answer):
        """A decision that is undefined is a refusal that says which rule is missing."""
        with pytest.raises(EngineError, match=r"data\.companyos\.access\.decision is undefined"):
            answering(answer).decide(READ)

    def test_undefined_by_the_real_engine(self, engine, opa_server):
        """The same where the server has other policies than ours."""
        with pytest.raises(EngineError, match="is undefined"):
            engine(opa_server.load({"other.rego": "package other\n"})).decide(READ)

    @pytest.mark.parametrize("answer", [[], "allow", 1, None, [ALLOWING]], ids=json.dumps)
    def test_no_object(self, answering, answer):
        """OPA answers with an object; anything else is somebody else's."""
        with pytest.raises(EngineError, match="something else"):
            answering(answer).decide(READ)

    def test_allowed_without_a_reason(self, answering):
        """Allowing without a policy that allows is the default deny."""
        opinion = answering({"result": {**ALLOWING, "reasons": []}, "provenance": SAYING}).decide(READ)

        assert (opinion.allow, opinion.reason) == (False, "policy.default_deny")

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["allow", "reasons", "obligations", "id", "type", "properties"]), inner
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_value(self, value):
        """Any JSON value is an opinion or an `EngineError`; it allows only where it says true and gives a reason."""
        try:
            found = opinion(value)
        except EngineError:
            return
        assert isinstance(found, Opinion)
        assert found.allow == (value["allow"] is True and bool(value["reasons"]))


class TestVersion:
    def test_it_follows_the_bundle(self, answering):
        """Another revision is another version; the same is the same from any server."""
        versions = [
            answering(
                {"result": ALLOWING, "provenance": {"version": build, "bundles": {"companyos": {"revision": revision}}}}
            )
            .decide(READ)
            .version
            for build, revision in (("1.0.0", "r1"), ("1.1.0", "r1"), ("1.0.0", "r2"))
        ]

        assert versions[0] == versions[1] != versions[2]
        assert all(version.startswith("sha256:") for version in versions)

    def test_the_decision_names_the_policies_that_decided(self, answering):
        """What a decision is recorded under is what the server said with the answer, not what it said at the start."""
        engine = answering({"result": ALLOWING, "provenance": SAYING})
        decision = evaluate(engine, READ, facts={"policy_digest": "as of the start", "engine": "opa"})

        assert decision.facts == {"policy_digest": engine.version, "engine": "opa"}

    @pytest.mark.parametrize(
        "provenance",
        [
            None,
            {},
            {"bundles": None},
            {"bundles": {}},
            {"bundles": []},
            {"bundles": {"companyos": {}}},
            {"bundles": {"companyos": {"revision": ""}}},
            {"bundles": {"companyos": {"revision": 7}}},
            {"bundles": {"companyos": None}},
            {"bundles": {"companyos": {"revision": "r1"}, "other": {"revision": ""}}},
        ],
        ids=json.dumps,
    )
    def test_a_server_that_does_not_say(self, answering, provenance):
        """Where the server names its policies not at all, or not all of them, no answer counts, but for a digest."""
        answer = {"result": ALLOWING, "provenance": provenance}

        with pytest.raises(EngineError, match="by which policies"):
            answering(answer).decide(READ)
        assert answering(answer, policy_digest=DIGEST).decide(READ).version == DIGEST

    def test_what_the_server_says_comes_first(self, answering):
        """A configured digest does not hide that the server has a bundle."""
        engine = answering({"result": ALLOWING, "provenance": SAYING}, policy_digest=DIGEST)

        assert engine.version == engine.decide(READ).version != DIGEST

    def test_nobody_to_ask(self, engine):
        """A server that is not there has no version, and that is no error."""
        url = f"http://127.0.0.1:{free_port()}"

        assert [engine(url).version, engine(url, policy_digest=DIGEST).version] == ["unknown", DIGEST]

    @pytest.mark.parametrize(
        "options", [{"policy_digest": "r1"}, {"policy_digest": "sha256:zz"}, {"decision": "a/../b"}, {"decision": "/a"}]
    )
    def test_settings(self, engine, options):
        """A digest that is none, and a path that leads elsewhere, are configuration errors."""
        with pytest.raises(ConfigError):
            engine("https://opa.example", **options)


class TestRefused:
    """Whatever goes wrong is undetermined under a reason of its own, recorded, and never allowed."""

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("silent", "policy.timeout"),
            ("trickle", "policy.timeout"),
            ("cut", "policy.unreachable"),
            ("hangup", "policy.unreachable"),
            ("garbage", "policy.unreachable"),
            ("status/503", "policy.unreachable"),
            ("error", "policy.unavailable"),
            ("huge", "policy.unavailable"),
            ("packed", "policy.unavailable"),
            ("status/401", "policy.unavailable"),
        ],
    )
    def test_by_name(self, engine, opa_server, ledger, kind, reason):
        """Each fault has its reason on the decision and on the ledger."""
        slow = reason == "policy.timeout"
        authorizer = Authorizer(engine(opa_server.fault(kind), timeout_seconds=0.4 if slow else 30.0), ledger)
        decision = authorizer.authorize({"id": "u-1", "type": "user"}, "read", {"id": "d-1", "type": "document"})

        assert (decision.verdict, decision.reason) == (Verdict.UNDETERMINED, reason)
        assert decision.audit_id is not None
