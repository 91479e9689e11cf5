"""The template as a file: the same wherever it is built, checked before it is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from companyos._version import __version__
from companyos.config import parse_yaml
from companyos.scaffold import Template, TemplateError, TemplateStore, carried_template
from companyos.scaffold.bundle import build, read_info, template_files
from companyos.scaffold.git import git

ROOT = Path(__file__).resolve().parents[2]


def test_the_same_sources_give_the_same_commit_and_bytes(checkout, tmp_path):
    """Two builds of the same files, at other places and times, are equal byte for byte."""
    (checkout / "copier.yml").touch()
    first = build(checkout, tmp_path / "a" / "template.bundle", "1.2.3")
    second = build(ROOT, tmp_path / "b" / "template.bundle", "1.2.3")
    assert first == second
    assert (first.tag, len(first.commit)) == ("v1.2.3", 40)


def test_another_content_or_version_gives_another_commit(checkout, tmp_path):
    """The commit stands for content and version."""
    commits = {build(checkout, tmp_path / "1.bundle", "1.0.0").commit}
    commits.add(build(checkout, tmp_path / "2.bundle", "1.0.1").commit)
    (checkout / "includes" / "gitignore").write_text("other\n")
    commits.add(build(checkout, tmp_path / "3.bundle", "1.0.0").commit)
    assert len(commits) == 3


def test_caches_and_leavings_are_left_out(checkout):
    """What tools and editors leave behind is no part of the template."""
    before = list(template_files(checkout))
    api = checkout / "templates" / "api"
    for name in ("src/__pycache__/x.pyc", ".ruff_cache/x", "a.pyc", ".DS_Store", "x.py~", ".venv/bin/python"):
        (api / name).parent.mkdir(parents=True, exist_ok=True)
        (api / name).write_text("x")
    assert before == list(template_files(checkout))


def test_the_bundle_can_be_cloned(checkout, tmp_path):
    """Stock git makes a work tree of it, at its tag."""
    info = build(checkout, tmp_path / "template.bundle", "1.2.3")
    git(tmp_path, ["clone", "--quiet", "template.bundle", "clone"])
    assert (info.tag, info.commit) == tuple(
        git(tmp_path / "clone", arguments) for arguments in (["describe", "--tags"], ["rev-parse", "HEAD"])
    )


def test_a_changed_bundle_is_refused(checkout, tmp_path, own_cache):
    """A bundle that is not the one that was built is not used."""
    bundle = tmp_path / "template.bundle"
    build(checkout, bundle, "1.2.3")
    content = bundle.read_bytes()
    bundle.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(TemplateError, match="was changed"):
        TemplateStore(own_cache).add(bundle)


def test_a_bundle_that_lies_about_its_commit_is_refused(checkout, tmp_path, own_cache):
    """The commit inside counts, not the one that is claimed; nothing of it stays in the store."""
    bundle = tmp_path / "template.bundle"
    build(checkout, bundle, "1.2.3")
    values = json.loads(bundle.with_suffix(".json").read_text()) | {"commit": "0" * 40}
    bundle.with_suffix(".json").write_text(json.dumps(values))
    store = TemplateStore(own_cache)
    with pytest.raises(TemplateError, match="another commit"):
        store.add(bundle)
    assert store.templates() == []


@pytest.mark.parametrize("text", ["", "[]", '{"tag": "v1"}'], ids=["empty", "not an object", "keys missing"])
def test_an_unreadable_description_is_refused(checkout, tmp_path, text):
    """Without a whole description beside it a bundle is not used."""
    bundle = tmp_path / "template.bundle"
    build(checkout, bundle, "1.2.3")
    bundle.with_suffix(".json").write_text(text)
    with pytest.raises(TemplateError, match="cannot be read"):
        read_info(bundle)


def test_a_broken_store_is_made_anew(own_cache):
    """What an interrupted run left in the cache does not stand in the way."""
    (own_cache / "templates.git").mkdir()
    (own_cache / "templates.git" / "HEAD").write_text("half written")
    store = TemplateStore(own_cache)
    template = carried_template(store)
    assert [template] == store.templates()


def test_templates_with_the_same_tag_stay_apart(checkout, tmp_path, own_cache):
    """Two working copies between releases are two templates; the tag alone names neither."""
    store = TemplateStore(own_cache)
    build(checkout, tmp_path / "1.bundle", "1.0.0")
    one = store.add(tmp_path / "1.bundle")
    (checkout / "includes" / "gitignore").write_text("other\n")
    build(checkout, tmp_path / "2.bundle", "1.0.0")
    two = store.add(tmp_path / "2.bundle")
    found = (store.find("v1.0.0", one.commit), store.find("v1.0.0", two.commit), store.find("v1.0.0", None))
    assert (one, two, None) == found
    assert store.find("v9.9.9", None) is None
    assert Template("v1.0.0", one.commit) == one


def test_the_questionnaire_names_our_version():
    """The default source of companyos is that of this version."""
    questions = parse_yaml((ROOT / "copier.yml").read_text(encoding="utf-8"), "copier.yml")
    assert __version__ == questions["companyos_version"]["default"]


def test_the_questionnaire_needs_no_trust():
    """No tasks, no migrations, no extensions: nobody has to trust a template to use it."""
    questions = parse_yaml((ROOT / "copier.yml").read_text(encoding="utf-8"), "copier.yml")
    assert set() == {"_tasks", "_migrations", "_jinja_extensions"} & questions.keys()


def test_every_offered_kind_is_there():
    """A kind that is offered has a template; one that only says that it is not there is not offered."""
    questions = parse_yaml((ROOT / "copier.yml").read_text(encoding="utf-8"), "copier.yml")
    offered = set(questions["template"]["choices"].values())
    answers = {path.parent.name for path in (ROOT / "templates").glob("*/*_copier_conf.answers_file*")}
    assert offered == answers
