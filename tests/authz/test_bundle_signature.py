from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from companyos.authz import RegoEngine, build_request
from companyos.authz.bundles import (
    Bundle,
    BundleRefusedError,
    BundleTrust,
    BundleUnverifiableError,
    Promotions,
    judge_bundle,
    load_bundle,
    private_key,
    verify_bundle,
)
from companyos.authz.bundles.archive import pack
from companyos.authz.bundles.bundle import SIGNATURES
from companyos.authz.bundles.hashing import file_hash
from companyos.authz.bundles.token import read_token, token
from companyos.authz.specimens.bundles import NOW, files_of, key_of, signed, trust_of
from companyos.decision import Verdict
from companyos.errors import ConfigError
from companyos.signing import KeyUnusableError, PrivateKey
from tests.services import available
from tests.services.opa_engine import opa

ALGORITHMS = ("EdDSA", "ES256", "RS256")
NOTHING = Promotions()

# From the tests of the OPA project, v1/bundle/verify_test.go: a token that OPA's makers signed, and their public key.
OPA_TOKEN = (
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImZvbyJ9.eyJmaWxlcyI6W3sibmFtZSI6ImRiL3VhbTIvZW50aXRsZW1lbnRzL2RhdGEuanNvbiI"
    "sImhhc2giOiJjMjEzMTU0NGM3MTZhMjVhNWUzMWY1MDQzMDBmNTI0MGU4MjM1Y2FkYjlhNTdmMGJkMWI2ZjRiZDc0YjI2NjEyIiwiYWxnb3JpdGhtIjoic2h"
    "hMjU2In0seyJuYW1lIjoiZGIvdWFtMi9wb2xpY3kvb3BhLXBvbGljeS5yZWdvIiwiaGFzaCI6IjQyY2ZlNjc2OGI1N2JiNWY3NTAzYzE2NWMyOGRkMDdhYzV"
    "iODEzNTU0ZWJjODUwZjJjYzM1ODQzZTcxMzdiMWQifV0sImlhdCI6MTU5MjI1MTQwNiwiaXNzIjoiSldUU2VydmljZSIsInNjb3BlIjoid3JpdGUifQ.UZcX_Q"
    "j29o213nwZ5mysiyNcgAp1AOqCkDLkj1KGZ7Cw3l17TbkF8t3FJd654sf762NGcABA0WQ2zxq-labXl_d5TKQmq23lurO3qLHI1cKQPyoxPbddGo78sJpMwWs"
    "iMyEYcyyKC9FpNUpa8cT81GPo4q9Zui8TAD0wtHh2YxBL7E8QYLJxcLMJTJxVBgrQGLXFT7vYRc6hJz9Vu-i0SWuLBGxOCmYoHr4DWFfy0IhAbhiUFyLRpu"
    "kfBPjCJNYY5LgaZdN6LaYivtIEUms5jUuXubBimLJm7KOT5-bgJMXTcUsbrbl2Ma7PwG5IOKjjgyEvH8KVfGFZSzNrpuxKmA"
)
OPA_KEY = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA9KaakMv1XKKDaSch3PFR
3a27oaHp1GNTTNqvb1ZaHZXp+wuhYDwc/MTE67x9GCifvQBWzEGorgTq7aisiOyl
vKifwz6/wQ+62WHKG/sqKn2Xikp3P63aBIPlZcHbkyyRmL62yeyuzYoGvLEYel+m
z5SiKGBwviSY0Th2L4e5sGJuk2HOut6emxDi+E2Fuuj5zokFJvIT6Urlq8f3h6+l
GeR6HUOXqoYVf7ff126GP7dticTVBgibxkkuJFmpvQSW6xmxruT4k6iwjzbZHY7P
ypZ/TdlnuGC1cOpAVyU7k32IJ9CRbt3nwEf5U54LRXLLQjFixWZHwKdDiMTF4ws0
+wIDAQAB
-----END PUBLIC KEY-----
"""


def test_a_token_that_opa_signed():
    """The RS256 token of OPA's own tests holds under their key, for its scope, and lists their files."""
    trust = BundleTrust.model_validate(
        {"keys": [{"id": "foo", "public_key": OPA_KEY, "algorithm": "RS256", "scope": "write"}]}
    )
    found = read_token(json.dumps({"signatures": [OPA_TOKEN]}).encode(), trust, at=NOW, scope=None)

    assert found.key == "foo"
    assert sorted(found.files) == ["db/uam2/entitlements/data.json", "db/uam2/policy/opa-policy.rego"]
    with pytest.raises(BundleRefusedError, match=r"bundle\.scope"):
        read_token(json.dumps({"signatures": [OPA_TOKEN]}).encode(), trust, at=NOW, scope="read")


