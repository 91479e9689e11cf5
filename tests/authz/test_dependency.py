"""The FastAPI dependency over real HTTP: the endpoint decides, the middleware in front answers and masks."""

from __future__ import annotations

import json
import sys

import fastapi
import pytest
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from companyos.authz import AccessMiddleware, Authorizer, LogEvent, MaskFields, RequireMfa, Route, require, undeclared
from companyos.errors import ConfigError, MissingExtraError
from tests.authz.served import SECRET, ask, authenticate, serving

CALLED = []


async def by_path(request: fastapi.Request):
    """The document of the path, owned by alice."""
    name = request.path_params["name"]
    if name == "broken":
        raise ConnectionError("internal words")
    known = {"secret": {"required_clearance": "high", "masked_fields": ["iban"]}, "us": {"org_id": "other"}}
    return None if name == "none" else {"id": name, "type": "document", "owner": "alice", **known.get(name, {})}


def make_app():
    """Endpoints that are guarded in every way that FastAPI has, and some that are not."""
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    reports = fastapi.APIRouter(dependencies=[fastapi.Depends(require("read"))])

    @app.get("/documents/{name}")
    async def read(name: str, decision=fastapi.Depends(require("read", resource=by_path))):  # noqa: B008 - FastAPI's way
        CALLED.append(name)
        return {"iban": SECRET, "name": name, "reason": decision.reason}

    @app.get("/lines/{name}", dependencies=[fastapi.Depends(require("read", resource=by_path))])
    def lines(name: str):
        rows = (json.dumps({"iban": SECRET, "n": number}) + "\n" for number in range(3))
        return StreamingResponse(rows, media_type="application/x-ndjson")

    @app.get("/text/{name}", dependencies=[fastapi.Depends(require("read", resource=by_path))])
    def text(name: str):
        return PlainTextResponse(SECRET)

    @app.delete("/documents/{name}", dependencies=[fastapi.Depends(require("delete", resource=by_path))])
    def delete(name: str):
        CALLED.append(name)
        return {}

    @app.get("/two/{name}")
    def two(
        name: str,
        first=fastapi.Depends(require("read", resource={"id": "d-1", "type": "document"})),  # noqa: B008
        second=fastapi.Depends(require("read", resource=by_path)),  # noqa: B008
    ):
        CALLED.append(name)
        return {"iban": SECRET}

    @app.get("/forgotten")
    def forgotten():
        return {"iban": SECRET}

    @app.get("/gone")
    def gone():
        return JSONResponse({"detail": "gone"}, status_code=410)

    @reports.get("/reports")
    def report():
        return {"rows": []}

    app.include_router(reports)
    return app


@pytest.fixture(scope="module")
def address(playbook, tmp_path_factory):
    from companyos.ledger import Ledger

    with Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('api') / 'ledger.db'}") as ledger:
        authorizer = Authorizer(playbook, ledger, handlers=(LogEvent(), MaskFields(), RequireMfa()))
        app = make_app()
        app.add_middleware(
            AccessMiddleware,
            authorizer=authorizer,
            authenticate=authenticate,
            routes=[Route(method, "/{path*}", None) for method in ("GET", "DELETE")],
        )
        with serving(app) as where:
            yield where


@pytest.fixture(autouse=True)
def _nothing_was_called():
    CALLED.clear()


def test_allowed(address):
    """The endpoint runs, and is given the decision."""
    answer = ask(address, "/documents/d-1")

    assert (answer.status, answer.json["iban"], CALLED) == (200, SECRET, ["d-1"])
    assert answer.json["reason"].startswith("policy.")


@pytest.mark.parametrize(
    ("path", "token", "status", "reason"),
    [
        ("/documents/us", "alice", 403, "policy.tenant"),
        ("/documents/none", "alice", 403, "resource.unknown"),
        ("/documents/broken", "alice", 503, "resource.unavailable"),
        ("/documents/d-1", None, 401, "authentication.required"),
        ("/documents/d-1", "broken", 503, "authentication.unavailable"),
        ("/two/us", "alice", 403, "policy.tenant"),
        ("/reports", "suspended", 403, "policy.inactive_subject"),
    ],
)
def test_refused(address, path, token, status, reason):
    """The endpoint does not run, and the answer is the middleware's problem detail."""
    answer = ask(address, path, token=token)

    assert (answer.status, answer.json["reason"], CALLED) == (status, reason, [])
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert b"internal" not in answer.body


def test_a_whole_router(address):
    """A router's dependency guards its endpoints; without a resource the endpoint is what is asked for."""
    assert ask(address, "/reports").json == {"rows": []}


def test_step_up(address):
    """A deletion by one factor is a challenge, by two it is made."""
    weak = ask(address, "/documents/d-1", method="DELETE")
    strong = ask(address, "/documents/d-1", method="DELETE", token="strong")

    assert (weak.status, strong.status, CALLED) == (401, 200, ["d-1"])
    assert "insufficient_user_authentication" in weak.headers["www-authenticate"]


def test_masked(address):
    """What an endpoint returns, whole or in lines, leaves masked; what cannot be masked does not leave."""
    assert ask(address, "/documents/secret").json["iban"] == "***"
    assert [json.loads(line)["iban"] for line in ask(address, "/lines/secret").body.splitlines()] == ["***"] * 3
    assert ask(address, "/text/secret").json["reason"] == "obligation.failed"
    assert ask(address, "/two/secret").json == {"iban": "***"}
    assert ask(address, "/text/d-1").body == SECRET.encode()


def test_an_endpoint_that_nobody_guards(address):
    """Its answer does not leave; an error that it answers does."""
    assert ask(address, "/forgotten").json["reason"] == "route.undeclared"
    assert ask(address, "/gone").status == 410


def test_endpoints_that_nobody_guards_are_listed():
    """A service's own test holds the list of unguarded endpoints against what is public."""
    assert undeclared(make_app()) == ["GET /forgotten", "GET /gone"]


def test_no_middleware(playbook):
    """Without the middleware in front nothing runs."""
    app = make_app()
    with serving(app) as where:
        answer = ask(where, "/documents/d-1")

    assert (answer.status, CALLED) == (500, [])


def test_the_middleware_around_the_application(playbook, ledger):
    """It may as well be put around the application, outside of its own answers to errors."""
    app = AccessMiddleware(
        make_app(),
        Authorizer(playbook, ledger, handlers=[MaskFields()]),
        authenticate=authenticate,
        routes=[Route("GET", "/{path*}", None)],
    )
    with serving(app) as where:
        assert ask(where, "/documents/us").json["reason"] == "policy.tenant"
        assert ask(where, "/documents/secret").json["iban"] == "***"


def test_without_fastapi(monkeypatch):
    """Where FastAPI is not installed the error holds the command that installs it."""
    monkeypatch.setitem(sys.modules, "fastapi", None)

    with pytest.raises(MissingExtraError, match=r"companyos\[server\]"):
        require("read")


def test_a_dependency_says_what_is_missing():
    """The error of a missing middleware names the next step."""
    dependency = require("read")

    with pytest.raises(ConfigError, match="AccessMiddleware"):
        dependency(fastapi.Request({"type": "http", "headers": []})).send(None)
