"""Which servers tests can ask for, and how each is found: one entry a server."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.services import opa_engine, postgresql, prometheus, promtool, redis, system
from tests.services.errors import NotAvailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("NOT_RUN", "OUTSIDE", "SERVICES", "NotAvailableError", "Service", "available", "find", "not_run", "strict")

NOT_RUN = "not run: "
"""How the reason of a test that lacks its server or tool begins; a failure under STRICT=1."""
OUTSIDE = "outside: "
"""How the reason of a test without `../shared` begins; reported, never a gap."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server that tests can ask for."""

    name: str
    """Its name in the marker `service(name)`."""
    find: Callable[[], Any]
    """Where its programs are; raises `NotAvailableError` with the reason."""


SERVICES: Mapping[str, Service] = {
    service.name: service
    for service in (
        Service("postgresql", lambda: postgresql.find(system.from_environment())),
        Service("opa_engine", opa_engine.find),
        Service("prometheus", lambda: prometheus.find(system.from_environment())),
        Service("promtool", lambda: promtool.find(system.from_environment())),
        Service("redis", lambda: redis.find(system.from_environment())),
    )
}


@functools.cache
def find(name: str) -> Any:
    """The programs of a server, looked for once a run.

    Raises:
        NotAvailableError: it is not to be had; the text says why and what would help.
        pytest.UsageError: there is no such server in the registry.
    """
    service = SERVICES.get(name)
    if service is None:
        raise pytest.UsageError(f"no service {name!r} in tests/services/registry.py; known: {', '.join(SERVICES)}")
    return service.find()


def available(name: str) -> Any:
    """The programs of a server; where it is not to be had, the test that asks is not run."""
    try:
        return find(name)
    except NotAvailableError as error:
        not_run(f"{name}: {error}")


def strict() -> bool:
    """Whether a gap is a failure."""
    return os.environ.get("STRICT") == "1"


def not_run(reason: str) -> NoReturn:
    """Report the test as not run for want of a server or tool; under STRICT=1 that is a failure."""
    if strict():
        pytest.fail(f"{NOT_RUN}{reason}", pytrace=False)
    pytest.skip(f"{NOT_RUN}{reason}")
