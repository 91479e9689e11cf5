"""The server against its own OpenAPI document, by schemathesis."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks, openapi
from schemathesis.specs.openapi import checks as openapi_checks

from tests.server.conftest import POLICY, Running, write_company

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def pdp(tmp_path_factory):
    """One server, with no rate to speak of."""
    from companyos.server import add_key

    directory = tmp_path_factory.mktemp("pdp")
    limits = {"rate_per_second": 100_000, "rate_burst": 100_000}
    write_company(directory, {"server": {"api_keys": "keys.yaml", **limits}}, {"policy.rego": POLICY})
    key = add_key(directory / "keys.yaml", "tests")
    server = Running(directory, key=key)
    server.key = key
    yield server
    assert server.stop() == 0


@pytest.fixture
def document(pdp):
    """The document, as the server gives it to anyone."""
    return openapi.from_dict(pdp.http.get("/openapi.json", headers={"x-api-key": ""}).json())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/access/v1/evaluation"),
        ("POST", "/access/v1/evaluations"),
        ("GET", "/.well-known/authzen-configuration"),
        ("GET", "/health"),
        ("GET", "/ready"),
    ],
)
def test_every_answer_is_in_the_document(pdp, document, method, path):
    """Whatever is made from the document is answered by a status, a type and a shape that the document names."""
    statuses = set()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(document[path][method].as_strategy())
    def ask(case):
        response = case.call(base_url=pdp.url, headers={"x-api-key": pdp.key})
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    assert 200 in statuses


def test_the_document_is_for_anyone_and_names_the_ways_to_authenticate(pdp):
    """The document needs no credential, and says that the endpoints do."""
    found = pdp.http.get("/openapi.json", headers={"x-api-key": ""}).json()

    assert sorted(found["paths"]) == [
        "/.well-known/authzen-configuration",
        "/access/v1/evaluation",
        "/access/v1/evaluations",
        "/health",
        "/ready",
    ]
    assert found["paths"]["/access/v1/evaluation"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert sorted(found["components"]["securitySchemes"]) == ["bearer", "key"]
