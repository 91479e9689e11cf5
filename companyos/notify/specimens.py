"""What notifications must catch, and let through: real outboxes, a real ledger, and a receiver on a real socket."""

from __future__ import annotations

import base64
import socket
import sqlite3
import threading
from collections.abc import Callable  # noqa: TC003 - a field of a dataclass names it
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding, Severity
from companyos.errors import ConfigError
from companyos.notify.channels.jsonl import JsonLinesChannel
from companyos.notify.channels.webhook import WebhookChannel
from companyos.notify.checks import CONTROL, RULES, check_deliveries
from companyos.notify.errors import DeliveryError
from companyos.notify.publisher import Notifier
from companyos.notify.retry import RetryPolicy
from companyos.notify.webhooks.addresses import AddressRule
from companyos.notify.webhooks.client import Client
from companyos.notify.worker import Worker
from companyos.ports import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from companyos.ledger import Ledger
    from companyos.ledger.outbox import Outbox

__all__ = ("Sending", "Target", "delivery_control", "ssrf_control")

SSRF = "NOTIFY-SSRF"
SSRF_RULES = {
    f"{SSRF}.address": "A webhook leads to an address that is not public and was not allowed.",
    f"{SSRF}.rebinding": "A name that led to an allowed address leads to another one the next time.",
    f"{SSRF}.redirect": "A receiver sends the request on to another place.",
    f"{SSRF}.url": "The URL is not HTTPS, or hides where it leads.",
}
_LENGTH = b"content-length:"
_KEY = f"whsec_{base64.b64encode(b'specimen' * 3).decode()}"


@dataclass(frozen=True, slots=True)
class Sending:
    """Something that happens to messages."""

    folder: Path
    """An empty directory."""
    act: Callable[[Outbox, Ledger, Path], None]
    """What happens."""


def _check_sending(case: Sending) -> Decision:
    from companyos.ledger import Ledger
    from companyos.ledger.outbox import open_outbox

    path = case.folder / "notify.db"
    outbox = open_outbox(f"sqlite:///{path}", "notify")
    try:
        with Ledger.open(f"sqlite:///{case.folder / 'ledger.db'}") as ledger:
            case.act(outbox, ledger, path)
            return check_deliveries(outbox, ledger)
    finally:
        outbox.close()


class _Scripted:
    """A channel that does as it is told, one step an attempt, and takes each message once, as those with keys do."""

    name = "scripted"
    outside = False
    honours_key = True

    def __init__(self, *steps: str) -> None:
        self._steps = list(steps)
        self.taken: list[str] = []

    def deliver(self, message: Message) -> str:
        step = self._steps.pop(0) if self._steps else "take"
        if step in {"take", "take and fail"} and message.id not in self.taken:
            self.taken.append(message.id)
        if step != "take":
            raise ConnectionResetError(step)
        return "taken"


def _told(*steps: str, attempts: int = 4) -> Callable[[Outbox, Ledger, Path], None]:
    def act(outbox: Outbox, ledger: Ledger, _path: Path) -> None:
        channel = _Scripted(*steps)
        retry = RetryPolicy(attempts, 0.001, 0.002)
        notifier = Notifier([channel], ledger=ledger, outbox=outbox, retry=retry)
        notifier.publish(Message("specimen", "text"))
        _work(outbox, ledger, notifier, retry)
        if len(channel.taken) > 1:
            raise AssertionError("the receiver took it twice")

    return act


def _work(outbox: Outbox, ledger: Ledger, notifier: Notifier, retry: RetryPolicy) -> None:
    while outbox.count().get("waiting"):
        Worker(outbox, notifier.channels, ledger=ledger, retry=retry, threads=2).run(threading.Event(), once=True)


def _rolled_back(outbox: Outbox, ledger: Ledger, path: Path) -> None:
    notifier = Notifier([_Scripted()], ledger=ledger, outbox=outbox)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    notifier.publish(Message("specimen", "never told"), connection=connection)
    connection.execute("ROLLBACK")
    connection.close()
    if outbox.count():
        raise AssertionError("the message outlived its transaction")


