"""DuckDB with bounded memory, no network, and a progress that can be watched."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from companyos._extras import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ("EXTRA", "Progress", "connect", "duckdb", "literal", "literals", "quoted", "watched")

EXTRA = "finops-duckdb"
"""The optional dependencies that hold DuckDB."""
MEMORY = "400MB"
"""What DuckDB may take before it spills to disk; Python and the allocator come on top."""
THREADS = 4
"""Each thread holds a row group of every column; more threads would need more memory."""
POLL_SECONDS = 0.2

Progress: TypeAlias = "Callable[[str, float | None], None]"
"""Called with the name of a step and the share of it that is done, 0 to 1, or None when unknown."""


def duckdb() -> Any:
    """The module.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require("duckdb", extra=EXTRA)


def connect(scratch: Path) -> Any:
    """A private in-memory database that spills into `scratch`."""
    connection = duckdb().connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY,
            "temp_directory": str(scratch),
            "threads": str(min(THREADS, os.cpu_count() or 1)),
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = true")  # counted for `watched`,
    connection.execute("SET enable_progress_bar_print = false")  # and never drawn by DuckDB itself
    return connection


@contextmanager
def watched(connection: Any, progress: Progress | None, step: str) -> Iterator[None]:
    """Tell `progress` how far the queries run inside have come."""
    if progress is None:
        yield
        return
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_SECONDS):
            share = connection.query_progress()
            progress(step, share / 100 if share >= 0 else None)

    watcher = threading.Thread(target=poll, daemon=True)
    progress(step, 0.0)
    watcher.start()
    try:
        yield
        progress(step, 1.0)
    finally:
        done.set()
        watcher.join()


def quoted(name: str) -> str:
    """A name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """A text as SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def literals(texts: Sequence[str]) -> str:
    """Texts as a comma-separated list of SQL literals."""
    return ", ".join(map(literal, texts))
