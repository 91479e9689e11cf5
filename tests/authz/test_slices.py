"""What a policy applies to: inferred from its text, declared by its author, and held together when it is loaded."""

from __future__ import annotations

import pytest

from companyos.authz import PolicyError, RegoEngine, RequestError, build_request
from companyos.authz.policyset import load_policies
from companyos.authz.slices import Slice, key_of
from tests.authz.test_rego import PACKAGE

USER = {"id": "u-1", "type": "user"}
ALLOW = 'allow contains {"id": "policy.open"} if {\n\tinput.action\n}\n\n'
META = "owner: team\nversion: 1.0.0\n"


def ask(action="read", **resource):
    return build_request(USER, action, {"id": "d-1", "type": "document", **resource})


def deny(*literals, name="mine"):
    return f'deny contains {{"id": "policy.{name}"}} if {{\n\t' + "\n\t".join(literals) + "\n}\n\n"


def evaluated(engine, request):
    """Lines of the rules that decide and are evaluated for a request, those of the fixed combination aside."""
    slicing = engine.loaded().slicing
    rules = slicing.rules(slicing.members(key_of(request)))
    return [rule.line for module, rule in rules if module.file != "decision.rego" and rule.path[-1] == "deny"]


GUARDS = {
    'input.action == "read"': True,
    '"read" == input.action': True,
    'input.action = "read"': True,
    'input["action"] == "read"': True,
    "input.action == `read`": True,
    'input.action in {"read", "list"}': True,
    'input.action in ["read"]': True,
    "input.action in data.mine.actions": True,
    'input.resource.level > 3\n\tinput.action == "read"': True,
    'input.resource.level != "x"\n\tnot input.resource.a\n\tinput.resource.b\n\tinput.action == "read"': True,
    "input.action in data.mine.nested": False,
    "input.action in data.mine": False,
    "input.action in data.companyos.access.helper": False,
    'input.action == lower("READ")': False,
    'input.action != "write"': False,
    'not input.action == "write"': False,
    'input.action in {"read", input.resource.x}': False,
    'to_number(input.resource.level) > 3\n\tinput.action == "read"': False,
    'helper\n\tinput.action == "read"': False,
    'some x in input.resource.tags\n\tinput.action == "read"': False,
    'input.action == "read" with input.action as "read"': False,
    'x := input.action\n\tx == "read"': False,
}


