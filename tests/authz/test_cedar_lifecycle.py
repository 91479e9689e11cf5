"""Cedar policies from the directory to production: tested, explained, built, compared, promoted and loaded."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz import PolicyError, RegoEngine, build_request, request_from_dict
from companyos.authz.bundles import (
    Bundle,
    BundleBuildError,
    BundleRefusedError,
    Candidate,
    PromotionRefusedError,
    build_bundle,
    load_bundle,
    promote_bundle,
    promotions_of,
    sign_bundle,
)
from companyos.authz.bundles.bundle import COMBINATION
from companyos.authz.bundles.checks import outcome
from companyos.authz.bundles.difference import find_difference
from companyos.authz.engines._cedar_policies import CEDAR_PLAYBOOK
from companyos.authz.engines.cedar import CedarEngine
from companyos.authz.explain import explain
from companyos.authz.metering import Limits, MeterExceededError
from companyos.authz.specimens.bundles import key_of, trust_of
from tests.authz.test_authz_cli import run  # noqa: F401 - the fixture

FREEZE = """
@id("policy.freeze")
@message("nothing is deleted in a freeze")
forbid (principal, action == Action::"delete", resource)
when { context.environment has freeze && context.environment.freeze };
"""
OPEN = '@id("policy.open") permit (principal, action == Action::"read", resource);\n'
SCHEMA = """
type Place = { stated: Bool, in_eea: Bool, jurisdiction?: String };
type Resource = { stated: Bool, in_eea: Bool, jurisdiction?: String, personal: Bool, required_clearance: Long,
  high_sensitivity: Bool };
type Subject = { stated: Bool, in_eea: Bool, jurisdiction?: String, clearance: Long };
namespace Subject { entity user { id: String, type: String }; }
namespace Resource { entity document { id: String, type: String }; }
action read appliesTo { principal: [Subject::user], resource: [Resource::document], context: {
  environment: {}, stated: Set<String>,
  derived: { resource: Resource, destination: Place, subject: Subject, multi_factor: Bool } } };
