"""Run the service: `python -m` this package."""

from __future__ import annotations

import sys

import uvicorn

from .app import create_app
from .config.settings import SettingsError, load

__all__ = ("main",)

GRACE_SECONDS = 20


def main() -> int:
    """Serve until told to stop; requests in flight are finished first. 2 if the environment is not valid."""
    try:
        settings = load()
    except SettingsError as error:
        print(f"settings: {error}", file=sys.stderr)
        return 2
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
