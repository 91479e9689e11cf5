from __future__ import annotations

from companyos import authz
from companyos.authz import plugin
from companyos.company import Company


def test_the_engine_reads_nothing_before_it_is_used(tmp_path):
    """Offering the engine does not load its policies, so that a company with another engine needs none."""
    (engine,) = plugin.companyos_engines(settings={"policies": [tmp_path / "nowhere"]})

    assert engine.name == "rego"


def test_every_obligation_of_the_playbook_has_a_handler(tmp_path):
    """A company without plugins can carry out what its own policies demand."""
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\n")
    with Company.open(tmp_path) as company:
        handlers = set(company.authorizer.handlers)

    assert handlers == {"log_event", "mask_fields", "require_approval", "require_mfa"}


def test_each_obligation_has_one_handler():
    """The hook offers handlers for distinct obligations."""
    names = [handler.obligation for handler in plugin.companyos_obligation_handlers()]

    assert sorted(set(names)) == sorted(names)


def test_the_control_is_offered():
    """The proof of the policies is among the controls, with the page that documents it."""
    (control,) = plugin.companyos_controls()

    assert (control.id, control.docs) == ("AUTHZ-PLAYBOOK", "authz.md")


def test_public_names():
    """What the room promises is there, sorted, and nothing else."""
    assert list(authz.__all__) == sorted(authz.__all__) == dir(authz)
    assert all(getattr(authz, name) is not None for name in authz.__all__)
