"""Prometheus as tests get it: a real one, alone, with the rules and the history that it is given."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

import pytest

from tests.services import Prometheus, available

pytestmark = pytest.mark.service("prometheus")


def ask(server, query, moment):
    """The values of an instant query."""
    question = urllib.parse.urlencode({"query": query, "time": moment})
    with urllib.request.urlopen(f"{server.url}/api/v1/query?{question}", timeout=10) as answer:  # noqa: S310 - our own server
        return [sample["value"][1] for sample in json.load(answer)["data"]["result"]]


def test_it_starts_with_a_history_and_leaves_nothing():
    """Samples of the past are there from the beginning, and its folder is gone at the end."""
    history = ["# TYPE sold counter\n", "sold_total 7 1790000000\n", "sold_total 9 1790000060\n"]
    server = Prometheus(available("prometheus"), history=history)
    try:
        assert ask(server, "sold_total", 1790000061) == ["9"]
    finally:
        server.stop()
    assert not server.process.folder.exists()
