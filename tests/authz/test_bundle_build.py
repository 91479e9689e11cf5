from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from companyos.authz import PolicyError, RegoEngine, build_request
from companyos.authz.bundles import Bundle, BundleBuildError, build_bundle
from companyos.authz.bundles.bundle import COMBINATION
from companyos.authz.metering import Limits, MeterExceededError

EXPIRES = datetime(2027, 1, 1, tzinfo=UTC)
ENDLESS = "count([1 | some a in numbers.range(1, 200000); some b in numbers.range(1, 200000); a == b + 0.5]) == 0"


def build(*paths, **more):
    """A bundle by Ann, of these directories."""
    return build_bundle(paths, **{"created_by": "ann@example.org", "expires": EXPIRES} | more)


def decide(engine, **environment):
    """The reason of a deletion."""
    subject, resource = {"id": "u-1", "type": "user"}, {"id": "d-1", "type": "document", "owner": "u-1"}
    return engine.decide(build_request(subject, "delete", resource, environment)).reason


def test_a_bundle_decides_as_its_directory(freeze):
    """An engine over the bundle's policies decides as one over the directory, the playbook included."""
    directory = freeze()
    engine, built = RegoEngine([directory]), RegoEngine.of(build(directory).policy_set())

    assert built.extends_playbook
    for environment in ({}, {"freeze": True}, {"auth_strength": "mfa"}):
        assert decide(engine, **environment) == decide(built, **environment)


def test_the_same_input_gives_the_same_bytes(freeze, tmp_path):
    """Building twice, from copies with other times and in another place, gives one file."""
    one, two = freeze(), tmp_path / "elsewhere" / "freeze"
    two.mkdir(parents=True)
    for path in sorted(one.rglob("*"), reverse=True):
        if path.is_file():
            (two / path.relative_to(one)).parent.mkdir(exist_ok=True)
            (two / path.relative_to(one)).write_bytes(path.read_bytes())

    assert build(one).to_bytes() == build(two).to_bytes()
    assert build(one).digest != build(one, created_by="bob").digest


def test_what_a_bundle_says_of_itself(freeze):
    """Name, version, author, expiry and engine are in the manifest, beside OPA's own keys."""
    bundle = build(freeze("1.4.0"))
    manifest = json.loads(bundle.files[".manifest"])

    assert manifest["rego_version"] == 1
    assert manifest["roots"] == ["companyos", "companyos_scope", "playbook"]
    assert manifest["revision"].startswith("freeze-1.4.0+")
    assert manifest["metadata"]["companyos"] == {
        "name": "freeze",
        "version": "1.4.0",
        "created_by": "ann@example.org",
        "expires": "2027-01-01T00:00:00Z",
        "engine": "rego",
    }
    assert {COMBINATION, "freeze/freeze.rego", "freeze/tests/freeze.yaml", "playbook/baseline.rego"} <= set(
        bundle.files
    )


@pytest.fixture
def layout(tmp_path):
    """Writes a policy into the layout by domain, service, stage and version."""

    def write(place, body='input.action == "pay"', slice_=""):
        domain, service, _, version = place.split("/")
        directory = tmp_path / "policies" / place
        directory.mkdir(parents=True)
        (directory / "metadata.yaml").write_text(f"owner: {domain}\nversion: {version}\n{slice_}")
        guard = f'input.resource.domain == "{domain}"; input.resource.service == "{service}"'
        (directory / "policy.rego").write_text(
            "package companyos.access\nimport rego.v1\n"
            f'allow contains {{"id": "policy.{service}.{version}", "message": ""}} if {{ {guard}; {body} }}\n'
        )
        return tmp_path / "policies"

    return write


def test_a_layout_is_built_by_stage(layout):
    """Of each service the newest version of the stage is taken, and 1.10.0 is newer than 1.9.0."""
    for place in ("pay/cards/dev/1.9.0", "pay/cards/dev/1.10.0", "pay/cards/prod/1.0.0", "pay/bank/dev/2.0.0"):
        root = layout(place)
    bundle = build(root, version="7")

    assert (bundle.manifest.name, bundle.manifest.version) == ("pay", "7")
    assert {name for name in bundle.files if name.endswith("policy.rego")} == {
        "pay/bank/policy.rego",
        "pay/cards/policy.rego",
    }
    assert b"1.10.0" in bundle.files["pay/cards/policy.rego"]
    assert build(root, stage="prod").manifest.version == "1.0.0"


