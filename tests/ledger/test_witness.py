"""Witnesses over real HTTP: what they sign, what they refuse, and what nobody can talk them into."""

from __future__ import annotations

import base64
import http.client
import itertools
import random
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companyos.errors import UnverifiableError
from companyos.ledger import CheckpointInvalidError, Ledger, RolledBackError, SplitViewError
from companyos.ledger.checkpoint import Checkpoint, Consistency
from companyos.ledger.merkle import EMPTY_ROOT, Frontier, consistency_proof, leaf_hash
from companyos.ledger.witness import (
    Witness,
    WitnessRefusedError,
    WitnessServer,
    WitnessState,
    WitnessUnavailableError,
    check_with,
)
from companyos.signing import KeyUnusableError, Note, NoteVerifier, PrivateKey
from companyos.signing.cosignature import CosignatureVerifier, Cosigner

ORIGIN = "test.example/log"
KEY = PrivateKey.generate()
VERIFIER = NoteVerifier(ORIGIN, KEY.public)
WITNESS_KEY = PrivateKey.generate()
COSIGNER = Cosigner.ed25519("witness.example/w1", WITNESS_KEY)


class Tree:
    """A log's tree in memory: checkpoints of any size, and proofs between them."""

    def __init__(self, entries):
        self.frontier, self.nodes, self.roots = Frontier(), {}, [EMPTY_ROOT]
        for index, entry in enumerate(entries):
            self.nodes[0, index] = leaf_hash(entry)
            self.nodes.update({(level, at): node for level, at, node in self.frontier.push(self.nodes[0, index])})
            self.roots.append(self.frontier.root())

    def note(self, size, key=KEY, origin=ORIGIN):
        """The signed checkpoint at a size."""
        return Checkpoint(origin, size, self.roots[size]).sign(key)

    def prove(self, old, new):
        """The proof of consistency."""
        return consistency_proof(old, new, lambda level, index: self.nodes[level, index])

    def request(self, old, new, **how):
        """The body of a request."""
        return Consistency(old, tuple(self.prove(old, new)), self.note(new, **how)).to_text().encode()


TREE = Tree(b"entry %d" % number for number in range(64))
FORGED = Tree(b"entry %d" % number if number != 3 else b"forged" for number in range(64))


@pytest.fixture
def state(tmp_path):
    """The memory of a witness of the test's log."""
    return WitnessState(tmp_path / "witness.db", COSIGNER, [VERIFIER])


@pytest.fixture
def witness(state):
    """That witness, served."""
    with WitnessServer(state) as server:
        yield Witness(server.url, COSIGNER.verifier)


class Answering:
    """A server that answers each request with the next of some bytes, whatever is asked."""

    def __init__(self, *answers, hold=0.0):
        self.answers, self.hold, self.asked = itertools.cycle(answers), hold, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self._one(connection)

    def _one(self, connection):
        connection.settimeout(10)
        got = b""
        try:
            while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < self._length(got):
                got += connection.recv(65536)
            self.asked.append(got.partition(b"\r\n\r\n")[2])
            for byte in [next(self.answers)] if not self.hold else next(self.answers):
                connection.sendall(byte if isinstance(byte, bytes) else bytes([byte]))
                time.sleep(self.hold)
        except OSError:
            pass

    @staticmethod
    def _length(got):
        (line,) = [line for line in got.lower().split(b"\r\n") if line.startswith(b"content-length")]
        return int(line.split(b":")[1])


def answer(status, body=b"", kind="text/plain"):
    """An HTTP response."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_a_log_is_cosigned_as_it_grows(witness):
    """Each checkpoint comes back with a cosignature that verifies, and still verifies as the log's own."""
    size = 0
    for new in (1, 5, 5, 16, 17, 64):
        given = witness.cosign(TREE.note(new), TREE.prove, old_size=size)

        assert (given.checkpoint, given.known_size) == (Checkpoint(ORIGIN, new, TREE.roots[new]), size)
        assert Checkpoint.verify(given.note, [VERIFIER]) == given.checkpoint
        assert Note.parse(given.note).verify([COSIGNER.verifier]) == (COSIGNER.verifier,)
        size = new


def test_the_witness_tells_where_it_is(witness):
    """Whoever does not know how far the witness is learns it from the witness."""
    witness.cosign(TREE.note(9), TREE.prove)

    for guess in (0, 3, 20):
        assert witness.cosign(TREE.note(20), TREE.prove, old_size=guess).checkpoint.size == 20


