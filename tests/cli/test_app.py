"""The command line: streams, exit statuses, one catch."""

import json
import os
import subprocess
import sys

import pytest

from companyos import __version__
from companyos.cli import main


def companyos(*arguments, cwd, **environ):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("COMPANYOS")}
    return subprocess.run(
        [sys.executable, "-m", "companyos", *arguments],
        cwd=cwd,
        env=variables | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_version(capsys):
    """The version comes without loading anything."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"companyos {__version__}\n"


def test_help_lists_the_commands(capsys):
    """Help goes to stdout, with every command and its line."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("config", "plugins", "pack"))


@pytest.mark.parametrize(
    ("arguments", "hint"), [(("confg",), "'config'"), (("config", "--nope"), "--nope"), (("pack", "verify"), "FILE")]
)
def test_usage_errors_exit_2_and_say_what_is_near(capsys, arguments, hint):
    """A misspelt command or option is a usage error on stderr."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert (captured.out, hint in captured.err) == ("", True)


def test_an_error_of_ours_is_one_message_without_traceback(tmp_path):
    """What, got, next step; the code in brackets; exit status of its kind."""
    (tmp_path / "companyos.yaml").write_text("compny: {}\n")
    ended = companyos("config", "show", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "error[config.invalid]: unknown key compny" in ended.stderr
    assert "next: did you mean 'company'?" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_debug_shows_the_traceback(tmp_path):
    """--debug is for whoever has to mend it."""
    (tmp_path / "companyos.yaml").write_text("compny: {}\n")
    ended = companyos("--debug", "config", "show", cwd=tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, True)


def test_a_pack_that_is_not_there(tmp_path):
    """A missing file is a usage error that names it."""
    (tmp_path / "trust.yaml").write_text("keys: []\n")
    ended = companyos("pack", "verify", "none.cpack", "--trust", "trust.yaml", cwd=tmp_path)
    assert (ended.returncode, "cannot read none.cpack" in ended.stderr) == (2, True)


def test_verifying_without_keys_is_refused(tmp_path):
    """The keys never come from the pack."""
    (tmp_path / "a.cpack").write_bytes(b"")
    ended = companyos("pack", "verify", "a.cpack", cwd=tmp_path)
    assert (ended.returncode, "never take them from the pack" in ended.stderr) == (2, True)


def test_a_closed_pipe_is_no_error(tmp_path):
    """`companyos ... | head -1` ends quietly."""
    command = f"{sys.executable} -m companyos config schema | head -1"
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("{\n", "")


@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_nobody_reads_the_results(tmp_path, reader):
    """A closed pipe is no success of the command and no text either."""
    command = f"set -o pipefail; {sys.executable} -m companyos config schema | {reader} > /dev/null"
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode in {0, 141}, ended.stdout, ended.stderr) == (True, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110 - shorter
@pytest.mark.parametrize("arguments", [["config", "schema"], ["config", "show"], ["--help"]])
def test_results_that_cannot_be_written_are_not_delivered(tmp_path, arguments):
    """A full disk behind stdout is said, without traceback, and is no success."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(
            [sys.executable, "-m", "companyos", *arguments],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr.count("error[output]: cannot write the results")) == (3, 1)
    assert len(ended.stderr.splitlines()) <= 3


@pytest.mark.parametrize(
    ("arguments", "status"), [("--help", 0), ("--version", 0), ("config schema", 0), ("config show", 2), ("check .", 2)]
)
def test_a_directory_that_is_gone(tmp_path, arguments, status):
    """What needs no directory works; the rest says that it is gone."""
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && {sys.executable} -m companyos {arguments}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, "internal" in ended.stderr) == (status, False), ended.stderr


def plugin(tmp_path, name, source):
    """A plugin, installed where PYTHONPATH leads."""
    site = tmp_path / "site"
    info = site / f"{name}_dist-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[companyos]\n{name} = {name}_module\n")
    (site / f"{name}_module.py").write_text(source)
    return str(site)