def _forgotten(outbox: Outbox, ledger: Ledger, path: Path) -> None:
    Notifier([_Scripted()], ledger=ledger, outbox=outbox, at_once=False).publish(Message("specimen", "text"))
    _edit(path, "UPDATE companyos_outbox_item SET due = strftime('%s', 'now') - 3600")


def _left_by_a_dead_worker(outbox: Outbox, ledger: Ledger, path: Path) -> None:
    _forgotten(outbox, ledger, path)
    outbox.claim(1, 60.0)
    _edit(path, "UPDATE companyos_outbox_item SET due = strftime('%s', 'now') - 3600")


def _ledger_away(outbox: Outbox, _ledger: Ledger, _path: Path) -> None:
    Notifier([_Scripted()], outbox=outbox).publish(Message("specimen", "text"))


def _edited(outbox: Outbox, ledger: Ledger, path: Path) -> None:
    Notifier([_Scripted()], ledger=ledger, outbox=outbox, at_once=False).publish(Message("specimen", "text"))
    _edit(path, "UPDATE companyos_outbox_item SET state = 'delivered', finished = 1")


def _edit(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(sql)
    connection.close()


def _to_a_file(outbox: Outbox, ledger: Ledger, path: Path) -> None:
    channel = JsonLinesChannel(path.with_suffix(".jsonl"))
    Notifier([channel], ledger=ledger, outbox=outbox).publish(Message("specimen", "text"))


def _case(name: str, act: Callable[[Outbox, Ledger, Path], None], violates: str | None = None) -> Specimen:
    return Specimen(name, lambda folder: Sending(folder, act), violates and f"{CONTROL}.{violates}")


def delivery_control() -> Control:
    """The control; its subject is a `Sending`."""
    return Control(
        id=CONTROL,
        title="Messages that are lost, forgotten or only said to be delivered",
        check=_check_sending,
        rules=RULES,
        specimens=(
            _case("a receiver that never answers", _told(*["fail"] * 4), "dead"),
            _case("one that takes it and always breaks off", _told(*["take and fail"] * 4), "dead"),
            _case("no worker for an hour", _forgotten, "overdue"),
            _case("a worker that died an hour ago", _left_by_a_dead_worker, "overdue"),
            _case("a ledger that was not there", _ledger_away, "unlogged"),
            _case("marked as delivered by hand", _edited, "unproven"),
            _case("taken at once", _told()),
            _case("taken at the third attempt", _told("fail", "fail")),
            _case("taken, broken off, sent again", _told("take and fail")),
            _case("rolled back with its cause", _rolled_back),
            _case("written to a file", _to_a_file),
        ),
        docs="notify.md",
        subject="sending",
        severity=Severity.HIGH,
    )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is to go, twice."""

    url: str = "https://hooks.example/in"
    """Its URL."""
    answers: tuple[tuple[str, ...], ...] = ()
    """What the resolver says, one answer a time; the last one again and again."""
    allow: tuple[str, ...] = ()
    """What the configuration allows."""
    redirect: str = ""
    """Where the receiver sends on to."""
    hits: list[str] = field(default_factory=list)
    """Requests that arrived."""


def _check_target(target: Target) -> Decision:
    with _receiver(target) as port:
        rest = list(target.answers)
        rule = AddressRule.parse(target.allow)
        rule = AddressRule(rule.hosts, rule.networks, lambda _host, _port: rest.pop(0) if len(rest) > 1 else rest[0])
        url = target.url.replace("PORT", str(port))
        try:
            client = Client(url, rule, timeout_seconds=5, plain_http=bool(target.allow))
        except ConfigError as error:
            return _denied("url", error.what)
        try:
            channel = WebhookChannel("webhook", client, lambda: [_KEY])
            for number in range(2):
                channel.deliver(Message("specimen", "text", "c", id=f"specimen-{number}"))
        except DeliveryError as error:
            kind = error.code.rpartition("_")[2]
            if kind == "address":
                return _denied("rebinding" if target.hits else "address", error.what)
            if kind == "redirect":
                return _denied("redirect", error.what)
            return Decision.undetermined(error.code, error.what)
    return Decision.allowed(SSRF, f"{len(target.hits)} requests arrived")


def _denied(rule: str, what: str) -> Decision:
    return Decision.denied(f"{SSRF}.{rule}", what, findings=[Finding(f"{SSRF}.{rule}", what, Severity.CRITICAL)])


@contextmanager
def _receiver(target: Target) -> Iterator[int]:
    """A server on this machine that takes what comes, or sends it on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, target), daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        with socket.create_connection(server.getsockname()):  # whoever waits for a request sees that it is over
            server.close()
        thread.join()


