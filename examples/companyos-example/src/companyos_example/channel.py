"""A notification channel: one file for each message, for a mail relay or a cron job to pick up."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.ports import Message

__all__ = ("Spool",)


class Spool:
    """Writes messages as numbered JSON files; a file is there whole or not at all."""

    name = "spool"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def deliver(self, message: Message) -> str:
        """Write the message and return its path."""
        self._directory.mkdir(parents=True, exist_ok=True)
        target = self._directory / f"{len(list(self._directory.glob('*.json'))):06}.json"
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_text(
            json.dumps({"topic": message.topic, "text": message.text, "correlation_id": message.correlation_id}),
            encoding="utf-8",
        )
        draft.rename(target)
        return str(target)
