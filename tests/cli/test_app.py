"""The command line: streams, exit statuses, one catch."""

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
    assert (ended.returncode, "ask the signer, never the pack" in ended.stderr) == (2, True)


def test_a_closed_pipe_is_no_error(tmp_path):
    """`companyos ... | head -1` ends quietly."""
    command = f"{sys.executable} -m companyos config schema | head -1"
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("{\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(tmp_path, shell):
    """Completion scripts come from the command itself."""
    ended = companyos(cwd=tmp_path, _COMPANYOS_COMPLETE=f"{shell}_source")
    assert (ended.returncode, "companyos" in ended.stdout) == (0, True)