def _serve(server: socket.socket, target: Target) -> None:
    head = f"HTTP/1.1 307 On\r\nLocation: {target.redirect}\r\n" if target.redirect else "HTTP/1.1 204 Taken\r\n"
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(5)
            with peer.makefile("rb") as request:
                line = request.readline()
                if not line:
                    return
                lengths = [int(head[15:]) for head in iter(request.readline, b"\r\n") if head[:15].lower() == _LENGTH]
                request.read(sum(lengths))
            target.hits.append(line.decode("latin-1").strip())
            peer.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())


def _to(name: str, violates: str | None, answers: Sequence[str] = (), **more: object) -> Specimen:
    def build(_scratch: Path) -> Target:
        return Target(answers=((tuple(answers),) if answers else ()), **more)  # type: ignore[arg-type] # as declared

    return Specimen(name, build, violates and f"{SSRF}.{violates}")


_HERE = "http://hooks.example:PORT/in"


def ssrf_control() -> Control:
    """The control; its subject is a `Target`."""
    private = {
        "this machine": "127.0.0.1",
        "this machine, IPv6": "::1",
        "a private network": "10.1.2.3",
        "another private network": "192.168.7.7",
        "the metadata of a cloud": "169.254.169.254",
        "the metadata of a cloud, IPv6": "fd00:ec2::254",
        "Azure's platform channel": "168.63.129.16",
        "a shared address space": "100.100.100.200",
        "no address at all": "0.0.0.0",  # noqa: S104 - a specimen, not a bind
        "this machine within IPv6": "::ffff:127.0.0.1",
        "metadata behind NAT64": "64:ff9b::a9fe:a9fe",
        "a private network behind 6to4": "2002:0a01:0203::1",
        "a group of machines": "224.0.0.1",
        "link-local, IPv6": "fe80::1",
    }
    return Control(
        id=SSRF,
        title="Webhooks that lead into networks that are not public",
        check=_check_target,
        rules=SSRF_RULES,
        specimens=(
            *(_to(f"a name for {name}", "address", [address]) for name, address in private.items()),
            _to("a public and a private address", "address", ["93.184.215.14", "10.0.0.1"]),
            _to("another host than the one that is allowed", "address", ["10.0.0.1"], allow=("other.example",)),
            Specimen(
                "a name that changes its mind",
                lambda _: Target(_HERE, (("127.0.0.1",), ("127.0.0.2",)), ("127.0.0.1",)),
                f"{SSRF}.rebinding",
            ),
            _to(
                "on to the metadata",
                "redirect",
                ["127.0.0.1"],
                url=_HERE,
                allow=("127.0.0.1",),
                redirect="http://169.254.169.254/latest/meta-data/",
            ),
            _to(
                "on to a public place",
                "redirect",
                ["127.0.0.1"],
                url=_HERE,
                allow=("127.0.0.1",),
                redirect="https://example.org/",
            ),
            _to("plain HTTP", "url", ["93.184.215.14"], url="http://hooks.example/"),
            _to("a file", "url", ["93.184.215.14"], url="file:///etc/passwd"),
            _to("a user before the host", "url", ["93.184.215.14"], url="https://hooks.example@10.0.0.1/"),
            _to("an allowed network", None, ["127.0.0.1"], url=_HERE, allow=("127.0.0.0/8",)),
            _to("an allowed host", None, ["127.0.0.1"], url=_HERE, allow=("hooks.example",)),
        ),
        docs="notify.md",
        subject="webhook",
        severity=Severity.CRITICAL,
    )
