"""Every fault that a provider can have: another one serves, and nothing that is not whole passes for an answer."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from decimal import Decimal

import pytest

from companyos.decision import Decision
from companyos.finops import BudgetRefusedError
from companyos.llm import (
    ContentFilteredError,
    ExhaustedError,
    LocalBudget,
    PartialAnswerError,
    RejectedError,
    RouteRefusedError,
)
from companyos.llm.health import Health
from companyos.testing.llm import Fault
from tests.llm.conftest import IMPATIENT

RESCUED = (
    Fault("reset"),
    Fault("close"),
    Fault("silent"),
    Fault("slow", seconds=5),
    Fault("cut"),
    Fault("cut", after=0),
    Fault("cut", after=59),
    Fault("ended"),
    Fault("stall"),
    Fault("garbage"),
    Fault("error_event", code="overloaded_error"),
    Fault("error_event", code="server_error"),
    Fault("html"),
    Fault("schema"),
    Fault("no_choices"),
    Fault("huge_count"),
    Fault("big_header"),
    Fault("endless"),
    Fault("redirect"),
    Fault("compressed"),
    Fault("status", status=500),
    Fault("status", status=502),
    Fault("status", status=503),
    Fault("status", status=529, code="overloaded_error"),
    Fault("status", status=429),
    Fault("status", status=429, headers={"Retry-After": "30"}),
    Fault("status", status=429, code="insufficient_quota"),
    Fault("status", status=401),
    Fault("status", status=404),
    Fault("status", status=400, code="context_length_exceeded"),
)
SILENT = {"silent", "slow", "stall", "pings"}
KINDS = {
    "chat": ("openai", "anthropic", "openai-responses"),
    "messages": ("anthropic", "openai", "openai-responses"),
    "responses": ("openai-responses", "anthropic", "openai"),
}


def name_of(fault):
    """What a fault is called in reports."""
    return f"{fault.kind}-{fault.status}-{fault.code}" if fault.kind == "status" else f"{fault.kind}-{fault.after}"


def ask(router, *, streamed, **options):
    """The completion, and the text that came in parts."""
    if not streamed:
        made = router.route("Explain.", task="planning", **options)
        return made, made.text
    events = list(router.stream("Explain.", task="planning", **options))
    return events[-1].completion, "".join(event.text for event in events)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", RESCUED, ids=name_of)
def test_another_provider_serves_what_one_could_not(server, make_router, fault, streamed):
    """The whole text, once; what may have been counted is settled at its worst, and nothing stays reserved."""
    router = make_router(rules=IMPATIENT if fault.kind in SILENT else None)
    server.script("openai", fault)

    made, text = ask(router, streamed=streamed)

    assert server.text == made.text == text
    assert (made.partial, made.finish_reason, made.provider) == (False, "stop", "anthropic")
    assert [one.outcome for one in made.attempts][-1] == "ok"
    assert all(one.outcome != "ok" for one in made.attempts[:-1])
    assert made.cost == router.budget.spent == sum(one.amount for one in made.attempts)
    assert router.budget.reserved == 0
    assert all(one.amount == 0 for one in made.attempts[:-1] if not one.assumed)


@pytest.mark.parametrize("wire", KINDS)
@pytest.mark.parametrize("kind", ["cut", "stall", "garbage", "error_event", "huge_count"])
def test_a_stream_that_breaks_is_continued_whatever_the_format(server, make_router, wire, kind):
    """In each of the three wire formats a broken stream is noticed, and joined without a gap or a repetition."""
    router = make_router(KINDS[wire], rules=IMPATIENT if kind in SILENT else None)
    server.script("openai", Fault(kind, after=17))

    made, text = ask(router, streamed=True)

    assert server.text == text == made.text
    assert len({one.provider for one in made.attempts}) == 2


def test_a_continuation_is_joined_to_what_was_said(server, make_router):
    """Who continues is shown the beginning; what it repeats of the end is left out."""
    router = make_router()
    words = server.text.split(" ")
    server.script("openai", Fault("cut", after=20))
    server.script("anthropic", Fault(text=" ".join(words[17:])))

    made, text = ask(router, streamed=True)

    assert server.text == text == made.text
    asked = server.requests("anthropic")[0].body["messages"]
    assert {"role": "assistant", "content": " ".join(words[:20])} in asked
    assert asked[-1]["role"] == "user"


def test_one_that_begins_anew_in_other_words_is_not_joined(server, make_router):
    """A second version of the same answer is no continuation: the next provider is asked, or the text is partial."""
    router = make_router()
    words = server.text.split(" ")
    server.script("openai", Fault("cut", after=30))
    server.script("anthropic", Fault(text=" ".join([*words[:10], "otherwise", *words[:50]])))

    made, text = ask(router, streamed=True)

    assert server.text == text
    assert ["cut", "malformed", "ok"] == [one.outcome for one in made.attempts]


def test_what_nobody_can_continue_is_said_to_be_partial(server, make_router):
    """The text so far is given, the end is an error that holds it, and nothing calls it a success."""
    router = make_router(("openai", "anthropic"))
    server.script("openai", Fault("cut", after=10))
    server.script("anthropic", Fault("status", status=401))
    said = []

    with pytest.raises(PartialAnswerError) as caught:
        said.extend(event.text for event in router.stream("Explain.", task="planning"))

    completion = caught.value.completion
    assert "".join(said) == completion.text == " ".join(server.text.split(" ")[:10])
    assert (completion.partial, completion.finish_reason) == (True, None)
    assert router.budget.reserved == 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=400, code="content_policy_violation"), ContentFilteredError),
        (Fault("status", status=400, code="invalid_value"), RejectedError),
        (Fault("status", status=422, code="unprocessable"), RejectedError),
        (Fault("filtered"), ContentFilteredError),
    ],
    ids=["filter-400", "rejected-400", "rejected-422", "filter-200"],
)
def test_what_is_wrong_with_the_request_is_not_tried_elsewhere(server, make_router, fault, error, streamed):
    """A content filter and a 4xx reach the caller after one request to one provider."""
    router = make_router()
    server.script("openai", fault)

    with pytest.raises(error):
        ask(router, streamed=streamed)

    assert ["openai"] == [one.provider for one in server.seen]
    assert router.budget.reserved == 0


def test_all_failures_are_named_when_nobody_is_left(server, make_router):
    """The error tells of each attempt; their number is bounded."""
    router = make_router()
    for name in ("openai", "anthropic", "local"):
        server.script(name, Fault("status", status=500))

    with pytest.raises(ExhaustedError, match=r"openai: server .*anthropic: server .*local: server"):
        router.route("Explain.", task="planning")

    assert len(server.seen) <= 3 + router.policy.failover.max_retries
    assert router.budget.spent == router.budget.reserved == 0


def test_the_deadline_ends_a_call_whatever_is_left_to_try(server, make_router):
    """The time of the call is over before the second silent provider has had its time."""
    router = make_router()
    server.script("openai", Fault("silent"))

    with pytest.raises(ExhaustedError):
        router.route("Explain.", task="planning", deadline_seconds=0.3)

    assert ["openai"] == [one.provider for one in server.seen]


def test_no_usage_is_settled_at_the_worst_and_said_so(server, make_router):
    """A provider that does not count costs the most that the call could, never nothing."""
    router = make_router()
    server.script("openai", Fault("no_usage"))

    made, _ = ask(router, streamed=False)

    assert made.usage is None
    assert made.attempts[0].assumed
    assert made.cost == made.attempts[0].amount == router.budget.spent
    assert made.cost == made.decision.chain[0].worst


class Europe:
    """Residency that changes its mind, as an attestation that expires does."""

    def __init__(self, *denied, after=0):
        self.denied, self.after, self.asked = denied, after, 0

    def check(self, *, provider, endpoint, model, data_class):
        self.asked += 1
        if provider in self.denied and self.asked > self.after:
            return Decision.denied("residency.region", f"{provider} is elsewhere")
        return Decision.allowed("residency.ok", "in the EU")

    def region(self, provider):
        return "eu-west-1"


def test_failover_does_not_leave_the_region(server, make_router):
    """A provider that residency refuses is not asked, also when it is the only one left."""
    router = make_router(residency=Europe("anthropic", "local"))
    server.script("openai", Fault("status", status=503))

    with pytest.raises(ExhaustedError):
        router.route("Explain.", task="planning")

    assert {"openai"} == {one.provider for one in server.seen}


def test_residency_is_judged_anew_for_each_hop(server, make_router):
    """What was allowed when the call began is refused when its turn comes, if it is not any more."""
    router = make_router(residency=Europe("anthropic", after=3))
    server.script("openai", Fault("status", status=401))

    made, _ = ask(router, streamed=False)

    assert made.provider == "local"
    assert server.requests("anthropic") == []
    assert {"eu-west-1"} == {one.region for one in made.attempts}


def test_nobody_is_asked_when_nobody_may_be(server, make_router):
    """A refusal before the first byte is a decision with a reason for each provider."""
    router = make_router(residency=Europe("openai", "anthropic", "local"))

    with pytest.raises(RouteRefusedError) as caught:
        router.route("Explain.", task="planning")

    assert ["residency.region"] * 3 == [finding.rule for finding in caught.value.decision.findings]
    assert server.seen == []


def test_failover_does_not_exceed_the_budget(server, make_router):
    """The fallback costs more than there is: the free one is asked, and never more is held than the limit."""
    router = make_router(budget=LocalBudget(Decimal("0.9")))
    worst = router.decide("Explain.", task="planning").chain
    router.budget.limit = worst[0].worst + Decimal("0.0001")
    assert worst[1].worst > router.budget.limit
    server.script("openai", Fault("status", status=503))

    made, _ = ask(router, streamed=False)

    assert made.provider == "local"
    assert server.requests("anthropic") == []


def test_a_ceiling_of_tokens_of_one_provider_leads_to_another(server, make_router):
    """A provider without tokens left is passed over before a byte leaves."""
    router = make_router(budget=LocalBudget(Decimal(100), tokens={"openai": 100}))

    made, _ = ask(router, streamed=False)

    assert made.provider == "anthropic"
    assert server.requests("openai") == []


def test_no_room_at_all_is_the_budgets_own_refusal(server, make_router):
    """The caller gets the budget's error, with its decision, and nobody was asked."""
    router = make_router(("openai", "anthropic"), budget=LocalBudget(Decimal(0)))

    with pytest.raises(BudgetRefusedError) as caught:
        router.route("Explain.", task="planning")

    assert not caught.value.decision.allow
    assert server.seen == []