def test_slices_survive(layout):
    """What policies may speak about by their place is the same in the bundle, and its data tells OPA."""
    root = layout("pay/cards/dev/1.0.0")
    bundle, engine = build(root), RegoEngine([root], stage="dev")
    built = RegoEngine.of(bundle.policy_set())

    (mine,), (theirs,) = bundle.policy_set().declared.values(), engine.loaded().policies.declared.values()
    assert mine == theirs
    assert json.loads(bundle.files["data.json"])["companyos_scope"] == list(engine.loaded().slicing.scopes)
    for resource in ({"domain": "pay", "service": "cards"}, {"domain": "pay"}, {}, {"domain": "x", "service": "cards"}):
        request = build_request({"id": "u", "type": "user"}, "pay", {"id": "r", "type": "card", **resource})
        assert built.decide(request) == engine.decide(request)


def test_another_scope_than_the_policies_need_is_refused(freeze):
    """Data that would have another OPA decide otherwise is refused when the policies are loaded."""
    from companyos.authz.bundles.checks import meter

    bundle = build(freeze())
    files = {
        **bundle.files,
        "data.json": bundle.files["data.json"].replace(b'"companyos_scope": []', b'"companyos_scope": ["x"]'),
    }

    with pytest.raises(PolicyError, match="companyos_scope is not what the policies need"):
        meter(Bundle(files, bundle.manifest))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("notes.txt", "x", "has no place in a bundle"),
        ("sub/data.json", "{}", "data in a place of its own"),
        ("freeze_test.rego", "package companyos.access", "not read as a policy"),
        ("data.json", '{"a": 1, "a": 2}', "cannot be used"),
        ("data.json", '{"companyos": 1}', "without the rules' keys"),
        ("data.json", '{"playbook": {"open_actions": ["*"]}}', "changes data"),
        ("bad.rego", "\udcff", "cannot read"),
    ],
)
def test_what_makes_no_bundle(freeze, file, text, message):
    """A file that has no place in a bundle, or data that readers differ on, is refused by name."""
    directory = freeze()
    (directory / file).parent.mkdir(exist_ok=True)
    (directory / file).write_text(text, errors="surrogateescape")

    with pytest.raises(BundleBuildError, match=message):
        build(directory)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": "../x"}, "no name for a bundle"),
        ({"version": "1.0-beta"}, "not a version"),
        ({"created_by": "  "}, "nobody built it"),
    ],
)
def test_what_a_bundle_cannot_be_called(freeze, more, message):
    """Name, version and author have their bounds."""
    with pytest.raises(BundleBuildError, match=message):
        build(freeze(), **more)


def test_several_directories_need_one_name(freeze):
    """Directories with different names and versions make a bundle only under a given name and version."""
    one, two = freeze("1.0.0"), freeze("2.0.0", name="other")
    (two / "freeze.rego").write_text("package companyos.access\n")
    with pytest.raises(BundleBuildError, match="different names"):
        build(one, two)
    with pytest.raises(BundleBuildError, match="different versions"):
        build(one, two, name="both")

    assert build(one, two, name="both", version="3").manifest.version == "3"


def test_links_are_not_followed(freeze, tmp_path):
    """A link in a policy directory makes no bundle, wherever it leads."""
    directory = freeze()
    (directory / "more.rego").symlink_to(directory / "freeze.rego")

    with pytest.raises(BundleBuildError, match="no plain file"):
        build(directory)


@pytest.mark.parametrize("body", ['http.send({"method": "get", "url": "x"})', "time.now_ns() > 0", "opa.runtime().env"])
def test_a_forbidden_function_makes_no_bundle(freeze, body):
    """The engine's check of functions is made when a bundle is built."""
    policy = f'package companyos.access\nimport rego.v1\ndeny contains {{"id": "p", "message": ""}} if {{ {body} }}\n'

    with pytest.raises(PolicyError, match=r"freeze/freeze\.rego:3 calls"):
        build(freeze(policy=policy))


def test_a_policy_that_loops_is_named(freeze):
    """Of several files the one that loops is named, after a deadline, and nothing is left running."""
    policy = (
        f'package companyos.access\nimport rego.v1\ndeny contains {{"id": "p", "message": ""}} if {{ {ENDLESS} }}\n'
    )

    with pytest.raises(MeterExceededError, match=r"^freeze/freeze\.rego: takes more time"):
        build(freeze(policy=policy), limits=Limits(deadline_seconds=3))
