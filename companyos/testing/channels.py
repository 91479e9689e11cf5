"""The contract of notification channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.ports import Channel, Message

__all__ = ("ChannelContract",)


class ChannelContract(ABC):
    """What every notification channel must do; subclass it with a channel and a way to see what arrived."""

    @abstractmethod
    def make_channel(self, tmp_path: Path) -> Channel:
        """A new channel."""

    @abstractmethod
    def arrived(self, tmp_path: Path) -> list[str]:
        """The texts that arrived, in order."""

    def test_delivers_in_order(self, tmp_path: Path) -> None:
        """Every message arrives once, in order, and the channel says where it went."""
        from companyos.ports import Message

        channel = self.make_channel(tmp_path)
        messages: list[Message] = [Message("test.topic", f"text {n}", f"id-{n}") for n in range(3)]
        assert all(channel.deliver(message) for message in messages)  # noqa: S101 - a test
        assert self.arrived(tmp_path) == [message.text for message in messages]  # noqa: S101 - a test
