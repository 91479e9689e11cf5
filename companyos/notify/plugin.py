"""How the built-in channels register themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.errors import ConfigError
from companyos.hookspecs import hookimpl
from companyos.notify.channels import JsonLinesChannel, LogChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.ports import Channel

__all__ = ("companyos_channels",)


@hookimpl
def companyos_channels(settings: Mapping[str, Any]) -> Sequence[Channel]:
    """The log, and a JSON Lines file (`notify.options.jsonl.path`)."""
    path = _options(settings).get("path", ".companyos/notifications.jsonl")
    if not isinstance(path, str) or not path:
        raise ConfigError(
            "notify.options.jsonl.path is not a path", got=repr(path), expected="text, such as told.jsonl"
        )
    return (LogChannel(), JsonLinesChannel(Path(settings.get("root", ".")) / path))


def _options(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    options = settings.get("options", {}).get("jsonl", {})
    if not isinstance(options, Mapping):
        raise ConfigError("notify.options.jsonl is not a mapping", got=repr(options), expected="{path: FILE}")
    unknown = sorted(str(key) for key in options if key != "path")
    if unknown:
        raise ConfigError("notify.options.jsonl has unknown keys", got=", ".join(unknown), expected="path")
    return options
