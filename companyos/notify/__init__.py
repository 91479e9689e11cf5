"""Telling people: channels, and a record of what was delivered."""

from __future__ import annotations

from companyos.notify.channels import JsonLinesChannel, LogChannel
from companyos.notify.publisher import Notifier
from companyos.ports import Channel, Delivery, Message

__all__ = ("Channel", "Delivery", "JsonLinesChannel", "LogChannel", "Message", "Notifier")
