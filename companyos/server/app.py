"""The ASGI application: the AuthZEN endpoints over a `Pdp`, behind the `Gate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from companyos._extras import require
from companyos._version import __version__
from companyos.authz.authzen import batch_from_authzen
from companyos.authz.interface import EngineTimeoutError, RequestError
from companyos.authz.profile import OBLIGATION_TYPES
from companyos.server.authenticate import ANYONE
from companyos.server.body import parse_json, read_body
from companyos.server.gate import Gate, refusal
from companyos.server.interface import HttpRefusedError
from companyos.server.limits import RateLimiter
from companyos.server.openapi import EVALUATION, EVALUATIONS, operation
from companyos.server.pdp import parts_or_error, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.server.authenticate import Authenticator
    from companyos.server.gate import App
    from companyos.server.interface import Caller
    from companyos.server.pdp import Pdp
    from companyos.server.reload import Status

__all__ = ("Limits", "build_app")

_encode = msgspec.json.encode
_JSON = "application/json"
_NO_SUCH_PATH = "no such path; /.well-known/authzen-configuration names what is offered"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller, and one request, may use."""

    body_bytes: int = 1024 * 1024
    """Largest body."""
    body_seconds: float = 10.0
    """How long a body may take to arrive."""
    rate_per_second: float = 1000.0
    """Requests a caller may make in a second, in the long run; an evaluation of a batch counts as one."""
    burst: int = 2000
    """Requests it may make at once."""
    timeout_cost: float = 2000.0
    """As how many requests an evaluation counts that had to be ended: it cost a process."""
    failures_per_second: float = 5.0
    """Failed authentications from one address, before they are told to wait."""
    failures_burst: int = 50
    """The same, at once."""


def build_app(
    pdp: Pdp,
    authenticator: Callable[[], Authenticator],
    *,
    url: str,
    status: Callable[[], Status],
    limits: Limits | None = None,
    lifespan: Any = None,
) -> App:
    """The application.

    `url` is where callers reach it; `authenticator` and `status` are asked for anew each time.

    Raises:
        MissingExtraError: FastAPI is not installed.
    """
    limits = limits or Limits()
    fastapi = require("fastapi", extra="server")
    app = fastapi.FastAPI(
        title="CompanyOS policy decision point",
        summary="OpenID AuthZEN Authorization API 1.0 with the Obligations Profile.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # who asks with a body would be sent away, and many clients then come back without it
        lifespan=lifespan,
        servers=[{"url": url}],
    )
    _describe(app)
    _add_errors(app)
    _add_decisions(app, pdp, limits)
    _add_public(app, url, status)
    return Gate(
        app,
        authenticator,
        pdp.executor,
        limiter=RateLimiter(limits.rate_per_second, limits.burst),
        strangers=RateLimiter(limits.failures_per_second, limits.failures_burst),
    )


def _add_decisions(app: Any, pdp: Pdp, limits: Limits) -> None:
    from starlette.requests import Request
    from starlette.responses import Response

    async def value_of(request: Request) -> Any:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _JSON:
            raise HttpRefusedError(400, f"the body is not declared as {_JSON}")
        scope = request.scope
        body = await read_body(request.receive, scope["headers"], limit=limits.body_bytes, seconds=limits.body_seconds)
        return parse_json(body)

    def fine(request: Request, *answers: dict[str, Any]) -> None:
        ended = sum(answer["context"]["reason"] == EngineTimeoutError.reason for answer in answers)
        if ended:
            request.scope["companyos.fine"](ended * limits.timeout_cost)

    async def evaluation(request: Request) -> Response:
        value = await value_of(request)
        answer = await pdp.evaluate(parts_or_error(value), _trace(request), _caller(request))
        fine(request, answer)
        return Response(_encode(answer), media_type=_JSON)

    async def evaluations(request: Request) -> Response:
        value = await value_of(request)
        batch = _batch(value)
        if batch is None:
            answer = await pdp.evaluate(parts_or_error(value), _trace(request), _caller(request))
        elif isinstance(batch, RequestError):
            answer = await pdp.evaluate(batch, _trace(request), _caller(request))
        else:
            request.scope["companyos.charge"](len(batch.evaluations) - 1)
            answer = {"evaluations": await pdp.evaluate_batch(batch, _trace(request), _caller(request))}
        fine(request, *answer.get("evaluations", [answer]))
        return Response(_encode(answer), media_type=_JSON)

    for call, shapes, summary in (
        (evaluation, EVALUATION, "Access Evaluation"),
        (evaluations, EVALUATIONS, "Access Evaluations"),
    ):
        call.__annotations__ = {"request": Request}
        app.add_api_route(
            f"/access/v1/{call.__name__}",
            call,
            methods=["POST"],
            response_class=Response,
            response_model=None,
            summary=summary,
            openapi_extra=operation(*shapes),
        )


def _add_public(app: Any, url: str, status: Callable[[], Status]) -> None:
    from starlette.responses import Response

    metadata = {
        "policy_decision_point": url,
        "access_evaluation_endpoint": f"{url}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{url}/access/v1/evaluations",
        "supported_obligations": list(OBLIGATION_TYPES),
    }

    async def configuration() -> Response:
        return Response(_encode(metadata), media_type=_JSON)

    async def health() -> Response:
        return Response(_encode({"status": "alive"}), media_type=_JSON)

    async def ready() -> Response:
        now = status()
        word = "ready" if now.alive and now.refused is None else "degraded" if now.alive else "unavailable"
        content = {"status": word, "policy_digest": now.policy_digest, "workers": now.alive}
        if now.refused is not None:
            content["problem"] = "newer policies were refused; see the log and the ledger"
        return Response(_encode(content), 200 if now.alive else 503, media_type=_JSON)

    for path, call, summary in (
        ("/.well-known/authzen-configuration", configuration, "What this decision point offers"),
        ("/health", health, "Whether the server lives"),
        ("/ready", ready, "Whether it can decide, and by which policies"),
    ):
        call.__annotations__ = {}
        app.add_api_route(path, call, methods=["GET"], response_class=Response, response_model=None, summary=summary)


def _batch(value: Any) -> Any:
    try:
        return batch_from_authzen(value)
    except RequestError as error:
        return error


def _caller(request: Any) -> str | None:
    """Who has its share and no more; where nobody shows who they are, all together may have everything."""
    caller: Caller = request.scope["companyos.caller"]
    return None if caller is ANYONE else caller.id


def _trace(request: Any) -> tuple[int, int] | None:
    for name, value in request.scope["headers"]:
        if name == b"traceparent":
            return trace_of(value)
    return None


def _add_errors(app: Any) -> None:
    """Every error is a sentence: those of routing like ours."""
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    async def refused(_: Any, error: Any) -> Any:
        text = _NO_SUCH_PATH if getattr(error, "status_code", 0) == 404 else str(getattr(error, "detail", ""))
        ours = error if isinstance(error, HttpRefusedError) else HttpRefusedError(error.status_code, text)
        body, headers = refusal(ours)
        return Response(body, ours.status, {**headers, **dict(getattr(error, "headers", None) or {})})

    app.add_exception_handler(HttpRefusedError, refused)
    app.add_exception_handler(HTTPException, refused)


def _describe(app: Any) -> None:
    """Make the OpenAPI document name the ways to show who calls."""
    build = app.openapi

    def openapi() -> Any:
        document = build()
        document.setdefault("components", {})["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A JSON Web Token, or an API key."},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        return document

    app.openapi = openapi
