"""`companyos plugins`: what is installed, what may run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from companyos import config
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import ConfigError
from companyos.plugins import Plugins, allowed_names, installed

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
    loaded = Plugins(allowed & {plugin.name for plugin in found})
    rows: list[dict[str, Any]] = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "allowed": plugin.name in allowed,
            "hooks": list(loaded.hooks_of(plugin.name)),
        }
        for plugin in found
    ]
    if as_json:
        echo_json(rows)
        return
    if not rows:
        click.echo("no plugins are installed", err=True)
        return
    echo_table(
        ("plugin", "distribution", "version", "state", "hooks"),
        [
            (
                row["name"],
                row["distribution"],
                row["version"],
                "allowed" if row["allowed"] else "not allowed",
                ", ".join(row["hooks"]) or "-",
            )
            for row in rows
        ],
    )


@plugins.command()
@click.argument("name")
@click.option("--file", "path", type=click.Path(path_type=Path), default=Path(config.FILE_NAME), show_default=True)
def allow(name: str, path: Path) -> None:
    """Allow the plugin NAME to be loaded, by adding it to companyos.yaml."""
    known = [plugin.name for plugin in installed()]
    if name not in known:
        raise ConfigError(f"no plugin {name!r} is installed", expected=", ".join(known) or "an installed plugin")
    before = config.load(path if path.exists() else None)
    if name in before.plugins.allow:
        click.echo(f"{name} is allowed already", err=True)
        return
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    changed = _with_allowed(text, (*before.plugins.allow, name))
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(changed, encoding="utf-8")
    try:
        if name not in config.load(draft, {}).plugins.allow:
            raise ConfigError(
                f"cannot add to {path} without disturbing it", hint=f"add {name!r} to plugins.allow in it yourself"
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    click.echo(f"{name} is allowed from now on", err=True)


def _with_allowed(text: str, names: tuple[str, ...]) -> str:
    """`text` with `plugins.allow` set to `names`, everything else, comments included, as it was."""
    line = f"  allow: [{', '.join(names)}]\n"
    if not re.search(r"^plugins:", text, re.MULTILINE):
        return f"{text.rstrip()}\n\nplugins:\n{line}".lstrip()
    replaced, count = re.subn(
        r"^  allow:[^\n]*\n(?:  - [^\n]*\n|    - [^\n]*\n)*", line, text, count=1, flags=re.MULTILINE
    )
    return replaced if count else re.sub(r"^plugins:[^\n]*\n", f"plugins:\n{line}", text, count=1, flags=re.MULTILINE)
