"""Optional dependencies: import them on use, and say in one line what to install when they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from companyos.errors import MissingExtraError

__all__ = ("install_command", "require")


def require(module: str, *, extra: str) -> Any:
    """Import `module`, which belongs to the optional dependencies named `extra`.

    Raises:
        MissingExtraError: it is not installed; the message holds the exact install command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{error.name or module} is not installed",
            hint=install_command(extra),
        ) from error


def install_command(extra: str) -> str:
    """The command that adds the optional dependencies named `extra` to this very installation.

    It names the place that companyos came from (PEP 610), because by its name alone somebody else's package might be
    found on an index.
    """
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = json.loads(distribution("companyos").read_text("direct_url.json") or "{}").get("url", "")
    except (PackageNotFoundError, ValueError):
        origin = ""
    return f"pip install 'companyos[{extra}]{f' @ {origin}' if origin else ''}'"
