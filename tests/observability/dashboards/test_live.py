"""A living service: what the middleware and the consumer expose is what the starter packs ask for."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import httpx
import pytest
import sqlalchemy
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from companyos import observability
from companyos.observability import ASGIMiddleware, MetricsApp, consumer, observe_engine, observed_transport
from companyos.observability.dashboards.checking import check
from companyos.observability.dashboards.drawing.picture import draw
from companyos.observability.dashboards.prometheus import PrometheusOverTime
from companyos.observability.dashboards.reading import TimeRange
from tests.observability.dashboards.conftest import rules_of, wait_for
from tests.services import Prometheus, available
from tests.services.process import free_port

pytestmark = pytest.mark.service("prometheus")


def found(request):
    """A document."""
    return PlainTextResponse(request.path_params["id"])


def broken(_):
    """A fault of ours."""
    raise RuntimeError("planted")


@consumer("mail")
def handle(message):
    """A job; every fourth fails."""
    if message["number"] % 4 == 0:
        raise TimeoutError("planted")


class Living:
    """A real service in this process: HTTP with `/metrics`, jobs, and somebody who uses both.

    Its user is itself, so that its own calls are measured too, and it keeps a database.
    """

    def __init__(self, folder):
        self.log = (folder / "log").open("w")
        self.observed = observability.setup(
            service="orders", version="2.0.0", environment="prod", revision="3f2c1ab", stream=self.log
        )
        routes = [Route("/documents/{id}", found), Route("/broken", broken), Mount("/metrics", MetricsApp())]
        app = ASGIMiddleware(Starlette(routes=routes), quiet_paths=["/metrics/"])
        self.engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'orders.db'}")
        observe_engine(self.engine)
        self.port = free_port()
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_config=None, access_log=False, ws="none"))
        self.over = threading.Event()
        self.threads = [threading.Thread(target=work) for work in (self.server.run, self.use)]
        for thread in self.threads:
            thread.start()

    def use(self):
        """Requests, statements and jobs, some of which fail, until it is over."""
        number = 0
        transport = observed_transport(httpx.HTTPTransport())
        with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{self.port}", timeout=5) as client:
            while not self.over.wait(0.03):
                number += 1
                with suppress(httpx.TransportError):
                    client.get("/broken" if number % 10 == 0 else f"/documents/{number}")
                with suppress(sqlalchemy.exc.OperationalError), self.engine.connect() as connection:
                    connection.execute(sqlalchemy.text("SELECT 1 FROM nowhere" if number % 10 == 0 else "SELECT 1"))
                with suppress(TimeoutError):
                    handle({"number": number})

    def stop(self):
        """End what was started."""
        self.over.set()
        self.server.should_exit = True
        for thread in self.threads:
            thread.join()
        self.engine.dispose()
        self.observed.shutdown()
        self.log.close()


@pytest.fixture
def living(tmp_path):
    """The service, for one test."""
    service = Living(tmp_path)
    yield service
    service.stop()


@pytest.mark.parametrize("kind", ["api", "frontend", "worker"])
def test_a_living_service_fills_every_panel(kind, living, pack):
    """Scraped by a real Prometheus with the compiled objectives, every query has data, and exemplars are drawn."""
    server = Prometheus(available("prometheus"), targets={"orders": [f"127.0.0.1:{living.port}"]}, rules=rules_of(kind))
    try:
        client, board = PrometheusOverTime(server.url), pack(kind)
        wait_for(client, "slo:period_error_budget_remaining:ratio")
        # A rate needs four scrapes.
        wait_for(client, "changes(slo:sli_total:rate5m[1m]) > 4")
        end = time.time()
        over = TimeRange(end - 60, end, scrape_seconds=1)

        decision = check(board, client, over)
        picture = draw(board, client, over)

        assert [finding.message for finding in decision.findings] == []
        assert decision.exit_status == 0
        assert 'class="x"' in picture
    finally:
        server.stop()
