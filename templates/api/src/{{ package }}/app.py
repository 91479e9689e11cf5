"""The application: settings and platform in, ASGI out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from companyos.observability import ASGIMiddleware, MetricsApp, get_logger
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route

from . import __doc__ as description
from . import __version__
from .config.platform import Platform
from .config.settings import load
from .handlers import documents, health, problems, session
from .middleware.limits import BodyLimit
from .middleware.security import SecurityHeaders
from .models.problems import Problem
from .services import Services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .config.settings import Settings

__all__ = ("create_app",)

BODY_LIMIT_BYTES = 1024 * 1024
METRICS_PATH = "/metrics"
QUIET_PATHS = ("/health", "/ready", METRICS_PATH)
_log = get_logger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, which opens what it needs when it starts and closes it when it stops."""
    chosen = settings or load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        platform = Platform.open(chosen, version=__version__)
        try:
            app.state.services = Services.build(chosen, platform)
            _log.info("service.start", action="start", outcome="success", revision=chosen.revision)
            yield
            _log.info("service.stop", action="stop", outcome="success")
        finally:
            platform.close()

    # The interactive documentation loads scripts from elsewhere; /openapi.json serves any local tool.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None)
    app.title = __package__ or "service"
    app.version = __version__
    app.description = description or ""
    for module in (health, session, documents):
        app.include_router(module.router)
    # Beside the interface, not part of it: what the dashboard and the objectives in observability/ ask for.
    app.router.routes.append(Route(METRICS_PATH, MetricsApp()))
    problems.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    _surround(app, chosen)
    return app


def _surround(app: FastAPI, settings: Settings) -> None:
    """Middleware, innermost first."""
    app.add_middleware(BodyLimit, limit_bytes=BODY_LIMIT_BYTES)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "traceparent"],
        )
    app.add_middleware(SecurityHeaders, strict_transport=settings.app_env != "dev")
    app.add_middleware(ASGIMiddleware, quiet_paths=QUIET_PATHS)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with problem details in place of the framework's own error shape."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema["components"]["schemas"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        schemas["Problem"] = Problem.model_json_schema()
        app.openapi_schema = schema
    return app.openapi_schema
