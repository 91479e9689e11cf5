"""Secrets by reference: the configuration says where one is, never what it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from companyos.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("checked_reference", "read_secret")


def checked_reference(reference: object, setting: str) -> str:
    """`reference`, if it is one: `env:NAME` or `file:PATH`.

    Raises:
        ConfigError: it is something else; what stands there may be the secret itself, so that it is not shown.
    """
    scheme, _, place = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if scheme not in {"env", "file"} or not place:
        raise ConfigError(f"{setting} is no reference to a secret", expected="env:NAME or file:PATH")
    return str(reference)


def read_secret(reference: str, root: Path) -> str:
    """The secret, read anew each time so that it can be rotated; relative paths start from `root`.

    Raises:
        ConfigError: it is not there.
    """
    scheme, _, place = reference.partition(":")
    try:
        text = os.environ.get(place, "") if scheme == "env" else (root / place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("a secret of a notification channel cannot be read", got=reference) from error
    if not text.strip():
        raise ConfigError("a secret of a notification channel is empty", got=reference)
    return text.strip()
