"""An application behind the middleware, on a real server, and a client that sends paths as they are."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from urllib.parse import unquote

import uvicorn

from companyos.authz import AccessMiddleware, Caller, Route

SECRET = "DE02-S3CRET-0300"
TOKENS = {
    "alice": Caller({"id": "alice", "type": "user", "attributes": {"clearance": "medium"}}),
    "strong": Caller({"id": "alice", "type": "user"}, {"auth_strength": "mfa"}, {"acr": "loa3", "amr": ["hwk"]}),
    "suspended": Caller({"id": "bob", "type": "user", "status": "suspended"}),
    "plain": {"id": "carol", "type": "user"},
    "id": "carol",
}


def authenticate(scope):
    """Who has which token; the header's other words are not looked at."""
    headers = dict(scope["headers"])
    token = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
    if token == "broken":
        raise ConnectionError("the identity provider is out of reach")
    if token == "nonsense":
        return 7
    return TOKENS.get(token)


def document(scope, parameters):
    """Documents belong to alice; some of them need more than she has."""
    kinds = {"secret": {"required_clearance": "high", "masked_fields": ["iban"]}, "us": {"org_id": "other"}}
    if parameters["id"] == "none":
        return None
    if parameters["id"] == "broken":
        raise ConnectionError("the database is out of reach")
    return {"id": parameters["id"], "type": "document", "owner": "alice", **kinds.get(parameters["id"], {})}


ROUTES = (
    Route("GET", "/documents/{id}", "read", document),
    Route("DELETE", "/documents/{id}", "delete", document),
    Route("GET", "/reports/{kind}", "read", {"id": "r-1", "type": "report", "required_clearance": "high"}),
    Route("GET", "/admin/users", "administrate", {"id": "users", "type": "table"}),
    Route("WEBSOCKET", "/live", "read", {"id": "live", "type": "stream"}),
    Route("WEBSOCKET", "/live/{id}", "read", document),
)


class Sloppy:
    """An application that takes every path for the most dangerous one it could stand for, and notes what reached it."""

    def __init__(self, answers=None):
        self.reached = []
        self.started = []
        self._answers = answers or {}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        path = unquote(unquote(scope["path"])).split(";")[0].replace("\\", "/").lower().rstrip("/")
        self.reached.append((scope.get("method", "WEBSOCKET"), path))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000})
            return
        status, headers, chunks = self._answers.get(
            path.rpartition("/")[2], (200, JSON, [b'{"iban":"%s"}' % SECRET.encode()])
        )
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, receive, send):
        while True:
            message = await receive()
            self.started.append(message["type"])
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


JSON = ((b"content-type", b"application/json"),)


def guard(app, authorizer, **options):
    """The middleware of these tests in front of an application."""
    given = {"authenticate": authenticate, "routes": ROUTES, "public": ["/health", "/static/{path*}"], **options}
    return AccessMiddleware(app, authorizer, **given)


@contextlib.contextmanager
def serving(app, **options):
    """The application on a real server; gives the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, **{"log_level": "critical", "lifespan": "on", "ws": "none", "timeout_graceful_shutdown": 5} | options
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.01)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()


class Answer:
    """What a server answered."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        try:
            self.body = response.read()
            self.whole = True
        except http.client.IncompleteRead as error:
            self.body = error.partial
            self.whole = False

    @property
    def json(self):
        return json.loads(self.body)


def ask(address, path, *, method="GET", token="alice", headers=(), body=None):  # noqa: S107 - no secret
    """Send one request, its path and method as they are."""
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        connection._validate_path = lambda _: None
        connection._encode_request = lambda line: line.encode("latin-1")
        connection.putrequest(method, path, skip_accept_encoding=True)
        if token:
            connection.putheader("Authorization", f"Bearer {token}")
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())
