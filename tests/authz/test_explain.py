"""`companyos authz explain`: which rule decided, what held and what failed, and what would turn it around."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from companyos.authz import EngineError, PolicyError, RegoEngine, build_request
from companyos.authz._changes import changed
from companyos.authz.explain import explain
from tests.authz.random_policies import policy_sets, requests
from tests.authz.test_authz_cli import DOCUMENT, US_DATA, USER, run  # noqa: F401 - run is the fixture
from tests.authz.test_rego import PACKAGE


def _explain(playbook, action, resource, **environment):
    return explain(playbook, build_request(json.loads(USER), action, json.loads(resource), environment))


def _changes(explanation):
    return [
        {change["attribute"]: change.get("to") for change in flip.to_dict()["changes"]} for flip in explanation.flips
    ]


def test_the_rules_that_decide(playbook):
    """A denied export names each rule that denied it by file and line, with conditions that all held."""
    explanation = _explain(playbook, "export", US_DATA)

    assert [rule.place for rule in explanation.deciding] == [
        "playbook/eu_residency.rego:6",
        "playbook/export_approval.rego:6",
    ]
    assert {item.state for rule in explanation.deciding for item in rule.conditions} == {"held"}


def test_the_condition_that_failed(playbook):
    """A rule that did not fire shows the first condition that failed and those that nobody looked at."""
    explanation = _explain(playbook, "write", '{"id": "d-1", "type": "document", "owner": "u-2"}')
    owner = next(rule for rule in explanation.rules if rule.place == "playbook/baseline.rego:11")

    assert [(item.text, item.line, item.state) for item in owner.conditions] == [
        ("input.action in data.playbook.owner_actions", 12, "held"),
        ("input.resource.owner == input.subject.id", 13, "failed"),
    ]


def test_what_would_allow_it(playbook):
    """Single attributes that would turn a denial around are found among the policies' own constants."""
    explanation = _explain(playbook, "write", '{"id": "d-1", "type": "document", "owner": "u-2"}')

    assert {"subject.attributes.roles": ["editor"]} in _changes(explanation)
    assert {"resource.owner": "u-1"} in _changes(explanation)


def test_two_changes(playbook):
    """Where one change is not enough two are shown."""
    explanation = _explain(playbook, "export", US_DATA)

    assert _changes(explanation)
    assert all(len(changes) == 2 for changes in _changes(explanation))
    assert {"environment.approval_ticket": "example", "resource.contains_pii": False} in _changes(explanation)


def test_what_would_deny_it(playbook):
    """An allowed request shows what would have it refused."""
    explanation = _explain(playbook, "read", DOCUMENT)

    assert explanation.opinion.allow
    assert {"resource.contains_pii": True} in _changes(explanation)


def test_conditions_in_one_line(policies):
    """Conditions that share a line, and begin with a text, are told apart."""
    rule = 'deny contains {"id": "x"} if { "read" == input.action; input.resource.a == "é"; input.resource.b }\n'
    engine = RegoEngine([policies(mine__rego=PACKAGE + rule)])
    (explained,) = _explain(engine, "read", '{"id": "d", "type": "t", "a": "é"}').rules

    assert [(item.text, item.state) for item in explained.conditions] == [
        ('"read" == input.action', "held"),
        ('input.resource.a == "é"', "held"),
        ("input.resource.b", "failed"),
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy_sets(), requests())
def test_explanations_are_true(policies, request):
    """On random policies the rules that fired gave the ids of the decision, and each change does what it says."""
    engine = RegoEngine.of(policies)
    try:
        explanation = explain(engine, request)
    except (EngineError, PolicyError):
        return
    fired = {rule.id for rule in explanation.rules if rule.fired and rule.kind == "obligation"}

    assert fired == {item.id for item in explanation.opinion.obligations}
    assert explanation.opinion.reason in {rule.id for rule in explanation.deciding} | {"policy.default_deny"}
    for flip in explanation.flips:
        assert engine.decide(changed(request, flip.changes)).allow is not explanation.opinion.allow


def test_for_people(run):  # noqa: F811
    """The command shows the rule, its conditions, the slice and the way out."""
    arguments = ("explain", "--subject", USER, "--action", "export", "--resource", DOCUMENT)
    status, out, err = run(*arguments)

    assert (status, err) == (0, "")
    assert "decided by: playbook/export_approval.rego:6" in out
    assert "  + 8: not approval_ticket" in out
    assert "rules (action = export, resource.type = document)" in out
    assert "environment.approval_ticket = " in out


def test_for_machines(run):  # noqa: F811
    """With --json the same is there as one object."""
    status, out, _ = run("explain", "--subject", USER, "--action", "launch", "--resource", DOCUMENT, "--json")
    value = json.loads(out)

    assert status == 0
    assert (value["decision"], value["reason"]) == ("deny", "policy.default_deny")
    assert value["slice"]["rules"] < value["slice"]["of"]
    assert value["would_change_it"]


def test_what_cannot_be_decided(run, tmp_path, policies):  # noqa: F811
    """A request that the policies cannot judge is not explained: exit status 3."""
    policies(mine__rego=PACKAGE + 'deny contains {"id": "x"} if to_number(input.resource.size) > 1\n')
    (tmp_path / "companyos.yaml").write_text("authz:\n  policies: [policies]\n")
    resource = '{"id": "d", "type": "t", "size": "big"}'
    status, out, err = run("explain", "--subject", USER, "--action", "read", "--resource", resource)

    assert (status, out) == (3, "")
    assert "could not be evaluated" in err


@pytest.mark.parametrize("more", [(), ("--all",)])
def test_every_rule(run, more):  # noqa: F811
    """--all shows the rules that were not even near."""
    _, out, _ = run("explain", "--subject", USER, "--action", "read", "--resource", DOCUMENT, *more)

    assert ("deny policy.inactive_subject" in out) is bool(more)