def pem_of(algorithm):
    """The public half of a key, as PEM."""
    return trust_of(algorithm).keys[0].public_key


def jwk_of(algorithm):
    """A private key as a JWK."""
    from joserfc import jwk

    pem = key_of(algorithm).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    kind = {"RS256": jwk.RSAKey, "ES256": jwk.ECKey, "EdDSA": jwk.OKPKey}[algorithm]
    return dict(kind.import_key(pem).as_dict(private=True))


@pytest.mark.service("opa_engine")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_opa_verifies_what_is_signed_here(algorithm):
    """The real OPA says that our signatures hold, and reads the same files and hashes out of them."""
    files = files_of()
    signed_token = json.loads(token(files, key_of(algorithm), "k", issued_at=NOW, expires=NOW + timedelta(days=1)))
    policy = f"""package probe
import rego.v1
holds := io.jwt.verify_{algorithm.lower()}(input.token, input.key)
decoded := io.jwt.decode(input.token)
"""
    document = {"token": signed_token["signatures"][0], "key": pem_of(algorithm)}
    with opa(available("opa_engine"), {"probe.rego": policy}) as engine:
        header, payload, _ = engine.ask("probe.decoded", document)

        assert engine.ask("probe.holds", document) is True
    assert header == {"alg": algorithm, "kid": "k", "typ": "JWT"}
    assert payload["keyid"] == "k"
    assert {entry["name"]: entry["hash"] for entry in payload["files"]} == {
        name: file_hash(name, content) for name, content in files.items()
    }


@pytest.mark.service("opa_engine")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_opa_signs_is_verified_here(algorithm):
    """A bundle whose token the real OPA made is verified, with the same files and nothing else."""
    files = files_of()
    payload = {
        "files": [{"name": n, "hash": file_hash(n, c), "algorithm": "SHA-256"} for n, c in files.items()],
        "iat": int(NOW.timestamp()),
    }
    policy = """package probe
import rego.v1
token := io.jwt.encode_sign(input.header, input.payload, input.key)
"""
    header = {"alg": algorithm, "kid": "k"}
    with opa(available("opa_engine"), {"probe.rego": policy}) as engine:
        made = engine.ask("probe.token", {"header": header, "payload": payload, "key": jwk_of(algorithm)})
    data = pack({**files, SIGNATURES: json.dumps({"signatures": [made]}).encode()})
    verified = verify_bundle(data, trust_of(algorithm), NOTHING, at=NOW)

    assert (verified.key, verified.algorithm) == ("k", algorithm)
    changed = pack({**files, "data.json": b"{}", SIGNATURES: json.dumps({"signatures": [made]}).encode()})
    with pytest.raises(BundleRefusedError, match=r"bundle\.file_changed"):
        verify_bundle(changed, trust_of(algorithm), NOTHING, at=NOW)


HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aZé<&\u2028", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def hashing_opa():
    """The real OPA with a rule that gives Go's canonical JSON, HTML not escaped, as its bundles hash it."""
    policy = r"""package probe
import rego.v1
hash := crypto.sha256(strings.replace_n({"\\u003c": "<", "\\u003e": ">", "\\u0026": "&"}, json.marshal(input.value)))
"""
    with opa(available("opa_engine"), {"probe.rego": policy}) as engine:
        yield engine


@pytest.mark.service("opa_engine")
@given(value=HASHABLE)
@settings(deadline=None)
def test_hashes_agree_with_opa(hashing_opa, value):
    """Any JSON value without a backslash has the hash that the real OPA works out of its own canonical form."""
    content = json.dumps(value, ensure_ascii=False).encode()

    assert file_hash("data.json", content) == hashing_opa.ask("probe.hash", {"value": value})


