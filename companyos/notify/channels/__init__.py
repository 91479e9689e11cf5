"""The built-in channels, one file each."""

from __future__ import annotations

from companyos.notify.channels.apprise import AppriseChannel
from companyos.notify.channels.jsonl import JsonLinesChannel
from companyos.notify.channels.log import LogChannel
from companyos.notify.channels.webhook import WebhookChannel

__all__ = ("AppriseChannel", "JsonLinesChannel", "LogChannel", "WebhookChannel")
