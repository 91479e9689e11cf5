"""Bills of materials."""

import json

import pytest

from companyos.supplychain import SbomError, create_sbom

HASH = "--hash=sha256:" + "0" * 64


def lock(tmp_path, text):
    path = tmp_path / "requirements.lock"
    path.write_text(text)
    return path


def test_every_pinned_requirement_is_a_component(tmp_path):
    """Names, versions, package URLs and hashes come through the real tool."""
    path = lock(tmp_path, f"rfc8785==0.1.4 \\\n    {HASH}\nPyYAML[x]==6.0.3 ; python_version > '3' \\\n    {HASH}\n")
    document = json.loads(create_sbom(path, name="orders", version="1.0"))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "orders"
    found = {component["name"].lower(): component["purl"].partition("?")[0] for component in document["components"]}
    assert found == {"rfc8785": "pkg:pypi/rfc8785@0.1.4", "pyyaml": "pkg:pypi/pyyaml@6.0.3"}
    for component in document["components"]:
        (place,) = component["externalReferences"]
        assert [{"alg": "SHA-256", "content": "0" * 64}] == place["hashes"]


def test_the_same_input_gives_the_same_bytes(tmp_path):
    """No serial number, no time."""
    path = lock(tmp_path, f"rfc8785==0.1.4 {HASH}\n")
    assert create_sbom(path, name="a", version="1") == create_sbom(path, name="a", version="1")


@pytest.mark.parametrize("text", ["", "# nothing pinned\nrfc8785>=0.1\n", f"rfc8785==0.1.4 {HASH}\npyyaml==6.0.3\n"])
def test_nothing_pinned_is_not_a_bill_of_materials(tmp_path, text):
    """An empty answer, or one without a hash, is could-not-check, not clean."""
    with pytest.raises(SbomError, match="incomplete"):
        create_sbom(lock(tmp_path, text), name="a", version="1")


def test_a_file_that_is_not_there(tmp_path):
    """The tool's own words are passed on."""
    with pytest.raises(SbomError, match="cyclonedx-py failed"):
        create_sbom(tmp_path / "none.lock", name="a", version="1")
