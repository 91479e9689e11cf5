"""Real servers for tests: found, started in a folder of their own, and always stopped.

A test asks for a server by its fixture (`postgresql`, `postgresql_url`) or by `@pytest.mark.service("postgresql")`.
Where the server is not to be had, the test is reported as *not run, and why*; under `STRICT=1` that is a failure.
"""

from __future__ import annotations

from tests.services.opa_server import OpaServer
from tests.services.postgresql import PostgreSQL
from tests.services.process import ServerDiedError, ServerProcess, fresh_folder, stop_all
from tests.services.prometheus import Prometheus
from tests.services.proxy import Proxy
from tests.services.redis import Redis
from tests.services.registry import SERVICES, NotAvailableError, available, find, not_run

__all__ = (
    "SERVICES",
    "NotAvailableError",
    "OpaServer",
    "PostgreSQL",
    "Prometheus",
    "Proxy",
    "Redis",
    "ServerDiedError",
    "ServerProcess",
    "available",
    "find",
    "fresh_folder",
    "not_run",
    "stop_all",
)
