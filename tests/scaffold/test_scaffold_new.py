"""A new repository is whole and right, or it is not there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from companyos.cli import main
from companyos.config import parse_yaml
from companyos.errors import MissingToolError
from companyos.scaffold import PUBLIC_URL, AnswersError, DestinationError, PinError, new
from companyos.scaffold.git import git


@pytest.fixture(scope="module")
def born(tmp_path_factory, wheel):
    """A repository with the default answers."""
    place = tmp_path_factory.mktemp("born")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANYOS_CACHE_DIR", str(place / "cache"))
        patch.setenv("HOME", str(place / "nowhere"))
        return new("api", place / "orders", companyos_wheel=wheel)


def test_it_has_one_commit_and_a_clean_tree(born):
    """Everything is in the first commit, also without a home and a Git identity."""
    assert git(born.path, ["status", "--porcelain"]) == ""
    assert [born.commit] == git(born.path, ["rev-list", "--all"]).split()
    assert set(born.files) == set(git(born.path, ["ls-files"]).splitlines())


def test_it_records_the_public_origin(born):
    """The answers name the public URL, the tag and the template's commit, and no place on this machine."""
    answers = parse_yaml((born.path / ".copier-answers.yml").read_text(), "answers")
    assert (PUBLIC_URL, born.template.tag, born.template.commit) == (
        answers["_src_path"],
        answers["_commit"],
        answers["_template_commit"],
    )
    text = "".join(
        path.read_text()
        for path in born.path.rglob("*")
        if path.is_file() and path.suffix != ".whl" and ".git/" not in str(path)
    )
    assert str(born.path.parent) not in text


def test_the_destination_suggests_the_name(born):
    """Without an answer the service is called like its directory."""
    answers = parse_yaml((born.path / ".copier-answers.yml").read_text(), "answers")
    assert answers["project_name"] == "orders"


def test_nothing_of_the_template_language_is_left(born):
    """No marker of the template engine survives rendering."""
    own = ("{{", "{%", "{#")
    for name in born.files:
        if name.endswith(".whl") or ".github/" in name:
            continue
        text = (born.path / name).read_text(encoding="utf-8")
        if name.startswith("observability/"):
            # Grafana's labels and the window of OpenSLO queries; our own markers have spaces inside.
            text = re.sub(r"\{\{\.?\w+\}\}", "", text)
        assert not [marker for marker in own if marker in text], name


def test_answers_turn_parts_off(tmp_path, wheel):
    """What is answered with no is not there at all."""
    data = {"container": "no", "ci": "none", "project_name": "zeta-2", "port": "9001"}
    made = new("api", tmp_path / "shop", data, companyos_wheel=wheel, use_git=False)
    assert [name for name in made.files if name.startswith((".github", "docker", ".docker", "infra"))] == []
    assert made.commit is None
    assert not (made.path / ".git").exists()
    assert "9001" in (made.path / ".env.example").read_text()
    assert (made.path / "src" / "zeta_2" / "app.py").is_file()


@pytest.mark.parametrize(
    ("question", "bad"),
    [
        ("project_name", "Orders"),
        ("project_name", "o"),
        ("project_name", "a--b"),
        ("project_name", "tests"),
        ("description", 'say "hello"'),
        ("description", " "),
        ("organisation", "-acme"),
        ("owner_team", "Platform Team"),
        ("contact", "nobody"),
        ("region", "mars-north-1"),
        ("port", "80"),
        ("port", "many"),
        ("flag_expiry", "soon"),
        ("flag_expiry", "2020-01-01"),
        ("flag_expiry", "2099-01-01"),
        ("container", "perhaps"),
        ("companyos_source", "ftp://example.com/companyos.whl"),
    ],
)
def test_a_bad_answer_is_refused_and_repeated(tmp_path, wheel, question, bad):
    """The message names the question and the bad value, and nothing is left behind."""
    stated = question == "companyos_source"
    answers = {question: bad} | ({"companyos_sha256": "0" * 64} if stated else {})
    with pytest.raises(AnswersError) as caught:
        new("api", tmp_path / "shop", answers, companyos_wheel=None if stated else wheel)
    assert question in str(caught.value)
    assert bad.strip().replace('"', '\\"') in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_question_is_refused(tmp_path, wheel):
    """The nearest known question is suggested."""
    with pytest.raises(AnswersError, match="did you mean 'project_name'"):
        new("api", tmp_path / "shop", {"projectname": "orders"}, companyos_wheel=wheel)


@pytest.mark.parametrize("kind", ["worker", "frontend", "../api", ""])
def test_a_kind_that_is_not_there_is_not_offered(tmp_path, wheel, kind):
    """The message names the kinds that are."""
    with pytest.raises(AnswersError, match="expected: api"):
        new(kind, tmp_path / "shop", companyos_wheel=wheel)


def test_an_empty_directory_may_be_used(tmp_path, wheel):
    """A directory made beforehand is filled."""
    (tmp_path / "shop").mkdir()
    assert (new("api", tmp_path / "shop", companyos_wheel=wheel).path / "README.md").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_taken_destination_is_refused(tmp_path, wheel):
    """What is there already stays as it is."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    for name in ("file", "full", "link"):
        with pytest.raises(DestinationError):
            new("api", tmp_path / name, companyos_wheel=wheel)
    assert before == sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize("dest", ["/proc/companyos/x", "file/x"], ids=["not writable", "below a file"])
def test_a_destination_that_cannot_be_written_is_refused(tmp_path, wheel, dest):
    """One clear error, nothing half-written."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DestinationError, match="cannot be"):
        new("api", tmp_path / dest, companyos_wheel=wheel)


