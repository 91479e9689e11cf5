"""Telling people, and recording what was delivered."""

import json
import logging

import pytest

from companyos.errors import ConfigError
from companyos.notify import JsonLinesChannel, LogChannel, Message, Notifier
from companyos.notify.plugin import companyos_channels
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
    assert entry.data["deliveries"] == [
        {"channel": "broken", "delivered": False, "error": "ConnectionError"},
        {"channel": "log", "delivered": True},
    ]


class Talkative:
    """A channel whose answers and errors hold what nobody should keep."""

    name = "talkative"

    def __init__(self, answer):
        self._answer = answer

    def deliver(self, message):
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


URL = "https://hooks.example/services/T0/B0/TOKEN"


@pytest.mark.parametrize("answer", [ConnectionError(f"POST {URL} failed"), URL], ids=["error", "place"])
def test_what_a_channel_says_is_for_the_caller_only(companyos_ledger, answer):
    """Texts of channels may hold tokens: they never reach the ledger, which forgets nothing."""
    (delivery,) = Notifier([Talkative(answer)], ledger=companyos_ledger).publish(MESSAGE)
    assert URL in delivery.detail
    assert b"TOKEN" not in companyos_ledger.raw(0)


@pytest.mark.parametrize(
    "answer", [None, object(), "x" * 10_000, "a\x1bb\udc80", ValueError("x" * 10_000), SystemExit(0)]
)
def test_details_are_short_text(companyos_ledger, answer):
    """Whatever a channel returns or raises, the detail is one short line, and the entry is written."""
    (delivery,) = Notifier([Talkative(answer)], ledger=companyos_ledger).publish(MESSAGE)
    assert isinstance(delivery.detail, str)
    assert delivery.detail.isprintable()
    assert len(delivery.detail) <= 201
    assert len(companyos_ledger) == 1


@pytest.mark.parametrize("options", [None, "x", {"path": 5}, {"path": ""}, {"pth": "x"}])
def test_bad_options_of_the_file_channel_are_refused(options):
    """Options that are no mapping, a path that is none, an unknown key."""
    with pytest.raises(ConfigError, match="notify.options.jsonl"):
        companyos_channels({"options": {"jsonl": options}})


def test_an_unknown_channel_is_a_configuration_error():
    """The known channels are named."""
    with pytest.raises(ConfigError, match="pigeon"):
        Notifier.choose(["pigeon"], {"log": LogChannel()})
