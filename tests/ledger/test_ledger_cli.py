"""`companyos ledger` and `companyos keys`, run as a person or a pipeline runs them."""

from __future__ import annotations

import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from companyos.cli import main
from companyos.ledger import Ledger
from companyos.ports import Personal
from companyos.signing import PrivateKey, PublicKey

URL = "sqlite:///log.db"


@pytest.fixture
def run(tmp_path, monkeypatch, capsysbinary):
    """Run a command in an empty directory; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COMPANYOS_")]:
        monkeypatch.delenv(name)

    def call(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main(list(arguments))
        out, err = capsysbinary.readouterr()
        return status, out.decode(), err.decode()

    return call


@pytest.fixture
def three(run):
    """A log of three entries."""
    lines = b"".join(b'{"type":"order.placed","data":{"n":%d},"id":"o-%d"}\n' % (n, n) for n in range(3))
    status, out, _ = run("ledger", "append", "--jsonl", "-", "--url", URL, stdin=lines + b"\n")
    assert status == 0
    return [json.loads(line) for line in out.splitlines()]


def _spoil(query):
    database = sqlite3.connect("log.db", isolation_level=None)
    database.execute(query)
    database.close()


def test_append_and_tail(run, three):
    """Each append prints its receipt; the same id again prints the same place; tail shows the newest."""
    assert [line["index"] for line in three] == [0, 1, 2]
    call = ("ledger", "append", "--type", "order.placed", "--data", '{"n":1}', "--id", "o-1", "--url", URL)
    assert json.loads(run(*call)[1]) == three[1]

    status, out, _ = run("ledger", "tail", "-n", "2", "--json", "--url", URL)

    assert (status, [json.loads(line)["data"] for line in out.splitlines()]) == (0, [{"n": 1}, {"n": 2}])
    assert run("ledger", "tail", "-n", "0", "--url", URL)[1] == ""
    assert "order.placed  o-2" in run("ledger", "tail", "--url", URL)[1]


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "why"),
    [
        ((), b"", 2, "either --type"),
        (("--type", "a.b", "--jsonl", "-"), b"", 2, "either --type"),
        (("--type", "a.b", "--data", "{"), b"", 2, "--data is not JSON"),
        (("--type", "a.b", "--data", "[]"), b"", 2, "--data is not a JSON object"),
        (("--type", "single"), b"", 2, "unusable type"),
        (("--jsonl", "-"), b'{"type":"a.b","data":{}}\nhello\n', 2, "line 2 is not JSON"),
        (("--jsonl", "-"), b'{"data":{}}\n', 2, "no type or no data"),
        (("--jsonl", "-"), b'{"type":"a.b","data":{},"colour":1}\n', 2, "unknown: colour"),
        (("--jsonl", "-"), b'{"type":"a.b","data":{"x":1152921504606846976}}\n', 2, "payload is not JSON"),
    ],
)
def test_bad_appends(run, arguments, stdin, status, why):
    """What cannot be an entry is one message and exit 2, without a traceback."""
    got, _, err = run("ledger", "append", *arguments, "--url", URL, stdin=stdin)

    assert got == status
    assert why in err
    assert "Traceback" not in err


def test_reused_id(run, three):
    """The same id with other content exits 1."""
    status, out, err = run("ledger", "append", "--type", "a.b", "--id", "o-1", "--url", URL)

    assert (status, out) == (1, "")
    assert "ledger.id_reused" in err


def test_verify(run, three):
    """A sound log exits 0 and says whether an anchor was compared, for people and for machines."""
    run("ledger", "checkpoint", "--out", "anchor", "--url", URL)
    _, vkey, _ = run("ledger", "checkpoint", "--vkey", "--url", URL)

    assert "rollback not excluded" in run("ledger", "verify", "--url", URL)[1]
    assert vkey.startswith("companyos.local/log+")
    for key in ("log.db.keys/ledger.pem.pub", "file:log.db.keys/ledger.pem.pub", vkey.strip()):
        status, out, _ = run("ledger", "verify", "--against", "anchor", "--key", key, "--json", "--url", URL)
        found = json.loads(out)
        assert (status, found["ok"], found["size"], found["anchored"]) == (0, True, 3, True)


@pytest.mark.parametrize(
    ("query", "code", "index"),
    [
        ("UPDATE entry SET raw = replace(raw, '1', '2') WHERE idx = 1", "ledger.entry_altered", 1),
        ("DELETE FROM entry WHERE idx = 2", "ledger.tail_dropped", 2),
        ("DELETE FROM entry WHERE idx = 1", "ledger.entry_missing", 1),
        ("UPDATE head SET note = 'hello'", "ledger.checkpoint_invalid", None),
    ],
)
def test_damage(run, three, query, code, index):
    """Damage exits 1, named with its first bad index, for people and for machines."""
    _spoil(query)

    status, out, _ = run("ledger", "verify", "--url", URL)
    assert (status, "DAMAGED" in out, code in out) == (1, True, True)
    assert index is None or f"first bad index {index}" in out
    status, out, _ = run("ledger", "verify", "--json", "--url", URL)
    found = json.loads(out)
    assert (status, found["ok"], found["error"], found["index"]) == (1, False, code, index)


def test_rollback_and_other_key(run, three):
    """An anchor that the log does not reach, and a key that did not sign it, exit 1."""
    run("ledger", "append", "--type", "a.b", "--url", URL)
    run("ledger", "checkpoint", "--out", "anchor", "--url", URL)
    (status, out, _), other = run("keys", "new", "--out", "other.pem"), "other.pem.pub"
    assert status == 0
    assert run("ledger", "verify", "--key", other, "--url", URL)[0] == 1

    for name in ("log.db", "log.db-wal", "log.db-shm"):
        Path(name).unlink(missing_ok=True)
    run("ledger", "append", "--type", "a.b", "--url", URL)
    status, out, _ = run("ledger", "verify", "--against", "anchor", "--url", URL)
    assert (status, "ledger.rolled_back" in out) == (1, True)


@pytest.mark.parametrize("name", ["not there", "text", "empty", "foreign"])
@pytest.mark.parametrize("command", [("verify",), ("tail",), ("show", "0"), ("prove", "0"), ("checkpoint",)])
def test_unreadable(run, tmp_path, name, command):
    """A log that cannot be read exits 3, prints nothing on stdout, and nothing is made."""
    path = tmp_path / "bad.db"
    if name == "text":
        path.write_text("hello")
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "foreign":
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE a (b)")
        database.close()

    status, out, err = run("ledger", *command, "--url", "sqlite:///bad.db")

    assert (status, out) == (3, ""), err
    assert "Traceback" not in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ([] if name == "not there" else ["bad.db"])


def test_missing_anchor(run, three):
    """An anchor file that is not there is `could not check`, never `no anchor`."""
    assert run("ledger", "verify", "--against", "none", "--url", URL)[0] == 3


def test_prove_and_show(run, three, tmp_path):
    """An exported proof, the raw entry and the verifier key are what the stand-alone program needs."""
    run("ledger", "prove", "1", "--out", "entry.tlog-proof", "--url", URL)
    _, raw, _ = run("ledger", "show", "1", "--raw", "--url", URL)
    _, vkey, _ = run("ledger", "checkpoint", "--vkey", "--url", URL)
    (tmp_path / "entry.json").write_text(raw)
    program = Path(__file__).parents[2] / "docs" / "tlog_proof.py"

    done = subprocess.run(
        [sys.executable, program, "entry.json", "entry.tlog-proof", vkey], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout[:11]) == (0, "ok: entry 1"), done.stderr
    assert json.loads(run("ledger", "show", "1", "--url", URL)[1])["data"] == {"n": 1}
    for command in ("prove", "show"):
        assert run("ledger", command, "9", "--url", URL)[0] == 1


def test_reveal(run, tmp_path):
    """Personal values are shown only when asked for."""
    with Ledger.open(f"sqlite:///{tmp_path / 'log.db'}") as log:
        log.append("a.b", {"name": Personal("Ann", "ann")})

    assert "Ann" not in run("ledger", "show", "0", "--url", URL)[1]
    assert json.loads(run("ledger", "show", "0", "--reveal", "--url", URL)[1])["data"] == {"name": "Ann"}


def test_configured_log(run, tmp_path, monkeypatch):
    """Without --url the log is that of companyos.yaml, or of the environment."""
    (tmp_path / "companyos.yaml").write_text("company: {name: acme}\nledger: {url: 'sqlite:///state/l.db'}\n")
    assert run("ledger", "verify")[0] == 3

    assert run("ledger", "append", "--type", "a.b")[0] == 0
    assert (tmp_path / "state" / "l.db").exists()
    assert "acme.companyos/log: 1 entries" in run("ledger", "verify")[1]
    monkeypatch.setenv("COMPANYOS__LEDGER__URL", "sqlite:///other.db")
    assert run("ledger", "verify")[0] == 3


def test_progress_on_a_terminal(run, three, tmp_path):
    """On a terminal verification shows a bar on stderr; stdout stays the result alone."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", "import sys; from companyos.cli import main; sys.exit(main())"]

    done = subprocess.run(
        [*command, "ledger", "verify", "--json", "--url", URL], stdout=subprocess.PIPE, stderr=follower, check=False
    )
    os.close(follower)
    shown = os.read(leader, 4096).decode()
    os.close(leader)

    assert (done.returncode, json.loads(done.stdout)["size"]) == (0, 3)
    assert "verifying" in shown


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256"])
def test_keys(run, tmp_path, algorithm):
    """Keys are made, shown without their private half, and rotated."""
    status, out, _ = run("keys", "new", "--out", "a.pem", "--algorithm", algorithm, "--json")
    made = json.loads(out)
    assert (status, made["algorithm"]) == (0, algorithm)
    assert made["key_id"] == PrivateKey.load("file:a.pem").public.key_id

    status, out, _ = run("keys", "show", "file:a.pem")
    assert (status, made["key_id"] in out, "PRIVATE" in out) == (0, True, False)
    assert PublicKey.from_pem(out.partition("\n")[2].encode()).key_id == made["key_id"]

    status, out, err = run("keys", "rotate", "file:a.pem", "--json")
    assert (status, json.loads(out)["key_id"]) == (0, PrivateKey.load("file:a.pem").public.key_id)
    assert made["key_id"] in err
    assert json.loads(out)["key_id"] != made["key_id"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("new", "--out", "there.pem"), "there is a file at there.pem"),
        (("new", "--algorithm", "rsa"), "--algorithm"),
        (("show", "file:none.pem"), "no key at none.pem"),
        (("show", "none.pem"), "not a key URI"),
        (("rotate", "env:KEY"), "only file keys"),
    ],
)
def test_bad_key_commands(run, tmp_path, arguments, why):
    """A key that cannot be made, found or rotated is one message and exit 2."""
    (tmp_path / "there.pem").write_text("mine")

    status, out, err = run("keys", *arguments)

    assert (status, out) == (2, "")
    assert why in err
    assert (tmp_path / "there.pem").read_text() == "mine"


def test_a_company_that_was_renamed(run):
    """A log under another name than the company's says which setting keeps its name, and with that it verifies."""
    assert run("ledger", "append", "--type", "a.b")[0] == 0
    Path("companyos.yaml").write_text("company: {name: acme}\n", "utf-8")
    status, out, _ = run("ledger", "verify")
    assert (status, "of the log company.companyos/log" in out, "ledger.origin in companyos.yaml" in out) == (
        1,
        True,
        True,
    )

    Path("companyos.yaml").write_text("company: {name: acme}\nledger: {origin: company.companyos/log}\n", "utf-8")
    assert run("ledger", "verify")[0] == 0


def test_a_log_that_another_key_signed_is_not_called_renamed(run):
    """Where the name is right and the key is wrong, no setting mends it, and none is named."""
    assert run("ledger", "append", "--type", "a.b")[0] == 0
    for path in Path(".companyos/keys").glob("ledger.pem*"):
        path.unlink()
    PrivateKey.generate().save(Path(".companyos/keys/ledger.pem"))
    status, out, _ = run("ledger", "verify")

    assert (status, "not signed by a known key" in out, "ledger.origin" in out) == (1, True, False)
