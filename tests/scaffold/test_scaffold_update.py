"""A repository keeps up with its template, offline, and is never left half updated."""

from __future__ import annotations

import subprocess

import pytest

from companyos.config import parse_yaml
from companyos.errors import UnverifiableError
from companyos.scaffold import ScaffoldError, TemplateStore, UpdateRefusedError, new, update
from companyos.scaffold.bundle import build
from companyos.scaffold.git import git

IDENTITY = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]


@pytest.fixture
def born(tmp_path, wheel):
    """A service of today's template."""
    return new("api", tmp_path / "orders", companyos_wheel=wheel).path


@pytest.fixture
def newer(checkout, tmp_path, own_cache):
    """A template 0.2.0 whose runbook has one more section, and which has one more file and one fewer."""
    api = checkout / "templates" / "api"
    runbook = api / "docs" / "runbook.md.jinja"
    runbook.write_text(runbook.read_text() + "\n## After an incident\n\nWrite down what happened.\n")
    (api / "docs" / "post-mortem.md").write_text("# Post-mortem\n")
    (api / "fixtures" / "README.md").unlink()
    build(checkout, tmp_path / "newer.bundle", "0.2.0")
    return TemplateStore(own_cache).add(tmp_path / "newer.bundle")


def _commit(repository, message):
    git(repository, ["add", "--all"])
    git(repository, [*IDENTITY, "commit", "--quiet", "--message", message])


def test_an_update_brings_the_newer_template(born, newer, wheel):
    """Files come, change and go; the answers name the new tag; a second update has nothing to do."""
    done = update(born, companyos_wheel=wheel, to=newer)
    assert (done.before.tag, done.after.tag) == ("v0.1.0", "v0.2.0")
    assert done.files == (".copier-answers.yml", "docs/post-mortem.md", "docs/runbook.md", "fixtures/README.md")
    assert "After an incident" in (born / "docs" / "runbook.md").read_text()
    assert not (born / "fixtures" / "README.md").exists()
    answers = parse_yaml((born / ".copier-answers.yml").read_text(), "answers")
    assert ("v0.2.0", newer.commit) == (answers["_commit"], answers["_template_commit"])
    _commit(born, "chore: update")
    assert update(born, companyos_wheel=wheel, to=newer).files == ()


def test_local_edits_survive(born, newer, wheel):
    """What the team changed elsewhere stays as they made it."""
    readme = born / "README.md"
    readme.write_text(readme.read_text() + "\nOur own words.\n")
    (born / "src" / "orders" / "own.py").write_text("ANSWER = 42\n")
    _commit(born, "feat: our own")
    update(born, companyos_wheel=wheel, to=newer)
    assert readme.read_text().endswith("Our own words.\n")
    assert (born / "src" / "orders" / "own.py").read_text() == "ANSWER = 42\n"


def test_an_update_brings_another_companyos(born, newer, tmp_path, wheel_maker):
    """The wheel that is pinned changes together with the template."""
    place = tmp_path / "other"
    place.mkdir()
    other = wheel_maker(place, "ours, later", version="0.2.0")
    update(born, companyos_wheel=other, to=newer)
    assert [other.name] == [path.name for path in (born / "vendor").glob("*.whl")]
    assert "companyos-0.2.0" in (born / "requirements" / "companyos.txt").read_text()


def test_a_conflict_changes_nothing(born, newer, wheel):
    """Where the team changed the same place, the file is named and the repository stays as it was."""
    runbook = born / "docs" / "runbook.md"
    lines = runbook.read_text().splitlines()
    runbook.write_text("\n".join([*lines[:-1], "Our own way to restore."]) + "\n")
    _commit(born, "docs: our own way")
    before = git(born, ["rev-parse", "HEAD"])
    with pytest.raises(UpdateRefusedError, match=r"docs/runbook\.md"):
        update(born, companyos_wheel=wheel, to=newer)
    assert (before, "") == (git(born, ["rev-parse", "HEAD"]), git(born, ["status", "--porcelain"]))


def test_uncommitted_changes_are_refused(born, newer, wheel):
    """Nothing is mixed with work in hand."""
    (born / "README.md").write_text("in hand")
    with pytest.raises(UpdateRefusedError, match="uncommitted"):
        update(born, companyos_wheel=wheel, to=newer)
    assert (born / "README.md").read_text() == "in hand"


def test_without_the_old_template_nothing_can_be_compared(born, newer, wheel, tmp_path, own_cache):
    """A cache that lost the template of birth makes the update undetermined, not wrong."""
    (ref,) = git(own_cache / "templates.git", ["for-each-ref", "--format=%(refname)", "refs/companyos/v0.1.0"]).split()
    subprocess.run(["git", "update-ref", "-d", ref], cwd=own_cache / "templates.git", check=True)
    with pytest.raises(UnverifiableError, match=r"v0\.1\.0"):
        update(born, companyos_wheel=wheel, to=newer)


@pytest.mark.parametrize(
    "answers", [None, "", "_src_path: /somewhere\n_commit: v1\n", "[]"], ids=["none", "empty", "other", "list"]
)
def test_what_is_not_ours_is_refused(tmp_path, newer, answers):
    """Only a repository that was born from our template is updated."""
    if answers is not None:
        (tmp_path / ".copier-answers.yml").write_text(answers)
    with pytest.raises(ScaffoldError):
        update(tmp_path, to=newer)
