from __future__ import annotations

import pytest

from companyos import authz
from companyos.authz import plugin
from companyos.company import Company
from companyos.hookspecs import hookimpl
from companyos.plugins import PluginError, Plugins


def test_the_engine_reads_nothing_before_it_is_used(tmp_path):
    """Offering the engine does not load its policies, so that a company with another engine needs none."""
    (engine,) = plugin.companyos_engines(settings={"policies": [tmp_path / "nowhere"]})

    assert engine.name == "rego"


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
    """The proofs of policies, obligations, bundles and promotions are controls, each with the page that documents it."""
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
