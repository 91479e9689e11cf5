"""The sixteen faults of Failover Bench, methodology 0.1, each with the conduct that its catalogue asks for.

The scenarios are those of its `scenarios/catalogue.yaml` (read in 2026), told here in our own words; times are
shorter, their proportions kept.
"""

from __future__ import annotations

import pytest

from companyos.llm import ContentFilteredError
from companyos.testing.llm import Fault
from tests.llm.conftest import IMPATIENT

OK = Fault()
REFUSED = "content_policy_violation"
ONCE_MORE = ("ok", "openai")
ELSEWHERE = ("ok", "anthropic")


def streamed(router):
    """The completion, and the text as it came."""
    events = list(router.stream("Explain.", task="planning"))
    return events[-1].completion, "".join(event.text for event in events)


@pytest.mark.parametrize(
    ("faults", "ends", "most_at_first", "rules"),
    [
        pytest.param(
            (Fault("status", status=429, headers={"Retry-After": "0.3"}), OK), ONCE_MORE, 2, None, id="S01-retry-after"
        ),
        pytest.param((Fault("status", status=429),), ELSEWHERE, 2, None, id="S02-429-persistent"),
        pytest.param((Fault("status", status=500), OK), ONCE_MORE, 2, None, id="S03-500-once"),
        pytest.param((Fault("status", status=503),), ELSEWHERE, 1, None, id="S04-503-persistent"),
        pytest.param((Fault("reset"), OK), ELSEWHERE, 1, None, id="S05-reset"),
        pytest.param((Fault("silent"),), ELSEWHERE, 1, IMPATIENT, id="S06-no-response"),
        pytest.param((Fault("slow", seconds=30),), ELSEWHERE, 1, IMPATIENT, id="S07-slow-first-token"),
        pytest.param((Fault("cut", after=40),), ELSEWHERE, 1, None, id="S08-cut"),
        pytest.param((Fault("stall", after=20),), ELSEWHERE, 1, IMPATIENT, id="S09-stall"),
        pytest.param((Fault("garbage", after=10),), ELSEWHERE, 1, None, id="S10-malformed-chunk"),
        pytest.param((Fault("unterminated"),), ONCE_MORE, 1, None, id="S11-no-done"),
        pytest.param(
            (Fault("status", status=400, code="context_length_exceeded"),), ELSEWHERE, 1, None, id="S12-context-length"
        ),
        pytest.param((Fault("status", status=503),), ELSEWHERE, 1, None, id="S16-accounting"),
    ],
)
def test_the_whole_answer_arrives(server, make_router, faults, ends, most_at_first, rules):
    """Rescued, with bounded attempts, the model that answered and its usage named, failed attempts not billed."""
    router = make_router(rules=rules)
    server.script("openai", *faults)

    made, text = streamed(router)

    assert server.text == text == made.text
    assert ends == (made.attempts[-1].outcome, made.provider)
    assert made.response_model == f"{made.provider}-model"
    assert made.usage is not None
    assert len(server.requests("openai")) <= most_at_first
    assert all(one.usage is None for one in made.attempts[:-1])


def test_s01_waits_as_long_as_it_was_told(server, make_router):
    """The second attempt does not come before the time that `Retry-After` gives."""
    router = make_router()
    server.script("openai", Fault("status", status=429, headers={"Retry-After": "0.3"}), OK)

    streamed(router)

    first, second = server.requests("openai")
    assert second.at - first.at >= 0.3


def test_s13_a_content_filter_is_shown_to_the_caller(server, make_router):
    """The provider's reason is passed on, after one request to one provider."""
    router = make_router()
    server.script("openai", Fault("status", status=400, code=REFUSED))

    with pytest.raises(ContentFilteredError, match=REFUSED):
        streamed(router)

    assert len(server.seen) == 1


def test_s14_a_fallback_that_takes_no_prefill_continues_all_the_same(server, make_router):
    """The continuation does not end with the model's turn, so that a model that refuses such takes it."""
    router = make_router()
    server.script("openai", Fault("cut", after=40))
    server.script("anthropic", Fault("no_prefill"))

    made, text = streamed(router)

    assert server.text == text
    assert made.provider == "anthropic"


def test_s15_a_provider_that_flaps_is_left_alone_and_taken_back(server, make_router):
    """Served by the fallback while it is down, with few probes; back with the first probe after it is well."""
    router = make_router(rules={"cool_down_seconds": 0.2})
    server.script("openai", Fault("status", status=503))
    down = [streamed(router)[0].provider for _ in range(10)]
    probes = len(server.requests("openai"))
    server.script("openai", OK)
    while router.health.ready_at("openai") > router.health.now():
        pass

    back = streamed(router)[0].provider

    assert ["anthropic"] * 10 == down
    assert probes < 10
    assert back == "openai"