@pytest.mark.service("opa_engine")
def test_opa_decides_by_the_files_of_a_bundle():
    """The real OPA, given nothing but a bundle's files, decides as our engine does over the same bundle."""
    bundle = Bundle.from_bytes(signed(files_of()))
    sources = {name: content.decode() for name, content in bundle.files.items() if name.endswith(".rego")}
    engine = RegoEngine.of(bundle.policy_set())
    with opa(available("opa_engine"), sources, json.loads(bundle.files["data.json"])) as real:
        for action in ("read", "delete", "write"):
            request = build_request({"id": "u", "type": "user"}, action, {"id": "d", "type": "document"})
            answer = real.ask("companyos.access.decision", {**request.to_dict(), "derived": {}})
            opinion = engine.decide(request)

            assert answer["allow"] is opinion.allow
            assert {entry["id"] for entry in answer["reasons"]} in ({opinion.reason}, set())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signed_bundle_holds(algorithm):
    """Each algorithm signs, and what is verified says which key, which algorithm and when."""
    verified = verify_bundle(signed(files_of(), algorithm), trust_of(algorithm), NOTHING, at=NOW)

    assert (verified.key, verified.algorithm) == ("k", algorithm)
    assert verified.signed_at == NOW - timedelta(hours=1)
    assert verified.to_dict()["digest"] == Bundle.from_bytes(pack(files_of())).digest


def test_white_space_of_data_may_change():
    """As OPA signs values, data laid out otherwise is the same data, with the same digest."""
    files = files_of()
    signatures = token(files, key_of("EdDSA"), "k", issued_at=NOW, expires=NOW + timedelta(days=1))
    spread = pack({**files, "data.json": b'{ "limits" : {"open":["read"]} }\n', SIGNATURES: signatures})
    verified = verify_bundle(spread, trust_of(), NOTHING, at=NOW)

    assert verified.bundle.digest == Bundle.from_bytes(pack(files)).digest


def test_without_a_ledger_nothing_is_known():
    """A signature that holds is not enough: without a ledger the answer is undetermined, with exit status 3."""
    data = signed(files_of())
    decision = judge_bundle(data, trust_of(), None, at=NOW)

    assert (decision.verdict, decision.exit_status) == (Verdict.UNDETERMINED, 3)
    with pytest.raises(BundleUnverifiableError):
        verify_bundle(data, trust_of(), None, at=NOW)


@pytest.mark.parametrize(
    ("window", "at", "rule"),
    [
        ({"not_after": NOW}, NOW, None),
        ({"not_after": NOW}, NOW + timedelta(hours=1), "bundle.key_expired"),
        ({"not_before": NOW}, NOW, None),
        ({"not_before": NOW}, NOW - timedelta(hours=1), "bundle.key_not_yet_valid"),
        ({"revoked_at": NOW}, NOW - timedelta(seconds=1), None),
        ({"revoked_at": NOW}, NOW, "bundle.key_revoked"),
    ],
)
def test_a_key_counts_within_its_window(window, at, rule):
    """A key counts from and until its bounds; a clock that is an hour off is told so."""
    decision = judge_bundle(signed(files_of(), at=NOW - timedelta(hours=2)), trust_of(**window), NOTHING, at=at)

    assert decision.reason == (rule or "bundle.verified")
    if rule in {"bundle.key_expired", "bundle.key_not_yet_valid"}:
        assert "3600 s" in decision.message
        assert "clock" in decision.message


def test_a_skewed_clock_is_named():
    """A bundle signed an hour ahead of this clock says by how much; a minute is forgiven."""
    ahead = signed(files_of(), at=NOW + timedelta(hours=2))
    decision = judge_bundle(ahead, trust_of(), NOTHING, at=NOW)

    assert decision.reason == "bundle.clock"
    assert "3600 s ahead" in decision.message
    assert judge_bundle(ahead, trust_of(), NOTHING, at=NOW + timedelta(seconds=3541)).allow