def test_a_new_cosignature_takes_the_place_of_the_old_one(witness):
    """Cosigned again, a note carries one cosignature of the witness, and keeps those of others."""
    other = Cosigner.ed25519("other.example/w", PrivateKey.generate())
    note = Note.parse(TREE.note(5))
    note = Note(note.text, (*note.signatures, other.cosign(note.text)))
    first = witness.cosign(note.to_bytes(), TREE.prove)
    again = witness.cosign(first.note, TREE.prove, old_size=5)

    assert [ORIGIN, "other.example/w", "witness.example/w1"] == [s[0] for s in Note.parse(again.note).signatures]
    assert Note.parse(again.note).verify([other.verifier]) == (other.verifier,)


def test_check_with_a_witness(witness):
    """A log that the witness knows is held against it; how far it knew it is told."""
    witness.cosign(TREE.note(9), TREE.prove)

    assert check_with(witness, TREE.note(9), TREE.prove).known_size == 9
    later = check_with(witness, TREE.note(30), TREE.prove)
    assert (later.checkpoint.size, later.known_size) == (30, 9)
    assert check_with(witness, TREE.note(30), TREE.prove).known_size == 30


def test_a_witness_that_knows_nothing_vouches_for_nothing(witness, state):
    """A check against a witness that never saw the log is no pass, and does not make it believe the log."""
    with pytest.raises(WitnessRefusedError):
        check_with(witness, TREE.note(9), TREE.prove)
    with pytest.raises(WitnessRefusedError):
        check_with(witness, TREE.note(0), TREE.prove)

    assert state.head(ORIGIN) is None


def test_rollback(witness):
    """A log shorter than the one that was cosigned has been rolled back."""
    witness.cosign(TREE.note(20), TREE.prove)

    with pytest.raises(RolledBackError) as caught:
        check_with(witness, TREE.note(19), TREE.prove)
    assert caught.value.index == 19
    with pytest.raises(RolledBackError):
        witness.cosign(TREE.note(5), TREE.prove)


@pytest.mark.parametrize("size", [20, 21, 32, 64])
def test_another_history(witness, state, size):
    """Another history of the same log, of the same size or longer, is a split view; the witness keeps the first."""
    witness.cosign(TREE.note(20), TREE.prove)

    with pytest.raises(SplitViewError):
        check_with(witness, FORGED.note(size), FORGED.prove)
    with pytest.raises(SplitViewError):
        witness.cosign(FORGED.note(size), FORGED.prove, old_size=20)
    assert state.head(ORIGIN) == TREE.note(20)


def test_unknown_logs_and_keys(witness):
    """A log that the witness does not know, and a key that it does not trust for it, are refusals, not findings."""
    for note in (TREE.note(5, origin="other.example/log"), TREE.note(5, key=PrivateKey.generate())):
        with pytest.raises(WitnessRefusedError):
            witness.cosign(note, TREE.prove)


def test_a_rotated_key(tmp_path):
    """A log with two keys is one log: what the first signed, the second continues."""
    new = PrivateKey.generate()
    state = WitnessState(tmp_path / "w.db", COSIGNER, [VERIFIER, NoteVerifier(ORIGIN, new.public)])
    with WitnessServer(state) as server:
        witness = Witness(server.url, COSIGNER.verifier)
        witness.cosign(TREE.note(5), TREE.prove)
        assert witness.cosign(TREE.note(9, key=new), TREE.prove).known_size == 5
        with pytest.raises(SplitViewError):
            witness.cosign(FORGED.note(9, key=new), FORGED.prove)


def test_a_witness_does_not_witness_itself(tmp_path):
    """A witness's key as the key of a log is refused."""
    with pytest.raises(KeyUnusableError):
        WitnessState(tmp_path / "w.db", COSIGNER, [NoteVerifier(ORIGIN, WITNESS_KEY.public)])


def test_not_a_checkpoint(witness):
    """What is not a checkpoint is not sent."""
    for note in (b"", b"hello", b"\xff"):
        with pytest.raises(CheckpointInvalidError):
            witness.cosign(note, TREE.prove)
        with pytest.raises(CheckpointInvalidError):
            check_with(witness, note, TREE.prove)


def _altered(request: bytes, at: int) -> bytes:
    """A request with another letter at one place: which letter stands there differs from run to run."""
    letters = bytearray(request)
    letters[at] = ord("B") if letters[at] == ord("A") else ord("A")
    return bytes(letters)


