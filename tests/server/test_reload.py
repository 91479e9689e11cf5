"""New policies while the server runs: exchanged without a dropped request, or refused without harm."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.server.clients import Clients
from tests.server.conftest import POLICY, entries, request, write_policies
from tests.server.test_authentication import until

CLOSED = POLICY.replace('{"id": "cert.read", "message": "anyone reads"}', '{"id": "cert.read2", "message": "new"}')
FAST = {"server": {"reload_seconds": 0.05, "rate_per_second": 100_000, "rate_burst": 100_000}}


class Load(Clients):
    """Requests from several connections at once, without a pause."""

    def __init__(self, server, clients=4):
        self.answers = []
        super().__init__(clients, server)

    def _ask(self, server):
        with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, trust_env=False, timeout=30) as http:
            while not self._end.is_set():
                try:
                    answer = http.post("/access/v1/evaluation", json=request())
                    self.answers.append((answer.status_code, answer.json()["context"]["reason"]))
                except httpx.HTTPError as error:
                    self.answers.append((0, repr(error)))

    def reasons(self):
        return {reason for _, reason in self.answers}


def test_policies_are_exchanged_under_load(start):
    """While four callers ask without a pause, new policies come into force, and no request is dropped or refused."""
    server = start(FAST, {"policy.rego": POLICY})
    with Load(server) as load:
        for text, reason in ((CLOSED, "cert.read2"), (POLICY, "cert.read"), (CLOSED, "cert.read2")):
            write_policies(server.directory / "policies", {"policy.rego": text})
            until(lambda reason=reason: {found for _, found in load.answers[-20:]} == {reason})

    assert {status for status, _ in load.answers} == {200}
    assert load.reasons() == {"cert.read", "cert.read2"}
    server.stop()
    digests = [entry.data["policy_digest"] for entry in entries(server.directory, "companyos.server.policies")]
    assert [digests[0], digests[1]] == [digests[2], digests[3]]
    recorded = entries(server.directory, "companyos.authz.decision")
    assert len(recorded) == len(load.answers)
    assert {entry.data["policy"]["digest"] for entry in recorded} == set(digests)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("package companyos.access\n\nallow contains {", id="does-not-parse"),
        pytest.param('package companyos.access\nimport rego.v1\nallow if http.send({"url": "x"})', id="not-allowed"),
        pytest.param(
            "package companyos.access\nimport rego.v1\n"
            'deny contains {"id": "a"} if {\n\tsome a in numbers.range(1, 50000000)\n\ta == -1\n}',
            id="explodes",
        ),
    ],
)
def test_bad_policies_are_refused_and_the_old_ones_stay(start, broken):
    """What cannot be used is refused: logged, on the ledger and told by /ready, while the old policies decide."""
    settings = {"server": {**FAST["server"], "worker_memory_mib": 512}}
    server = start(settings, {"policy.rego": POLICY})
    before = server.http.get("/ready").json()
    with Load(server, clients=2) as load:
        write_policies(server.directory / "policies", {"policy.rego": broken})
        until(lambda: server.http.get("/ready").json()["status"] == "degraded", 90)

    assert {answer[0] for answer in load.answers} == {200}
    assert server.http.get("/ready").json()["policy_digest"] == before["policy_digest"]
    assert "newer policies are refused" in server.log()
    write_policies(server.directory / "policies", {"policy.rego": CLOSED})
    until(lambda: server.ask(request()).json()["context"]["reason"] == "cert.read2")
    assert server.http.get("/ready").json()["status"] == "ready"
    server.stop()
    outcomes = [entry.data["outcome"] for entry in entries(server.directory, "companyos.server.policies")]
    assert outcomes == ["loaded", "refused", "loaded"]


def test_a_signal_asks_for_it_at_once(start):
    """SIGHUP exchanges the policies although the next look would be in an hour."""
    server = start({"server": {"reload_seconds": 3600}}, {"policy.rego": POLICY})
    write_policies(server.directory / "policies", {"policy.rego": CLOSED})
    server.process.send_signal(signal.SIGHUP)

    until(lambda: server.ask(request()).json()["context"]["reason"] == "cert.read2")


def test_a_server_that_ends_answers_what_it_took(start):
    """After SIGTERM every request that was accepted is answered and on the ledger, and the exit status is 0."""
    server = start(FAST, {"policy.rego": POLICY})
    with Load(server) as load:
        until(lambda: len(load.answers) > 50)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    answered = [answer for answer in load.answers if answer[0] == 200]
    refused = [text for status, text in load.answers if status != 200]

    # What failed never was accepted: the connection was refused, or closed between two requests.
    assert not [text for text in refused if "ReadTimeout" in text]
    assert len(entries(server.directory, "companyos.authz.decision")) == len(answered)


def test_workers_that_are_killed_are_replaced_under_load(start):
    """Killing the processes that evaluate refuses some requests by name and none by an error, and it passes."""
    server = start(FAST, {"policy.rego": POLICY})
    with Load(server) as load:
        until(lambda: len(load.answers) > 20)
        for pid in children(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        seen = len(load.answers)
        until(lambda: "cert.read" in {reason for _, reason in load.answers[seen + 20 :]})

    assert {status for status, _ in load.answers} == {200}
    assert load.reasons() <= {"cert.read", "policy.unavailable", "policy.busy"}
    until(lambda: server.http.get("/ready").json()["workers"] == 2)


def children(pid):
    """The processes that a process started, from whichever thread."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text(encoding="utf-8").split()]
