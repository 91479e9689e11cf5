"""Keys of providers: read where the routing file points, at each use, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

from companyos.llm.errors import ProviderError, RoutingError

__all__ = ("check_reference", "read_key")


def check_reference(reference: str) -> str:
    """The reference, if it is one.

    Raises:
        RoutingError: it is none; what stands there may be the key itself, so that it is not shown.
    """
    scheme, _, place = reference.partition(":")
    if scheme not in {"env", "file"} or not place:
        raise RoutingError("the api_key of a provider is no reference", expected="env:NAME or file:PATH")
    return reference


def read_key(reference: str) -> str:
    """The key.

    Raises:
        ProviderError: there is none at that place.
    """
    scheme, _, place = reference.partition(":")
    try:
        key = os.environ.get(place, "") if scheme == "env" else Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        key = ""
    if not key or not key.isascii() or not key.isprintable():
        raise ProviderError("unauthorized", f"there is no usable key at {reference}")
    return key