HASH = base64.b64encode(bytes(32)).decode()
ODD = {
    "empty": (b"", 400),
    "no note": (b"old 0\n\n", 400),
    "no old": (b"\n" + TREE.note(5), 400),
    "old with a zero in front": (b"old 05\n\n" + TREE.note(5), 400),
    "negative old": (b"old -1\n\n" + TREE.note(5), 400),
    "old too large": (b"old 6\n\n" + TREE.note(5), 400),
    "not UTF-8": (b"\xff" + TREE.request(0, 5), 400),
    "64 hashes": (b"old 0\n" + f"{HASH}\n".encode() * 64 + b"\n" + TREE.note(5), 400),
    "a short hash": (b"old 0\nAAAA\n\n" + TREE.note(5), 400),
    "a proof where none belongs": (f"old 0\n{HASH}\n\n".encode() + TREE.note(5), 422),
    "a root of an empty log": (b"old 0\n\n" + Checkpoint(ORIGIN, 0, bytes(32)).sign(KEY), 409),
    "another old size": (TREE.request(3, 5), 409),
    "another log": (TREE.request(0, 5, origin="other.example/log"), 404),
    "another key": (TREE.request(0, 5, key=PrivateKey.generate()), 403),
    "a signature altered": (_altered(TREE.request(0, 5), -6), 403),
    "right": (TREE.request(0, 5), 200),
}


@pytest.mark.parametrize("name", ODD)
def test_requests_by_status(witness, state, name):
    """Each kind of request has the status that the specification gives it; only a right one is remembered."""
    body, status = ODD[name]
    connection = http.client.HTTPConnection(witness.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/add-checkpoint", body)
    response = connection.getresponse()
    content = response.read()
    connection.close()

    assert status == response.status
    assert (status == 200) == (state.head(ORIGIN) is not None)
    if status == 409:
        assert (content, response.headers["Content-Type"]) == (b"0\n", "text/x.tlog.size")


def test_every_changed_byte_of_a_request_is_refused(state):
    """Whatever byte of a right request is changed, it is not cosigned."""
    assert state.add(TREE.request(0, 5)).status == 200
    body = TREE.request(5, 9)
    statuses = {state.add(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]).status for at in range(len(body))}

    assert statuses <= {400, 403, 404, 409, 422}
    assert state.add(body).status == 200


@given(st.binary(max_size=200) | st.text(alphabet="old 0123\n\u2014AB=/+.ets", max_size=120).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_requests_never_crash_a_witness(state, body):
    """Bytes that no log signed are a bad request, a log or a key that is not known, and nothing else."""
    assert state.add(body).status in {400, 403, 404}


def test_a_size_beyond_all_logs(state):
    """A checkpoint of 2^63 entries or more, well signed, is no checkpoint."""
    for size in (2**63, 10**19 - 1):
        assert state.add(b"old 0\n\n" + Checkpoint(ORIGIN, size, bytes(32)).sign(KEY)).status == 400


def test_extension_lines_are_cosigned(state):
    """A log that writes extension lines is cosigned with them, and the cosignature covers them."""
    text = f"{ORIGIN}\n5\n{base64.b64encode(TREE.roots[5]).decode()}\nextension\n"
    note = Note(text, ((ORIGIN, VERIFIER.hint, KEY.sign(text.encode())),)).to_bytes()

    answered = state.add(b"old 0\n\n" + note)

    assert Note.parse(note + answered.body).verify([COSIGNER.verifier])


@pytest.mark.parametrize(
    "head",
    [
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /add-checkpoint HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_odd_http(witness, head):
    """HTTP that is no request to a witness is answered with an error, and the next one is served."""
    host, port = witness.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        assert b"HTTP/1.1 200" not in connection.recv(4096)
    assert witness.cosign(TREE.note(5), TREE.prove).checkpoint.size == 5


def test_many_idle_connections_take_no_place_forever(witness):
    """With every place taken by connections that say nothing the next caller is turned away; served once one goes."""
    host, port = witness.url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port)), timeout=10) for _ in range(80)]
    with pytest.raises(WitnessUnavailableError):
        witness.cosign(TREE.note(5), TREE.prove)
    for connection in idle:
        connection.close()
    for _ in range(100):
        try:
            assert witness.cosign(TREE.note(5), TREE.prove).checkpoint.size == 5
            break
        except WitnessUnavailableError:
            time.sleep(0.1)
    else:
        pytest.fail("no place was given back")


STRANGER = Cosigner.ed25519("witness.example/w1", PrivateKey.generate())


def cosigned(size=5, by=COSIGNER, ago=0):
    """The line with which a cosigner answers, made `ago` seconds before now."""
    text = Note.parse(TREE.note(size)).text
    return Note("", (by.cosign(text, at=int(time.time()) - ago),)).to_bytes()[1:]


