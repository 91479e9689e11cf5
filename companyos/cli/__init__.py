"""The command line. `main` is the entry point; it answers `--version` before anything else is imported."""

from __future__ import annotations

import sys

from companyos._version import __version__

__all__ = ("main",)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 clean, 1 findings or refusal, 2 usage, 3 could not check."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments == ["--version"]:
        sys.stdout.write(f"companyos {__version__}\n")
        return 0
    from companyos.cli.app import run

    return run(arguments)
