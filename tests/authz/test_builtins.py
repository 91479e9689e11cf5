"""The functions that policies may call do what OPA's do; one that does not is refused before it decides anything."""

from __future__ import annotations

import json

import pytest

from companyos.authz import EngineError, PolicyError, RegoEngine
from companyos.authz.engines import _lint, _probe
from companyos.authz.engines._regorus import guarded, prepare
from tests.authz.builtin_calls import AGREED, KNOWN
from tests.authz.test_rego import PACKAGE
from tests.services import available
from tests.services.opa_engine import UndefinedError, opa

NOTHING = "no value"


def ours(call):
    """What the embedded engine answers."""
    text = f"package probe\n\nimport rego.v1\n\nvalue := {call}\n"
    try:
        answer = guarded(lambda: prepare({"probe.rego": text}, {}).eval_query_as_json("data.probe.value"))
    except EngineError:
        return NOTHING
    results = json.loads(answer).get("result")
    return results[0]["expressions"][0]["value"] if results else NOTHING


def theirs(call):
    """What OPA answers."""
    text = f"package probe\n\nimport rego.v1\n\nvalue := {call}\n"
    try:
        with opa(available("opa_engine"), {"probe.rego": text}) as engine:
            return engine.ask("probe.value")
    except UndefinedError:
        return NOTHING


def test_every_function_has_a_sample():
    """Each function on the list is called once before a policy may use it."""
    assert _probe.SAMPLES.keys() == _lint.ALLOWED


@pytest.mark.parametrize("name", sorted(_probe.SAMPLES))
def test_a_sample_has_a_value(name):
    """The engine carries out every function on the list."""
    _probe.check([name])


@pytest.mark.service("opa_engine")
@pytest.mark.parametrize("call", [*_probe.SAMPLES.values(), *AGREED.strip().splitlines()])
def test_opa_answers_the_same(call):
    """Sane calls and edges of every function on the list have OPA's answer."""
    assert ours(call) == theirs(call)


@pytest.mark.service("opa_engine")
@pytest.mark.parametrize("call", KNOWN.strip().splitlines())
def test_known_differences(call):
    """What is written down as a difference still is one; once it is none, it moves to the others."""
    assert ours(call) != theirs(call)


def test_a_function_that_is_not_carried_out(policies, monkeypatch):
    """A function that the engine answers with undefined is refused at load, with the call that was tried."""
    monkeypatch.setitem(_probe.SAMPLES, "trim_space", "time.add_date(1709164800000000000, 1, 0, 0)")
    _probe._problem.cache_clear()
    text = PACKAGE + 'deny contains {"id": "x"} if trim_space(input.action) == "x"\n'
    try:
        with pytest.raises(PolicyError, match=r"does not carry out trim_space(.|\n)*undefined"):
            RegoEngine([policies(mine__rego=text)]).loaded()
    finally:
        _probe._problem.cache_clear()


@pytest.mark.parametrize("call", ["walk(input)", "time.add_date(0, 1, 1, 1)", 'strings.count("a", "a")'])
def test_a_function_that_differs(policies, call):
    """A function that the engine answers otherwise than OPA is refused with that reason."""
    with pytest.raises(PolicyError, match="does not answer it as OPA does"):
        RegoEngine([policies(mine__rego=PACKAGE + f'deny contains {{"id": "x"}} if {call}\n')]).loaded()