class TestInference:
    @pytest.mark.parametrize(("literal", "is_guard"), GUARDS.items(), ids=GUARDS)
    def test_guard(self, policies, literal, is_guard):
        """A leading comparison of a fact with constants is a guard; what could raise or mean something else is none."""
        text = PACKAGE + ALLOW + "helper if {\n\tinput.resource\n}\n\n" + deny(literal)
        data = '{"mine": {"actions": ["read"], "nested": [["read"]]}}'
        engine = RegoEngine([policies(mine__rego=text, data__json=data)])

        assert bool(evaluated(engine, ask("write"))) is not is_guard
        assert evaluated(engine, ask("read"))

    @pytest.mark.parametrize(
        ("place", "key"), [("type", "type"), ("domain", "domain"), ("service", "service")], ids=str
    )
    def test_all_facts(self, policies, place, key):
        """Type, domain and service of the resource are facts that choose a slice, as the action is."""
        engine = RegoEngine([policies(mine__rego=PACKAGE + ALLOW + deny(f'input.resource.{place} == "a"'))])
        request = {"domain": "b", "service": "b"}

        assert evaluated(engine, ask(**(request | {key: "a"})))
        assert not evaluated(engine, ask(**(request | {key: "b"})))

    def test_guards_that_contradict_each_other(self, policies):
        """A rule that can never fire is never evaluated."""
        text = PACKAGE + ALLOW + deny('input.action == "read"', 'input.action == "write"')

        assert not evaluated(RegoEngine([policies(mine__rego=text)]), ask("read"))

    def test_many_values(self, policies):
        """A rule with more combinations than the table takes is evaluated more often, never less."""
        names = ", ".join(f'"a{number}"' for number in range(20))
        text = PACKAGE + ALLOW + deny(f"input.action in {{{names}}}", f"input.resource.type in {{{names}}}")
        engine = RegoEngine([policies(mine__rego=text)])

        assert evaluated(engine, build_request(USER, "a1", {"id": "d", "type": "a2"}))
        assert engine.decide(build_request(USER, "a1", {"id": "d", "type": "a2"})).reason == "policy.mine"
        assert engine.decide(build_request(USER, "a1", {"id": "d", "type": "b"})).allow

    def test_what_a_rule_needs_comes_with_it(self, policies):
        """Helpers come from wherever they are, rules that are referred to by `deny` all together."""
        text = PACKAGE + ALLOW + deny('input.action == "read"', "helper")
        more = PACKAGE + "helper if data.companyos.tools[input.action].ok\n"
        tools = "package companyos.tools\n\nimport rego.v1\n\nread.ok := data.companyos.tools.yes\n\nyes := true\n"
        other = PACKAGE + deny('input.action == "write"', name="other")
        both = PACKAGE + 'allow contains {"id": "x"} if {\n\tinput.action == "watch"\n\tcount(deny) == 0\n}\n'
        engine = RegoEngine(
            [policies(a__rego=text, b__rego=more, c__rego=tools, d__rego=other, e__rego=both)], sliced=True
        )

        assert engine.decide(ask("read")).reason == "policy.mine"
        assert len(evaluated(engine, ask("read"))) == 1
        assert len(evaluated(engine, ask("watch"))) == 2

    def test_a_rule_under_another_input(self, policies):
        """A rule that is asked with another input is there, though its guard does not match the request."""
        text = PACKAGE + ALLOW + deny('input.action == "write"')
        more = PACKAGE + 'obligation contains {"id": "o"} if {\n\tcount(deny) > 0 with input.action as "write"\n}\n'
        engine = RegoEngine([policies(a__rego=text, b__rego=more)])

        assert [item.id for item in engine.decide(ask("read")).obligations] == ["o"]

    @pytest.mark.parametrize(
        "text",
        [
            "import data.lists as input\n\nx := 1\n",
            "x if {\n\tsome input in [1]\n}\n",
            "x if {\n\tsome data\n\tdata = 1\n}\n",
            "x if {\n\tevery input in [1] {\n\t\ttrue\n\t}\n}\n",
            "f(input) := 1\n",
        ],
        ids=["import", "some in", "some", "every", "argument"],
    )
    def test_another_input(self, policies, text):
        """A policy that calls something else `input` or `data` is refused, as OPA refuses it."""
        with pytest.raises(PolicyError, match=r"another meaning|does not parse"):
            RegoEngine([policies(mine__rego=PACKAGE + text)]).loaded()

    @pytest.mark.parametrize("text", ["default deny := false\n", "deny(x) := x\n", "allow[x] := 1 if x := 2\n"])
    def test_an_opinion_that_is_no_set(self, policies, text):
        """`deny`, `allow` and `obligation` are sets; anything else of that name is refused."""
        with pytest.raises(PolicyError, match="other than a set"):
            RegoEngine([policies(mine__rego=PACKAGE + text)]).loaded()


