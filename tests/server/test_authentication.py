"""Who may ask: API keys, tokens and the issuer's keys, on the library and on a running server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from companyos.cli import main
from companyos.controls import prove
from companyos.server import (
    ApiKeys,
    Authenticator,
    IssuerKeys,
    TokenVerifier,
    add_key,
    list_keys,
    load_keys,
    new_key,
    revoke_keys,
)
from companyos.server.interface import AuthenticationError, KeysUnavailableError, ServerConfigError
from companyos.server.jwks import parse_jwks
from companyos.server.limits import RateLimiter
from companyos.server.specimens import AUDIENCE, CONTROL, ISSUER, SCOPE, Desk, encoded
from tests.server.conftest import POLICY, ROOT, request, write_company


def bearer(token):
    return [(b"authorization", f"Bearer {token}".encode())]


def verifier(place, **options):
    return TokenVerifier(
        IssuerKeys(place, **options), issuer=ISSUER, audience=AUDIENCE, algorithms=("ES256", "EdDSA", "RS256")
    )


def test_the_control_holds():
    """Every planted credential is refused by its own rule, and every good one admitted."""
    proof = prove(CONTROL)

    assert [result for result in proof.results if not result.passed] == []
    assert (proof.caught, proof.false_alarms) == (53, 0)


@pytest.mark.parametrize(
    ("claims", "good", "bad", "rule"),
    [
        ({"nbf": -300, "exp": 0}, 29, 31, "pdp.jwt.expired"),
        ({"nbf": 0}, -29, -31, "pdp.jwt.not_yet_valid"),
        ({"nbf": -300, "iat": 0}, -29, -31, "pdp.jwt.issued"),
    ],
    ids=["exp", "nbf", "iat"],
)
@pytest.mark.parametrize("remembered", [False, True])
def test_the_leeway_ends_where_it_says(tmp_path, claims, good, bad, rule, remembered):
    """A second less than the leeway is admitted and a second more is not, whether or not the token was seen before."""
    desk = Desk(tmp_path)
    tokens = desk.authenticator.tokens
    tokens.keys.refresh()
    token = desk.token({name: desk.now + seconds for name, seconds in claims.items()})
    if remembered:
        assert tokens.verify(token, desk.now + good).id.endswith("#orders")

    with pytest.raises(AuthenticationError) as caught:
        tokens.verify(token, desk.now + bad)
    assert caught.value.rule == rule
    assert tokens.verify(token, desk.now + good).id.endswith("#orders")


@pytest.mark.parametrize("algorithms", [("none",), ("HS256",), ("ES256", "HS512"), ("RS1",), ()])
def test_only_asymmetric_algorithms_can_be_allowed(tmp_path, algorithms):
    """Settings that would let shared secrets or no signature count are refused at the start."""
    with pytest.raises(ServerConfigError):
        TokenVerifier(IssuerKeys(f"file:{tmp_path}"), issuer="i", audience="a", algorithms=algorithms)


@pytest.mark.parametrize("place", ["http://id.example.com/jwks", "ftp://x", "jwks.json", "file:", "data:,{}"])
def test_keys_come_from_a_file_or_https(place):
    """No other place is ever asked for the issuer's keys."""
    with pytest.raises(ServerConfigError):
        IssuerKeys(place)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"kty": "oct", "k": "AAAA", "kid": "a"}, id="symmetric"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"}, id="broken"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, id="no-kid"),
        pytest.param("a text", id="no-object"),
    ],
)
def test_a_key_set_with_one_bad_key_is_refused_whole(entry):
    """What cannot be a public key for signatures spoils the set, and is no pass for the rest of it."""
    with pytest.raises(ServerConfigError):
        parse_jwks(json.dumps({"keys": [entry]}).encode())


def test_a_private_or_weak_key_is_no_key():
    """A published private key, or RSA below 2048 bits, is refused."""
    from joserfc.jwk import ECKey

    private = {**ECKey.generate_key("P-256").as_dict(private=True), "kid": "a"}
    weak = {"kty": "RSA", "kid": "a", "e": "AQAB", "n": encoded(b"\xc1" * 128)}
    for entry in (private, weak):
        with pytest.raises(ServerConfigError):
            parse_jwks(json.dumps({"keys": [entry]}).encode())


