"""Slices are proven: whatever the policies, a slice answers as all of them do, and as OPA does."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from companyos.authz import EngineError, PolicyError, RegoEngine
from companyos.authz.engines._loaded import document
from companyos.authz.engines._shape import opinion
from companyos.authz.slices import key_of
from tests.authz.random_policies import policy_sets, requests
from tests.services import available
from tests.services.opa_engine import UndefinedError, opa

PACKAGE = "package companyos.access\n\nimport rego.v1\n\n"


def _answer(engine, request):
    try:
        return engine.decide(request)
    except EngineError:
        return "no answer"


def _loaded(policies):
    engine = RegoEngine.of(policies)
    try:
        engine.loaded()
    except PolicyError:
        return None
    return engine


class TestNothingChanges:
    def test_sliced_is_unsliced(self):
        """On random policies and requests a slice gives the opinion of the whole set; most requests hit several."""
        seen = Counter()

        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
        @given(policy_sets(), st.lists(requests(), min_size=12, max_size=12))
        def compare(policies, asked):
            engine, whole = _loaded(policies), RegoEngine.of(policies, sliced=False)
            seen["policy sets"] += 1
            if engine is None:
                seen["refused"] += 1
                return
            for request in asked:
                seen.update(_hits(engine.loaded(), request))
                assert _answer(engine, request) == _answer(whole, request)

        compare()
        assert seen["two slices or more"] >= 0.3 * seen["requests"]
        assert seen["less than everything"] >= 0.3 * seen["requests"]
        assert seen["refused"] < 0.3 * seen["policy sets"]

    @pytest.mark.service("opa_engine")
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(policy_sets(), st.lists(requests(), min_size=8, max_size=8))
    def test_opa_agrees(self, policies, asked):
        """OPA itself, given the same texts and data, comes to the same opinion wherever ours comes to one."""
        engine = _loaded(policies)
        if engine is None:
            event("refused")
            return
        loaded = engine.loaded()
        sources = {module.file: module.text for module in loaded.modules}
        with opa(available("opa_engine"), sources, loaded.data) as other:
            for request in asked:
                ours = _answer(engine, request)
                if ours == "no answer":
                    event("an error, which OPA takes for undefined")
                    continue
                try:
                    answer = other.ask("companyos.access.decision", json.loads(document(request)))
                except UndefinedError as error:
                    if "rego_type_error" not in str(error):
                        raise
                    event("types that OPA refuses when it loads them")
                    return
                assert _comparable(opinion(answer)) == _comparable(ours)


def _hits(loaded, request):
    members = loaded.slicing.members(key_of(request))
    scoped = {loaded.slicing.applies_to(place) for place in members - loaded.slicing.always} - {None}
    yield "requests"
    if len(scoped) >= 2:
        yield "two slices or more"
    if members < loaded.slicing.everything:
        yield "less than everything"


def _comparable(given_opinion):
    obligations = sorted((item.id, item.type) for item in given_opinion.obligations)
    return given_opinion.allow, given_opinion.reason, given_opinion.message, obligations
