"""Policies that do not end: eval, explain and test ask them in a process of its own, and end it."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from companyos.authz import EngineError, PolicyError, RegoEngine
from companyos.authz.engines.embedded import Recipe, recipe_for
from companyos.authz.engines.isolated import IsolatedEngine
from companyos.authz.interface import EngineTimeoutError
from companyos.company import Company
from companyos.errors import ConfigError, MissingExtraError
from tests.authz.requests import READ
from tests.authz.test_authz_cli import DOCUMENT, USER, run  # noqa: F401 - run is the fixture
from tests.authz.test_rego import ALLOW
from tests.authz.test_slices import ask

ENDLESS = "count([1 | some a in numbers.range(1, 200000); some b in numbers.range(1, 200000); a == b + 0.5]) == 0"
LOOPING = ALLOW + f'deny contains {{"id": "x"}} if {{\n\tinput.action == "loop"\n\t{ENDLESS}\n}}\n'
LOOPING_AT_ONCE = ALLOW + f'deny contains {{"id": "x"}} if {{\n\t{ENDLESS}\n}}\n'
GROWING = ALLOW + (
    'deny contains {"id": "x"} if {\n\tinput.action == "grow"\n\t'
    "count([a | some a in numbers.range(1, 400000000)]) > 0\n}\n"
)
CASES = """
- name: a read
  request: {subject: {id: u-1, type: user}, action: read, resource: {id: d-1, type: document}}
  expect: {decision: allow}
- name: a loop
  request: {subject: {id: u-1, type: user}, action: loop, resource: {id: d-1, type: document}}
  expect: {decision: deny}
