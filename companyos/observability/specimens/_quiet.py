"""Setting up observability for a specimen, and putting back what was there.

What is in force is in force for the whole process, and controls are proved in several threads: one at a time.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from companyos.observability.runtime import setup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.observability.runtime import Observability

__all__ = ("observed",)

_one_at_a_time = threading.RLock()


@contextmanager
def observed(environ: Mapping[str, str] | None = None, **options: Any) -> Iterator[tuple[Observability, io.StringIO]]:
    """Observability of a service `specimen` while the `with` lasts, and the stream that its lines go to."""
    stream = io.StringIO()
    given: dict[str, Any] = {
        "service": "specimen",
        "version": "1.0.0",
        "environment": "test",
        "stream": stream,
    } | options
    with _one_at_a_time, _environment(environ or {}), setup(**given) as runtime:
        yield runtime, stream


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
