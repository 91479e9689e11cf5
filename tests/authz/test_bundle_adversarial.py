"""Policies that work hard only for some requests, and requests made to find them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from companyos.authz import build_request
from companyos.authz.bundles import build_bundle
from companyos.authz.bundles.adversarial import MAX_LARGE, MAX_SMALL, SHAPES, Question, questions
from companyos.authz.bundles.checks import meter
from companyos.authz.bundles.promotion import judge_promotion
from companyos.authz.bundles.vocabulary import read_vocabulary
from companyos.authz.interface import RequestError
from companyos.authz.metering import Limits, MeterExceededError
from companyos.authz.request import MAX_SIZE, request_from_dict
from companyos.authz.specimens.bundles import NOW
from companyos.authz.specimens.promotion import _wish

EXPIRES = datetime(2027, 1, 1, tzinfo=UTC)
HEAD = "package companyos.access\n\nimport rego.v1\n\n"
HARD = "count([1 | some a in numbers.range(1, 200000); some b in numbers.range(1, 200000); a == b + 0.5]) == 0"
PAIRS = "some a in input.resource.items; some b in input.resource.items"
QUICK = Limits(deadline_seconds=300, question_seconds=1)


def deny(body, more=""):
    return f'{HEAD}deny contains {{"id": "p", "message": ""}} if {{\n\t{body}\n}}\n{more}'


PLANTED = {
    "one action": (deny(f'input.action == "bulk_pay"; {HARD}'), '"action": "bulk_pay"'),
    "one of several actions": (deny(f'input.action in {{"pay", "repay"}}; {HARD}'), '"action": '),
    "one value": (deny(f'input.resource.kind == "zip"; {HARD}'), '"kind": "zip"'),
    "a value of an action": (
        deny(f'input.action == "pack"; input.resource.kind == "zip"; {HARD}'),
        '"action": "pack", "resource": {"id": "r-1", "type": "document", "kind": "zip"}',
    ),
    "a value that another rule compares": (
        deny(f'input.action == "pack"; foreign; {HARD}', 'foreign if input.resource.currency == "XTS"\n'),
        '"currency": "XTS"',
    ),
    "two values that other rules compare": (
        deny(
            f"foreign; late; {HARD}",
            'foreign if input.resource.currency == "XTS"\n\nlate if input.environment.shift == "night"\n',
        ),
        '"shift": "night"',
    ),
    "above a limit": (deny(f"input.resource.amount > 990000; {HARD}"), '"amount": 990001'),
    "a fact that is derived": (deny(f'input.action == "export"; input.derived.multi_factor; {HARD}'), '"mfa"'),
    "more than some items": (deny(f"count(input.resource.tags) > 500; {HARD}"), "at resource.tags"),
    "every pair of a list": (deny(f'input.action == "match"; {PAIRS}; a == b + 0.5'), "at resource.items"),
    "every pair of records": (deny(f"{PAIRS}; a.price == b.price + 0.5; a.kind == 7"), "at resource.items"),
    "two lists": (
        deny("some a in input.resource.left; some b in input.resource.right; a == b + 0.5"),
        "at resource.left and resource.right",
    ),
    "every pair of a text's parts": (
        deny('some a in split(input.resource.path, "/"); some b in split(input.resource.path, "/"); a == [b]'),
        "with marked text at resource.path",
    ),
    "every pair of roles": (
        deny("some a in input.subject.attributes.roles; some b in input.subject.attributes.roles; a == [b]"),
        "with words at subject.attributes.roles",
    ),
    "a list whose pairs are built": (
        deny(
            'input.action == "grow"; count([[a, b] | some a in input.resource.all; some b in input.resource.all]) == 0'
        ),
        "at resource.all",
    ),
}


@pytest.fixture
def build(tmp_path):
    """Build a bundle of one policy, from the directory `mine`."""

    def make(policy, limits=QUICK):
        directory = tmp_path / "mine"
        directory.mkdir()
        (directory / "metadata.yaml").write_text("owner: team\nversion: 1.0.0\n")
        (directory / "policy.rego").write_text(policy)
        (directory / "other.rego").write_text(
            f'{HEAD}allow contains {{"id": "a", "message": ""}} if input.resource.id\n'
        )
        return build_bundle([directory], created_by="ann@example.org", expires=EXPIRES, limits=limits)

    return make


@pytest.mark.parametrize(("policy", "named"), PLANTED.values(), ids=PLANTED)
def test_a_policy_that_explodes_for_some_requests_only(build, policy, named):
    """It makes no bundle, and the error names the file and the request that it takes too much for."""
    with pytest.raises(MeterExceededError, match=r"^mine/policy\.rego: takes more time or memory") as caught:
        build(policy)

    assert caught.value.code == "authz.metering"
    assert named in caught.value.got


def test_memory_is_bounded_for_each_question(build):
    """A policy that builds more than it may is caught by its memory, before its time is over."""
    policy = deny('input.action == "grow"; count([[a, a, a] | some a in numbers.range(1, 30000000)]) == 0')
    with pytest.raises(MeterExceededError) as caught:
        build(policy, Limits(deadline_seconds=300, memory_bytes=512 * 1024 * 1024, question_seconds=60))

    assert caught.value.expected == "at most 512 MiB"
    assert '"action": "grow"' in caught.value.got


@pytest.mark.parametrize("name", ["a value of an action", "every pair of records"])
def test_it_is_not_promoted_either(name):
    """A bundle that was built elsewhere is asked the same questions when somebody wants to promote it."""
    wish = _wish(policy=PLANTED[name][0].encode(), limits=QUICK)
    decision = judge_promotion(wish.candidate, wish.trust, wish.promotions, at=NOW, limits=wish.limits)

    assert [finding.rule for finding in decision.findings] == ["promotion.metering"]


def test_policies_that_walk_through_what_they_get_are_fine(build):
    """Rules that look at every item once are within their limits, whatever is asked."""
    policy = deny(
        "some item in input.resource.items; item.price > 100",
        'deny contains {"id": "q", "message": ""} if {\n\tsome it in split(input.resource.a, "/")\n\tit == ".."\n}\n',
    )
    bundle = build(policy, Limits(deadline_seconds=300))

    assert meter(bundle, Limits(deadline_seconds=300)).asked > 500


class TestQuestions:
    def vocabulary(self, *policies):
        return read_vocabulary(({f"{place}.rego": policy for place, policy in enumerate(policies)}, {}))

    def test_always_the_same(self):
        """The same policies are asked the same, in the same order, also when they are parsed anew."""
        policies = [policy for policy, _ in PLANTED.values()]

        one, two = ([str(item) for item in questions(self.vocabulary(*policies))] for _ in range(2))
        assert one == two

    def test_a_bounded_number(self):
        """However many rules there are, there are no more questions than the two bounds allow."""
        policies = [
            deny(f'input.action == "a{number}"; input.resource.r{number}[_] == "v{number}"; input.subject.s{number}')
            for number in range(150)
        ]
        asked = list(questions(self.vocabulary(*policies)))

        assert len(asked) == MAX_SMALL + MAX_LARGE
        assert {item.shape for item in asked} == {"", *SHAPES}

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("places", [1, 2])
    def test_a_large_question_is_a_request(self, shape, places):
        """What is large is within the limits of a request, nearly as large as it may be, and not refused."""
        paths = tuple(("environment", "nested", f"x{place}") for place in range(places))
        plain = {"subject": {"id": "u", "type": "user"}, "action": "read", "resource": {"id": "r", "type": "t"}}
        request = Question({**plain, "environment": {}}, paths, shape, ("a", "b") if shape == "records" else ()).build()
        bigger = {**request, "environment": {**request["environment"], "more": "x" * (MAX_SIZE // 2)}}

        build_request(**request)
        with pytest.raises(RequestError):
            build_request(**bigger)

    def test_typed_attributes_get_what_they_take(self):
        """A list of roles is of texts and an owner is a text, so that these questions are not refused unasked."""
        policy = deny(
            'input.resource.owner == "u"; input.subject.attributes.roles[_] == "r"; input.resource.masked_fields'
        )
        large = [item for item in questions(self.vocabulary(policy)) if item.large]

        assert {("resource", "owner"), ("subject", "attributes", "roles")} <= {item.large[0] for item in large}
        for item in large:
            request_from_dict(item.build())

    def test_a_question_comes_back_as_it_was(self):
        """What the child notes is what the parent reads."""
        for item in questions(self.vocabulary(PLANTED["two lists"][0])):
            assert Question.from_dict(json.loads(json.dumps(item.to_dict()))) == item
