"""Run the service: `python -m` this package."""

from __future__ import annotations

import socket
import sys

import uvicorn

from .app import create_app
from .config.settings import SettingsError, load

__all__ = ("main",)

GRACE_SECONDS = 20


def main() -> int:
    """Serve until told to stop; requests in flight are finished first. 2 if environment or address are not usable."""
    try:
        settings = load()
    except SettingsError as error:
        print(f"settings: {error}", file=sys.stderr)
        return 2
    try:
        listening = _listen(settings.host, settings.port)
    except OSError as error:
        print(f"cannot listen on {settings.host}:{settings.port}", file=sys.stderr)
        print(f"  got: {error.strerror}\n  next: set HOST and PORT to a free address", file=sys.stderr)
        return 2
    config = uvicorn.Config(
        create_app(settings),
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, before anything is opened: a taken address is found out while there is nothing to close."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


if __name__ == "__main__":
    sys.exit(main())
