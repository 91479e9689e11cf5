"""One caller's policies that do not end are that caller's trouble: the others are answered as ever."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from companyos.server import add_key
from companyos.server.turns import Turns
from tests.server.clients import Clients
from tests.server.conftest import request
from tests.server.test_abuse import EXPLODING

POLICIES = {"policy.rego": EXPLODING}
DEADLINE = 2


class Looping(Clients):
    """Three requests at a time, without a pause, each for an evaluation that does not end."""

    def __init__(self, server, key, path="/access/v1/evaluation", body=None):
        self.reasons = []
        self._body = request(action="explode") if body is None else body
        self._path = path
        super().__init__(3, server.url, key)

    def _ask(self, url, key):
        with httpx.Client(base_url=url, headers={"x-api-key": key}, trust_env=False, timeout=120) as http:
            while not self._end.is_set():
                given = http.post(self._path, json=self._body)
                if given.status_code == 429:
                    self._end.wait(0.1)
                    continue
                answer = given.json()
                self.reasons += [item["context"]["reason"] for item in answer.get("evaluations", [answer])]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/access/v1/evaluation", None),
        ("/access/v1/evaluations", {**request(action="explode"), "evaluations": [{}] * 4}),
    ],
    ids=["alone", "in-batches"],
)
def test_a_caller_that_loops_starves_nobody(start, path, body):
    """While one caller keeps all that it can busy, each request of another is answered by the policies."""
    server = start(
        {"server": {"workers": 2, "deadline_seconds": DEADLINE, "rate_burst": 10_000_000}}, POLICIES, key="innocent"
    )
    looper = add_key(server.directory / "keys.yaml", "looper")
    wait_until_known(server, looper)
    answers = []
    with Looping(server, looper, path, body) as looping:
        while looping.reasons.count("policy.timeout") < 2:
            answers.append(server.ask(request()).json()["context"]["reason"])

    assert set(answers) == {"cert.read"}
    assert set(looping.reasons) <= {"policy.timeout", "policy.busy"}


def test_an_evaluation_that_had_to_be_ended_costs_the_caller_dearly(start):
    """Two of them use up what a caller may ask for at once, ten requests; another caller's bucket is its own."""
    settings = {"workers": 2, "deadline_seconds": 1, "rate_per_second": 0.001, "rate_burst": 10}
    server = start({"server": settings}, POLICIES, key="looper")
    other = add_key(server.directory / "keys.yaml", "innocent")
    wait_until_known(server, other)

    reasons = []
    while (given := server.ask(request(action="explode"))).status_code == 200:
        reasons.append(given.json()["context"]["reason"])
    assert given.status_code == 429
    assert int(given.headers["retry-after"]) > 0
    assert reasons.count("policy.timeout") == 2
    assert server.ask(request(), **{"x-api-key": other}).json()["context"]["reason"] == "cert.read"


def wait_until_known(server, key):
    """A key that was just added counts within `server.reload_seconds`."""
    with httpx.Client(base_url=server.url, headers={"x-api-key": key}, trust_env=False, timeout=30) as http:
        while http.get("/nowhere").status_code == 401:
            threading.Event().wait(0.5)


def test_turns_are_per_caller_and_forgotten():
    """One caller has so many turns at a time, another its own, nobody in particular any number; none is remembered."""

    async def run():
        turns, running, most = Turns(2), {}, {}

        async def work(caller):
            async with turns.turn(caller):
                running[caller] = running.get(caller, 0) + 1
                most[caller] = max(most.get(caller, 0), running[caller])
                for _ in range(3):
                    await asyncio.sleep(0)
                running[caller] -= 1

        await asyncio.gather(*(work(caller) for caller in ["a", "b", None] * 5))
        return most, len(turns)

    assert asyncio.run(run()) == ({"a": 2, "b": 2, None: 5}, 0)
