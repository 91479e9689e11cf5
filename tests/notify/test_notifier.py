"""Telling people, and recording what was delivered."""

import contextlib
import json
import logging
import sqlite3
import threading

import pytest
from opentelemetry import trace

from companyos.errors import ConfigError
from companyos.ledger.outbox import OutboxConflictError
from companyos.notify import (
    JsonLinesChannel,
    LogChannel,
    Message,
    Notifier,
    NotifyMessageError,
    NotifyUnknownError,
    Worker,
    open_outbox,
)
from companyos.notify.plugin import companyos_channels
from companyos.observability import Redactor, bind
from companyos.observability.scope import current_correlation_id
from companyos.testing import ChannelContract

MESSAGE = Message("gate.refused", "no release today", "trace-1", {"gate": "G6"})


class Broken:
    """A channel that nobody answers on."""

    name = "broken"
    outside = False

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
    outside = False

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


@pytest.mark.parametrize("options", ["x", {"path": 5}, {"path": ""}, {"pth": "x"}])
def test_bad_options_of_the_file_channel_are_refused(options):
    """Options that are no mapping, a path that is none, an unknown key."""
    with pytest.raises(ConfigError, match="notify.options.jsonl"):
        companyos_channels({"options": {"jsonl": options}})


def test_an_unknown_channel_is_a_configuration_error():
    """The known channels are named."""
    with pytest.raises(ConfigError, match="pigeon"):
        Notifier.choose(["pigeon"], {"log": LogChannel()})


class Kept:
    """A channel outside that keeps what it is given."""

    name = "kept"

    def __init__(self):
        self.got = []

    def deliver(self, message):
        self.got.append(message)
        return "kept"


@pytest.fixture
def outbox(tmp_path):
    """An outbox in a file."""
    made = open_outbox(f"sqlite:///{tmp_path / 'notify.db'}", "notify")
    yield made
    made.close()


def test_every_message_has_a_correlation_id():
    """The caller's, else that of the scope, else that of the trace, else its own id."""
    channel = Kept()
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    notifier = Notifier([channel], net=Redactor(), correlate=current_correlation_id)
    with bind(correlation_id="scope-1"):
        notifier.publish(Message("a", "text", "mine"))
        notifier.publish(Message("a", "text"))
    with trace.use_span(trace.NonRecordingSpan(context)):
        notifier.publish(Message("a", "text"))
    notifier.publish(Message("a", "text"))
    mine, scope, traced, own = channel.got
    assert (mine.correlation_id, scope.correlation_id) == ("mine", "scope-1")
    assert traced.correlation_id == f"{0xABC:032x}"
    assert traced.traceparent == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert own.correlation_id == own.id != ""


def test_secrets_neither_leave_nor_are_kept(outbox):
    """Masked before the message is written down; the status says so. More in the control NOTIFY-REDACTION."""
    channel, word = Kept(), "hunter" + "2hunter"
    notifier = Notifier([channel], outbox=outbox, net=Redactor())
    (delivery,) = notifier.publish(Message("a", f"password={word}", "c", {"token": word, "figures": [1, 2.5, None]}))
    assert word not in str(channel.got)
    assert word not in str(outbox.find(delivery.message_id))
    assert channel.got[0].properties["figures"] == [1, 2.5, None]
    assert notifier.get_delivery_status(delivery.message_id).redacted


def test_no_net_no_way_outside():
    """A channel that leaves the company needs one, and so does one that does not say whether it does."""
    with pytest.raises(ConfigError, match="mask"):
        Notifier([Kept()])


def test_a_net_that_breaks_lets_nothing_through(outbox):
    """What could not be searched does not leave."""

    class Torn:
        def field(self, key, value):
            raise RecursionError

    channel = Kept()
    with pytest.raises(NotifyMessageError, match="searched"):
        Notifier([channel], outbox=outbox, net=Torn()).publish(Message("a", "text"))
    assert (channel.got, outbox.count()) == ([], {})


@pytest.mark.parametrize(
    "message",
    [
        Message("", "text"),
        Message("a\nb", "text"),
        Message("a", " "),
        Message("a", "text", id="with.dot"),
        Message("a", "text", id="x" * 129),
        Message("a", "x" * 8001),
        Message("a", "text", properties={"a": object()}),
        Message("a", "text", properties={"a": float("nan")}),
        Message("a", "text", properties={"a": list(range(101))}),
        Message("a", "text", properties={"a": [[[[[[1]]]]]]}),
        Message("a", "text", properties={str(n): "x" * 1000 for n in range(40)}),
    ],
    ids=["topic", "lines", "blank", "dot", "long id", "long", "no JSON", "NaN", "items", "deep", "large"],
)
def test_what_cannot_be_told_is_refused_whole(outbox, message):
    """Rather than told by halves; nothing of the batch is written."""
    with pytest.raises(NotifyMessageError):
        Notifier([LogChannel()], outbox=outbox).publish_batch([Message("a", "text"), message])
    assert outbox.count() == {}


def test_the_same_message_again_is_told_once(outbox):
    """By its id; what became of it is answered. Another message under that id is refused."""
    channel = Kept()
    notifier = Notifier([channel], outbox=outbox, net=Redactor())
    first = notifier.publish(Message("a", "text", id="order-7"))
    second = notifier.publish(Message("a", "text", id="order-7"))
    assert [one.delivered for one in (*first, *second)] == [True, True]
    assert len(channel.got) == 1
    with pytest.raises(OutboxConflictError):
        notifier.publish(Message("a", "another text", id="order-7"))


def test_told_if_and_only_if_the_transaction_commits(outbox, tmp_path):
    """The row of the caller and the message, both or neither; nothing is sent before."""
    channel = Kept()
    notifier = Notifier([channel], outbox=outbox, net=Redactor())
    with contextlib.closing(sqlite3.connect(tmp_path / "notify.db")) as database:
        database.execute("CREATE TABLE orders (id TEXT)")
        for end in (database.rollback, database.commit):
            database.execute("INSERT INTO orders VALUES ('7')")
            (delivery,) = notifier.publish(Message("order.placed", "order 7", id="order-7"), connection=database)
            end()
        assert delivery.queued
    Worker(outbox, notifier.channels).run(threading.Event(), once=True)
    assert [message.id for message in channel.got] == ["order-7"]


def test_without_outbox_nothing_is_kept():
    """No status, and no transaction to write in."""
    notifier = Notifier([LogChannel()])
    with pytest.raises(ConfigError, match="outbox"):
        notifier.get_delivery_status("x")
    with pytest.raises(ConfigError, match="outbox"):
        notifier.publish(Message("a", "text"), connection=object())


def test_two_channels_of_one_name_are_refused():
    """Their deliveries could not be told apart."""
    with pytest.raises(ConfigError, match="one name"):
        Notifier([LogChannel(), LogChannel()])


def test_an_unknown_message_is_named(outbox):
    """Its status is asked for in vain."""
    with pytest.raises(NotifyUnknownError, match="nope"):
        Notifier([LogChannel()], outbox=outbox).get_delivery_status("nope")
