"""How the built-in channels register themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.hookspecs import hookimpl
from companyos.notify.channels import JsonLinesChannel, LogChannel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.ports import Channel

__all__ = ("companyos_channels",)


@hookimpl
def companyos_channels(settings: Mapping[str, Any]) -> Sequence[Channel]:
    """The log, and a JSON Lines file (`notify.options.jsonl.path`)."""
    options = settings.get("options", {}).get("jsonl", {})
    path = Path(settings.get("root", ".")) / options.get("path", ".companyos/notifications.jsonl")
    return (LogChannel(), JsonLinesChannel(path))
