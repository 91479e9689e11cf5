"""What can go wrong with the residency file, and the refusal of a call, each under a stable code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from companyos.decision import Decision

__all__ = ("ResidencyFileError", "ResidencyRefusedError")


class ResidencyFileError(ConfigError):
    """A file of vendors and where they may process data does not parse or contradicts itself."""

    code = "llm.residency_file"


class ResidencyRefusedError(RefusedError):
    """A prompt may not go to that vendor, endpoint or redirect; `decision` says why, and nothing was sent."""

    code = "llm.residency_refused"

    def __init__(self, decision: Decision) -> None:
        super().__init__(
            decision.message,
            got=decision.reason,
            hint="; ".join(found.hint for found in decision.findings[:1] if found.hint) or None,
        )
        self.decision = decision
