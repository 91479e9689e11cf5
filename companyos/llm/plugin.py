"""What this room registers: the wire formats of providers, and its controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.controls import Control
from companyos.decision import Severity
from companyos.hookspecs import hookimpl
from companyos.llm.residency.judging import RULES as RESIDENCY_RULES
from companyos.llm.specimens.calls import RULES as CALL_RULES
from companyos.llm.specimens.calls import SPECIMENS as CALL_SPECIMENS
from companyos.llm.specimens.calls import check_call
from companyos.llm.specimens.residency import SPECIMENS as RESIDENCY_SPECIMENS
from companyos.llm.specimens.residency import check_residency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.llm.interface import Provider, ProviderKind, ProviderSetting

__all__ = ("KINDS", "LLM_CALL", "LLM_RESIDENCY", "companyos_controls", "companyos_llm_providers")


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


LLM_CALL = Control(
    id="LLM-CALL",
    title="Calls of models that are not what they seem, or go or cost beyond what is allowed",
    check=check_call,
    rules=CALL_RULES,
    specimens=CALL_SPECIMENS,
    docs="llm-policies.md",
    subject="call case",
    severity=Severity.CRITICAL,
)
"""The control; its subject is a `CallCase`."""

LLM_RESIDENCY = Control(
    id="LLM-RESIDENCY",
    title="Prompts sent where they may not be processed",
    check=check_residency,
    rules=RESIDENCY_RULES,
    specimens=RESIDENCY_SPECIMENS,
    docs="residency.md",
    subject="residency case",
    severity=Severity.CRITICAL,
)
"""The control; its subject is a `ResidencyCase`."""


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The controls of this room."""
    return (LLM_CALL, LLM_RESIDENCY)
