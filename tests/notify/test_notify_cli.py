"""`companyos notify`, and the settings of channels: from a company's file to a receiver and back."""

import json
import signal
import subprocess
import sys
import threading

import pytest

from companyos.cli.app import run as run_command
from companyos.company import Company
from companyos.errors import ConfigError
from companyos.notify.plugin import companyos_channels
from tests.notify.receiver import SECRET, running

SETTINGS = """
notify:
  channels: [jsonl, webhook]
  attempts: 1
  options:
    webhook:
      url: {url}
      secrets: ["env:HOOK_SECRET"]
      allow: [127.0.0.1]
      plain_http: true
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in the company's directory: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOK_SECRET", SECRET)

    def call(*arguments):
        status = run_command(["notify", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def company(tmp_path):
    """Writes the settings for a receiver."""
    return lambda receiver, more="": (tmp_path / "companyos.yaml").write_text(SETTINGS.format(url=receiver.url) + more)


def test_from_a_message_to_its_log(run, company):
    """Sent at once on every channel, with a status, a line in the log and a clean judgement."""
    with running() as receiver:
        company(receiver)
        status, out, _ = run("send", "gate.refused", "no release", "--property", "gate=G6", "--id", "m-1", "--json")
    assert status == 0
    assert json.loads(out)["delivered"] is True
    assert receiver.effects == {"m-1": 1}
    assert run("status", "m-1")[1].startswith("gate.refused, correlation m-1")
    assert json.loads(run("status", "m-1", "--json")[1])["channels"][0]["stage"] == "delivered"
    lines = run("log", "--csv")[1].splitlines()
    assert lines[0] == "timestamp,destination,correlation_id,status,latency_ms"
    assert sorted(line.split(",")[1] for line in lines[1:]) == ["jsonl", "webhook"]
    assert len(json.loads(run("log", "--json")[1])) == 2
    assert "delivered" in run("log")[1]
    assert run("check")[0] == 0


def test_what_died_is_listed_shown_replayed_and_dropped(run, company):
    """Each with an entry on the ledger; the same id reaches the receiver."""
    broken = [True]
    with running(lambda *_: "500" if broken else "ok") as receiver:
        company(receiver)
        for name in ("m-1", "m-2"):
            assert run("send", "a", "text", "--id", name)[0] == 1
        status, out, _ = run("dead", "list")
        assert status == 1
        assert "notify.webhook_status" in out
        assert [one["id"] for one in json.loads(run("dead", "list", "--json")[1])] == ["m-1", "m-2"]
        assert json.loads(run("dead", "show", "m-1")[1])[0]["text"] == "text"
        assert run("check")[0] == 1
        broken.clear()
        assert run("dead", "replay", "m-1")[0] == 0
        assert run("dead", "drop", "m-2", "--channel", "webhook")[0] == 0
        status, out, _ = run("work", "--once", "--json")
        assert (status, json.loads(out)) == (0, {"delivered": 1, "retried": 0, "dead": 0})
    assert receiver.effects == {"m-1": 1}
    assert run("dead", "list")[0] == 0
    with Company.open() as opened:
        types = [entry.type for entry in opened.ledger.read()]
    assert types.count("companyos.notify.replayed") == types.count("companyos.notify.dropped") == 1
    for action in ("show", "replay", "drop"):
        status, _, err = run("dead", action, "m-1")
        assert status == 1
        assert "notify.unknown" in err


def test_a_worker_says_when_something_died(run, company):
    """Left to the worker by the settings; --once exits 1."""
    with running(lambda *_: "410") as receiver:
        company(receiver, "  at_once: false\n")
        assert run("send", "a", "text", "--id", "m-1")[0] == 0
        assert receiver.requests == []
        status, out, _ = run("work", "--once")
    assert (status, out) == (1, "1 delivered, 0 to be tried again, 1 dead\n")


@pytest.mark.e2e
def test_a_worker_ends_when_it_is_asked_to(run, company, tmp_path):
    """SIGTERM: what is under way is finished, and the tally printed."""
    taken = threading.Event()
    with running() as receiver:
        receiver.on_effect = lambda _: taken.set()
        company(receiver, "  at_once: false\n")
        run("send", "a", "text", "--id", "m-1")
        worker = subprocess.Popen(
            [sys.executable, "-m", "companyos", "notify", "work"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert taken.wait(120)
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=120)
    assert worker.returncode == 0, err
    assert out == "2 delivered, 0 to be tried again, 0 dead\n"
    assert "delivering to jsonl, webhook" in err


def test_channels_are_listed(run, company):
    """Where they lead, and where a second copy does harm."""
    with running() as receiver:
        company(receiver)
        rows = json.loads(run("channels", "--json")[1])
        assert run("channels")[0] == 0
    assert [(row["channel"], row["outside"], row["honours_key"]) for row in rows] == [
        ("jsonl", False, False),
        ("webhook", True, True),
    ]


def test_wrong_calls(run, company):
    """A property without value, an unknown message, a message that cannot be told, an outbox that is none."""
    with running() as receiver:
        company(receiver)
        assert run("send", "a", "text", "--property", "x")[0] == 2
        assert run("status", "nope")[0] == 1
        assert run("send", "a", " ")[0] == 2
        assert run("--outbox", "redis://x", "log")[0] == 2


def test_the_company_masks_what_its_settings_name(run, company, tmp_path):
    """The safety net with the words of `observability.redact` lies before every channel."""
    with running() as receiver:
        company(receiver, "observability: {redact: [Umbrella]}\n")
        run("send", "a", "Umbrella pays late, token=" + "s3cr3ts3cr3t")
    told = (tmp_path / ".companyos" / "notifications.jsonl").read_text() + receiver.requests[0][2].decode()
    assert "Umbrella" not in told
    assert "s3cr3t" not in told


GOOD = {"url": "https://hooks.example/x", "secrets": ["env:HOOK"]}


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("webhook", {}, "secrets"),
        ("webhook", GOOD | {"secrets": ["whsec_abc"]}, "no reference"),
        ("webhook", GOOD | {"secrets": "env:X"}, "secrets"),
        ("webhook", GOOD | {"url": "http://hooks.example"}, "cannot be used"),
        ("webhook", GOOD | {"url_from": "env:X"}, "not both"),
        ("webhook", {"secrets": ["env:X"]}, "url or url_from"),
        ("webhook", {"secrets": ["env:X"], "url_from": "env:COMPANYOS_NOT_SET"}, "empty"),
        ("webhook", {"secrets": ["env:X"], "url_from": "file:nowhere"}, "cannot be read"),
        ("webhook:ops", GOOD | {"mode": "batch"}, "mode"),
        ("webhook:ops", GOOD | {"allow": ["*.corp"]}, "host, an address"),
        ("webhook", GOOD | {"timeout_seconds": 0}, "timeout_seconds"),
        ("webhook", GOOD | {"retries": 3}, "retries"),
        ("apprise", {"url": "slack://TOKEN"}, "url"),
        ("apprise:mail", {"url_from": "slack://TOKEN"}, "no reference"),
    ],
)
def test_wrong_options_of_a_channel_are_named_and_secrets_are_not(name, options, what):
    """By setting; nothing that was given is shown."""
    with pytest.raises(ConfigError, match=what) as caught:
        companyos_channels({"options": {name: options}})
    assert "TOKEN" not in str(caught.value)
    assert "whsec_abc" not in str(caught.value)


def test_channels_are_made_by_name():
    """Any number of webhooks and services, each by its own name."""
    apprise = {"url_from": "env:X"}
    options = {"webhook": GOOD, "webhook:ops": GOOD, "apprise:mail": apprise, "jsonl": {"path": "x"}}
    made = [channel.name for channel in companyos_channels({"options": options})]
    assert made == ["log", "jsonl", "webhook", "webhook:ops", "apprise:mail"]
