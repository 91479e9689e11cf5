from __future__ import annotations

from datetime import UTC, datetime

import pytest

from companyos.authz import RegoEngine, request_from_dict
from companyos.authz.bundles import build_bundle
from companyos.authz.bundles.checks import outcome
from companyos.authz.bundles.difference import find_difference

HEAD = "package companyos.access\n\nimport rego.v1\n\n"


@pytest.fixture
def bundle(freeze):
    """A bundle of the playbook with one policy more, by its body."""
    made = []

    def make(*rules):
        made.append(None)
        policy = HEAD + "\n".join(rules) + "\nopen_to contains 1 if { false }\n"
        directory = freeze(f"{len(made)}.0.0", policy=policy, tests=None)
        return build_bundle([directory], created_by="ann", expires=datetime(2030, 1, 1, tzinfo=UTC))

    return make


def deny(body, name="policy.mine"):
    """A rule that refuses."""
    return f'deny contains {{"id": "{name}", "message": "no"}} if {{ {body} }}'


PLANTED = {
    "an action": ('input.action == "launch"', 'input.action == "lunch"'),
    "a limit": ("input.resource.amount > 100", "input.resource.amount > 101"),
    "an attribute": ('input.subject.attributes.team == "red"', 'input.subject.attributes.group == "red"'),
    "a clearance": ("input.derived.subject.clearance < 2", "input.derived.subject.clearance < 3"),
    "a region": ('input.derived.resource.jurisdiction == "us"', 'input.derived.resource.jurisdiction == "eu"'),
    "two at once": (
        'input.action == "export"; input.environment.channel == "mail"; input.resource.kind == "cv"',
        'input.action == "export"; input.environment.channel == "mail"; input.resource.kind == "cv"; false',
    ),
    "a rule dropped": ('input.environment.device_trust == "unknown"', "false"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_found(bundle, name):
    """A rule that differs in one constant or condition is found, and the request that shows it really shows it."""
    old, new = (bundle(deny(body)) for body in PLANTED[name])
    found = find_difference(old, new, requests=6000)

    assert found.changes
    assert found.changed > 0
    for change in found.changes:
        request = request_from_dict(change.request)
        answers = [outcome(RegoEngine.of(side.policy_set()).decide(request)) for side in (old, new)]
        assert answers == [change.old, change.new]


def ids(side):
    """What tells kinds of answers apart."""
    return side["decision"], side["reason"], sorted(item["id"] for item in side["obligations"])


def test_a_request_is_minimal(bundle):
    """Without any one of its values, a request does not show this kind of change any more."""
    bundles = bundle(deny("input.resource.amount > 100")), bundle(deny("false"))
    engines = [RegoEngine.of(side.policy_set()) for side in bundles]
    found = find_difference(*bundles, requests=2000)

    assert any(change.new["decision"] == "allow" for change in found.changes)
    for change in found.changes:
        kind = ids(change.old), ids(change.new)
        for part in ("subject", "resource", "environment"):
            for key in change.request[part].keys() - {"id", "type"}:
                rest = {name: value for name, value in change.request[part].items() if name != key}
                request = request_from_dict({**change.request, part: rest})
                assert tuple(ids(outcome(engine.decide(request))) for engine in engines) != kind
    # What opens or closes a door comes first.
    verdicts = [change.old["decision"] != change.new["decision"] for change in found.changes]
    assert verdicts == sorted(verdicts, reverse=True)


def test_a_lost_obligation_is_a_change(bundle):
    """Two bundles that allow the same but oblige to other things differ."""
    rule = 'obligation contains {"id": "log_event", "type": "notification", "properties": {"level": %d}} if '
    old, new = (bundle(rule % level + '{ input.action == "read" }') for level in (1, 2))
    found = find_difference(old, new, requests=200)

    assert "allow" in {change.old["decision"] for change in found.changes}
    assert [change.old["decision"] for change in found.changes] == [change.new["decision"] for change in found.changes]
    assert found.changes[0].old["obligations"] != found.changes[0].new["obligations"]


def test_nothing_found_is_said_as_such(bundle):
    """Of a bundle and itself nothing is found, in so many requests; the same search gives the same result."""
    one = bundle(deny("input.resource.amount > 100"))
    found = find_difference(one, one, requests=700, seed=3)

    assert (found.changes, found.changed, found.tried, found.complete) == ((), 0, 700, True)


def test_a_search_can_be_repeated(bundle):
    """The same two bundles and the same seed give the same changes."""
    old, new = bundle(deny('input.action == "a"')), bundle(deny('input.action == "b"'))

    assert find_difference(old, new, requests=900, seed=5) == find_difference(old, new, requests=900, seed=5)


def test_declared_tests_are_tried_first(freeze):
    """A difference that only a declared test's request shows is found, whatever the budget."""
    key = "x" * 250
    tests = f"""- name: a rare value
  request: {{subject: {{id: u, type: user}}, action: read, resource: {{id: d, type: document, rare: {key}}}}}
  expect: {{decision: deny}}
"""
    rare = deny('startswith(input.resource.rare, concat("", ["x" | some _ in numbers.range(1, 250)]))')
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    old, new = (
        build_bundle([freeze(version, policy=HEAD + rule, tests=tests)], created_by="ann", expires=expires)
        for version, rule in (("1.0.0", rare), ("2.0.0", deny("false")))
    )

    assert find_difference(old, new, requests=1).changes
