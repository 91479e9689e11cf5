"""The remote engine against our own server: the contract of all engines, and answers that are none."""

from __future__ import annotations

import http.server
import json
import threading
from typing import ClassVar

import pytest

from companyos.authz import Authorizer, EngineError, RegoEngine, playbook_control
from companyos.authz.engines._remote import RemoteSettings
from companyos.authz.engines.authzen import AuthzenEngine
from companyos.authz.interface import EngineUnreachableError
from companyos.company import Company
from companyos.controls import prove
from companyos.errors import ConfigError
from companyos.ledger import Ledger
from companyos.testing import EngineContract
from tests.authz.requests import MASKED, READ, UNKNOWN
from tests.authz.test_engines import IN_REGO, _specimens, _told
from tests.server.conftest import Running, write_company

DIGEST = "sha256:" + "0" * 64


def engine_for(server, **more):
    token = server.directory / "token"
    token.write_text(server.key, encoding="utf-8")
    return AuthzenEngine(RemoteSettings(server.url, token=f"file:{token}", timeout_seconds=20, read_seconds=15), **more)


def begin(directory, policies=None):
    from companyos.server import add_key

    limits = {"rate_per_second": 100_000, "rate_burst": 100_000}
    write_company(directory, {"server": {"api_keys": "keys.yaml", "obligations": ["contract_log"], **limits}}, policies)
    key = add_key(directory / "keys.yaml", "engine")
    server = Running(directory, key=key)
    server.key = key
    return server


@pytest.fixture(scope="module")
def playbook(tmp_path_factory):
    """One server that decides by the built-in policies."""
    server = begin(tmp_path_factory.mktemp("pdp"))
    yield server
    assert server.stop() == 0


class TestContract(EngineContract):
    """What every engine keeps, with a server and two networks stacks in between."""

    allowed: ClassVar = READ
    denied: ClassVar = UNKNOWN

    @pytest.fixture(autouse=True)
    def _server(self, playbook):
        self._playbook = playbook
        self._made = []
        yield
        for part in self._made:
            getattr(part, "close", getattr(part, "stop", None))()

    def make_engine(self):
        self._made.append(engine_for(self._playbook))
        return self._made[-1]

    def make_engine_with(self, case, folder):
        if case == "malformed":
            with pytest.raises(AssertionError, match="error"):
                begin(folder / "company", {"contract.rego": IN_REGO[case]})
            return AuthzenEngine(RemoteSettings("http://127.0.0.1:9"))
        server = begin(folder / "company", {"contract.rego": IN_REGO[case]})
        engine = engine_for(server)
        self._made += [engine, server]
        return engine

    def test_the_playbook_proves_itself(self):
        """Everything planted is caught through the server as it is in process."""
        proof = prove(playbook_control(self.make_engine()))

        assert proof.to_dict()["failures"] == []

    def test_decides_as_rego_does(self):
        """On every specimen the server has the reason, the message and the obligations that Rego has in process."""
        engine, rego = self.make_engine(), RegoEngine()
        requests = [READ, UNKNOWN, MASKED, *_specimens()]

        assert [_told(engine.decide(request)) for request in requests] == [
            _told(rego.decide(request)) for request in requests
        ]
        assert engine.version == rego.version


def test_an_authorizer_over_a_server_names_its_policies(playbook, tmp_path):
    """A decision through the server is on both ledgers, and ours names the server's policies."""
    engine = engine_for(playbook)
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        decision = Authorizer(engine, ledger).authorize(READ.subject, READ.action, READ.resource)
        (entry,) = ledger.read()
    engine.close()

    assert (decision.allow, decision.reason) == (True, "policy.baseline")
    assert entry.data["policy"]["digest"] == RegoEngine().version


def test_settings_choose_the_engine(playbook, tmp_path):
    """`authz.engine: authzen` with `authz.remote` decides by the server, from another company."""
    (tmp_path / "token").write_text(playbook.key, encoding="utf-8")
    remote = {"url": playbook.url, "token": f"file:{tmp_path / 'token'}"}
    with Company.open(write_company(tmp_path, {"authz": {"engine": "authzen", "remote": remote}})) as company:
        decision = company.authorizer.authorize(READ.subject, READ.action, READ.resource)

    assert (decision.allow, decision.facts["engine"]) == (True, "authzen")
    with (
        Company.open(write_company(tmp_path, {"authz": {"engine": "authzen"}})) as company,
        pytest.raises(ConfigError, match=r"authz\.remote"),
    ):
        _ = company.engine


