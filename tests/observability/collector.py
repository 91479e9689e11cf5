"""A real OTLP/HTTP receiver that decodes what it is sent, and can refuse, throttle or hang."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Receives until closed; `answers` are the statuses of the next requests, then 200; `hang()` answers nobody."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        """Path, headers (names in lower case) and unpacked body of each request."""
        self.answers: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.arrived = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
                collector.arrived.set()
                collector.go.wait(30)
                collector.requests.append((self.path, headers, body))
                status = collector.answers.pop(0) if collector.answers else 200
                try:
                    self.send_response(status)
                    self.send_header("content-type", "application/x-protobuf")
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the client has gone

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def hang(self) -> None:
        """Take requests and answer none."""
        self.go.clear()

    def spans(self) -> list[Any]:
        """Every span received."""
        return [
            span
            for path, _, body in self.requests
            if path.endswith("/traces")
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """The latest state received of every metric, by name."""
        return {
            metric.name: metric
            for path, _, body in self.requests
            if path.endswith("/metrics")
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self) -> None:
        """Stop."""
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