def test_a_rotated_key_is_found_by_one_reading(tmp_path):
    """A token under a new key is admitted after one reading; tokens of unknown keys cause no more than that one."""
    desk = Desk(tmp_path)
    path = tmp_path / "jwks.json"
    every = json.loads(path.read_text(encoding="utf-8"))["keys"]
    path.write_text(json.dumps({"keys": every[:1]}), encoding="utf-8")
    tokens = verifier(f"file:{path}", refresh_seconds=3600)
    tokens.keys.refresh()
    who = Authenticator(None, tokens)
    path.write_text(json.dumps({"keys": every}), encoding="utf-8")

    assert who.authenticate(bearer(desk.token())).id == f"jwt:{ISSUER}#orders"
    for _ in range(3):
        with pytest.raises(AuthenticationError) as caught:
            who.authenticate(bearer(desk.token(kid="two")))
        assert caught.value.rule == "pdp.jwt.kid"
    assert tokens.keys.generation == 1


def test_a_key_that_was_taken_back_counts_no_longer(tmp_path):
    """A token that was admitted is refused once its key is gone, although its signature was remembered."""
    desk = Desk(tmp_path)
    path = tmp_path / "jwks.json"
    tokens = verifier(f"file:{path}", refresh_seconds=0.001)
    who = Authenticator(None, tokens)
    token = desk.token()
    assert who.authenticate(bearer(token)).scopes == {SCOPE}
    every = json.loads(path.read_text(encoding="utf-8"))["keys"]
    path.write_text(json.dumps({"keys": every[1:]}), encoding="utf-8")
    while not tokens.keys.may_refresh():
        time.sleep(0.001)
    tokens.keys.refresh()

    with pytest.raises(AuthenticationError):
        who.authenticate(bearer(token))


def test_without_keys_nothing_can_be_verified(tmp_path, caplog):
    """Where the keys cannot be read it could not be checked, not that the token is bad; the log says where and why."""
    desk = Desk(tmp_path)
    who = Authenticator(None, verifier(f"file:{tmp_path / 'nowhere.json'}"))

    with pytest.raises(KeysUnavailableError):
        who.authenticate(bearer(desk.token()))
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"the issuer's keys at file:{tmp_path / 'nowhere.json'} could not be read: [Errno 2]")


def test_old_keys_do_not_count_for_ever(tmp_path):
    """Keys that have become too old and cannot be read again verify nothing."""
    desk = Desk(tmp_path)
    path = tmp_path / "jwks.json"
    tokens = verifier(f"file:{path}", max_age_seconds=0.05, refresh_seconds=0.01)
    who = Authenticator(None, tokens)
    token = desk.token()
    who.authenticate(bearer(token))
    path.unlink()
    while tokens.keys.is_fresh() or not tokens.keys.may_refresh():
        time.sleep(0.01)

    with pytest.raises(KeysUnavailableError):
        who.authenticate(bearer(token))


def test_a_redirect_of_the_key_server_is_not_followed(tmp_path, monkeypatch):
    """The address is pinned: a key server that points elsewhere gives no keys."""
    import http.server
    import ssl
    import urllib.request

    from tests.server.test_certification import certificate

    certificate(tmp_path)
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(302 if self.path == "/away" else 200)
            self.send_header("Location", "/jwks")
            self.end_headers()
            self.wfile.write((tmp_path / "jwks.json").read_bytes())

        def log_message(self, *_):
            pass

    Desk(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem", tmp_path / "tls.key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"https://127.0.0.1:{server.server_address[1]}"
            keys = IssuerKeys(f"{base}/jwks")
            keys.refresh()
            assert keys.find("one") is not None
            with pytest.raises(KeysUnavailableError):
                IssuerKeys(f"{base}/away").refresh()
        finally:
            server.shutdown()
            thread.join()
    assert asked == ["/jwks", "/away"]
    assert urllib.request.getproxies().get("https") is None or asked


def test_the_file_of_keys_holds_no_secret(tmp_path):
    """What is kept of an API key is a salted hash; the key is good, and its record goes with the file."""
    path = tmp_path / "keys.yaml"
    first, second = add_key(path, "orders"), add_key(path, "billing", expires=datetime.now(UTC) + timedelta(days=1))
    text = path.read_text(encoding="utf-8")

    assert not [key for key in (first, second) if key.split("_", 2)[2] in text]
    assert [load_keys(path).authenticate(key).id for key in (first, second)] == ["key:orders", "key:billing"]


def test_a_revoked_key_counts_no_longer(tmp_path):
    """One key goes by its id, all of a caller by the name; who is not there is an error, and nothing changes."""
    path = tmp_path / "keys.yaml"
    first, second, other = (add_key(path, name) for name in ("orders", "orders", "billing"))

    revoke_keys(path, first.split("_")[1])
    assert load_keys(path).authenticate(second).id == "key:orders"
    with pytest.raises(AuthenticationError):
        load_keys(path).authenticate(first)

    assert [record.name for record in revoke_keys(path, "orders")] == ["orders"]
    with pytest.raises(ServerConfigError):
        revoke_keys(path, "orders")
    assert [record.name for record in list_keys(path)] == ["billing"]
    assert load_keys(path).authenticate(other).id == "key:billing"


def test_of_keys_made_at_the_same_time_none_is_lost(tmp_path):
    """Changing the file is one caller's turn at a time."""
    path = tmp_path / "keys.yaml"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda number: add_key(path, f"caller-{number}"), range(40)))

    known = load_keys(path)
    assert [known.authenticate(key).id for key in keys] == [f"key:caller-{number}" for number in range(40)]