def test_a_plugin_that_exits_does_not_make_a_check_pass(tmp_path):
    """sys.exit(0) while a plugin loads is an error of the configuration, never exit status 0."""
    site = plugin(tmp_path, "leaver", "import sys\nsys.exit(0)\n")
    (tmp_path / "a.py").write_text("x = 1\n")
    ended = companyos("check", ".", cwd=tmp_path, PYTHONPATH=site, COMPANYOS_PLUGINS="leaver")
    assert (ended.returncode, "plugin leaver cannot be imported" in ended.stderr) == (2, True)


def test_a_command_that_exits_could_not_check(tmp_path):
    """sys.exit(0) in a command is no success: commands return their status."""
    source = (
        "import sys, click\nfrom companyos import hookimpl\nfrom companyos.ports import Command\n"
        "@hookimpl\ndef companyos_commands():\n    return [Command('leave', 'Leave.', 'leaver_module:leave')]\n"
        "@click.command()\ndef leave():\n    sys.exit(0)\n"
    )
    site = plugin(tmp_path, "leaver", source)
    ended = companyos("leave", cwd=tmp_path, PYTHONPATH=site, COMPANYOS_PLUGINS="leaver")
    assert (ended.returncode, "ended the process itself, with 0" in ended.stderr) == (3, True)


@pytest.mark.parametrize("text", ["plugins: {allow: [ghost]}\n", "plugins: {alow: [ghost]}\n"], ids=["ghost", "typo"])
def test_broken_plugins_do_not_stop_built_in_commands(tmp_path, text):
    """Help shows what is built in, with a line on what is missing; commands that need no plugin run."""
    (tmp_path / "companyos.yaml").write_text(text)
    helped = companyos("--help", cwd=tmp_path)
    assert (helped.returncode, "pack" in helped.stdout) == (0, True)
    assert helped.stderr.startswith("commands of plugins are missing: ")
    assert len(helped.stderr.splitlines()) == 1
    assert "not a public key" in companyos("pack", "verify", "a", "--key", "companyos.yaml", cwd=tmp_path).stderr
    assert companyos("config", "schema", cwd=tmp_path).returncode == 0


def test_plugins_list_shows_what_is_broken(tmp_path):
    """Allowed but not installed, failing to load, claimed twice: each is a row with its state."""
    site = plugin(tmp_path, "leaver", "import sys\nsys.exit(0)\n")
    plugin(tmp_path, "twice", "")
    other = plugin(tmp_path / "other", "twice", "")
    (tmp_path / "other/site/twice_dist-1.0.dist-info").rename(tmp_path / "other/site/second_dist-1.0.dist-info")
    (tmp_path / "companyos.yaml").write_text("plugins: {allow: [ghost, leaver, twice]}\n")
    ended = companyos("plugins", "list", "--json", cwd=tmp_path, PYTHONPATH=os.pathsep.join([site, other]))
    states = sorted((row["name"], row["state"]) for row in json.loads(ended.stdout))
    expected = [
        ("ghost", "allowed, not installed"),
        ("leaver", "broken"),
        ("twice", "ambiguous"),
        ("twice", "ambiguous"),
    ]
    assert (ended.returncode, states) == (0, expected)
    table = companyos("plugins", "list", cwd=tmp_path, PYTHONPATH=os.pathsep.join([site, other]))
    assert table.stdout.count("ambiguous") == 2
    assert "leaver: plugin leaver cannot be imported got: SystemExit: 0" in table.stderr


@pytest.mark.parametrize("key", ["COMPANYOS__FINOPS__BUDGETS", "COMPANYOS__\udc80"])
def test_bad_environment_is_a_configuration_error(tmp_path, key):
    """Neither a value nor a name that cannot be read is a defect of ours."""
    ended = companyos("config", "show", cwd=tmp_path, **{key: "[2027-02-30]"})
    assert (ended.returncode, "error[config.invalid]" in ended.stderr) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(tmp_path, shell):
    """Completion scripts come from the command itself."""
    ended = companyos(cwd=tmp_path, _COMPANYOS_COMPLETE=f"{shell}_source")
    assert (ended.returncode, "companyos" in ended.stdout) == (0, True)
