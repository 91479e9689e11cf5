"""Services behind Apprise: e-mail to a real server, and a Slack whose wire format is spoken on a real socket."""

import json
import logging
import socket
from email import message_from_bytes

import pytest

from companyos.errors import ConfigError
from companyos.notify import AppriseChannel, Message, Notifier, ServiceError
from companyos.observability import Redactor
from tests.notify.receiver import running

pytest.importorskip("apprise")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Apprise imports what Python gives up

MESSAGE = Message("gate.refused", "no release today", "corr-1", {"gate": "G6"}, "msg-1")


@pytest.fixture
def mailbox():
    """A real SMTP server, and what arrived."""
    controller = pytest.importorskip("aiosmtpd.controller")

    class Sink:
        def __init__(self):
            self.mails, self.refuse = [], False

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd calls it so
            if self.refuse:
                return "451 try again later"
            self.mails.append(envelope)
            return "250 taken"

    sink = Sink()
    with socket.create_server(("127.0.0.1", 0)) as free:
        sink.port = free.getsockname()[1]
    server = controller.Controller(sink, hostname="127.0.0.1", port=sink.port)
    server.start()
    yield sink
    server.stop()


def mail(mailbox):
    """The channel to it; port and recipient are in the URL."""
    url = f"mailto://127.0.0.1:{mailbox.port}/?from=companyos@acme.example&to=ops@acme.example&mode=insecure"
    return AppriseChannel("apprise:mail", lambda: url)


def test_a_mail_arrives_with_all_that_was_said(mailbox):
    """Topic as the subject; text, properties and correlation in the body."""
    mail(mailbox).deliver(MESSAGE)
    (envelope,) = mailbox.mails
    assert envelope.rcpt_tos == ["ops@acme.example"]
    content = message_from_bytes(envelope.content)
    text = b"".join(part.get_payload(decode=True) or b"" for part in content.walk()).decode()
    assert "gate.refused" in content["Subject"]
    assert all(words in text for words in ("no release today", "gate: G6", "corr-1", "msg-1"))


def test_a_mail_that_is_refused_is_not_taken_for_sent(mailbox):
    """The service's own result counts."""
    mailbox.refuse = True
    with pytest.raises(ServiceError, match="apprise:mail"):
        mail(mailbox).deliver(MESSAGE)


def test_a_web_service_gets_its_own_form():
    """JSON over HTTP; a failure of the service is one of the delivery, and its URL is in no log and no error."""
    answers = iter(["ok", "500"])
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    with running(lambda *_: plain if next(answers) == "ok" else "500") as receiver:
        token = "T0KEN" + "abcdef"
        channel = AppriseChannel("apprise:hook", lambda: f"json://127.0.0.1:{receiver.port}/{token}")
        records = []
        handler = logging.Handler()
        handler.emit = records.append
        root, before = logging.getLogger(), logging.getLogger().level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            channel.deliver(MESSAGE)
            with pytest.raises(ServiceError) as caught:
                channel.deliver(MESSAGE)
        finally:
            root.removeHandler(handler)
            root.setLevel(before)
    assert token not in str(caught.value)
    assert not [record for record in records if token in record.getMessage()]
    body = json.loads(receiver.requests[0][2])
    assert body["title"] == "gate.refused"
    assert "no release today" in body["message"]


@pytest.mark.parametrize("url", ["", "nothing", "nosuch://x/y", "json://a/, json://b/"])
def test_what_is_not_the_url_of_one_service(url):
    """Is refused, and not shown."""
    (delivery,) = Notifier([AppriseChannel("apprise", lambda: url)], net=Redactor()).publish(MESSAGE)
    assert not delivery.delivered
    with pytest.raises(ConfigError) as caught:
        AppriseChannel("apprise", lambda: url).deliver(MESSAGE)
    assert not url or url not in str(caught.value)