MALFORMED = {
    "nothing": lambda: b"",
    "not HTTP": lambda: b"hello\r\n\r\n",
    "no body": lambda: answer(200),
    "not a signature line": lambda: answer(200, b"hello\n"),
    "no newline": lambda: answer(200, cosigned()[:-1]),
    "the signature of another checkpoint": lambda: answer(200, cosigned(6)),
    "a signature by another key": lambda: answer(200, cosigned(by=STRANGER)),
    "a signature recorded an hour ago": lambda: answer(200, cosigned(ago=3600)),
    "a text of its own": lambda: answer(200, b"more\n\n" + cosigned()),
    "the log's own signature": lambda: answer(200, TREE.note(5).partition(b"\n\n")[2]),
    "cut off": lambda: answer(200, cosigned())[:-20],
    "endless": lambda: answer(200, b"x" * 100_000),
    "a redirect": lambda: b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "an error of its own": lambda: answer(500, b"oops"),
    "too many requests": lambda: answer(429),
    "bad request": lambda: answer(400),
    "a conflict without a size": lambda: answer(409, b"conflict"),
    "a conflict with the size that was sent": lambda: answer(409, b"0\n"),
    "a conflict with a size of other digits": lambda: answer(409, "\u0665\n".encode()),
    "a proof refused where there was none": lambda: answer(422),
    "a teapot": lambda: answer(418),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_answers_outside_of_the_protocol(name):
    """Whatever else a witness answers is never a pass and never a finding about the log: it could not be checked."""
    with Answering(MALFORMED[name]()) as server, pytest.raises(WitnessUnavailableError) as caught:
        Witness(server.url, COSIGNER.verifier).cosign(TREE.note(5), TREE.prove)

    assert isinstance(caught.value, UnverifiableError)
    assert caught.value.exit_status == 3


def test_a_good_answer_among_others():
    """Lines by other keys beside the right one are left out of the note; the witness's own counts."""
    good = cosigned()
    with Answering(answer(200, cosigned(by=STRANGER) + good)) as server:
        note = Witness(server.url, COSIGNER.verifier).cosign(TREE.note(5), TREE.prove).note

    assert [ORIGIN, "witness.example/w1"] == [name for name, *_ in Note.parse(note).signatures]
    assert note.endswith(good)


def test_a_witness_that_changes_its_mind():
    """A witness that tells another size each time is given up on, soon."""
    sizes = [answer(409, b"%d\n" % size) for size in (1, 2, 3, 4)]
    with Answering(*sizes) as server, pytest.raises(WitnessUnavailableError):
        Witness(server.url, COSIGNER.verifier).cosign(TREE.note(5), TREE.prove)

    assert len(server.asked) == 4


def test_a_slow_answer_is_cut_off():
    """A witness that drips a byte at a time, each within the timeout of a socket, does not hold the caller."""
    with Answering(answer(200, cosigned()), hold=0.2) as server, pytest.raises(WitnessUnavailableError):
        Witness(server.url, COSIGNER.verifier, timeout_seconds=1).cosign(TREE.note(5), TREE.prove)


def test_nobody_there():
    """A port where nobody listens, and what is no URL, could not be checked."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "ftp://x", "http://", "x", "http://u:p@x/", "http://x:99999", "http://[x"):
        with pytest.raises(WitnessUnavailableError):
            Witness(url, COSIGNER.verifier).cosign(TREE.note(5), TREE.prove)


def test_a_certificate_that_nobody_vouches_for(tmp_path, state):
    """Over TLS a witness whose certificate is not trusted is not asked."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    (tmp_path / "tls.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem")
    with WitnessServer(state) as server:
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(WitnessUnavailableError, match="certificate verify failed"):
            Witness(url, COSIGNER.verifier).cosign(TREE.note(5), TREE.prove)
    assert state.head(ORIGIN) is None


def test_a_body_to_the_letter(witness):
    """What is sent is `old`, the hashes, an empty line and the note, as the specification shows it."""
    with Answering(answer(409, b"3\n"), answer(500)) as server, pytest.raises(WitnessUnavailableError):
        Witness(server.url, COSIGNER.verifier).cosign(TREE.note(5), TREE.prove)

    hashes = b"".join(base64.b64encode(node) + b"\n" for node in TREE.prove(3, 5))
    assert [b"old 0\n\n" + TREE.note(5), b"old 3\n" + hashes + b"\n" + TREE.note(5)] == server.asked


def test_racing_histories_get_one_cosignature(tmp_path):
    """Of two histories that race for the same step, over several connections and two states, one is ever signed."""
    states = [WitnessState(tmp_path / "w.db", COSIGNER, [VERIFIER]) for _ in range(2)]
    trees = [Tree([b"start", b"%d" % number, *[b"x"] * 40]) for number in range(8)]
    signed = set()

    def offer(number):
        answered = states[number % 2].add(trees[number].request(0, 2))
        if answered.status == 200:
            signed.add(trees[number].roots[2])
        return answered.status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(offer, range(8)))

    assert sorted(statuses) == [200] + [409] * 7
    (root,) = signed
    assert Checkpoint.verify(states[0].head(ORIGIN), [VERIFIER]).root == root


