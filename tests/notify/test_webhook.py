"""Webhooks: signed, addressed with care, and every way in which a receiver fails has a name."""

import gzip
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from companyos.errors import ConfigError
from companyos.notify import (
    AddressRule,
    Client,
    DeliveryError,
    Message,
    WebhookAddressError,
    WebhookAnswerError,
    WebhookChannel,
    WebhookHandshakeError,
    WebhookRedirectError,
    WebhookRefusedError,
    WebhookSignatureError,
    WebhookStatusError,
    WebhookTimeoutError,
    WebhookUnreachableError,
    sign,
    verify_webhook,
)
from tests.notify.receiver import OK, SECRET, running

HERE = AddressRule.parse(["127.0.0.1"])
MESSAGE = Message("release.refused", "no release: 100 % spent", "corr-1", {"gate": "G6", "ä": 'q"'}, "msg-1")

VECTOR = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
"""Of the reference libraries of Standard Webhooks; the one for `v1a` is that of the Svix server."""
HMAC_KEY = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE_KEY = "whsk_" + "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
HMAC_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
ED25519_SIGNATURE = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def headers_of(signature, *, name=VECTOR[0], stamp=VECTOR[1]):
    return {"Webhook-Id": name, "Webhook-Timestamp": str(stamp), "Webhook-Signature": signature}


def channel(receiver, **more):
    client = Client(receiver.url, HERE, plain_http=True, timeout_seconds=more.pop("timeout_seconds", 5))
    secrets = more.pop("secrets", [SECRET])
    return WebhookChannel("webhook", client, lambda: secrets, **more)


class TestSignatures:
    """By the published vectors."""

    def test_the_vectors_of_the_standard(self):
        """What the reference implementations make of the same key, id, time and body."""
        assert sign(*VECTOR, [HMAC_KEY]) == HMAC_SIGNATURE
        assert sign(*VECTOR, [PRIVATE_KEY]) == ED25519_SIGNATURE
        assert sign(*VECTOR, [PRIVATE_KEY, HMAC_KEY]) == f"{ED25519_SIGNATURE} {HMAC_SIGNATURE}"

    @pytest.mark.parametrize("key", [HMAC_KEY, PUBLIC_KEY], ids=["v1", "v1a"])
    def test_a_receiver_verifies_with_its_key(self, key):
        """Among signatures of other keys, as while one is being replaced."""
        header = f"{HMAC_SIGNATURE} {ED25519_SIGNATURE}"
        incoming = verify_webhook(headers_of(header), VECTOR[2], ["whsec_" + "A" * 32, key], now=VECTOR[1] + 299)
        assert (incoming.id, incoming.body) == (VECTOR[0], VECTOR[2])

    @pytest.mark.parametrize(
        ("headers", "body", "late"),
        [
            (headers_of(HMAC_SIGNATURE), b'{"test": 2432232315}', 0),
            (headers_of(HMAC_SIGNATURE), VECTOR[2], 301),
            (headers_of(HMAC_SIGNATURE), VECTOR[2], -301),
            (headers_of(HMAC_SIGNATURE, stamp=VECTOR[1] + 1), VECTOR[2], 0),
            (headers_of(HMAC_SIGNATURE, name="msg_other"), VECTOR[2], 0),
            (headers_of(HMAC_SIGNATURE, name="msg.1"), VECTOR[2], 0),
            (headers_of(HMAC_SIGNATURE.replace("v1,", "v1a,")), VECTOR[2], 0),
            (headers_of(HMAC_SIGNATURE[:-4]), VECTOR[2], 0),
            (headers_of("v1,"), VECTOR[2], 0),
            (headers_of("v1a,ä"), VECTOR[2], 0),
            (headers_of(HMAC_SIGNATURE, stamp="soon"), VECTOR[2], 0),
            ({}, VECTOR[2], 0),
        ],
    )
    def test_what_does_not_fit_is_refused(self, headers, body, late):
        """Another body, time or id; too old, too new; another version; cut; missing."""
        with pytest.raises(WebhookSignatureError):
            verify_webhook(headers, body, [HMAC_KEY, PUBLIC_KEY], now=VECTOR[1] + late)

    @pytest.mark.parametrize("secret", ["", "plain", "whsec_c2hvcnQ=", "whsec_!!!", "whsk_AAAA", "whpk_" + "A" * 44])
    def test_what_is_no_secret_is_refused_unseen(self, secret):
        """And never shown."""
        with pytest.raises(ConfigError) as caught:
            sign(*VECTOR, [secret])
        assert not secret or secret not in str(caught.value)


