"""Decisions that wait to be recorded, while the policies are exchanged under them: all of them, and each once."""

from __future__ import annotations

import signal
from collections import Counter

import httpx
import pytest

from tests.server.clients import Clients
from tests.server.conftest import POLICY, entries, request, write_policies
from tests.server.test_authentication import until

FAST = {"reload_seconds": 0.05, "rate_per_second": 100_000, "rate_burst": 100_000}
OTHER = POLICY.replace('{"id": "cert.read", "message": "anyone reads"}', '{"id": "cert.read2", "message": "new"}')
DECISION = "companyos.authz.decision"


def question(action):
    """A file is not about people, so that reading it is of low risk."""
    return {**request(action=action), "resource": {"type": "file", "id": "f-1"}}


class Load(Clients):
    """Reads, which may wait, and writes, which may not, from several connections at once without a pause."""

    def __init__(self, server, clients=4):
        self.allowed = []
        self.odd = []
        super().__init__(clients, server)

    def _ask(self, server):
        headers = {"x-api-key": server.key}
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=30) as http:
            asked = 0
            while not self._end.is_set():
                asked += 1
                try:
                    answer = http.post("/access/v1/evaluation", json=question("read" if asked % 9 else "write"))
                except httpx.HTTPError as error:
                    self.odd.append(repr(error))
                    return  # the server has ended
                context = answer.json()["context"] if answer.status_code == 200 else {}
                (self.allowed if context.get("verdict") == "allow" else self.odd).append((answer.text, context))

    def reasons_of_reads(self, last):
        """Why the last requests were allowed, but for the writes."""
        return {context["reason"] for _, context in self.allowed[-last:]} - {"cert.write"}


@pytest.mark.parametrize("is_loaded_at_the_end", [False, True], ids=["quiet end", "end under load"])
def test_every_batched_decision_is_on_record_once(start, is_loaded_at_the_end):
    """Old and new authorizers batch into one ledger: after reloads and a clean end, each answer has its one entry."""
    server = start({"server": FAST, "authz": {"batched_actions": ["read"]}}, {"policy.rego": POLICY})
    with Load(server) as load:
        for text, reason in (
            (OTHER, "cert.read2"),
            (POLICY, "cert.read"),
            (OTHER, "cert.read2"),
            (POLICY, "cert.read"),
        ):
            write_policies(server.directory / "policies", {"policy.rego": text})
            until(lambda reason=reason: load.reasons_of_reads(40) == {reason})
        if is_loaded_at_the_end:
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
    assert is_loaded_at_the_end or load.odd == []
    assert not [found for found in load.odd if "ReadTimeout" in found or isinstance(found, tuple)]
    server.stop()
    log = entries(server.directory)
    recorded = Counter(entry.id for entry in log if entry.type == DECISION)

    answered = Counter(context["audit_id"] for _, context in load.allowed)
    assert set(answered.values()) == {1}
    assert recorded == answered
    _check_streams(log, streams=5)


def _check_streams(log, streams):
    """What each stream says of itself is what is there of it, without a number missing or twice."""
    marks = {kind: [] for kind in ("opened", "closed", "gap", "refused")}
    numbers = {}
    for entry in log:
        kind = entry.type.removeprefix("companyos.authz.audit_")
        if kind in marks:
            marks[kind].append(entry.data)
        elif entry.type == DECISION and (batch := entry.data.get("audit")):
            numbers.setdefault(batch["instance"], []).append(batch["number"])

    assert (marks["gap"], marks["refused"]) == ([], [])
    assert len(marks["opened"]) >= streams
    assert {mark["instance"] for mark in marks["opened"]} == {mark["instance"] for mark in marks["closed"]}
    for mark in marks["closed"]:
        assert numbers.get(mark["instance"], []) == list(range(1, mark["decisions"] + 1))
    assert sum(len(found) for found in numbers.values()) > 0