"""


@pytest.fixture
def isolated():
    """Engines in processes of their own, closed after the test."""
    engines = []

    def make(directory, **more):
        engines.append(IsolatedEngine(recipe_for([directory]), **more))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def looping(policies, tmp_path):
    """A company whose policies allow reads and never end where a loop is asked for."""
    directory = policies(mine__rego=LOOPING)
    (directory / "tests").mkdir()
    (directory / "tests" / "cases.yaml").write_text(CASES)
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\nauthz:\n  policies: [policies]\n")
    return directory


class TestEngine:
    def test_it_decides_as_the_engine_does(self, policies, isolated):
        """Opinion, name and version are those of the engine in the child."""
        directory = policies(mine__rego=ALLOW)
        engine, here = isolated(directory), RegoEngine([directory])

        assert engine.decide(READ) == here.decide(READ)
        assert (engine.name, engine.version) == (here.name, here.version)

    def test_what_does_not_end(self, looping, isolated):
        """When the time is used up, that request and every later one is refused as late, a harmless one too."""
        engine = isolated(looping, seconds=4)
        assert engine.decide(READ).allow

        for action in ("loop", "read"):
            with pytest.raises(EngineTimeoutError, match="took too long"):
                engine.decide(ask(action))

    def test_what_does_not_even_load(self, policies, isolated):
        """A policy that loops for every request is late already when it is asked for its version."""
        engine = isolated(policies(mine__rego=LOOPING_AT_ONCE), seconds=3)

        with pytest.raises(EngineTimeoutError, match="took too long"):
            _ = engine.version

    def test_what_grows_costs_one_decision(self, policies, isolated):
        """A child that breaks down by the memory it takes is replaced for the next request."""
        engine = isolated(policies(mine__rego=GROWING), memory_bytes=512 * 1024**2)

        with pytest.raises(EngineError, match="process of the policy engine ended"):
            engine.decide(ask("grow"))
        assert engine.decide(READ).allow

    def test_policies_that_change_in_between(self, policies, isolated):
        """A second child that finds other policies than the first is no answer."""
        directory = policies(mine__rego=GROWING)
        engine = isolated(directory, memory_bytes=512 * 1024**2)
        assert engine.version
        with pytest.raises(EngineError):
            engine.decide(ask("grow"))
        (directory / "mine.rego").write_text(ALLOW)

        with pytest.raises(PolicyError, match="changed while they were asked"):
            engine.decide(READ)

    def test_what_is_wrong_with_policies_is_said_as_here(self, policies, isolated):
        """A refusal at load has the same parts as in this process, the next step included."""
        directory = policies(mine__rego=ALLOW + "deny contains {} if input.resourcee\n")
        with pytest.raises(PolicyError) as here:
            RegoEngine([directory]).decide(READ)
        with pytest.raises(PolicyError) as there:
            isolated(directory).decide(READ)

        assert there.value.to_dict() == here.value.to_dict()

    def test_a_missing_library_is_said_as_here(self, policies, isolated, monkeypatch, tmp_path):
        """What is not installed is not a fault of the policies."""
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        (hidden / "regorus.py").write_text("raise ImportError('no wheel')")
        monkeypatch.syspath_prepend(hidden)

        with pytest.raises(MissingExtraError, match="authz.engine: opa"):
            isolated(policies(mine__rego=ALLOW)).decide(READ)


class TestRecipe:
    def test_the_suffix_chooses_the_engine(self, policies):
        """Files in .cedar are for Cedar, whatever is configured; without any file the configured engine counts."""
        cedar = policies("c", mine__cedar='@id("m") permit (principal, action, resource);')

        assert recipe_for([cedar]).name == "cedar"
        assert recipe_for([policies("r", mine__rego=ALLOW)], default="cedar").name == "rego"
        assert recipe_for([], default="cedar").name == "cedar"
        assert recipe_for([], default="opa").name == "rego"

    def test_one_engine_at_a_time(self, policies):
        """Directories for two engines are refused by name."""
        both = [policies("r", mine__rego=ALLOW), policies("c", mine__cedar="permit (principal, action, resource);")]

        with pytest.raises(PolicyError, match="more than one engine"):
            recipe_for(both)

    def test_made_here_and_there_alike(self, policies):
        """An engine that is made of a recipe in this process has the version of one made in another."""
        recipe = Recipe("rego", (str(policies(mine__rego=ALLOW)),))
        with IsolatedEngine(recipe) as engine:
            assert engine.version == recipe.make().version


class TestCommands:
    def _ask(self, command, action, *more):
        return (command, "--subject", USER, "--action", action, "--resource", DOCUMENT, "--deadline", "5", *more)

    @pytest.mark.parametrize("more", [(), ("--dry-run",)])
    def test_eval(self, run, looping, more):  # noqa: F811 - the fixture
        """`eval` refuses as `policy.timeout`, says so, and exits 3; other requests are decided as ever."""
        assert run(*self._ask("eval", "read", *more))[0] == 0
        status, out, err = run(*self._ask("eval", "loop", "--json", *more))
        decision = json.loads(out)

        assert (status, decision["decision"], decision["reason"]) == (3, "undetermined", "policy.timeout")
        assert bool(decision["audit_id"]) is not bool(more)
        assert "--deadline gives them more time" in err

    def test_eval_of_what_does_not_load(self, run, policies, tmp_path):  # noqa: F811
        """A policy that loops while it is loaded is refused likewise."""
        policies(mine__rego=LOOPING_AT_ONCE)
        (tmp_path / "companyos.yaml").write_text("authz:\n  policies: [policies]\n")
        status, out, _ = run(*self._ask("eval", "read", "--json"))

        assert (status, json.loads(out)["reason"]) == (3, "policy.timeout")

    def test_explain(self, run, looping):  # noqa: F811
        """`explain` ends what it cannot explain in time."""
        status, out, err = run(*self._ask("explain", "loop"))

        assert (status, "policy.timeout" in out) == (3, True)
        assert "more than 5 s" in err

    def test_test(self, run, looping, tmp_path):  # noqa: F811
        """`test` fails the case that does not end, keeps the answers before it, and writes its report."""
        status, out, _ = run("test", "--deadline", "5", "--junit", "report.xml")

        assert status == 1
        assert "pass    0/tests/cases.yaml  a read" in out
        assert "decision is undetermined, expected deny; policy.timeout" in out
        assert ET.parse(tmp_path / "report.xml").getroot().get("failures") == "1"


class TestCompany:
    def test_isolation_by_a_setting(self, looping, tmp_path):
        """With `authz.isolation: process` a company's own authorizer refuses what does not end, and goes on."""
        with (tmp_path / "companyos.yaml").open("a") as settings:
            settings.write("  isolation: process\n")
        request = {"subject": json.loads(USER), "action": "loop", "resource": json.loads(DOCUMENT)}
        with Company.open(tmp_path) as company:
            late = company.authorizer.authorize_dict(request)
            again = company.authorizer.authorize_dict({**request, "action": "read"})

        assert (late.allow, late.reason) == (False, "policy.timeout")
        assert again.allow

    def test_isolation_of_a_remote_engine(self, tmp_path):
        """What is not evaluated here cannot be isolated here; that is said instead of passed over."""
        settings = "authz:\n  engine: opa\n  isolation: process\n  remote:\n    url: http://127.0.0.1:1\n"
        (tmp_path / "companyos.yaml").write_text(settings)
        with Company.open(tmp_path) as company, pytest.raises(ConfigError, match="authz.isolation"):
            _ = company.engine