class TestRequests:
    """CloudEvents over HTTP."""

    def test_structured(self):
        """All of it in the body, under the content type of CloudEvents; signed, with the message's own id."""
        with running() as receiver:
            assert channel(receiver).deliver(MESSAGE) == "127.0.0.1 (204)"
        ((line, headers, body),) = receiver.requests
        assert line == "POST /hook HTTP/1.1"
        assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        event = json.loads(body)
        assert {key: event[key] for key in ("specversion", "id", "source", "type", "correlationid")} == {
            "specversion": "1.0",
            "id": "msg-1",
            "source": "companyos",
            "type": "release.refused",
            "correlationid": "corr-1",
        }
        assert event["data"] == {"text": MESSAGE.text, "properties": dict(MESSAGE.properties)}
        assert receiver.effects == {"msg-1": 1}

    def test_binary(self):
        """Attributes in `ce-` headers, percent-encoded where the binding asks for it; data in the body."""
        message = Message(
            "a b", "text", 'c "ü" %', id="msg-2", time=datetime(2026, 3, 1, tzinfo=UTC), traceparent="00-1"
        )
        with running() as receiver:
            channel(receiver, mode="binary").deliver(message)
        ((_, headers, body),) = receiver.requests
        assert headers["content-type"] == "application/json"
        assert headers["ce-correlationid"] == "c%20%22%C3%BC%22%20%25"
        assert (headers["ce-type"], headers["ce-time"]) == ("a%20b", "2026-03-01T00:00:00Z")
        assert headers["ce-traceparent"] == "00-1"
        assert json.loads(body) == {"text": "text", "properties": {}}

    def test_every_attempt_has_the_same_id_and_body_and_a_time_of_its_own(self, monkeypatch):
        """So that the receiver knows it again, and can refuse what was recorded long ago."""
        with running() as receiver:
            sender = channel(receiver)
            sender.deliver(MESSAGE)
            later = time.time() + 100
            monkeypatch.setattr("companyos.notify.channels.webhook.time.time", lambda: later)
            sender.deliver(MESSAGE)
        (_, first, one), (_, second, two) = receiver.requests
        assert (first["webhook-id"], one) == (second["webhook-id"], two)
        assert int(second["webhook-timestamp"]) >= int(first["webhook-timestamp"]) + 99

    def test_a_secret_is_replaced_without_a_gap(self):
        """Signed with both: the receiver that still has the old one verifies."""
        with running() as receiver:
            channel(receiver, secrets=["whsec_" + "B" * 32, SECRET]).deliver(MESSAGE)
        assert receiver.effects == {"msg-1": 1}

    def test_the_receiver_is_asked_once_whether_it_wants_events(self):
        """CloudEvents: OPTIONS with the origin, before the first event alone."""
        yes = OK.replace(b"Content", b"WebHook-Allowed-Origin: events.example\r\nContent")
        with running(lambda name, _: "ok" if name else yes) as receiver:
            sender = channel(receiver, origin="events.example")
            sender.deliver(MESSAGE)
            sender.deliver(Message("t", "x", "c", id="msg-3"))
        assert [line.split()[0] for line, _, _ in receiver.requests] == ["OPTIONS", "POST", "POST"]
        assert receiver.requests[0][1]["webhook-request-origin"] == "events.example"

    @pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 405 No\r\nWebHook-Allowed-Origin: *\r\n\r\n"])
    def test_a_receiver_that_does_not_agree_gets_nothing(self, answer):
        """No event leaves."""
        with running(lambda *_: answer) as receiver, pytest.raises(WebhookHandshakeError):
            channel(receiver, origin="events.example").deliver(MESSAGE)
        assert [line.split()[0] for line, _, _ in receiver.requests] == ["OPTIONS"]


BIG = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 8000) for n in range(128)) + b"\r\n"
BOMB = gzip.compress(b"\0" * 50_000_000)
GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB
FAULTS = {
    "500": ("500", WebhookStatusError, False),
    "429": ("429\r\nRetry-After: 7", WebhookStatusError, False),
    "400": ("400", WebhookRefusedError, True),
    "410": ("410", WebhookRefusedError, True),
    "redirect to a private address": ("307\r\nLocation: http://169.254.169.254/", WebhookRedirectError, True),
    "redirect to itself": ("302\r\nLocation: /hook", WebhookRedirectError, True),
    "reset": ("reset", WebhookUnreachableError, False),
    "taken, then reset": ("taken-then-reset", WebhookUnreachableError, False),
    "no answer": (b"", WebhookUnreachableError, False),
    "a megabyte of headers": (BIG, WebhookAnswerError, False),
    "one endless header": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000, WebhookAnswerError, False),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", WebhookAnswerError, False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_receiver_that_fails_has_a_name(fault):
    """Each fault its own error, and whether another attempt makes sense."""
    plan, kind, permanent = FAULTS[fault]
    with running(lambda *_: plan) as receiver, pytest.raises(DeliveryError) as caught:
        channel(receiver).deliver(MESSAGE)
    assert type(caught.value) is kind
    assert caught.value.permanent is permanent
    assert "/hook" not in str(caught.value)


@pytest.mark.parametrize("fault", ["hang", "taken-then-hang", b"HTTP/1.1 2"])
def test_a_receiver_that_hangs_is_left(fault):
    """Before it answers, after it took the message, in the middle of the answer."""
    with running(lambda *_: "hang" if fault == b"HTTP/1.1 2" else fault) as receiver:
        if isinstance(fault, bytes):
            receiver.answer = lambda peer, _: (peer.sendall(fault), peer.recv(1))
        with pytest.raises(WebhookTimeoutError):
            channel(receiver, timeout_seconds=0.2).deliver(MESSAGE)