def test_the_algorithm_is_the_keys(tmp_path):
    """A trust configuration that gives a key another algorithm than its own cannot be loaded."""
    (tmp_path / "trust.yaml").write_text(
        json.dumps({"keys": [{"id": "k", "public_key": pem_of("ES256"), "algorithm": "EdDSA"}]})
    )
    with pytest.raises(KeyUnusableError, match="not of its algorithm"):
        BundleTrust.load(tmp_path / "trust.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "keys: {}",
        "[]",
        "keys:\n  - {id: k, public_key: 'file:nowhere', algorithm: EdDSA}",
        "keys:\n  - {id: k, public_key: x, algorithm: HS256}",
        "keys:\n  - {id: k, public_key: x, algorithm: none}",
        "keys:\n  - {id: k, public_key: x}",
        "keys:\n  - {id: k, public_key: 'file:k.pub', algorithm: EdDSA, not_after: 20270101}",
        "keys:\n  - {id: k, public_key: 'file:k.pub', algorithm: EdDSA, not_after: 2027-01-01T00:00:00}",
        "keys:" + 2 * "\n  - {id: k, public_key: 'file:k.pub', algorithm: EdDSA}",
    ],
)
def test_an_unusable_trust_configuration_is_no_trust(tmp_path, text):
    """A trust configuration with a fault is an error, never one with fewer keys."""
    PrivateKey.generate().save(tmp_path / "k")
    (tmp_path / "trust.yaml").write_text(text)

    with pytest.raises(ConfigError):
        BundleTrust.load(tmp_path / "trust.yaml")


def test_keys_are_read_by_uri(tmp_path, monkeypatch):
    """A private key comes from a file that nobody else may read, or from the environment; weak kinds are refused."""
    PrivateKey.generate("ecdsa-p256").save(tmp_path / "k.pem")
    monkeypatch.setenv("BUNDLE_KEY", (tmp_path / "k.pem").read_text())
    assert isinstance(private_key(f"file:{tmp_path / 'k.pem'}"), ec.EllipticCurvePrivateKey)
    assert isinstance(private_key("env:BUNDLE_KEY"), ec.EllipticCurvePrivateKey)
    (tmp_path / "k.pem").chmod(0o644)
    with pytest.raises(KeyUnusableError, match="others may read"):
        private_key(f"file:{tmp_path / 'k.pem'}")
    weak_rsa = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose
    for weak in (weak_rsa, ec.generate_private_key(ec.SECP384R1())):
        pem = weak.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        monkeypatch.setenv("BUNDLE_KEY", pem.decode())
        with pytest.raises(KeyUnusableError, match="signs no bundles"):
            private_key("env:BUNDLE_KEY")
    for wrong in ("env:NOWHERE", "file:", "k.pem", f"file:{tmp_path / 'nowhere'}"):
        with pytest.raises(KeyUnusableError):
            private_key(wrong)


def test_an_engine_decides_by_a_verified_bundle(tmp_path):
    """`load_bundle` gives an engine the policies of a bundle that is in force, and of no other."""
    path = tmp_path / "access.tar.gz"
    path.write_bytes(signed(files_of()))
    engine = RegoEngine.of(load_bundle(path, trust_of(), NOTHING, at=NOW))
    request = build_request({"id": "u", "type": "user"}, "read", {"id": "d", "type": "document"})

    assert engine.decide(request).reason == "policy.open"
    with pytest.raises(BundleRefusedError, match=r"bundle\.not_promoted"):
        load_bundle(path, trust_of(), NOTHING, stage="prod", at=NOW)
    with pytest.raises(ConfigError, match="cannot read"):
        load_bundle(tmp_path / "nowhere", trust_of(), NOTHING, at=NOW)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_change_to_a_token_holds(data):
    """A token with any one character changed is refused by name."""
    files = files_of()
    text = json.loads(token(files, key_of("EdDSA"), "k", issued_at=NOW, expires=NOW + timedelta(days=1)))["signatures"][
        0
    ]
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda it: it != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    decision = judge_bundle(
        pack({**files, SIGNATURES: json.dumps({"signatures": [changed]}).encode()}), trust_of(), NOTHING, at=NOW
    )

    assert decision.verdict is Verdict.DENY
    assert decision.reason.startswith("bundle.")


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_no_rubbish_is_a_signature(content):
    """Whatever stands in .signatures.json, it is refused by name."""
    decision = judge_bundle(pack({**files_of(), SIGNATURES: content}), trust_of(), NOTHING, at=NOW)

    assert decision.verdict is Verdict.DENY
    assert decision.reason.startswith("bundle.")


def test_an_expiry_is_a_moment_that_is_over():
    """A bundle counts until its expiry, and not at it."""
    bundle = Bundle.from_bytes(signed(files_of()))
    end = bundle.manifest.expires

    assert judge_bundle(bundle.to_bytes(), trust_of(), NOTHING, at=end - timedelta(seconds=1)).allow
    assert judge_bundle(bundle.to_bytes(), trust_of(), NOTHING, at=end).reason == "bundle.expired"
    assert replace(bundle, signatures=None).to_bytes() == pack(files_of())
