from __future__ import annotations

import pytest

from companyos import authz
from companyos.authz import plugin
from companyos.company import Company
from companyos.decision import Verdict
from companyos.errors import ConfigError
from companyos.hookspecs import hookimpl
from companyos.plugins import PluginError, Plugins
from tests.services.process import free_port


def test_the_engine_reads_nothing_before_it_is_used(tmp_path):
    """Offering the engines loads no policies, so that a company with another engine needs none."""
    engines = plugin.companyos_engines(settings={"policies": [tmp_path / "nowhere"]})

    assert [engine.name for engine in engines] == ["rego", "cedar"]


class TestChosenEngine:
    @pytest.fixture
    def decide(self, tmp_path):
        """What a company with these settings says to a read and to something that nobody knows."""

        def decide(settings):
            (tmp_path / "companyos.yaml").write_text(f"authz:\n  {settings}\n")
            with Company.open(tmp_path) as company:
                user, document = {"id": "u-1", "type": "user"}, {"id": "d-1", "type": "document"}
                return [company.authorizer.authorize(user, action, document) for action in ("read", "launch")]

        return decide

    def test_cedar(self, decide):
        """`authz.engine: cedar` decides by the playbook in Cedar."""
        decisions = decide("engine: cedar")

        assert [decision.reason for decision in decisions] == ["policy.baseline", "policy.default_deny"]
        assert {decision.facts["engine"] for decision in decisions} == {"cedar"}

    def test_opa(self, decide, opa_server):
        """`authz.engine: opa` asks the server at `authz.remote.url`, and the decision names the server's policies."""
        loaded = authz.RegoEngine().loaded()
        url = opa_server.load({module.file: module.text for module in loaded.modules}, loaded.data)
        decisions = decide(f"engine: opa\n  remote: {{url: {url}, timeout_seconds: 20, read_seconds: 20}}")

        assert [decision.reason for decision in decisions] == ["policy.baseline", "policy.default_deny"]
        assert {decision.facts["policy_digest"][:7] for decision in decisions} == {"sha256:"}

    def test_opa_that_is_not_there(self, decide):
        """A server that nobody runs refuses everything, with a reason of its own, and starting up is no error."""
        decisions = decide(f"engine: opa\n  remote: {{url: 'http://127.0.0.1:{free_port()}'}}")

        assert [(one.verdict, one.reason) for one in decisions] == [(Verdict.UNDETERMINED, "policy.unreachable")] * 2
        assert all(decision.audit_id and decision.facts["policy_digest"] == "unknown" for decision in decisions)

    def test_opa_without_an_address(self, decide):
        """An engine that is chosen without its address is a configuration error that says what to set."""
        with pytest.raises(ConfigError, match=r"authz\.remote\.url"):
            decide("engine: opa")

    def test_paths_start_at_the_company(self, tmp_path, opa_server):
        """A token's file is looked for beside companyos.yaml."""
        (tmp_path / "token").write_text("s3cret\n")
        url = opa_server.fault("error/token")
        (tmp_path / "companyos.yaml").write_text(
            f"authz: {{engine: opa, remote: {{url: '{url}', token: 'file:token'}}}}\n"
        )
        with Company.open(tmp_path) as company:
            company.authorizer.authorize({"id": "u-1", "type": "user"}, "read", {"id": "d-1", "type": "document"})

        assert "Bearer s3cret" in {seen["authorization"] for seen in opa_server.seen() if "error/token" in seen["path"]}


def test_every_obligation_of_the_playbook_has_a_handler(tmp_path):
    """A company without plugins can carry out what its own policies demand."""
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\n")
    with Company.open(tmp_path) as company:
        handlers = set(company.authorizer.handlers)

    assert handlers == {"log_event", "mask_fields", "require_approval", "require_mfa", "step-up"}


def test_each_obligation_has_one_handler():
    """The hook offers handlers for distinct obligations."""
    names = [handler.obligation for handler in plugin.companyos_obligation_handlers()]

    assert sorted(set(names)) == sorted(names)


def test_a_verifier_of_the_company_takes_the_place_of_none():
    """A plugin may say how tickets are verified and factors asked for; the other handlers stay the built-in ones."""

    class Verifying:
        @hookimpl
        def companyos_obligation_handlers(self):
            return [authz.RequireApproval(lambda *_: True), authz.RequireMfa(lambda _: True)]

    plugins = Plugins()
    plugins.register(Verifying(), "verifying")
    handlers = plugins.obligation_handlers()

    assert [handlers[name].fallback for name in ("require_approval", "require_mfa")] == [False, False]
    assert set(handlers) == {"log_event", "mask_fields", "require_approval", "require_mfa", "step-up"}


def test_a_handler_that_decides_is_not_replaced():
    """Two handlers that both mean it are a configuration error, as with every other hook."""

    class Masking:
        @hookimpl
        def companyos_obligation_handlers(self):
            return [authz.MaskFields()]

    plugins = Plugins()
    plugins.register(Masking(), "masking")

    with pytest.raises(PluginError, match="mask_fields"):
        plugins.obligation_handlers()


def test_the_controls_are_offered():
    """The proofs of policies, obligations and bundles are controls, each with the page that documents it."""
    controls = {control.id: control.docs for control in plugin.companyos_controls()}

    assert controls == {
        "AUTHZ-BUNDLE": "bundles.md",
        "AUTHZ-OBLIGATIONS": "enforcement.md",
        "AUTHZ-PLAYBOOK": "authz.md",
        "AUTHZ-PROMOTION": "bundles.md",
    }


def test_public_names():
    """What the room promises is there, sorted, and nothing else."""
    assert list(authz.__all__) == sorted(authz.__all__) == dir(authz)
    assert all(getattr(authz, name) is not None for name in authz.__all__)
