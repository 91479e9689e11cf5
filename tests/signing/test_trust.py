"""The trust policy: whose signatures count, for what, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from companyos.errors import ConfigError
from companyos.signing import Envelope, KeyUnusableError, PrivateKey, TrustPolicy, UntrustedError

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate("ecdsa-p256")


def _policy(tmp_path, text):
    KEY.save(tmp_path / "keys" / "release.pem")
    OTHER.save(tmp_path / "keys" / "person.pem")
    path = tmp_path / "trust.yaml"
    path.write_text(text)
    return TrustPolicy.load(path)


FULL = """
keys:
  - name: release
    public_key: file:keys/release.pem.pub
    roles: [evidence, ledger]
    not_before: 2026-01-01T00:00:00Z
    not_after: 2026-12-31T00:00:00Z
  - name: person
    public_key: file:keys/person.pem.pub
    roles: [approval]
    kind: human
    revoked_at: 2026-06-01T12:00:00+02:00
identities:
  - {name: ci, issuer: "https://issuer.example", subject: "https://subject.example", roles: [evidence]}
"""


def test_roles(tmp_path):
    """A key counts only for the roles it was given; paths start from the policy's directory."""
    policy = _policy(tmp_path, FULL)
    moment = datetime(2026, 3, 1, tzinfo=UTC)

    assert [KEY.public.key_id] == [key.key_id for key in policy.keys_for("evidence", at=moment)]
    assert [OTHER.public.key_id] == [key.key_id for key in policy.keys_for("approval", at=moment)]
    assert policy.keys_for("root", at=moment) == ()
    assert [key.kind for key in policy.keys if "approval" in key.roles] == ["human"]
    assert policy.identities[0].issuer == "https://issuer.example"


@pytest.mark.parametrize(
    ("role", "moment", "counts"),
    [
        ("evidence", datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), False),
        ("evidence", datetime(2026, 1, 1, tzinfo=UTC), True),
        ("evidence", datetime(2026, 12, 31, tzinfo=UTC), True),
        ("evidence", datetime(2026, 12, 31, 0, 0, 1, tzinfo=UTC), False),
        ("approval", datetime(2026, 6, 1, 9, 59, 59, tzinfo=UTC), True),
        ("approval", datetime(2026, 6, 1, 10, tzinfo=UTC), False),
        ("approval", datetime(2027, 1, 1, tzinfo=UTC), False),
    ],
)
def test_times(tmp_path, role, moment, counts):
    """Times include both ends; a revocation counts from its very moment, in any time zone."""
    assert counts == bool(_policy(tmp_path, FULL).keys_for(role, at=moment))


def test_now_is_the_default(tmp_path):
    """Without a moment, what counts now is asked for."""
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    policy = _policy(
        tmp_path, f"keys: [{{name: a, public_key: 'file:keys/release.pem.pub', roles: [x], not_before: '{soon}'}}]"
    )

    assert policy.keys_for("x") == ()
    assert len(policy.keys_for("x", at=datetime.now(UTC) + timedelta(days=2))) == 1


BAD = {
    "empty": "",
    "a list": "[]",
    "text": "hello",
    "not YAML": "keys: [",
    "unknown section": "people: []",
    "unknown field": "keys: [{name: a, public_key: x, roles: [r], colour: red}]",
    "no roles": "keys: [{name: a, public_key: x}]",
    "unknown kind": "keys: [{name: a, public_key: x, roles: [r], kind: robot}]",
    "time without zone": "keys: [{name: a, public_key: x, roles: [r], not_after: 2026-01-01T00:00:00}]",
    "date for a time": "keys: [{name: a, public_key: x, roles: [r], revoked_at: soon}]",
    "duplicate name": "keys: [{name: a, public_key: x, roles: [r]}, {name: a, public_key: y, roles: [r]}]",
    "name of a key and an identity": (
        "keys: [{name: a, public_key: x, roles: [r]}]\nidentities: [{name: a, issuer: i, subject: s, roles: [r]}]"
    ),
    "code": "keys: !!python/object/apply:os.system ['true']",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_policies(tmp_path, name):
    """What is not a trust policy is refused by name; nothing in it is run."""
    with pytest.raises(ConfigError):
        _policy(tmp_path, BAD[name])


def test_missing_and_binary_policy(tmp_path):
    """A policy that is not there or is not text is one clear error."""
    with pytest.raises(ConfigError, match="not a usable trust policy"):
        TrustPolicy.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a usable trust policy"):
        TrustPolicy.load(tmp_path / "bad.yaml")


def test_missing_key_is_an_error_not_an_absence(tmp_path):
    """A policy that names a key that is not there does not quietly trust fewer keys."""
    policy = _policy(tmp_path, "keys: [{name: a, public_key: 'file:keys/none.pub', roles: [r]}]")

    with pytest.raises(KeyUnusableError):
        policy.keys_for("r")


def test_inline_and_environment_keys(tmp_path, monkeypatch):
    """A key may be in the policy itself or in the environment."""
    monkeypatch.setenv("RELEASE_PUB", KEY.public.pem)
    pem = OTHER.public.pem.replace("\n", "\\n")
    text = (
        f'keys: [{{name: a, public_key: "env:RELEASE_PUB", roles: [r]}}, {{name: b, public_key: "{pem}", roles: [r]}}]'
    )

    assert [KEY.public.key_id, OTHER.public.key_id] == [k.key_id for k in _policy(tmp_path, text).keys_for("r")]


def test_one_key_under_two_names_is_one_signer(tmp_path):
    """The same key listed twice does not reach a threshold of two."""
    policy = _policy(
        tmp_path,
        "keys: [{name: a, public_key: 'file:keys/release.pem.pub', roles: [r]},"
        " {name: b, public_key: 'file:keys/release.pem.pub', roles: [r]}]",
    )
    envelope = Envelope.sign("text/plain", b"x", [KEY])

    with pytest.raises(UntrustedError):
        envelope.verify(policy.keys_for("r"), payload_type="text/plain", threshold=2)


def test_policy_of_one_key():
    """`of_key` trusts that key for those roles and nothing else."""
    policy = TrustPolicy.of_key(KEY.public, "ledger")

    assert [KEY.public.key_id] == [key.key_id for key in policy.keys_for("ledger")]
    assert policy.keys_for("evidence") == ()


@pytest.mark.parametrize("bound", ["not_before: 20990101", "revoked_at: 0", "not_after: 1.5"])
def test_a_time_is_never_a_number(tmp_path, bound):
    """A date written as a number would be read as seconds since 1970, and the bound would lie in the past."""
    with pytest.raises(ConfigError, match="not as a number"):
        _policy(tmp_path, f"keys: [{{name: a, public_key: 'file:keys/release.pem.pub', roles: [x], {bound}}}]")