def test_without_git_it_says_so(tmp_path, wheel, monkeypatch):
    """A missing git is named before anything is done."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="git is not installed"):
        new("api", tmp_path / "shop", companyos_wheel=wheel)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_leaves_nothing(tmp_path, wheel):
    """It tells the files and writes none."""
    made = new("api", tmp_path / "shop", companyos_wheel=wheel, dry_run=True)
    assert "README.md" in made.files
    assert list(tmp_path.iterdir()) == []


def test_the_users_git_settings_do_not_interfere(tmp_path, wheel, monkeypatch):
    """Neither hooks, signing, line endings nor a surrounding repository of the caller have an effect."""
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    hook = home / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[user]\n\tname = Ada\n\temail = ada@example.com\n[commit]\n\tgpgSign = true\n"
        f"[core]\n\thooksPath = {home}/hooks\n\tautocrlf = true\n[init]\n\tdefaultBranch = trunk\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    made = new("api", tmp_path / "shop", companyos_wheel=wheel)
    monkeypatch.delenv("GIT_DIR")
    assert (
        git(made.path, ["log", "-1", "--format=%an <%ae> %D"]).replace("HEAD -> ", "") == "Ada <ada@example.com> main"
    )
    assert b"\r\n" not in (made.path / "README.md").read_bytes()


def test_a_file_that_is_no_wheel_is_refused(tmp_path):
    """Neither another file nor a missing one is pinned."""
    other = tmp_path / "requests-2.0-py3-none-any.whl"
    other.write_text("x")
    for wheel in (other, tmp_path / "companyos-0.1.0-py3-none-any.whl"):
        with pytest.raises(PinError):
            new("api", tmp_path / "shop", companyos_wheel=wheel)
    assert [other] == list(tmp_path.iterdir())


def test_a_stated_source_is_taken_as_it_is(tmp_path):
    """A URL with its digest needs no wheel here."""
    data = {"companyos_source": "https://example.com/companyos-0.1.0-py3-none-any.whl", "companyos_sha256": "a" * 64}
    made = new("api", tmp_path / "shop", data, use_git=False)
    line = (made.path / "requirements" / "companyos.txt").read_text().splitlines()[-1]
    assert f"@ {data['companyos_source']} --hash=sha256:{'a' * 64}" in line
    assert list((made.path / "vendor").glob("*.whl")) == []


def test_the_command_prints_json(tmp_path, wheel, capsys):
    """The result is on stdout, progress on stderr."""
    status = main(["new", "api", str(tmp_path / "shop"), "--defaults", "--companyos-wheel", str(wheel), "--json"])
    captured = capsys.readouterr()
    assert (0, "api", str(tmp_path / "shop")) == (
        status,
        json.loads(captured.out)["kind"],
        json.loads(captured.out)["path"],
    )
    assert "rendering api" in captured.err


def test_the_command_says_what_comes_next(tmp_path, wheel, capsys):
    """It ends with the steps to a running service."""
    assert main(["new", "api", str(tmp_path / "shop"), "--companyos-wheel", str(wheel), "-d", "port=9000"]) == 0
    assert [line.strip() for line in capsys.readouterr().out.splitlines()][-4:] == [
        "make setup",
        "make test",
        "make smoke",
        "make dev",
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "port"], "NAME=VALUE"),
        (["--data", "port=1"], "error[scaffold.answers]"),
        (["--companyos-wheel", "missing.whl"], "error[scaffold.pin]"),
    ],
    ids=["no value", "bad value", "no wheel"],
)
def test_the_command_refuses_in_one_message(tmp_path, wheel, capsys, arguments, named):
    """A bad call gives one message on stderr, nothing on stdout, no traceback."""
    given = ["new", "api", str(tmp_path / "shop"), "--defaults", *arguments]
    if "--companyos-wheel" not in given:
        given += ["--companyos-wheel", str(wheel)]
    status = main(given)
    captured = capsys.readouterr()
    assert (status, captured.out) in {(2, ""), (3, "")}
    assert named in captured.err
    assert "Traceback" not in captured.err


def test_plain_copier_gives_the_same_tree(born, tmp_path):
    """`copier copy` from the template's repository renders what `companyos new` renders."""
    import sys

    from companyos.scaffold import TemplateStore, cache_directory, carried_template

    store = TemplateStore(cache_directory())
    answers = parse_yaml((born.path / ".copier-answers.yml").read_text(), "answers")
    data = [f"--data={key}={value}" for key, value in answers.items() if not key.startswith("_")]
    with store.published(carried_template(store)) as published:
        command = [
            sys.executable,
            "-m",
            "copier",
            "copy",
            "--defaults",
            "--quiet",
            *data,
            str(published),
            str(tmp_path / "shop"),
        ]
        subprocess.run(command, check=True, env=os.environ | {"COPIER_CACHE_DIR": str(tmp_path / "mirrors")})
    shutil.copytree(born.path / "vendor", tmp_path / "shop" / "vendor", dirs_exist_ok=True)
    ours, theirs = _tree(born.path), _tree(tmp_path / "shop")
    assert {name for name in ours | theirs if ours.get(name) != theirs.get(name)} == {".copier-answers.yml"}


def _tree(root):
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