def test_keys_are_listed_and_revoked_from_the_command_line(tmp_path, capsys):
    """The list shows ids, callers and ends, and no secret; a revoked key is gone from it."""
    directory = write_company(tmp_path / "company", {"server": {"api_keys": "keys.yaml"}})

    def run(*words):
        assert main(["serve", "--config", str(directory), *words]) == 0
        return capsys.readouterr().out

    key = run("new-key", "orders").strip()
    listed = run("list-keys", "--json")

    assert [(row["name"], row["state"]) for row in json.loads(listed)] == [("orders", "counts")]
    assert key.split("_", 2)[2] not in listed + run("list-keys")
    assert run("revoke-key", "orders") == f"revoked {key.split('_')[1]} of orders\n"
    assert json.loads(run("list-keys", "--json")) == []


@pytest.mark.parametrize("text", ["keys: [{id: x}]", "keys: 5", "[]", "other: 1", "keys: [{}, {}]", "\x00"])
def test_a_file_that_is_none_of_keys_is_refused(tmp_path, text):
    """A file of keys is read strictly, or not at all."""
    path = tmp_path / "keys.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match="keys.yaml"):
        load_keys(path)


def test_two_records_with_one_id_are_refused():
    """An id finds one record."""
    _, record = new_key("orders")

    with pytest.raises(ServerConfigError):
        ApiKeys([record, record])


