"""The built-in channels, one file each."""

from __future__ import annotations

from companyos.notify.channels.jsonl import JsonLinesChannel
from companyos.notify.channels.log import LogChannel

__all__ = ("JsonLinesChannel", "LogChannel")