def test_a_dead_provider_is_cooled_down_and_probed_by_one(server, make_router):
    """While one call probes, the others go elsewhere; when it succeeds, all come back."""
    router = make_router(rules={"cool_down_seconds": 0.05})
    server.script("openai", Fault("status", status=503))
    assert ask(router, streamed=False)[0].provider == "anthropic"
    before = len(server.requests("openai"))
    server.script("openai", Fault(seconds=0.3))
    while router.health.ready_at("openai") > router.health.now():
        pass

    async def crowd():
        try:
            return await asyncio.gather(*(router.aroute("Explain.", task="planning") for _ in range(8)))
        finally:
            await router.aclose()

    made = asyncio.run(crowd())

    assert len(server.requests("openai")) - before == 1
    assert sorted(one.provider for one in made) == ["anthropic"] * 7 + ["openai"]
    assert ask(router, streamed=False)[0].provider == "openai"


def test_cooling_grows_to_a_bound_and_ends_with_a_success():
    """By the clock that is given: 5, 10, 20, 20 seconds, one probe each, then none."""
    now = [100.0]
    health = Health(3, 5.0, clock=lambda: now[0])
    waits = []
    for _ in range(4):
        assert health.admit("a", 60)
        health.failed("a", "timeout")
        assert not health.admit("a", 60)
        waits.append(health.ready_at("a") - now[0])
        now[0] = health.ready_at("a")
        if len(waits) < 4:
            assert health.ready_at("a") <= now[0]
    assert [5.0, 10.0, 20.0, 20.0] == waits

    assert health.admit("a", 60)
    assert not health.admit("a", 60)
    health.abandoned("a")
    assert health.admit("a", 60)
    health.succeeded("a", 0.5)

    assert health.admit("a", 60)
    assert (health.cooling(), health.seconds("a")) == ({}, 0.5)