SERVER = """
import sys
from pathlib import Path
from companyos.ledger.witness import WitnessServer, WitnessState
from companyos.signing import NoteVerifier, PrivateKey
from companyos.signing.cosignature import Cosigner

path, key, *logs = sys.argv[1:]
cosigner = Cosigner.ed25519("witness.example/w1", PrivateKey.load_or_create(f"file:{key}"))
state = WitnessState(Path(path), cosigner, map(NoteVerifier.from_vkey, logs))
server = WitnessServer(state)
print(server.url, cosigner.verifier.vkey, flush=True)
server.serve()
"""


class Process:
    """A witness in a process of its own."""

    def __init__(self, directory, *logs):
        command = [sys.executable, "-c", SERVER, str(directory / "w.db"), str(directory / "w.key"), *logs]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url, vkey = self.process.stdout.readline().split()
        self.witness = Witness(url, CosignatureVerifier.from_vkey(vkey))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_an_attacker_with_the_database_and_the_key(tmp_path):
    """A history rewritten with the log's own key and store verifies by itself; the witness's process catches it."""
    key = f"file:{tmp_path / 'log.key'}"
    honest, forged = f"sqlite:///{tmp_path / 'log.db'}", f"sqlite:///{tmp_path / 'forged.db'}"
    with Ledger.open(honest, origin=ORIGIN, key=key) as ledger:
        for number in range(13):
            ledger.append("payment.made", {"euro": number})
        tree = Tree(ledger.raw(index) for index in range(13))
        with Process(tmp_path, ledger.verifier.vkey) as running:
            running.witness.cosign(ledger.checkpoint(), tree.prove)
            assert check_with(running.witness, ledger.checkpoint(), tree.prove).known_size == 13

            with Ledger.open(forged, origin=ORIGIN, key=key) as rewritten:
                for size in range(1, 21):
                    rewritten.append("payment.made", {"euro": 1_000_000 if size == 6 else size - 1})
                    if size >= 12:
                        assert rewritten.verify().size == size
                        other = Tree(rewritten.raw(index) for index in range(size))
                        with pytest.raises(RolledBackError if size == 12 else SplitViewError):
                            check_with(running.witness, rewritten.checkpoint(), other.prove)
            assert check_with(running.witness, ledger.checkpoint(), tree.prove).known_size == 13


def test_a_witness_killed_at_any_moment_never_goes_back(tmp_path):
    """Killed again and again while the log grows, a witness never forgets a checkpoint for which it answered."""
    seed = random.SystemRandom().randrange(2**32)
    chance, answered = random.Random(seed), 0
    for _ in range(4):
        with Process(tmp_path, VERIFIER.vkey) as running:
            if answered:
                assert check_with(running.witness, TREE.note(60), TREE.prove).known_size >= answered, f"seed {seed}"
                with pytest.raises(SplitViewError):
                    check_with(running.witness, FORGED.note(60), FORGED.prove)
                break
            killer = threading.Timer(chance.uniform(0.01, 0.2), running.process.kill)
            killer.start()
            try:
                for size in range(1, 60):
                    answered = running.witness.cosign(TREE.note(size), TREE.prove, old_size=answered).checkpoint.size
            except WitnessUnavailableError:
                pass
            killer.join()


def test_writes_are_on_the_disk_before_the_answer(state):
    """The state is written with `synchronous=FULL` in WAL mode."""
    with sqlite3.connect(state.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    with state._transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_state_that_cannot_be_written(tmp_path, state):
    """A witness whose file is locked or broken signs nothing and says 503."""
    with sqlite3.connect(state.path, isolation_level=None) as connection:
        connection.execute("DROP TABLE heads")
    connection.close()

    assert state.add(TREE.request(0, 5)).status == 503


def test_memory_of_a_log(state):
    """What was cosigned last can be read back, as the log signed it."""
    assert state.head(ORIGIN) is None
    state.add(TREE.request(0, 5))
    state.add(TREE.request(5, 9))

    assert state.head(ORIGIN) == TREE.note(9)