def test_a_bucket_gives_what_it_has_and_says_how_long_to_wait():
    """A burst is served, then the rate; the memory of callers is bounded."""
    limiter = RateLimiter(2.0, 3, callers=2)

    assert [limiter.wait("a", now=0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limiter.wait("a", now=0.5) == 0.0
    assert limiter.wait("b", cost=100, now=0.5) == 0.0
    assert limiter.wait("b", now=0.5) == 0.5
    limiter.wait("c", now=0.5)
    assert len(limiter) == 2


def test_what_is_charged_has_to_come_back():
    """A charge is taken whether it is there or not, delays by what is owed, and by no more than a minute."""
    limiter = RateLimiter(2.0, 3)
    limiter.charge("a", 9.0, now=0.0)
    limiter.charge("b", 1e9, now=0.0)

    assert limiter.wait("a", now=0.0) == 3.5
    assert limiter.wait("a", now=3.5) == 0.0
    assert limiter.wait("b", now=0.0) == 60.5
    assert limiter.wait("c", now=0.0) == 0.0


def jwt_settings(**more):
    return {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["ES256"],
        "jwks": "file:jwks.json",
        "required_scope": SCOPE,
        "longest_seconds": 600,
        **more,
    }


def test_keys_of_the_issuer_that_cannot_be_read_are_in_the_log_at_start(start):
    """Nobody has to present a token before it is known that none can be verified; the server serves all the same."""
    server = start({"server": {"jwt": jwt_settings()}}, {"policy.rego": POLICY})

    assert "the issuer's keys at file:jwks.json could not be read" in server.log()
    assert server.ask(request()).status_code == 200


def test_a_server_admits_by_token_and_by_key(start, tmp_path):
    """Both kinds of credential are admitted; each refusal has its status, and says which scheme is asked for."""
    desk = Desk(tmp_path)
    (tmp_path / "company").mkdir()
    (tmp_path / "jwks.json").rename(tmp_path / "company" / "jwks.json")
    server = start({"server": {"jwt": jwt_settings()}}, {"policy.rego": POLICY})
    del server.http.headers["x-api-key"]

    def status(credential=None, name="authorization"):
        headers = {} if credential is None else {name: credential}
        answer = server.ask(request(), **headers)
        return answer.status_code, answer.headers.get("www-authenticate")

    assert status(server.key, "x-api-key") == (200, None)
    assert status(f"Bearer {server.key}") == (200, None)
    assert status(f"Bearer {desk.token()}") == (200, None)
    assert status() == (401, "Bearer")
    assert status(f"Bearer {desk.token(kid='three')}") == (401, 'Bearer error="invalid_token"')
    late = {"exp": int(time.time()) - 60, "nbf": int(time.time()) - 600}
    assert status(f"Bearer {desk.token(late)}") == (401, 'Bearer error="invalid_token"')
    forever = {"exp": int(time.time()) + 400, "iat": int(time.time()) - 400}
    assert status(f"Bearer {desk.token(forever)}") == (401, 'Bearer error="invalid_token"')
    assert status(f"Bearer {desk.token({'exp': 10**400})}") == (401, 'Bearer error="invalid_token"')
    assert status(f"Bearer {desk.token({'scope': 'other'})}") == (403, 'Bearer error="insufficient_scope"')
    assert status("cos_" + "0" * 51, "x-api-key") == (401, 'Bearer error="invalid_token"')
    assert server.alive()


def test_who_asks_too_often_has_to_wait(start):
    """Beyond the burst a caller gets 429 with Retry-After; a batch costs as much as its evaluations."""
    server = start({"server": {"rate_per_second": 0.01, "rate_burst": 5}}, {"policy.rego": POLICY})
    body = {**request(), "evaluations": [{}, {}, {}]}

    first = server.ask(body, "/access/v1/evaluations")
    second = server.ask(body, "/access/v1/evaluations")

    assert [first.status_code, second.status_code] == [200, 429]
    assert int(second.headers["retry-after"]) > 1


def test_failures_are_slowed_down(start):
    """An address whose credentials fail again and again is told to wait, and good callers from it are not."""
    server = start(None, {"policy.rego": POLICY})
    statuses = {server.ask(request(), **{"x-api-key": "wrong"}).status_code for _ in range(80)}

    assert statuses == {401, 429}
    assert server.ask(request()).status_code == 200


def test_an_api_key_can_be_taken_back_while_the_server_runs(start):
    """A key whose record is removed counts no longer after the next look; a broken file changes nothing."""
    server = start({"server": {"reload_seconds": 0.05}}, {"policy.rego": POLICY})
    path = server.directory / "keys.yaml"
    path.write_text("", encoding="utf-8")
    until(lambda: "is empty" in server.log())
    assert server.ask(request()).status_code == 200
    path.write_text("keys: 5\n", encoding="utf-8")
    until(lambda: "is not a file of API keys" in server.log())
    assert server.ask(request()).status_code == 200
    path.write_text("keys: []\n", encoding="utf-8")

    until(lambda: server.ask(request()).status_code == 401)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        pytest.param({}, [], id="no-authentication"),
        pytest.param({}, ["--insecure-no-auth", "--host", "0.0.0.0"], id="open-to-all"),  # noqa: S104 - refused
        pytest.param({"api_keys": "keys.yaml"}, ["--host", "0.0.0.0"], id="no-tls"),  # noqa: S104 - refused
        pytest.param(
            {"api_keys": "keys.yaml", "url": "http://pdp.example.com"},
            ["--host", "0.0.0.0"],  # noqa: S104 - refused
            id="plain-url",
        ),
        pytest.param({"api_keys": "keys.yaml", "tls_key": "tls.key"}, [], id="half-of-tls"),
        pytest.param({"api_keys": "nowhere.yaml"}, [], id="no-file"),
        pytest.param({"jwt": jwt_settings(algorithms=["HS256"])}, [], id="shared-secrets"),
    ],
)
def test_a_server_that_would_be_open_does_not_start(tmp_path, settings, options):
    """Without authentication, or without TLS beyond this machine, the command is an error."""
    directory = write_company(tmp_path / "company", {"server": settings})
    add_key(directory / "keys.yaml", "orders")
    done = subprocess.run(
        [sys.executable, "-m", "companyos", "serve", "--pdp", "--port", "0", "--config", str(directory), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error[server.config]: ")


def test_no_authentication_is_for_this_machine_alone(start):
    """`--insecure-no-auth` serves anyone, on the loopback address."""
    server = start(None, {"policy.rego": POLICY}, "--insecure-no-auth", key=None)

    assert server.ask(request()).json()["decision"] is True


def until(condition, seconds=30):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
