"""A file to which each message is appended as one line of JSON, for whatever collects such files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.ports import Message

__all__ = ("JsonLinesChannel",)


class JsonLinesChannel:
    """Appends each message to a file, whole lines only, and waits until it is on the disk."""

    name = "jsonl"
    outside = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def deliver(self, message: Message) -> str:
        """Append the message."""
        line = json.dumps(
            {
                "id": message.id,
                "topic": message.topic,
                "text": message.text,
                "correlation_id": message.correlation_id,
                "properties": dict(message.properties),
            },
            ensure_ascii=False,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return str(self._path)
