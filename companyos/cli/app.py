"""The click application: commands load when they are called, and one place turns errors into text and exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos._version import __version__
from companyos.cli.table import COMMANDS
from companyos.errors import COULD_NOT_CHECK, USAGE, CompanyOSError, ConfigError, UserError, printable

if TYPE_CHECKING:
    from companyos.ports import Command

__all__ = ("app", "run")

CLOSED_PIPE = 141
"""Exit status when nobody reads the results any more: what a shell gives for SIGPIPE."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
COMPLETION = "_COMPANYOS_COMPLETE"
_BUILTIN: dict[str, Command] = {command.name: command for command in COMMANDS}


class LazyGroup(click.Group):
    """A group that knows its commands by name and one line of help, and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted; only the built-in ones while the plugins cannot be loaded."""
        return sorted({*super().list_commands(ctx), *_known_commands(complain=False)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command `cmd_name`; plugins are asked only for what is not built in."""
        entry = _BUILTIN.get(cmd_name) or _plugin_commands().get(cmd_name)
        return super().get_command(ctx, cmd_name) if entry is None else _load(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with the nearest known command suggested."""
        import difflib

        name = args[0]
        if not name.startswith("-") and name not in _BUILTIN and name not in _plugin_commands():
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click calls it so
        """Write the table of commands without importing any of them."""
        known = _known_commands(complain=True)
        rows = [(name, printable(known[name].help)) for name in sorted(known)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="companyos", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:
    """A paved road in a box: scaffold, check, decide, measure, and prove afterwards why."""
    if not _wants_tracebacks(debug):
        from companyos.cli.logs import say_plainly

        say_plainly()


def run(arguments: list[str]) -> int:
    """Run one command; results go to stdout, everything else to stderr."""
    debug = _wants_tracebacks("--debug" in arguments[:1])
    try:
        status = _run(arguments)
    except click.exceptions.Exit as error:
        status = error.exit_code
    except (click.Abort, EOFError, KeyboardInterrupt):
        click.echo("aborted", err=True)
        status = 130
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo("\n".join(map(printable, shown.getvalue().split("\n"))), nl=False, err=True)
        status = USAGE
    except CompanyOSError as error:
        status = _report(error, debug=debug)
    except BaseException as error:  # noqa: BLE001 - the one catch of the command line
        status = _defect(error, debug=debug)
    return _flush(status)


def _wants_tracebacks(debug: bool) -> bool:
    return debug or os.environ.get("COMPANYOS_DEBUG") == "1"


def _run(arguments: list[str]) -> int:
    instruction = os.environ.get(COMPLETION)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, "companyos", COMPLETION, instruction)
    # Not app.main(): that turns a closed pipe into an exit of the process, which here is a defect of a command.
    with app.make_context("companyos", [*arguments]) as context:
        result = app.invoke(context)
    return result if isinstance(result, int) else 0


def _report(error: CompanyOSError, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    text = error.message if isinstance(error, UserError) else printable(str(error))
    click.echo(f"error[{error.code}]: {text}", err=True)
    return error.exit_status


def _defect(error: BaseException, *, debug: bool) -> int:
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return CLOSED_PIPE
    if isinstance(error, OSError) and error.errno in FULL:
        return _unwritten(error)
    if isinstance(error, SystemExit):
        click.echo(
            f"error[internal]: the command ended the process itself, with {printable(str(error.code))}", err=True
        )
        return COULD_NOT_CHECK
    if isinstance(error, FileNotFoundError) and not _here():
        return _report(
            ConfigError("the current directory does not exist any more", hint="cd to one that does"), debug=debug
        )
    if debug:
        traceback.print_exc()
    click.echo(f"error[internal]: {type(error).__name__}: {printable(str(error))}", err=True)
    click.echo("  next: this is a defect of companyos; run again with --debug and report it", err=True)
    return COULD_NOT_CHECK


def _flush(status: int) -> int:
    """Write what is left, so that results that nobody could read are not taken for delivered ones."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return CLOSED_PIPE
    except OSError as error:
        return _unwritten(error)
    return status


def _unwritten(error: OSError) -> int:
    _drop_output()
    click.echo(f"error[output]: cannot write the results\n  got: {printable(str(error))}", err=True)
    return COULD_NOT_CHECK


def _drop_output() -> None:
    # The interpreter flushes once more at its end, and would complain.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _here() -> Path | None:
    try:
        return Path.cwd()
    except OSError:
        return None


def _known_commands(*, complain: bool) -> dict[str, Command]:
    try:
        return _BUILTIN | _plugin_commands()
    except CompanyOSError as error:
        if complain:
            first = str(error).partition("\n")[0]
            click.echo(f"commands of plugins are missing: {first}; see `companyos plugins list`", err=True)
        return _BUILTIN


@cache
def _plugin_commands() -> dict[str, Command]:
    here = _here()
    # Reading the configuration costs more than all of `--help`: look only where a plugin can be allowed at all.
    if "COMPANYOS_PLUGINS" not in os.environ and (here is None or not _may_allow_plugins(here)):
        return {}
    from companyos import config
    from companyos.plugins import Plugins, allowed_names

    allow = allowed_names(config.load(config.find(here) if here else None).plugins.allow)
    added = Plugins(allow).commands() if allow else {}
    taken = sorted(set(_BUILTIN) & set(added))
    if taken:
        raise ConfigError(f"a plugin claims the name of a built-in command: {', '.join(taken)}")
    return added


def _may_allow_plugins(here: Path) -> bool:
    if any(key.upper().startswith("COMPANYOS__PLUGINS") for key in os.environ):
        return True
    for directory in (here, *here.parents):
        file = directory / "companyos.yaml"
        if file.is_file():
            return b"plugins" in file.read_bytes()
    return False


def _load(entry: Command) -> click.Command:
    module, _, attribute = entry.target.partition(":")
    command: Any = getattr(import_module(module), attribute, None)
    if not isinstance(command, click.Command):
        raise ConfigError(f"command {entry.name} is not a click command", got=entry.target)
    command.name = entry.name
    return command
