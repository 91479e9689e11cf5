"""Is it alive, can it work, and what does it depend on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos import flags
from companyos.observability import get_logger
from fastapi import APIRouter, Response

from .. import __version__
from .dependencies import ServicesDep

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..services import Services

__all__ = ("router",)

router = APIRouter(tags=["health"])
_log = get_logger(__name__)


@router.get("/health")
def health(services: ServicesDep) -> dict[str, str]:
    """Alive; says what was built."""
    name = services.platform.company.settings.company.name
    revision = services.settings.revision
    return {"status": "ok", "name": name, "version": __version__, "revision": revision}


@router.get("/ready")
def ready(services: ServicesDep, response: Response) -> dict[str, str]:
    """Able to work: everything it depends on answers; otherwise 503."""
    failed = sorted(name for name, state in _states(services).items() if state["state"] != "ok")
    if failed:
        response.status_code = 503
        return {"status": "not ready", "failed": ", ".join(failed)}
    return {"status": "ready"}


@router.get("/status")
def status(services: ServicesDep) -> dict[str, Any]:
    """The state of each dependency, the policies in force, and which flags are on."""
    client = services.platform.features
    return {
        "dependencies": _states(services),
        "policies": services.access.policy_digest,
        "flags": {"document-preview": client.get_boolean_value("document-preview", False)},
    }


def _states(services: Services) -> dict[str, dict[str, str]]:
    platform = services.platform
    checks: dict[str, Callable[[], object]] = {
        "database": services.database.ping,
        "ledger": lambda: len(platform.ledger),
        "flags": lambda: _flags_hold(services),
    }
    return {name: _state(name, check) for name, check in checks.items()}


def _state(name: str, check: Callable[[], object]) -> dict[str, str]:
    try:
        check()
    except Exception:  # noqa: BLE001 - whatever it is, the dependency does not work; the log says why
        _log.exception("dependency.failed", resource=name)
        return {"state": "failed"}
    return {"state": "ok"}


def _flags_hold(services: Services) -> None:
    company = services.platform.company
    decision = flags.check(company.root / company.settings.flags.file)
    if not decision.allow:
        raise RuntimeError(f"{decision.reason}: {decision.message}")