def test_a_wrong_key_is_no_deny_but_an_error(playbook, tmp_path):
    """A server that does not let the engine in has not decided."""
    (tmp_path / "token").write_text("wrong", encoding="utf-8")
    engine = AuthzenEngine(RemoteSettings(playbook.url, token=f"file:{tmp_path / 'token'}"))

    with pytest.raises(EngineError, match="401"):
        engine.decide(READ)
    engine.close()


def test_nobody_there_is_unreachable():
    """A decision point that does not answer is a refusal with a reason of its own."""
    engine = AuthzenEngine(RemoteSettings("http://127.0.0.1:9", attempts=1))

    with pytest.raises(EngineUnreachableError) as caught:
        engine.decide(READ)
    assert (caught.value.reason, engine.version) == ("policy.unreachable", "unknown")
    engine.close()


@pytest.fixture
def stranger():
    """A decision point of another make: it answers what it is told to, and remembers what it was asked."""
    said = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            said["asked"] = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps(said["answer"]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        said["engine"] = AuthzenEngine(
            RemoteSettings(f"http://127.0.0.1:{server.server_address[1]}"), policy_digest=DIGEST
        )
        yield said
        said["engine"].close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"decision": True}, (True, "authzen.permit", "")),
        ({"decision": False}, (False, "authzen.deny", "")),
        (
            {"decision": False, "context": {"reason": "Subject is a viewer of the resource"}},
            (False, "authzen.deny", "Subject is a viewer of the resource"),
        ),
        ({"decision": True, "context": {"reason": "rule.7", "id": "0"}}, (True, "rule.7", "")),
    ],
)
def test_answers_of_another_make(stranger, answer, expected):
    """A plain AuthZEN answer is understood, its reason kept if it is an id and else shown as the message."""
    stranger["answer"] = answer
    opinion = stranger["engine"].decide(MASKED)

    assert (opinion.allow, opinion.reason, opinion.message) == expected
    assert opinion.version == DIGEST
    assert stranger["asked"] == {
        "subject": {"type": "user", "id": "u-1", "properties": {"clearance": "low"}},
        "action": {"name": "read"},
        "resource": {"type": "document", "id": "d-1", "properties": {"required_clearance": "high"}},
    }


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([], id="a-list"),
        pytest.param({}, id="nothing"),
        pytest.param({"decision": "true"}, id="text"),
        pytest.param({"decision": 1}, id="number"),
        pytest.param({"decision": True, "context": []}, id="context-is-a-list"),
        pytest.param({"decision": True, "context": {"obligations": {}}}, id="obligations-are-an-object"),
        pytest.param(
            {"decision": True, "context": {"obligations": [{"id": "a", "type": "custom"}]}}, id="no-properties"
        ),
        pytest.param(
            {"decision": True, "context": {"obligations": [{"id": "a", "type": "new", "properties": {}}]}},
            id="unknown-type",
        ),
        pytest.param({"decision": True, "context": {"verdict": "undetermined"}}, id="undetermined"),
        pytest.param({"evaluations": [{"decision": True}]}, id="a-batch"),
    ],
)
def test_answers_that_are_none(stranger, answer):
    """What is not an answer by the specification is an error: never an allow, nor an obligation that was lost."""
    stranger["answer"] = answer

    with pytest.raises(EngineError):
        stranger["engine"].decide(READ)


@pytest.mark.parametrize("options", [{"path": "no-slash"}, {"path": "/a?b"}, {"policy_digest": "sha256:short"}])
def test_settings_that_do_not_hold(options):
    """A path or a digest that is none is refused at the start."""
    with pytest.raises(ValueError, match="not valid"):
        AuthzenEngine(RemoteSettings("http://127.0.0.1:9"), **options)
