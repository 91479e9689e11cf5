"""Asking a decision service over the network: what is tried again, what is refused, and by which name."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from companyos.authz.engines._breaker import Breaker
from companyos.authz.engines._remote import RemoteClient, RemoteSettings, strict_json
from companyos.authz.interface import EngineError, EngineTimeoutError, EngineUnreachableError
from companyos.errors import ConfigError
from tests.services.process import free_port

DECISION = "/v1/data/probe/answer"
POLICY = "package probe\n\nimport rego.v1\n\nanswer := input.n\n"
PATIENT = {"timeout_seconds": 30.0, "read_seconds": 30.0, "connect_seconds": 30.0, "backoff_seconds": 0.001}


@pytest.fixture
def client():
    """Makes clients that are closed when the test is over; patient, unless told otherwise."""
    made = []

    def make(url, **settings):
        made.append(RemoteClient(RemoteSettings(url, **(PATIENT | settings)), what="the service"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def probe(opa_server):
    """A place that answers with `n` of the input."""
    return opa_server.load({"probe.rego": POLICY})


def _ask(client, n=7):
    return client.post(DECISION, {"input": {"n": n}}).value


def _times(opa_server, url):
    place = url.removeprefix(opa_server.url)
    return sum(seen["path"].startswith(f"{place}/v1/") for seen in opa_server.seen())


class TestTryingAgain:
    def test_a_gateway_without_anybody_behind_it(self, client, opa_server, probe):
        """A 503 is tried again, and the third answer counts."""
        url = opa_server.fault(f"flaky/2/{probe.rpartition('/')[2]}")

        assert _ask(client(url)) == {"result": 7}
        assert _times(opa_server, url) == 3

    def test_no_more_attempts_than_allowed(self, client, opa_server, probe):
        """When the attempts are used up the service is unreachable."""
        url = opa_server.fault(f"flaky/3/{probe.rpartition('/')[2]}")

        with pytest.raises(EngineUnreachableError, match="503"):
            _ask(client(url))
        assert _times(opa_server, url) == 3

    @pytest.mark.parametrize("kind", ["hangup", "cut", "garbage"])
    def test_a_connection_that_breaks(self, client, opa_server, kind):
        """Closed without an answer, in the middle of one, or no HTTP at all: tried again, then unreachable."""
        url = f"{opa_server.fault(kind)}/{kind}-again"

        with pytest.raises(EngineUnreachableError, match="cannot be reached"):
            _ask(client(url))
        assert _times(opa_server, url) == 3

    @pytest.mark.parametrize(("kind", "error"), [("error", EngineError), ("silent", EngineTimeoutError)])
    def test_what_is_not_tried_again(self, client, opa_server, kind, error):
        """An answer, if a bad one, and a time that has run out are final."""
        url = f"{opa_server.fault(kind)}/{kind}-once"

        with pytest.raises(error):
            _ask(client(url, read_seconds=0.3))
        assert _times(opa_server, url) == 1

    def test_nobody_listens(self, client):
        """A refused connection is unreachable, under the reason that callers are given."""
        with pytest.raises(EngineUnreachableError) as caught:
            _ask(client(f"http://127.0.0.1:{free_port()}"))

        assert (caught.value.reason, caught.value.code) == ("policy.unreachable", "authz.unreachable")


class TestPauses:
    @pytest.fixture
    def runs(self):
        """The pauses of many runs against a service that nobody runs: by run, in the order of the attempts."""
        runs = []
        settings = RemoteSettings(
            f"http://127.0.0.1:{free_port()}", **(PATIENT | {"backoff_seconds": 0.05}), attempts=4, failures=1000
        )

        def rest(pause):
            runs[-1].append(pause)

        client = RemoteClient(settings, what="the service", rest=rest)
        for _ in range(40):
            runs.append([])
            with pytest.raises(EngineUnreachableError):
                _ask(client)
        client.close()
        return runs

    def test_each_is_a_random_share_of_a_bound_that_doubles(self, runs):
        """No pause is longer than its bound, and over many runs they are spread over all of it."""
        assert {len(run) for run in runs} == {3}
        for pauses, longest in zip(zip(*runs, strict=True), (0.05, 0.1, 0.2), strict=True):
            assert 0 <= min(pauses) < longest / 4
            assert longest * 3 / 4 < max(pauses) <= longest
            assert len(set(pauses)) > len(pauses) / 2

    def test_no_two_callers_keep_step(self, runs):
        """Callers that failed together do not come back together."""
        assert len({tuple(run) for run in runs}) == len(runs)


class TestTime:
    @pytest.mark.parametrize("kind", ["silent", "trickle", "drip"])
    def test_the_whole_has_a_deadline(self, client, opa_server, kind):
        """Whoever says nothing, or a byte of head or body now and then, is late, whatever each wait alone may take."""
        with pytest.raises(EngineTimeoutError) as caught:
            _ask(client(opa_server.fault(kind), timeout_seconds=0.7))

        assert (caught.value.reason, caught.value.code) == ("policy.timeout", "authz.timeout")

    def test_attempts_share_the_deadline(self, client, opa_server, probe):
        """No pause is made that would not leave time for another attempt."""
        url = opa_server.fault(f"flaky/1000/{probe.rpartition('/')[2]}")

        with pytest.raises(EngineUnreachableError):
            _ask(client(url, attempts=1000, backoff_seconds=1e6, timeout_seconds=20))
        assert _times(opa_server, url) < 10


class TestAnswers:
    @pytest.mark.parametrize("kind", ["huge", "endless"])
    def test_too_large(self, client, opa_server, kind):
        """An answer is read up to a limit, whether its length was announced or not."""
        with pytest.raises(EngineError, match="too large"):
            _ask(client(opa_server.fault(kind)))

    def test_packed(self, client, opa_server):
        """An encoding that was not asked for is not unpacked."""
        with pytest.raises(EngineError, match="encoding"):
            _ask(client(opa_server.fault("packed")))

    @pytest.mark.parametrize("status", [201, 301, 400, 401, 403, 404, 429, 500])
    def test_another_status(self, client, opa_server, status):
        """Only 200 is an answer, whatever the body says."""
        with pytest.raises(EngineError, match=f"status {status}") as caught:
            _ask(client(opa_server.fault(f"status/{status}")))

        assert caught.value.reason == "policy.unavailable"

    def test_a_redirect(self, client, opa_server, probe):
        """A redirect is not followed, not even to where the answer is."""
        name = probe.rpartition("/")[2]

        with pytest.raises(EngineError, match="redirects are not followed"):
            _ask(client(opa_server.fault(f"redirect/{name}")))
        assert _times(opa_server, probe) == 0

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>",
            b'{"a": 1, "a": 2}',
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b"\xff",
            b"[" * 200_000,
            b'{"a": 1} x',
        ],
        ids=["nothing", "a page", "a key twice", "NaN", "infinity", "no UTF-8", "without measure", "more behind it"],
    )
    def test_no_json(self, client, opa_server, body):
        """What two readers could understand differently is no answer."""
        with pytest.raises(EngineError, match="not JSON"):
            _ask(client(opa_server.answer(body)))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, raw):
        """Any bytes are a JSON value or an error by name."""
        try:
            found = strict_json(raw, "the service")
        except EngineError:
            return
        assert type(found) in {dict, list, str, int, float, bool, type(None)}

    def test_a_question_that_is_not_json(self, client, probe):
        """What cannot be asked is an error before anything is sent."""
        with pytest.raises(EngineError, match="not JSON"):
            client(probe).post(DECISION, {"input": object()})


class TestToken:
    def _sent(self, opa_server, url):
        place = url.removeprefix(opa_server.url)
        return [seen["authorization"] for seen in opa_server.seen() if seen["path"].startswith(f"{place}/v1/")]

    def test_from_the_environment(self, client, opa_server, probe, monkeypatch):
        """A token is sent as bearer token, and stands in no log."""
        monkeypatch.setenv("OPA_TOKEN", "s3cret-token")

        assert _ask(client(probe, token="env:OPA_TOKEN")) == {"result": 7}
        assert self._sent(opa_server, probe) == ["Bearer s3cret-token"]

    def test_from_a_file_that_changes(self, client, opa_server, probe, tmp_path):
        """A file is read anew for each request, so that a token can be rotated."""
        file = tmp_path / "token"
        one = client(probe, token=f"file:{file}")
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            _ask(one)

        assert self._sent(opa_server, probe) == ["Bearer first", "Bearer second"]

    @pytest.mark.parametrize("token", ["", "two words", "a\nb: c", "\u00fc"])
    def test_no_token(self, client, opa_server, probe, monkeypatch, token):
        """An empty token, or one that would be more than a header's word, is refused, and nothing is asked."""
        monkeypatch.setenv("OPA_TOKEN", token)

        with pytest.raises(EngineError, match="token"):
            _ask(client(probe, token="env:OPA_TOKEN"))
        assert self._sent(opa_server, probe) == []

    def test_no_file(self, client, probe, tmp_path):
        """A file that is not there is an error that names it."""
        with pytest.raises(EngineError, match="nowhere"):
            _ask(client(probe, token=f"file:{tmp_path / 'nowhere'}"))

    def test_the_token_itself_as_reference(self):
        """A token written where its place belongs is refused without being shown."""
        with pytest.raises(ConfigError) as caught:
            RemoteSettings("https://opa.example", token="s3cret-token")

        assert "s3cret" not in caught.value.message

    def test_logs_hold_no_token(self, client, opa_server, monkeypatch, caplog):
        """Neither errors nor the logs of what is underneath show the token."""
        monkeypatch.setenv("OPA_TOKEN", "s3cret-token")
        with caplog.at_level(logging.DEBUG), pytest.raises(EngineError) as caught:
            _ask(client(opa_server.fault("error"), token="env:OPA_TOKEN"))

        assert "s3cret" not in caught.value.message + caplog.text


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "opa.example",
            "ftp://opa.example",
            "https://",
            "https://user:pw@opa.example",
            "https://opa.example?x=1",
            "https://opa.example#x",
            "https://opa.example:99999",
            "https://opa.example:0",
            "https://[::1",
            "https://opa.example/\r\nx: y",
            "file:///etc/passwd",
        ],
    )
    def test_not_valid(self, url):
        """An address that is none, or that carries more than one, is a configuration error."""
        with pytest.raises(ConfigError, match="not valid"):
            RemoteSettings(url)

    @pytest.mark.parametrize("host", ["opa.example", "192.0.2.1", "localhost.example", "10.0.0.1"])
    def test_unprotected(self, host):
        """A decision does not leave the machine without TLS unless that is said."""
        with pytest.raises(ConfigError, match="unprotected"):
            RemoteSettings(f"http://{host}:8181")

        assert RemoteSettings(f"http://{host}:8181", plain_http=True).url.startswith("http://")

    @pytest.mark.parametrize("url", ["http://localhost:8181", "http://127.0.0.1", "http://[::1]:8181", "https://a.b/c"])
    def test_protected(self, url):
        """On this machine, and over TLS, it goes."""
        assert RemoteSettings(url).url == url

    @pytest.mark.parametrize("name", ["timeout_seconds", "attempts", "failures", "max_answer_bytes"])
    def test_numbers(self, name):
        """A limit of nothing would allow nothing, or everything."""
        with pytest.raises(ConfigError, match=name):
            RemoteSettings("https://opa.example", **{name: 0})


