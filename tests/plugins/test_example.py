"""The example plugin, really installed into a directory of its own and found through its entry point."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "companyos-example"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory with the built and installed plugin."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(EXAMPLE)], check=True, capture_output=True)
    return target


@pytest.fixture
def companyos(site, tmp_path):
    """Runs the command line in an empty directory, with the plugin installed."""

    def run(*arguments, **environ):
        variables = {k: v for k, v in os.environ.items() if not k.startswith("COMPANYOS")}
        return subprocess.run(
            [sys.executable, "-m", "companyos", *arguments],
            cwd=tmp_path,
            env={**variables, "PYTHONPATH": str(site), **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_installed_but_not_allowed(companyos):
    """It is listed from its metadata, and none of its code runs."""
    listed = companyos("plugins", "list")
    assert (listed.returncode, "not allowed" in listed.stdout) == (0, True)
    assert companyos("ledger-types").returncode == 2


def test_allowed_it_works_and_the_environment_turns_it_off(companyos):
    """Allowed by name, its command, engine, control and channel are there; COMPANYOS_PLUGINS="" turns them off."""
    assert companyos("plugins", "allow", "example").returncode == 0
    listed = companyos("plugins", "list")
    for hook in ("companyos_engines", "companyos_controls", "companyos_channels", "companyos_commands"):
        assert hook in listed.stdout
    assert companyos("ledger-types").returncode == 0
    assert "not allowed" in companyos("plugins", "list", COMPANYOS_PLUGINS="").stdout
    assert companyos("ledger-types", COMPANYOS_PLUGINS="").returncode == 2


def test_allowing_keeps_the_rest_of_the_file(companyos, tmp_path):
    """Comments and other sections of companyos.yaml stay as they were."""
    before = "# ours\ncompany:\n  name: orders # short\nplugins:\n  # chosen by hand\n  allow: []\n"
    (tmp_path / "companyos.yaml").write_text(before)
    assert companyos("plugins", "allow", "example").returncode == 0
    assert (tmp_path / "companyos.yaml").read_text() == before.replace("allow: []", "allow: [example]")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("plugins:\n  allow: [a] # ours\n", "plugins:\n  allow: [a, example] # ours\n"),
        ("plugins:\n  allow: [] # none yet", "plugins:\n  allow: [example] # none yet\n"),
        (
            "plugins:\n  allow: # why\n    - a # because\n    # old\n    - b\ncompany: {name: x}\n",
            "plugins:\n  allow: # why\n    - a # because\n    # old\n    - b\n    - example\ncompany: {name: x}\n",
        ),
        (
            "notify:\n  options:\n    allow: {x: [a]}\nplugins:\n  allow: [a]\n",
            "notify:\n  options:\n    allow: {x: [a]}\nplugins:\n  allow: [a, example]\n",
        ),
    ],
    ids=["comment", "empty", "block", "elsewhere"],
)
def test_allowing_keeps_comments_and_names(companyos, tmp_path, before, after):
    """One name is added to the file's own names; names of the environment are not written down."""
    (tmp_path / "companyos.yaml").write_text(before)
    ended = companyos("plugins", "allow", "example", COMPANYOS__PLUGINS__ALLOW="[fromenv]")
    assert (ended.returncode, (tmp_path / "companyos.yaml").read_text()) == (0, after), ended.stderr


def test_allowing_refuses_what_it_cannot_write_faithfully(companyos, tmp_path):
    """A way of writing that is not known stays untouched, and the message says what to write."""
    (tmp_path / "companyos.yaml").write_text("plugins: {allow: [a]}\n")
    ended = companyos("plugins", "allow", "example")
    assert (ended.returncode, "plugins: {allow: [a, example]}" in ended.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["companyos.yaml"]
    assert (tmp_path / "companyos.yaml").read_text() == "plugins: {allow: [a]}\n"


def test_its_engine_decides_and_its_channel_delivers(companyos, site, tmp_path):
    """Chosen in companyos.yaml, the plugin's engine answers authorize() and its channel takes messages."""
    (tmp_path / "companyos.yaml").write_text(
        "plugins: {allow: [example]}\nauthz: {engine: office-hours}\nnotify: {channels: [spool]}\n"
    )
    script = (
        "from companyos import Company\n"
        "from companyos.ports import Message\n"
        "with Company.open() as c:\n"
        "    for day in ('20', '21'):\n"
        "        env = {'time': f'2026-11-{day}T10:00:00+00:00'}\n"
        "        print(c.authorizer.authorize({'id': 'u', 'type': 'u'}, 'read', {'id': 'd', 'type': 'd'}, env).allow)\n"
        "    print(c.notifier.publish(Message('t.x', 'hello', 'c'))[0].delivered, 'EX01' in c.controls)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (run.stdout.split(), run.stderr) == (["True", "False", "True", "True"], "")


def test_its_own_tests_pass(site):
    """The kit in companyos.testing serves a third party's test suite."""
    env = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(EXAMPLE / "tests")]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (run.returncode, "13 passed, 6 skipped" in run.stdout) == (0, True), run.stdout
