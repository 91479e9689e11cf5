"""What this room registers: the wire formats of providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.llm.interface import Provider, ProviderKind, ProviderSetting

__all__ = ("KINDS", "companyos_llm_providers")


class _Kind:
    """A wire format whose module is imported when a provider of it is made."""

    def __init__(self, name: str, load: Callable[[], Callable[[ProviderSetting], Provider]]) -> None:
        self.name = name
        self._load = load

    def make(self, setting: ProviderSetting) -> Provider:
        """A provider of this kind."""
        return self._load()(setting)


def _openai() -> Callable[[ProviderSetting], Provider]:
    from companyos.llm.providers.openai import OpenAIProvider

    return OpenAIProvider


def _responses() -> Callable[[ProviderSetting], Provider]:
    from companyos.llm.providers.responses import ResponsesProvider

    return ResponsesProvider


def _anthropic() -> Callable[[ProviderSetting], Provider]:
    from companyos.llm.providers.anthropic import AnthropicProvider

    return AnthropicProvider


KINDS: tuple[ProviderKind, ...] = (
    _Kind("anthropic", _anthropic),
    _Kind("openai", _openai),
    _Kind("openai-responses", _responses),
)
"""The wire formats that are built in."""


@hookimpl
def companyos_llm_providers() -> Sequence[ProviderKind]:
    """The wire formats of this room."""
    return KINDS
