"""The click application: commands load when they are called, and one place turns errors into text and exit status."""

from __future__ import annotations

import os
import sys
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos._version import __version__
from companyos.cli.table import COMMANDS
from companyos.errors import COULD_NOT_CHECK, USAGE, CompanyOSError, ConfigError, UserError

if TYPE_CHECKING:
    from companyos.ports import Command

__all__ = ("app", "run")


class LazyGroup(click.Group):
    """A group that knows its commands by name and one line of help, and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command `cmd_name`."""
        entry = _commands().get(cmd_name)
        return super().get_command(ctx, cmd_name) if entry is None else _load(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with the nearest known command suggested."""
        import difflib

        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click calls it so
        """Write the table of commands without importing any of them."""
        known = _commands()
        rows = [(name, known[name].help) for name in sorted(known)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="companyos", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:
    """A paved road in a box: scaffold, check, decide, measure, and prove afterwards why."""


def run(arguments: list[str]) -> int:
    """Run one command; results go to stdout, everything else to stderr."""
    debug = "--debug" in arguments[:1] or os.environ.get("COMPANYOS_DEBUG") == "1"
    try:
        result = app.main(arguments, prog_name="companyos", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        click.echo("aborted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except CompanyOSError as error:
        return _report(error, debug=debug)
    except Exception as error:  # noqa: BLE001 - the one catch of the command line
        if debug:
            traceback.print_exc()
        click.echo(f"error[internal]: {type(error).__name__}: {error}", err=True)
        click.echo("  next: this is a defect of companyos; run again with --debug and report it", err=True)
        return COULD_NOT_CHECK
    return result if isinstance(result, int) else 0


def _report(error: CompanyOSError, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    text = error.message if isinstance(error, UserError) else str(error)
    click.echo(f"error[{error.code}]: {text}", err=True)
    return error.exit_status


@cache
def _commands() -> dict[str, Command]:
    builtin = {command.name: command for command in COMMANDS}
    added = _plugin_commands()
    taken = sorted(set(builtin) & set(added))
    if taken:
        raise ConfigError(f"a plugin claims the name of a built-in command: {', '.join(taken)}")
    return builtin | added


def _plugin_commands() -> dict[str, Command]:
    # Reading the configuration costs more than all of `--help`: look only where a plugin can be allowed at all.
    if "COMPANYOS_PLUGINS" not in os.environ and not _may_allow_plugins():
        return {}
    from companyos import config
    from companyos.plugins import Plugins, allowed_names

    allow = allowed_names(config.load(config.find(Path.cwd())).plugins.allow)
    return Plugins(allow).commands() if allow else {}


def _may_allow_plugins() -> bool:
    if any(key.upper().startswith("COMPANYOS__PLUGINS") for key in os.environ):
        return True
    for directory in (Path.cwd(), *Path.cwd().parents):
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
