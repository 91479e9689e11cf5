"""Every built-in command, with the module it is loaded from when it is called."""

from __future__ import annotations

from companyos.ports import Command

__all__ = ("COMMANDS",)

COMMANDS: tuple[Command, ...] = (
    Command("config", "Show the settings and their JSON Schema.", "companyos.cli.config:config"),
    Command("new", "Make a new repository from a golden template.", "companyos.cli.new:new"),
    Command("pack", "Build, verify and show evidence packs.", "companyos.cli.pack:pack"),
    Command("plugins", "List plugins, and allow them to run.", "companyos.cli.plugins:plugins"),
    Command("flags", "Check and list feature flags: owners and expiry dates.", "companyos.cli.flags:flags"),
)