class TestTls:
    @pytest.fixture
    def secured(self, tmp_path):
        """A server with a certificate for 127.0.0.1 that nobody knows: its URL, and the certificate's file."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        encoding = serialization.Encoding.PEM
        public, private = tmp_path / "cert.pem", tmp_path / "key.pem"
        public.write_bytes(certificate.public_bytes(encoding))
        private.write_bytes(
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(public, private)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, public
        server.shutdown()
        thread.join()
        server.server_close()

    def test_a_stranger_is_not_asked(self, client, secured):
        """A certificate that no authority vouches for is unreachable; nothing is sent to it."""
        with pytest.raises(EngineUnreachableError, match="certificate verify failed"):
            client(f"https://localhost:{secured[0]}", attempts=1).get("/")

    def test_an_authority_of_ones_own(self, client, secured):
        """`ca_file` names the authorities to trust."""
        assert client(f"https://localhost:{secured[0]}", ca_file=str(secured[1])).get("/").value == {"ok": True}

    def test_another_name(self, client, secured):
        """A certificate for another name is none for this one."""
        with pytest.raises(EngineUnreachableError, match="certificate verify failed"):
            client(f"https://127.0.0.1:{secured[0]}", ca_file=str(secured[1]), attempts=1).get("/")

    def test_no_authorities(self, client, tmp_path):
        """A file without certificates is a configuration error."""
        with pytest.raises(ConfigError, match="authorities"):
            client("https://localhost:1", ca_file=str(tmp_path / "nowhere")).get("/")


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "12")
        self.end_headers()
        self.wfile.write(b'{"ok": true}')

    def log_message(self, *_):
        pass


class TestBreaker:
    def test_it_opens_and_nobody_is_asked(self, client, opa_server, probe):
        """After failures in a row the service is left alone, though it would answer by now."""
        url = opa_server.fault(f"flaky/2/{probe.rpartition('/')[2]}")
        one = client(url, attempts=1, failures=2, cool_down_seconds=3600)
        for _ in range(2):
            with pytest.raises(EngineUnreachableError, match="away"):
                _ask(one)
        with pytest.raises(EngineUnreachableError, match="not asked at the moment"):
            _ask(one)

        assert (one.breaker.state, _times(opa_server, url)) == ("open", 2)

    def test_it_closes_when_one_succeeds(self, client, opa_server, probe):
        """After the wait one request tries, and when that goes well all do."""
        url = opa_server.fault(f"flaky/2/{probe.rpartition('/')[2]}")
        one = client(url, attempts=1, failures=2, cool_down_seconds=0)
        for _ in range(2):
            with pytest.raises(EngineUnreachableError):
                _ask(one)

        assert one.breaker.state == "open"
        assert [_ask(one), _ask(one)] == [{"result": 7}] * 2
        assert one.breaker.state == "closed"

    def test_a_bad_answer_is_no_outage(self, client, opa_server):
        """An input that a policy chokes on shuts nobody else out."""
        one = client(opa_server.fault("error"), failures=1)
        for _ in range(3):
            with pytest.raises(EngineError, match="500"):
                _ask(one)

        assert one.breaker.state == "closed"

    def test_only_one_tries(self):
        """While one caller tries, all others are refused; when it fails, the wait begins anew."""
        now = [0.0]
        breaker = Breaker(failures=1, cool_down_seconds=10, clock=lambda: now[0])
        breaker.leave(breaker.enter(), healthy=False)
        assert breaker.enter() is None
        now[0] = 10.0
        with ThreadPoolExecutor(8) as pool:
            tickets = [ticket for ticket in pool.map(lambda _: breaker.enter(), range(64)) if ticket is not None]
        assert (len(tickets), breaker.state) == (1, "half-open")
        breaker.leave(tickets[0], healthy=False)
        now[0] = 19.9
        assert (breaker.enter(), breaker.state) == (None, "open")
        now[0] = 20.0
        breaker.leave(breaker.enter(), healthy=True)
        assert breaker.state == "closed"

    def test_old_news(self):
        """How a request ended that began before the breaker opened neither closes nor counts."""
        now = [0.0]
        breaker = Breaker(failures=1, cool_down_seconds=10, clock=lambda: now[0])
        early, failing = breaker.enter(), breaker.enter()
        breaker.leave(failing, healthy=False)
        breaker.leave(early, healthy=True)
        assert breaker.state == "open"
        now[0] = 10.0
        breaker.leave(breaker.enter(), healthy=True)
        breaker.leave(early, healthy=False)
        assert breaker.state == "closed"

    def test_failures_in_a_row(self):
        """A success in between begins the count anew."""
        breaker = Breaker(failures=2)
        for healthy in (False, True, False):
            breaker.leave(breaker.enter(), healthy=healthy)

        assert breaker.state == "closed"


class TestSharing:
    def test_threads(self, client, probe):
        """Many threads share a client, and each gets the answer to its own question."""
        one = client(probe)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: _ask(one, n)["result"], range(160)))

        assert answers == list(range(160))

    def test_after_close(self, client, probe):
        """A closed client opens connections again when it is used."""
        one = client(probe)
        _ask(one)
        one.close()

        assert _ask(one) == {"result": 7}

    def test_another_process(self, client, probe, monkeypatch):
        """In another process, such as a forked worker, there are other connections and another breaker."""
        one = client(probe)
        _ask(one)
        pool, breaker = one._parts()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            other_pool, other_breaker = one._parts()
            assert _ask(one) == {"result": 7}
            one.close()

        assert (pool is other_pool, breaker is other_breaker) == (False, False)
        assert one._parts() == (pool, breaker)
