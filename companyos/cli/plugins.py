"""`companyos plugins`: what is installed, what may run."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import ConfigError, printable
from companyos.plugins import PluginError, Plugins, allowed_names, installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.plugins import Installed

__all__ = ("plugins",)


@click.group()
def plugins() -> None:
    """List plugins, and allow them to run."""


@plugins.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Show the installed plugins from their metadata, and the hooks of those that are allowed."""
    allowed = allowed_names(config.load(config.find(Path.cwd())).plugins.allow)
    found = installed()
    rows = [_row(plugin, allowed, found) for plugin in found]
    rows += [_missing(name) for name in sorted(allowed - {row["name"] for row in rows})]
    if as_json:
        echo_json(rows)
        return
    if not rows:
        click.echo("no plugins are installed", err=True)
        return
    columns = ("name", "distribution", "version", "state")
    echo_table(
        ("plugin", *columns[1:], "hooks"),
        [(*(row[column] for column in columns), ", ".join(row["hooks"]) or "-") for row in rows],
    )
    for row in rows:
        if row["error"]:
            click.echo(f"{printable(row['name'])}: {printable(row['error'])}", err=True)


def _row(plugin: Installed, allowed: frozenset[str], found: Sequence[Installed]) -> dict[str, Any]:
    row = asdict(plugin) | {"allowed": plugin.name in allowed, "hooks": [], "error": None}
    if sum(other.name == plugin.name for other in found) > 1:
        return row | {"state": "ambiguous", "error": "more than one distribution claims this name"}
    if plugin.name not in allowed:
        return row | {"state": "not allowed"}
    try:
        hooks = Plugins({plugin.name}).hooks_of(plugin.name)
    except PluginError as error:
        return row | {"state": "broken", "error": " ".join(error.message.split())}
    return row | {"state": "allowed", "hooks": list(hooks)}


def _missing(name: str) -> dict[str, Any]:
    empty = {"name": name, "distribution": "-", "version": "-", "module": "-", "allowed": True, "hooks": []}
    return empty | {"state": "allowed, not installed", "error": "install it, or take it out of plugins.allow"}


@plugins.command()
@click.argument("name")
@click.option("--file", "path", type=click.Path(path_type=Path), default=Path(config.FILE_NAME), show_default=True)
def allow(name: str, path: Path) -> None:
    """Allow the plugin NAME to be loaded, by adding it to companyos.yaml."""
    known = [plugin.name for plugin in installed()]
    if known.count(name) != 1:
        problem = "more than one distribution claims the plugin" if name in known else "there is no installed plugin"
        raise ConfigError(f"{problem} {name!r}", expected=", ".join(known) or "an installed plugin")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before = config.load(path if path.exists() else None, {})
    if name in before.plugins.allow:
        click.echo(f"{name} is allowed already", err=True)
        return
    allowed = before.plugins.model_copy(update={"allow": (*before.plugins.allow, name)})
    _write(path, _with_allowed(text, name), before.model_copy(update={"plugins": allowed}), name)
    click.echo(f"{name} is allowed from now on", err=True)


def _write(path: Path, text: str, wanted: config.Settings, name: str) -> None:
    """Put `text` in the file if it means what is wanted, and nothing else."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        if _settings(draft) != wanted:
            raise ConfigError(
                f"cannot add to {path} without disturbing it",
                expected=f"plugins: {{allow: [{', '.join(map(_quoted, wanted.plugins.allow))}]}}",
                hint=f"add {_quoted(name)} to plugins.allow in it yourself",
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _settings(draft: Path) -> config.Settings | None:
    try:
        return config.load(draft, {})
    except ConfigError:
        return None


def _with_allowed(text: str, name: str) -> str:
    """`text` with `name` added to `plugins.allow` where it is written in one of the usual ways; comments stay."""
    item = _quoted(name)
    text = text if text.endswith("\n") else f"{text}\n"
    head = r"(^plugins:[ \t]*(?:#[^\n]*)?\n(?:(?:[ \t]+[^\n]*|[ \t]*#[^\n]*)?\n)*?"
    if not re.search(r"^plugins:", text, re.MULTILINE):
        return f"{text.rstrip()}\n\nplugins:\n  allow: [{item}]\n".lstrip()
    ways = (
        (head + r"[ ]+allow:[ ]*\[)[ ]*(?=\])", rf"\g<1>{_literal(item)}"),
        (head + r"[ ]+allow:[ ]*\[[^\]#\n]*?)[ ]*,?[ ]*(?=\])", rf"\g<1>, {_literal(item)}"),
        (
            head + r"[ ]+allow:[ \t]*(?:#[^\n]*)?\n(?:[ ]*(?:#|- )[^\n]*\n)*([ ]*)- [^\n]*\n)",
            rf"\g<1>\g<2>- {_literal(item)}\n",
        ),
    )
    for pattern, replacement in ways:
        changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
        if count:
            return changed
    return text


def _quoted(name: str) -> str:
    """`name` as YAML reads it back."""
    plain = re.fullmatch(r"[A-Za-z][\w.-]*", name) and config.parse_yaml(name, name) == name
    return name if plain else json.dumps(name)


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")
