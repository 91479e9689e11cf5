from __future__ import annotations

import io
import json

import pytest

from companyos import observability


class Service:
    """A service under observation whose log lines can be read back."""

    def __init__(self, **options):
        self.stream = io.StringIO()
        options = {"service": "orders", "version": "1.2.3", "environment": "test", "stream": self.stream} | options
        self.observability = observability.setup(**options)

    @property
    def events(self):
        """Every event written so far."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def event(self):
        """The one event written."""
        (event,) = self.events
        return event


@pytest.fixture
def make_service():
    """Makes services, and shuts them down after the test."""
    made = []

    def make(**options):
        made.append(Service(**options))
        return made[-1]

    yield make
    for service in reversed(made):
        service.observability.shutdown()


@pytest.fixture
def service(make_service):
    """A service that logs everything and knows its commit."""
    return make_service(log_level="debug", revision="abc123")