"""
USER, DOCUMENT = {"id": "u-1", "type": "user"}, {"id": "d-1", "type": "document", "owner": "u-1"}
ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"


@pytest.fixture
def frozen(tmp_path, freeze):
    """Writes the freeze policy in Cedar, extending the playbook, with the tests that the one in Rego has."""

    def write(version="1.0.0", policy=FREEZE, **more):
        directory = freeze(version, policy="", **more)
        (directory / "freeze.rego").unlink()
        (directory / "freeze.cedar").write_text(policy)
        return directory

    return write


@pytest.fixture
def laid_out(tmp_path):
    """Writes a Cedar policy into the layout by domain, service, stage and version."""

    def write(place, policy, slice_=""):
        directory = tmp_path / "policies" / place
        directory.mkdir(parents=True)
        (directory / "metadata.yaml").write_text(f"owner: team\nversion: {directory.name}\n{slice_}")
        (directory / "policy.cedar").write_text(policy)
        return tmp_path / "policies"

    return write


def build(*paths, **more):
    """A bundle by Ann, of these directories."""
    expires = datetime.now(UTC) + timedelta(days=30)
    return build_bundle(paths, **{"created_by": ANN, "expires": expires} | more)


def signed(bundle):
    """The bundle as a signed tarball."""
    return sign_bundle(bundle, key_of("EdDSA"), "k").to_bytes()


class TestTests:
    def test_the_suffix_says_the_engine(self, run, frozen):  # noqa: F811 - the fixture
        """`authz test DIR` over Cedar policies asks Cedar, the playbook in Cedar included where it is extended."""
        status, out, err = run("test", str(frozen()), "--json")

        assert (status, err) == (0, "")
        assert json.loads(out)["passed"] == 2

    def test_a_changed_policy_fails(self, run, frozen):  # noqa: F811
        """Without its condition the same policy fails the test that the owner deletes."""
        status, out, _ = run("test", str(frozen(policy=FREEZE.replace("has freeze", "has approval_ticket"))))

        assert status == 1
        assert "1 passed, 1 failed" in out

    def test_the_playbook_in_cedar_passes_the_playbooks_tests(self, run, tmp_path):  # noqa: F811
        """Without directories the configured engine says which playbook is tested."""
        (tmp_path / "companyos.yaml").write_text("authz:\n  engine: cedar\n")
        status, out, _ = run("test", "--json")

        assert status == 0
        assert json.loads(out)["passed"] >= 10

    def test_a_layout(self, run, laid_out):  # noqa: F811
        """The tests of a layout are those of the versions that count."""
        root = laid_out("billing/ledger/prod/1.0.0", OPEN)
        tests = root / "billing/ledger/prod/1.0.0/tests"
        tests.mkdir()
        request = {
            "subject": USER,
            "action": "read",
            "resource": {**DOCUMENT, "domain": "billing", "service": "ledger"},
        }
        case = {"name": "a read", "request": request, "expect": {"decision": "allow", "reason": "policy.open"}}
        (tests / "cases.yaml").write_text(json.dumps([case]))

        assert run("test", str(root))[0] == 0


class TestExplanations:
    def test_the_policies_that_decide(self, frozen):
        """The forbids that were satisfied are named by file and line, and what would turn them off is found."""
        engine = CedarEngine([frozen()])
        explanation = explain(engine, build_request(USER, "delete", DOCUMENT, {"freeze": True, "auth_strength": "mfa"}))
        changes = [
            {change["attribute"]: change.get("to") for change in flip.to_dict()["changes"]}
            for flip in explanation.flips
        ]

        assert [(rule.kind, rule.id, rule.place) for rule in explanation.deciding] == [
            ("deny", "policy.freeze", "0/freeze.cedar:2")
        ]
        assert {"environment.freeze": None} in changes or {"environment.freeze": False} in changes
        permits = {rule.id for rule in explanation.rules if rule.kind == "allow" and rule.fired}
        assert permits == {"policy.baseline.owner"}

    def test_what_would_allow_it(self):
        """Roles, owners and stated texts are tried by the names that the policies use."""
        foreign = {**DOCUMENT, "owner": "u-2"}
        explanation = explain(CedarEngine(), build_request(USER, "write", foreign))
        changes = [flip.changes[0].to_dict() for flip in explanation.flips]

        assert not explanation.opinion.allow
        assert {"attribute": "resource.owner", "from": "u-2", "to": "u-1"} in changes
        assert {"attribute": "subject.attributes.roles", "to": ["editor"]} in changes
        for flip in explanation.flips:
            assert flip.reason == "policy.baseline"

    def test_the_command(self, run, frozen, tmp_path):  # noqa: F811
        """`authz explain` explains what the configured Cedar engine decides."""
        directory = frozen()
        (tmp_path / "companyos.yaml").write_text(f"authz:\n  engine: cedar\n  policies: [{directory}]\n")
        asked = ("--subject", json.dumps(USER), "--action", "delete", "--resource", json.dumps(DOCUMENT))
        status, out, _ = run("explain", *asked, "--environment", '{"freeze": true}')

        assert status == 0
        assert "DENY  policy.freeze" in out
        assert "decided by: 0/freeze.cedar:2" in out
        assert "deny policy.freeze  0/freeze.cedar:2  fired" in out

    def test_a_policy_that_fails(self, run, tmp_path, policies):  # noqa: F811
        """A policy that fails on the request is named, and the exit status is 3."""
        policies(mine__cedar='@id("policy.bad") permit (principal, action, resource) when { resource.size > 3 };')
        (tmp_path / "companyos.yaml").write_text("authz:\n  engine: cedar\n  policies: [policies]\n")
        asked = ("--subject", json.dumps(USER), "--action", "read", "--resource", json.dumps(DOCUMENT))
        status, _, err = run("explain", *asked)

        assert status == 3
        assert "policy.bad" in err


class TestBundles:
    def test_a_bundle_decides_as_its_directory(self, frozen):
        """An engine over the bundle decides as one over the directory, with the playbook in Cedar."""
        directory = frozen()
        bundle = build(directory)
        here, there = CedarEngine([directory]), CedarEngine.of(Bundle.from_bytes(bundle.to_bytes()).policy_set())

        assert there.extends_playbook
        for environment in ({}, {"freeze": True}, {"auth_strength": "mfa"}):
            request = build_request(USER, "delete", DOCUMENT, environment)
            assert here.decide(request) == there.decide(request)

    def test_what_is_in_it(self, frozen):
        """The manifest names the engine; the fixed rule for OPA, which cannot evaluate Cedar, is not there."""
        bundle = build(frozen())
        playbook = {f"playbook/{path.name}" for path in CEDAR_PLAYBOOK.glob("*.cedar")}

        assert bundle.manifest.engine == "cedar"
        assert {"data.json", "freeze/freeze.cedar", "freeze/tests/freeze.yaml"} | playbook <= set(bundle.files)
        assert COMBINATION not in bundle.files
        assert not [name for name in bundle.files if name.endswith(".rego")]

    def test_the_same_input_gives_the_same_bytes(self, frozen):
        """Building twice gives one file."""
        directory = frozen()
        expires = datetime(2030, 1, 1, tzinfo=UTC)

        assert build(directory, expires=expires).to_bytes() == build(directory, expires=expires).to_bytes()

    def test_a_layout(self, laid_out):
        """Of a layout the slices by place are kept, and a request has to state its place, too."""
        root = laid_out("billing/_any/dev/1.0.0", OPEN)
        bundle = build(root, name="billing")
        engine = CedarEngine.of(bundle.policy_set())
        placed = build_request(USER, "read", {**DOCUMENT, "domain": "billing"})
        elsewhere = build_request(USER, "read", {**DOCUMENT, "domain": "people"})

        assert json.loads(bundle.files["data.json"]) == {"companyos_scope": ["domain"]}
        assert engine.decide(placed).allow
        assert not engine.decide(elsewhere).allow
        assert engine.decide(build_request(USER, "read", DOCUMENT)).reason == "policy.scope_unstated"

    def test_a_schema_goes_with_the_policies(self, policies):
        """A schema is part of the bundle and validates the same."""
        directory = policies("open", policy__cedar=OPEN, schema__cedarschema=SCHEMA)
        engine = CedarEngine.of(build(directory).policy_set())

        assert engine.decide(build_request(USER, "read", {"id": "d-1", "type": "document"})).reason == "policy.open"
        (directory / "policy.cedar").write_text(OPEN.replace("read", "launch"))
        with pytest.raises(PolicyError, match="does not agree with the schema"):
            build(directory)

    @pytest.mark.parametrize(
        ("files", "error", "text"),
        [
            ({"policy__cedar": "permit (principal"}, PolicyError, "a policy does not end"),
            ({"policy__cedar": OPEN + OPEN}, PolicyError, "the same @id"),
            ({"policy__cedar": OPEN, "data__json": '{"a": 1}'}, BundleBuildError, "read by nobody"),
            ({"policy__cedar": OPEN, "more__rego": "package x"}, BundleBuildError, "different engines"),
        ],
    )
    def test_what_makes_no_bundle(self, policies, files, error, text):
        """What the engine would refuse, or nobody would read, makes no bundle, and is said truly."""
        with pytest.raises(error, match=text):
            build(policies("open", **files))

    def test_rego_in_a_bundle_for_cedar(self, frozen):
        """A file for the other engine has no place in a bundle."""
        bundle = build(frozen())
        smuggled = Bundle({**bundle.files, "freeze/more.rego": b"package companyos.access\n"}, bundle.manifest)

        with pytest.raises(BundleRefusedError, match="no place in a bundle"):
            Bundle.from_bytes(smuggled.to_bytes())

    def test_what_takes_too_long(self, frozen):
        """Cedar policies are metered like others; what takes too long is said of the bundle as a whole."""
        with pytest.raises(MeterExceededError, match="^freeze: takes more time or memory"):
            build(frozen(), limits=Limits(deadline_seconds=0.01))

    def test_the_wrong_engine(self, frozen):
        """Policies for Cedar that are given to the Rego engine are refused as what they are."""
        with pytest.raises(PolicyError, match="policies for Cedar"):
            RegoEngine.of(build(frozen()).policy_set()).decide(build_request(USER, "read", DOCUMENT))


class TestPromotion:
    def test_from_dev_to_prod(self, ledger, frozen, tmp_path):
        """A bundle of Cedar policies enters the stages, is recorded as such, and loads where it is in force."""
        data = signed(build(frozen()))
        for stage, who in (("dev", ANN), ("staging", BOB), ("prod", EVE)):
            promote_bundle(Candidate(data, stage, who), trust_of(), ledger)
        (tmp_path / "freeze.tar.gz").write_bytes(data)
        loaded = load_bundle(tmp_path / "freeze.tar.gz", trust_of(), promotions_of(ledger), stage="prod")
        entry = list(ledger.read())[-1]

        assert (entry.data["stage"], entry.data["engine"], entry.data["tests"]) == ("prod", "cedar", 2)
        asked = build_request(USER, "delete", DOCUMENT, {"freeze": True})
        assert CedarEngine.of(loaded).decide(asked).reason == "policy.freeze"

    @pytest.mark.parametrize(
        ("more", "rule"),
        [
            ({"tests": None}, "promotion.untested"),
            ({"policy": FREEZE.replace("delete", "write")}, "promotion.tests"),
        ],
    )
    def test_what_is_not_promoted(self, ledger, frozen, more, rule):
        """Without tests, or with one that fails, it is refused like any other bundle."""
        with pytest.raises(PromotionRefusedError) as caught:
            promote_bundle(Candidate(signed(build(frozen(**more))), "dev", ANN), trust_of(), ledger)

        assert caught.value.rule == rule


AMOUNT = "resource has amount && resource.amount > 100"
CLEARANCE = "context.derived.subject.clearance < 2"
PLANTED = {
    "an action": ('action == Action::"launch"', "", 'action == Action::"lunch"', ""),
    "a limit": ("action", AMOUNT, "action", AMOUNT.replace("100", "101")),
    "a role": ("action", 'principal in Role::"red"', "action", 'principal in Role::"blue"'),
    "a clearance": ("action", CLEARANCE, "action", CLEARANCE.replace("2", "3")),
    "two at once": (
        'action == Action::"export"',
        'context.environment has channel && context.environment.channel == "mail" && resource has cv',
        'action == Action::"export"',
        "false",
    ),
}


class TestDifferences:
    @pytest.mark.parametrize("name", PLANTED)
    def test_a_planted_difference_is_found(self, frozen, name):
        """A policy that differs in one constant or condition is found, and the request that shows it really does."""
        scope, condition, other_scope, other = PLANTED[name]
        sides = []
        for version, head, body in (("1.0.0", scope, condition), ("2.0.0", other_scope, other)):
            when = f" when {{ {body} }}" if body else ""
            sides.append(build(frozen(version, f'@id("mine") forbid (principal, {head}, resource){when};', tests=None)))
        found = find_difference(*sides, requests=6000)

        assert found.changes
        for change in found.changes:
            request = request_from_dict(change.request)
            answers = [outcome(CedarEngine.of(side.policy_set()).decide(request)) for side in sides]
            assert answers == [change.old, change.new]

    def test_from_rego_to_cedar(self, freeze, frozen):
        """A bundle in Rego can be compared with its translation: Cedar differs by being stricter about types alone."""
        found = find_difference(build(freeze()), build(frozen("2.0.0")), requests=400)

        assert found.tried == 400
        assert {change.new["decision"] for change in found.changes} == {"undetermined"}