def test_one_odd_answer_does_not_cool_a_provider_down():
    """A 500 or a cut stream happens to the best; three in a row do not."""
    health = Health(3, 5.0, clock=lambda: 1.0)
    for expected in (True, True, False):
        health.failed("a", "server")
        assert health.admit("a", 60) is expected
    health.succeeded("a")
    health.failed("a", "rejected")
    assert health.admit("a", 60)


def test_a_caller_that_goes_away_leaves_nothing_reserved(server, make_router):
    """The provider may count what nobody waits for: it is settled at its worst."""
    router = make_router()
    server.script("openai", Fault("silent"))

    async def give_up():
        task = asyncio.create_task(router.aroute("Explain.", task="planning"))
        while not server.seen:  # noqa: ASYNC110 - the server is in a thread of its own
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await router.aclose()

    asyncio.run(give_up())

    assert router.budget.reserved == 0
    assert router.budget.spent == router.decide("Explain.", task="planning").chain[0].worst


def test_a_stream_that_is_left_is_settled(server, make_router):
    """Whoever stops reading has asked all the same."""
    router = make_router()
    server.script("openai", Fault(seconds=0.01))
    stream = router.stream("Explain.", task="planning")

    assert next(stream).text == "word1"
    stream.close()

    assert (router.budget.reserved, router.budget.spent > 0) == (0, True)


def test_many_threads_and_faults_never_pass_the_limit(server, make_router):
    """Sixteen threads, every kind of fault at once: what is spent and held together stays within the limit."""
    budget = LocalBudget(Decimal("0.5"))
    router = make_router(budget=budget, rules={"cool_down_seconds": 0.01})
    kinds = ("status", "cut", "reset", "garbage", "ok", "no_usage", "huge_count", "ok")
    server.script("openai", *(Fault(kind) for kind in kinds * 40))
    over = []

    def work():
        for _ in range(5):
            with suppress(BudgetRefusedError, ExhaustedError):
                router.route("Explain.", task="planning")
            over.append(budget.spent + budget.reserved > budget.limit)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(over) == 80
    assert not any(over)
    assert budget.reserved == 0