def test_an_answer_is_not_unpacked():
    """A gzip bomb is neither asked for nor read: the status says all."""
    with running(lambda *_: GZIP) as receiver:
        channel(receiver).deliver(MESSAGE)
    assert receiver.requests[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("7", 7, 7),
        ("99999999", 86_400, 86_400),
        (timedelta(minutes=10), 1, 600),
        (timedelta(days=-1), 0, 0),
        ("soon", None, None),
        ("-1", None, None),
    ],
)
def test_how_long_a_receiver_asks_to_be_left_alone(text, low, high):
    """Seconds or a date, within a day; anything else says nothing."""
    if isinstance(text, timedelta):
        text = format_datetime(datetime.now(UTC) + text, usegmt=True)
    with running(lambda *_: f"503\r\nRetry-After: {text}") as receiver, pytest.raises(WebhookStatusError) as caught:
        channel(receiver).deliver(MESSAGE)
    waited = caught.value.retry_after_seconds
    assert waited is None if low is None else low <= waited <= high


class TestAddresses:
    """Where a webhook may lead; most of it is in the control NOTIFY-SSRF."""

    def test_the_looked_at_address_is_the_one_that_is_used(self):
        """The name is resolved once a request: an answer that changes afterwards has no effect."""
        asked = []

        def changing(host, _port):
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        with running() as receiver:
            rule = AddressRule(HERE.hosts, HERE.networks, changing)
            client = Client(f"http://hooks.example:{receiver.port}/hook", rule, plain_http=True)
            sender = WebhookChannel("webhook", client, lambda: [SECRET])
            sender.deliver(MESSAGE)
            assert asked == ["hooks.example"]
            assert receiver.requests[0][1]["host"] == f"hooks.example:{receiver.port}"
            with pytest.raises(WebhookAddressError):
                sender.deliver(MESSAGE)
        assert len(receiver.requests) == 1

    def test_the_next_address_is_tried(self):
        """Of several that are allowed, the first that takes a connection."""
        with running() as receiver:
            rule = AddressRule.parse(["127.0.0.0/8"])
            rule = AddressRule(rule.hosts, rule.networks, lambda *_: ["127.0.0.99", "127.0.0.1"])
            client = Client(f"http://hooks.example:{receiver.port}/hook", rule, plain_http=True)
            WebhookChannel("webhook", client, lambda: [SECRET]).deliver(MESSAGE)
        assert receiver.effects == {"msg-1": 1}

    @pytest.mark.parametrize("answer", [OSError("no such host"), UnicodeError(), []])
    def test_a_name_without_address(self, answer):
        """May come back: another attempt makes sense."""

        def resolve(*_):
            if isinstance(answer, Exception):
                raise answer
            return answer

        client = Client("https://hooks.example/", AddressRule(resolve=resolve))
        with pytest.raises(WebhookUnreachableError, match="no address"):
            client.send("POST", b"", {})

    @pytest.mark.parametrize(
        "address",
        ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e", "::ffff:93.184.215.14"],
    )
    def test_public_addresses_are_let_through(self, address):
        """Also where a network of IPv6 alone reaches IPv4 by NAT64."""
        assert AddressRule(resolve=lambda *_: [address]).pinned("hooks.example", 443) == [address]

    @pytest.mark.parametrize("entry", ["", "*.corp", "10.0.0.0/33", "a/b", "x:1"])
    def test_what_can_be_allowed(self, entry):
        """Names and networks, nothing in between."""
        with pytest.raises(ConfigError, match="host, an address or a network"):
            AddressRule.parse([entry])

    @pytest.mark.parametrize(
        "url",
        [
            "http://h/",
            "ftp://h/",
            "https://",
            "https://u:p@h/",
            "https://h/#f",
            "https://h/ x",
            "https://h:x/",
            "https://h/ü",
        ],
    )
    def test_urls_that_cannot_be_used(self, url):
        """And are not shown: they may be secret."""
        with pytest.raises(ConfigError) as caught:
            Client(url, AddressRule())
        assert "u:p" not in str(caught.value)


def test_tls_is_verified(tmp_path):
    """A receiver whose certificate nobody trusts gets nothing."""
    import ssl
    import threading

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "cert.pem"
    pem.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=str(pem))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve():
            for _ in range(2):
                peer, _ = server.accept()
                try:
                    with context.wrap_socket(peer, server_side=True) as secure:
                        secure.recv(65_536)
                        secure.recv(65_536)
                        secure.sendall(OK)
                except OSError:
                    peer.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        rule = AddressRule.parse(["localhost", "127.0.0.1"])
        rule = AddressRule(rule.hosts, rule.networks, lambda *_: ["127.0.0.1"])
        with pytest.raises(WebhookUnreachableError, match="SSLCertVerificationError"):
            Client(f"https://localhost:{port}/", rule).send("POST", b"x", {})
        answer = Client(f"https://localhost:{port}/", rule, context=trusting).send("POST", b"x", {})
        assert answer.status == 204
        thread.join()
