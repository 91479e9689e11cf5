"""Optional dependencies: import them on use, and say in one line what to install when they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from companyos.errors import MissingExtraError

__all__ = ("require",)


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
            hint=f"pip install 'companyos[{extra}]'",
        ) from error
