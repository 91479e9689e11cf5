"""`require`: a FastAPI dependency that lets a request pass only by a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos import _extras
from companyos.authz.middleware import STATE, resource_of
from companyos.authz.problem import Refusal
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from companyos.decision import Decision

__all__ = ("require", "undeclared")

_MARK = "companyos_authz_action"


def require(
    action: str, *, resource: Mapping[str, Any] | Callable[..., Any] | None = None
) -> Callable[..., Awaitable[Decision]]:
    """A dependency for `Depends(...)` that decides about `action`, and gives the decision to the endpoint.

    `resource` is the resource, or a function of the request that gives it, plain or asynchronous; without it, it is the
    endpoint. An `AccessMiddleware` has to be in front, with a route without an action for the path: it knows who calls,
    carries out obligations on what the endpoint returns, and answers refusals.

    Raises:
        MissingExtraError: FastAPI is not installed.
    """
    fastapi = _extras.require("fastapi", extra="server")

    async def dependency(request: Any) -> Decision:
        session = request.scope.get(STATE)
        if session is None:
            raise ConfigError("no AccessMiddleware is in front of this endpoint", hint="app.add_middleware(...)")
        path = getattr(request.scope.get("route"), "path", request.url.path)
        try:
            found = await resource_of(resource or {"type": "endpoint", "id": path}, request)
            decision: Decision = await session.decide(action, found)
        except Refusal as refusal:
            session.refusal = refusal
            raise fastapi.HTTPException(refusal.status) from None
        return decision

    # FastAPI reads the class of each parameter; annotations of this module are texts.
    dependency.__annotations__ = {"request": fastapi.Request}
    setattr(dependency, _MARK, action)
    return dependency


def undeclared(app: Any) -> list[str]:
    """The endpoints of a FastAPI application that no `require` guards, as `METHOD /path`, sorted.

    Under an `AccessMiddleware` whose routes leave the decision to the application, such an endpoint runs before its
    response is refused: hold this list empty, or equal to what is public, in a test.
    """
    return sorted(
        f"{method} {path}"
        for route, path in _routes(app.routes, "")
        if not _is_guarded(getattr(route, "dependant", None))
        for method in sorted(getattr(route, "methods", None) or {"*"})
        if method != "HEAD"
    )


def _routes(routes: Any, prefix: str) -> Iterator[tuple[Any, str]]:
    """The endpoints below, each with its path; routers that are included late are resolved where FastAPI has them."""
    resolve = getattr(_extras.require("fastapi.routing", extra="server"), "iter_route_contexts", iter)
    for route in resolve(routes):
        path = prefix + (getattr(route, "path", None) or "")
        inner = getattr(getattr(route, "original_route", route), "routes", None)
        if inner:
            yield from _routes(inner, path)
        else:
            yield route, path


def _is_guarded(dependant: Any) -> bool:
    if dependant is None:
        return False
    return hasattr(dependant.call, _MARK) or any(_is_guarded(inner) for inner in dependant.dependencies)
