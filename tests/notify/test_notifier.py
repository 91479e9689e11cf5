"""Telling people, and recording what was delivered."""

import json
import logging

import pytest

from companyos.errors import ConfigError
from companyos.notify import JsonLinesChannel, LogChannel, Message, Notifier
from companyos.testing import ChannelContract

MESSAGE = Message("gate.refused", "no release today", "trace-1", {"gate": "G6"})


class Broken:
    """A channel that nobody answers on."""

    name = "broken"

    def deliver(self, message):
        raise ConnectionError("refused")


class TestJsonLines(ChannelContract):
    """The file channel keeps the contract of channels."""

    def make_channel(self, tmp_path):
        return JsonLinesChannel(tmp_path / "out" / "messages.jsonl")

    def arrived(self, tmp_path):
        lines = (tmp_path / "out" / "messages.jsonl").read_text().splitlines()
        return [json.loads(line)["text"] for line in lines]


def test_a_broken_channel_stops_none_of_the_others(caplog, companyos_ledger):
    """Each channel's fate is reported, and all of them are on the ledger."""
    notifier = Notifier([Broken(), LogChannel()], ledger=companyos_ledger)
    with caplog.at_level(logging.WARNING):
        deliveries = notifier.publish(MESSAGE)
    assert [(d.channel, d.delivered) for d in deliveries] == [("broken", False), ("log", True)]
    assert "no release today" in caplog.text
    (entry,) = companyos_ledger.read()
    assert entry.data["correlation_id"] == "trace-1"
    assert entry.data["deliveries"][0]["detail"] == "ConnectionError: refused"


def test_an_unknown_channel_is_a_configuration_error():
    """The known channels are named."""
    with pytest.raises(ConfigError, match="pigeon"):
        Notifier.choose(["pigeon"], {"log": LogChannel()})
