"""Every error leaves as problem details (RFC 9457), with the trace id that finds it again."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from companyos.observability import current_trace_id, get_logger
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..models.problems import Problem
from ..services.access import NotAllowedError, NotDecidedError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

__all__ = ("REFUSALS", "install")

_log = get_logger(__name__)
_MEDIA_TYPE = "application/problem+json"

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in (401, 403, 404, 413, 422, 503)
}


def install(app: FastAPI) -> None:
    """Answer every error of `app` with problem details."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(NotAllowedError, _refused)
    app.add_exception_handler(NotDecidedError, _undetermined)
    app.add_exception_handler(Exception, _unexpected)


def _http(request: Request, error: Any) -> JSONResponse:
    return _problem(request, error.status_code, detail=error.detail, headers=error.headers)


def _invalid(request: Request, error: Any) -> JSONResponse:
    # The value itself may be personal; only its place and what is wrong with it leave.
    wrong = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    return _problem(request, 422, detail="the request is not valid", errors=wrong)


def _refused(request: Request, error: Any) -> JSONResponse:
    decision = error.decision
    return _problem(
        request,
        403,
        detail=error.detail,
        reason=decision.reason,
        audit_id=decision.audit_id,
        obligations=[obligation.id for obligation in decision.obligations] or None,
    )


def _undetermined(request: Request, error: Any) -> JSONResponse:
    decision = error.decision
    _log.error("undetermined", outcome="refused", reason=decision.reason)
    detail = "it could not be decided whether this is allowed"
    return _problem(request, 503, detail=detail, reason=decision.reason)


def _unexpected(request: Request, error: Any) -> JSONResponse:
    _log.error("unexpected", outcome="failure", error=type(error).__name__)
    return _problem(request, 500, detail="this is a defect of the service")


def _problem(request: Request, status: int, *, headers: dict[str, str] | None = None, **fields: Any) -> JSONResponse:
    problem = Problem(
        type=f"/problems/{status}",
        title=HTTPStatus(status).phrase,
        status=status,
        instance=request.url.path,
        trace_id=current_trace_id(),
        **fields,
    )
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status, headers=headers, media_type=_MEDIA_TYPE)
