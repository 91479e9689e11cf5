"""What is logged while a command runs: said in a few lines, without the traceback that `--debug` shows."""

from __future__ import annotations

import logging

from companyos.errors import UserError, printable

__all__ = ("say_plainly",)


def say_plainly() -> None:
    """Have what nobody else takes care of written to stderr as text for people; a command that logs sets up its own."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Plain())


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname.lower()}: {printable(record.getMessage())}"
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return text
        why = error.message if isinstance(error, UserError) else printable(f"{type(error).__name__}: {error}")
        return f"{text}\n  why: {why}"
