"""The golden templates begin with the starter packs, and cannot drift from them."""

from __future__ import annotations

import pytest
from jinja2 import Environment, StrictUndefined

from companyos.observability.dashboards import starter_pack, to_json
from companyos.observability.slo.kits import render
from scripts import starter_packs

FILES = starter_packs.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_template_is_what_the_packs_give(path):
    """After a change of a pack, `scripts/starter_packs.py --write` is to be run."""
    assert path.read_text() == FILES[path]


@pytest.mark.parametrize("name", ["orders", "zeta-ledger-9", "a" * 40])
def test_a_rendered_service_has_the_pack_of_its_name(name):
    """With the answers filled in, the files are those that the commands make for such a service."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - as copier does
    answers = {"project_name": name, "owner_team": "platform"}
    rendered = {path.name: environment.from_string(path.read_text()).render(answers) for path in FILES}

    assert rendered == {
        "dashboard.json.jinja": to_json(starter_pack("api", name, dependencies=("database",), tags=("platform",))),
        "slo.yaml.jinja": render("api", name),
    }


def test_the_program_says_what_drifted(tmp_path, monkeypatch, capsys):
    """`--check` exits with 1 and names the file, `--write` mends it, and then `--check` is clean."""
    stale = tmp_path / "dashboard.json.jinja"
    monkeypatch.setattr(starter_packs, "ROOT", tmp_path)
    monkeypatch.setattr(starter_packs, "files", lambda: {stale: "new"})

    assert starter_packs.main(["--check"]) == 1
    assert "dashboard.json.jinja" in capsys.readouterr().out
    assert starter_packs.main(["--write"]) == 0
    assert starter_packs.main(["--check"]) == 0
    assert starter_packs.main([]) == 2
