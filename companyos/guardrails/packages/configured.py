"""The index that pip and npm are configured to use here, or the one a caller names."""

from __future__ import annotations

import configparser
import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.guardrails.packages.indexes import (
    ChainIndex,
    DirectoryIndex,
    HttpIndex,
    OfflineIndex,
    load_snapshot,
)
from companyos.guardrails.packages.interface import IndexUnreachableError
from companyos.guardrails.packages.public import PUBLIC_NPM, PUBLIC_PYPI

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.guardrails.packages.interface import PackageIndex

__all__ = ("configured_index", "open_index")


def open_index(where: str | None, *, offline: bool = False, environ: Mapping[str, str] = os.environ) -> PackageIndex:
    """The index at `where`: a simple-index URL, a directory, or a snapshot file; None for the configured one.

    Raises:
        IndexUnreachableError: `where` is none of these.
    """
    if where and "://" not in where:
        path = Path(where)
        if path.is_dir():
            return DirectoryIndex(path)
        if path.is_file():
            return load_snapshot(path)
        raise IndexUnreachableError("no package index there", got=where, expected="a URL, a directory or a snapshot")
    if offline:
        return OfflineIndex()
    if where:
        options = _pip_options(environ)
        return HttpIndex(where, _npm_registry(environ), cafile=options.get("cert"))
    return configured_index(environ)


def configured_index(environ: Mapping[str, str] = os.environ) -> PackageIndex:
    """What pip's environment variables and configuration files name, and npm's registry.

    pip's own order holds: an environment variable wins over the virtual environment's file, that over the user's,
    that over the machine's. `extra-index-url` and `find-links` count as further places.
    """
    options = _pip_options(environ)
    first = None if options.get("no-index", "").lower() in {"1", "true", "yes", "on"} else PUBLIC_PYPI
    main = options.get("index-url", first) if first else None
    parts: list[HttpIndex | DirectoryIndex] = [HttpIndex(main, _npm_registry(environ), cafile=options.get("cert"))]
    for address in options.get("extra-index-url", "").split() if first else ():
        local = _local(address)
        parts.append(DirectoryIndex(local) if local else HttpIndex(address, cafile=options.get("cert")))
    for address in options.get("find-links", "").split():
        local = _local(address) or (Path(address) if "://" not in address else None)
        parts += [DirectoryIndex(local)] if local is not None and local.is_dir() else []
    return ChainIndex([part for part in parts if not isinstance(part, DirectoryIndex) or part.exists])


def _local(address: str) -> Path | None:
    parts = urllib.parse.urlsplit(address)
    return Path(urllib.request.url2pathname(parts.path)) if parts.scheme == "file" else None


def _pip_options(environ: Mapping[str, str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise IndexUnreachableError(f"pip's configuration {path.name} cannot be read", got=error) from error
        for section in ("global", "install"):
            if parser.has_section(section):
                options |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for key, value in environ.items():
        if key.startswith("PIP_") and value:
            options[key.removeprefix("PIP_").lower().replace("_", "-")] = value
    return options


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    given = environ.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return []
    home = Path(environ.get("HOME") or Path.home())
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", user / "pip/pip.conf"]
    return [
        path for path in (*files, Path(sys.prefix) / "pip.conf", *([Path(given)] if given else [])) if path.is_file()
    ]


def _npm_registry(environ: Mapping[str, str]) -> str:
    return environ.get("npm_config_registry") or environ.get("NPM_CONFIG_REGISTRY") or PUBLIC_NPM
