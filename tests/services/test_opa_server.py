"""The OPA server as tests get it: OPA's wire format over a socket, with the real engine behind it."""

from __future__ import annotations

import httpx
import pytest

POLICY = "package probe\n\nimport rego.v1\n\nanswer := input.a + data.b\n\nbroken := to_number(input.text)\n"


def _ask(url, path, value):
    return httpx.post(f"{url}/v1/data/{path}", json={"input": value}, timeout=30)


def test_it_answers_as_opa_does(opa_server):
    """A result, none where the document is undefined, and the bundle's revision if asked for."""
    url = opa_server.load({"probe.rego": POLICY}, {"b": 2}, "r7")

    assert _ask(url, "probe/answer", {"a": 1}).json() == {"result": 3}
    assert _ask(url, "probe/answer", {}).json() == {}
    bundles = _ask(url, "probe/answer?provenance=true", {}).json()["provenance"]["bundles"]
    assert bundles == {"companyos": {"revision": "r7"}}


def test_it_fails_as_opa_does(opa_server):
    """A function that fails is a 500, and a policy that does not parse is not loaded."""
    url = opa_server.load({"probe.rego": POLICY})

    assert _ask(url, "probe/broken?strict-builtin-errors=true", {"text": "x"}).status_code == 500
    with pytest.raises(ValueError, match="rego_parse_error"):
        opa_server.load({"probe.rego": "package probe\nfoo bar"})