class TestDeclared:
    def test_a_declaration_that_holds(self, policies):
        """A declared slice that every rule keeps is accepted."""
        meta = META + "slice:\n  actions: [read, write]\n"
        engine = RegoEngine([policies(mine__rego=PACKAGE + deny('input.action == "read"'), metadata__yaml=meta)])

        assert engine.decide(ask("read")).reason == "policy.mine"

    def test_a_declaration_that_does_not_hold(self, policies):
        """A rule that can fire outside is refused by file, line and what can fire."""
        text = PACKAGE + deny('input.action == "read"') + deny('input.action in {"read", "delete"}')
        meta = META + "slice:\n  actions: [read]\n"

        with pytest.raises(PolicyError, match=r"0/mine\.rego:9 can fire outside(.|\n)*actions: delete") as caught:
            RegoEngine([policies(mine__rego=text, metadata__yaml=meta)]).loaded()
        assert 'input.action == "read"' in str(caught.value)

    def test_an_unguarded_rule(self, policies):
        """A rule without a guard can fire for every value."""
        meta = META + "slice:\n  domains: [billing]\n"

        with pytest.raises(PolicyError, match=r"domains: every value(.|\n)*input\.resource\.domain == \"billing\""):
            RegoEngine([policies(mine__rego=PACKAGE + ALLOW, metadata__yaml=meta)]).loaded()

    @pytest.mark.parametrize("text", ["actions: read", "actions: []", "actions: [1]", "verbs: [read]"])
    def test_a_declaration_that_says_nothing(self, policies, text):
        """A slice is lists of texts under known names."""
        with pytest.raises(PolicyError, match="slice"):
            load_policies([policies(mine__rego=PACKAGE + ALLOW, metadata__yaml=f"{META}slice: {{{text}}}\n")])

    def test_slices_as_sets(self):
        """A slice restricts, knows what is outside of another, and when nothing is left."""
        read, billing = Slice(actions=frozenset({"read"})), Slice(domains=frozenset({"billing"}))

        assert read.restrict(billing).to_dict() == {"actions": ["read"], "domains": ["billing"]}
        assert read.restrict(Slice(actions=frozenset({"write"}))).is_empty()
        assert read.outside(read.restrict(billing)) == {"domains": None}
        assert read.restrict(billing).outside(read) == {}
        assert read.holds(("read", "document", None, None))
        assert not billing.holds(("read", "document", None, None))


class TestScope:
    @pytest.fixture
    def scoped(self, policies):
        text = PACKAGE + ALLOW + deny('input.resource.domain == "billing"', 'input.action == "delete"')
        return RegoEngine([policies(mine__rego=text)])

    def test_a_request_without_a_domain(self, scoped):
        """Where a policy is about a domain, a request that names none does not pass by it."""
        opinion = scoped.decide(ask("delete"))

        assert (opinion.allow, opinion.reason) == (False, "policy.scope_unstated")
        assert "resource.domain" in opinion.message

    def test_a_request_of_another_domain(self, scoped):
        """A request of another domain is not touched."""
        assert scoped.decide(ask("delete", domain="people")).allow
        assert scoped.decide(ask("delete", domain="billing")).reason == "policy.mine"

    def test_nobody_asks(self, policies):
        """Where no policy reads domain or service, a request need not name them."""
        assert RegoEngine([policies(mine__rego=PACKAGE + ALLOW)]).decide(ask()).allow

    def test_unsliced_answers_the_same(self, policies):
        """Evaluating everything gives the same refusal."""
        text = PACKAGE + ALLOW + deny('input.resource.service == "ledger"')
        directory = policies(mine__rego=text)

        assert RegoEngine([directory], sliced=False).decide(ask()) == RegoEngine([directory]).decide(ask())
        assert RegoEngine([directory]).decide(ask()).reason == "policy.scope_unstated"

    @pytest.mark.parametrize("name", ["Billing", " billing", "", "bil\u200bling", 3])
    def test_another_spelling(self, name):
        """A domain in a spelling that no policy would match is refused before any is asked."""
        with pytest.raises(RequestError, match=r"resource\.domain"):
            ask(domain=name)

    def test_data_that_belongs_to_the_combination(self, policies):
        """Nobody's data may say what has to be stated."""
        with pytest.raises(PolicyError, match="companyos_scope"):
            load_policies([policies(mine__rego=PACKAGE + ALLOW, data__json='{"companyos_scope": []}')])


