"""Websockets behind the middleware, on a real server, by a real client: what is accepted, and what is never reached."""

from __future__ import annotations

import contextlib
import json

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from companyos.authz import Authorizer
from tests.authz.served import guard, serving


class Echo:
    """An application that accepts whoever reaches it, and sends back what it is sent."""

    def __init__(self):
        self.reached = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.reached.append((scope["type"], scope["path"]))
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})

    async def _lifespan(self, receive, send):
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})


@pytest.fixture
def live(playbook, ledger, handlers):
    """The application behind the middleware on a server, and how to connect to a path of it with a token."""
    app = Echo()
    with serving(guard(app, Authorizer(playbook, ledger, handlers=handlers)), ws="websockets-sansio") as (host, port):

        def dial(path, token=None):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return connect(f"ws://{host}:{port}{path}", additional_headers=headers, open_timeout=30, proxy=None)

        yield app, dial


def decisions(ledger):
    return [
        (entry.data["decision"], entry.data["reason"])
        for entry in ledger.read()
        if entry.type == "companyos.authz.decision"
    ]


def test_an_allowed_websocket_carries_messages(live, ledger):
    """Whoever may read talks to the application in both directions, under one decision that is on record."""
    app, dial = live
    with dial("/live", "alice") as socket:
        told = [(socket.send(text), socket.recv(timeout=30))[1] for text in ("one", "two")]

    assert told == ["ONE", "TWO"]
    assert app.reached == [("websocket", "/live")]
    assert decisions(ledger) == [("allow", "policy.baseline")]


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/live", None),
        ("/live", "nobody"),
        ("/live", "broken"),
        ("/live", "suspended"),
        ("/live/us", "alice"),
        ("/live/secret", "alice"),
        ("/live/none", "alice"),
        ("/elsewhere", "alice"),
        ("/documents/d-1", "alice"),
        ("/live//d-1", "alice"),
        ("/live/%2e%2e", "alice"),
        ("/%6cive", "alice"),
        ("/live;x=1", "alice"),
    ],
)
def test_a_refused_websocket_is_never_accepted(live, path, token):
    """Who is nobody, not allowed, or at a place that is not declared gets no handshake, and the application no word."""
    app, dial = live
    with pytest.raises(InvalidStatus) as caught, dial(path, token):
        pass

    assert caught.value.response.status_code == 403
    assert app.reached == []


def test_a_denial_is_on_record(live, ledger):
    """A handshake that policies refuse leaves its decision on the ledger, as an HTTP request does."""
    _, dial = live
    with pytest.raises(InvalidStatus), dial("/live", "suspended"):
        pass

    assert decisions(ledger) == [("deny", "policy.inactive_subject")]


def test_a_refusal_tells_nothing_of_the_inside(live):
    """What a refused client is shown names neither the reason nor the route."""
    _, dial = live
    with pytest.raises(InvalidStatus) as caught, dial("/live/secret", "alice"):
        pass

    shown = json.dumps([caught.value.response.body.decode(), *caught.value.response.headers.raw_items()])
    assert not [word for word in ("policy", "clearance", "mask", "secret") if word in shown]


def test_a_refused_websocket_does_not_harm_the_next(live):
    """After many refusals the same server serves who is allowed."""
    app, dial = live
    for _ in range(20):
        with contextlib.suppress(InvalidStatus), dial("/live"):
            pass
    with dial("/live", "alice") as socket:
        socket.send("still there")
        answer = socket.recv(timeout=30)

    assert (answer, app.reached) == ("STILL THERE", [("websocket", "/live")])
