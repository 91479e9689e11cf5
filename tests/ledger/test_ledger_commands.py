"""`companyos ledger` as processes: pipes, witnesses, exports, erasures, and what happens when they are interrupted."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from companyos.ledger import Ledger
from companyos.ledger import entry as entries
from companyos.ports import Personal

URL = "sqlite:///log.db"
COMMAND = (sys.executable, "-c", "import sys; from companyos.cli import main; sys.exit(main())", "ledger")


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """An empty directory, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COMPANYOS_")]:
        monkeypatch.delenv(name)
    return tmp_path


def _run(*arguments, stdin="", status=0, url=URL):
    more = ("--url", url) if url else ()
    done = subprocess.run([*COMMAND, *arguments, *more], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def _lines(count, start=0):
    return "".join(
        f'{{"type":"order.placed","data":{{"n":{n}}},"id":"o-{n}","stream":"s/{n % 3}"}}\n'
        for n in range(start, start + count)
    )


def test_many_lines_in_few_commits(directory):
    """Lines that come faster than they are committed share commits; each gets its receipt, in order."""
    receipts = [json.loads(line) for line in _run("append", "--jsonl", "-", stdin=_lines(3000)).splitlines()]

    assert [(receipt["id"], receipt["index"]) for receipt in receipts] == [(f"o-{n}", n) for n in range(3000)]
    assert len({receipt["size"] for receipt in receipts}) < 300
    assert "3000 entries" in _run("verify", "--deep")


def test_lines_one_by_one(directory):
    """Who sends a line and waits for its receipt gets it before sending the next."""
    process = subprocess.Popen(
        [*COMMAND, "append", "--jsonl", "-", "--url", URL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for number in range(3):
        process.stdin.write(_lines(1, number))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["index"] == number
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def test_a_bad_line_among_many(directory):
    """Lines before a bad one are appended, none after it, and the same lines again are no second entries."""
    text = _lines(50) + "not JSON\n" + _lines(50, 50)
    assert "line 51 is not JSON" in _run("append", "--jsonl", "-", stdin=text, status=2)
    assert "50 entries" in _run("verify")

    taken = _lines(20) + '{"type":"order.placed","data":{"n":-1},"id":"o-20"}\n' + _lines(20, 100)
    assert "o-20 is taken" in _run("append", "--jsonl", "-", stdin=taken, status=1)
    assert "50 entries" in _run("verify")


def test_export_verify_import(directory):
    """An exported log is verified by the stand-alone program and imported into an empty store."""
    _run("append", "--jsonl", "-", stdin=_lines(300))
    vkey = _run("checkpoint", "--vkey").strip()

    assert "300 entries" in _run("export", "tiles")
    assert "300 entries" in _run("import", "tiles", "--key", vkey, url="sqlite:///copy.db")
    found = json.loads(_run("verify", "--key", vkey, "--json", url="sqlite:///copy.db"))
    assert (found["size"], found["ok"]) == (300, True)
    assert "not an exported log" in _run("import", ".", "--key", vkey, url="sqlite:///no.db", status=1)
    assert not (directory / "no.db").exists()


def test_witness(directory):
    """A witness in a process of its own cosigns, is an anchor, and shows a log that was set back."""
    _run("append", "--jsonl", "-", stdin=_lines(20))
    vkey = _run("checkpoint", "--vkey").strip()
    command = [
        *COMMAND,
        "witness",
        "--name",
        "witness.example/w1",
        "--key",
        "file:w1.pem",
        "--log",
        vkey,
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    serving = json.loads(process.stdout.readline())
    try:
        assert "nothing of this log" in _run(
            "verify", "--witness", serving["url"], "--witness-key", serving["key"], status=3
        )
        note = _run("cosign", serving["url"], "--key", serving["key"])
        assert "witness.example/w1" in note
        _run("append", "--jsonl", "-", stdin=_lines(5, 20))
        settings = f"ledger: {{url: '{URL}', witnesses: [{{url: '{serving['url']}', key: '{serving['key']}'}}]}}\n"
        (directory / "companyos.yaml").write_text(settings)
        found = json.loads(_run("verify", "--witness", serving["url"], "--json"))
        assert (found["size"], found["anchored"], found["anchor_size"]) == (25, True, 20)
        proof = _run("prove", "3", "--cosigned")
        assert "witness.example/w1" in proof
        (directory / "log.db").unlink()
        (directory / "log.db-wal").unlink(missing_ok=True)
        _run("append", "--jsonl", "-", stdin=_lines(5))
        told = json.loads(
            subprocess.run(
                [*COMMAND, "verify", "--witness", serving["url"], "--json", "--url", URL],
                capture_output=True,
                check=False,
            ).stdout
        )
        assert (told["ok"], told["error"]) == (False, "ledger.rolled_back")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()


def test_replay(directory):
    """Replay prints the state with its digest, up to any index, and goes on where it stopped."""
    _run("append", "--jsonl", "-", stdin=_lines(10))

    whole = json.loads(_run("replay", "--json"))
    part = json.loads(_run("replay", "--json", "--until", "4", "--db", "sqlite:///state.db"))
    rest = json.loads(_run("replay", "--json", "--db", "sqlite:///state.db"))

    assert (part["entries"], part["state"]["types"]) == (4, {"order.placed": 4})
    assert (rest["entries"], rest["digest"]) == (10, whole["digest"])
    assert whole["state"]["streams"]["s/0"]["last_index"] == 9
    assert "no projection 'none'" in _run("replay", "--projection", "none", status=2)


def test_erase_and_retain(directory):
    """A person is erased with a reason; payloads of a class are shown before they are dropped."""
    with Ledger.open(f"sqlite:///{directory / 'log.db'}") as log:
        log.append("a.b", {"name": Personal("Ann", "ann")})
    _run("append", "--type", "a.c", "--data", '{"trace":1}', "--retention", "telemetry")

    assert "nothing is kept" in _run("erase", "bob", "--reason", "x", "--yes", status=2)
    assert json.loads(_run("erase", "ann", "--reason", "asked for it", "--yes"))["index"] == 2
    assert "erased" in _run("show", "0", "--reveal", status=3)
    assert json.loads(_run("retain", "--dry-run", "--json")) == {"dropped": False, "classes": {}}
    assert "no such retention class" in _run("append", "--type", "a.d", "--retention", "none", status=2)


def test_erase_asks(directory):
    """Without --yes a person is asked, and whatever is not yes leaves everything as it is."""
    with Ledger.open(f"sqlite:///{directory / 'log.db'}") as log:
        log.append("a.b", {"name": Personal("Ann", "ann")})

    _run("erase", "ann", "--reason", "x", stdin="n\n", status=130)

    assert json.loads(_run("show", "0", "--reveal"))["data"] == {"name": "Ann"}
    assert "1 entries" in _run("verify")


def test_clock(directory, monkeypatch):
    """With a clock far behind the newest entry nothing is appended, unless it is accepted once."""
    later = datetime.now(UTC) + timedelta(days=3)
    with monkeypatch.context() as patch:
        patch.setattr("companyos.ledger.preparation.timestamp", lambda _: entries.timestamp(later))
        with Ledger.open(f"sqlite:///{directory / 'log.db'}") as log:
            log.append("a.b", {})

    assert "the clock went back" in _run("append", "--type", "a.b", status=3)
    assert json.loads(_run("append", "--type", "a.b", "--accept-clock"))["index"] == 1
    assert json.loads(_run("append", "--type", "a.b"))["index"] == 2


def test_tail_follows(directory):
    """`tail -f` goes on with what is appended, and ends when it is interrupted."""
    _run("append", "--jsonl", "-", stdin=_lines(3))
    process = subprocess.Popen(
        [*COMMAND, "tail", "-f", "-n", "1", "--json", "--url", URL], stdout=subprocess.PIPE, text=True
    )
    assert json.loads(process.stdout.readline())["index"] == 2
    _run("append", "--jsonl", "-", stdin=_lines(1, 3))
    assert json.loads(process.stdout.readline())["index"] == 3
    process.send_signal(signal.SIGINT)
    assert process.wait(10) in {0, 130, -signal.SIGINT}
    process.stdout.close()


def test_sequence(directory):
    """What was appended inside another transaction is given its place on demand."""
    app = sqlite3.connect(directory / "app.db")
    with Ledger.open(f"sqlite:///{directory / 'log.db'}") as log:
        log.append("a.b", {})
        log.append("a.c", {"n": 1}, connection=app)
        app.commit()
    app.close()

    assert json.loads(_run("sequence")) == {"placed": 1, "size": 2}
    assert json.loads(_run("sequence")) == {"placed": 0, "size": 2}