class TestLayout:
    @pytest.fixture
    def lay(self, tmp_path):
        """Writes `<domain>/<service>/<stage>/<version>` with a policy, and returns the root."""

        def write(place, text, meta=None):
            directory = tmp_path / "policies" / place
            directory.mkdir(parents=True)
            (directory / "policy.rego").write_text(PACKAGE + text)
            version = directory.name
            (directory / "metadata.yaml").write_text(meta or f"owner: team\nversion: {version}\nextends: playbook\n")
            return tmp_path / "policies"

        return write

    SCOPED = 'input.resource.domain == "billing"', 'input.resource.service == "ledger"'

    def test_the_highest_version_of_the_stage(self, lay):
        """Of each service the highest version of one stage counts, by number and not by text."""
        for stage, version in (("prod", "1.9.0"), ("prod", "1.10.0"), ("dev", "2.0.0")):
            root = lay(f"billing/ledger/{stage}/{version}", deny(*self.SCOPED, name=f"{stage}-{version}"))
        request = ask(domain="billing", service="ledger")

        assert RegoEngine([root]).decide(request).reason == "policy.prod-1.10.0"
        assert RegoEngine([root], stage="dev").decide(request).reason == "policy.dev-2.0.0"

    def test_the_place_is_a_promise(self, lay):
        """A policy below a service that could fire for another one is refused."""
        root = lay("billing/ledger/prod/1.0.0", deny(self.SCOPED[0]))

        with pytest.raises(
            PolicyError, match=r"billing/ledger/prod/1\.0\.0/policy\.rego:5(.|\n)*services: every value"
        ):
            RegoEngine([root]).loaded()

    @pytest.mark.parametrize("place", ["_any/_any", "shared/shared"])
    def test_a_place_that_is_about_all(self, lay, place):
        """`_any` and `shared` promise nothing."""
        root = lay(f"{place}/prod/1.0.0", deny('input.action == "read"'))

        assert RegoEngine([root]).decide(ask()).reason == "policy.mine"

    @pytest.mark.parametrize(
        ("place", "meta", "match"),
        [
            ("billing/ledger/production/1.0.0", None, "is no stage"),
            ("billing/ledger/prod/v1", None, "is no version"),
            ("billing/ledger/prod/1.0.0", "owner: team\nversion: 1.0.1\n", "another version"),
            ("billing/ledger/prod/1.0.0", META + "slice: {domains: [people]}\n", "outside of its place"),
            ("billing/ledger/dev/1.0.0", None, r"of this stage\n  got: prod\n  expected: dev\n  next: say the"),
            ("Billing/ledger/prod/1.0.0", None, "not part of the layout"),
        ],
    )
    def test_a_place_that_is_wrong(self, lay, place, meta, match):
        """What is laid out wrongly is refused by name."""
        with pytest.raises(PolicyError, match=match):
            load_policies([lay(place, deny(*self.SCOPED), meta)])

    def test_a_file_beside_the_layout(self, lay):
        """A policy at the wrong depth is refused, because its author believes that it counts."""
        root = lay("billing/ledger/prod/1.0.0", deny(*self.SCOPED))
        (root / "billing" / "freeze.rego").write_text(PACKAGE + ALLOW)

        with pytest.raises(PolicyError, match=r"freeze\.rego is not part of the layout"):
            load_policies([root])

    def test_an_unknown_stage(self):
        """A stage that does not exist is refused."""
        with pytest.raises(PolicyError, match="no such stage"):
            load_policies(stage="live")

    def test_rego_tests_are_no_policies(self, lay):
        """A Rego test is refused with the place where test cases belong."""
        root = lay("billing/ledger/prod/1.0.0", deny(*self.SCOPED))
        (root / "billing/ledger/prod/1.0.0/policy_test.rego").write_text(PACKAGE + "test_x if true\n")

        with pytest.raises(PolicyError, match=r"tests/\*\.yaml"):
            load_policies([root])


class TestEngines:
    def test_few_engines_are_kept(self, policies):
        """A thread keeps as many engines as it may, and answers rightly when it has to make one anew."""
        text = PACKAGE + "".join(f'allow contains {{"id": "policy.{n}"}} if input.action == "a{n}"\n' for n in range(6))
        engine = RegoEngine([policies(mine__rego=text)], most_engines=2)

        for _ in range(2):
            for number in range(6):
                assert engine.decide(ask(f"a{number}")).reason == f"policy.{number}"
        assert engine.loaded().evaluator.kept == 2

    def test_an_error_names_file_and_line(self, policies):
        """What is left of a file keeps the line numbers of the whole."""
        from companyos.authz import EngineError

        text = PACKAGE + deny('input.action == "write"') + deny("to_number(input.resource.level) > 1")
        engine = RegoEngine([policies(mine__rego=text)])

        with pytest.raises(EngineError, match=r"mine\.rego:10"):
            engine.decide(ask("read", level="high"))
