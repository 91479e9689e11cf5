"""What can go wrong with a call of a language model, each kind under a stable code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.errors import ConfigError, RefusedError, UnverifiableError, UserError

if TYPE_CHECKING:
    from companyos.decision import Decision
    from companyos.llm.interface import Completion, FailureKind

__all__ = (
    "ContentFilteredError",
    "ExhaustedError",
    "OutputError",
    "PartialAnswerError",
    "PromptTooLargeError",
    "ProviderError",
    "RejectedError",
    "RouteRefusedError",
    "RoutingError",
    "UnknownModelError",
    "UnknownTaskError",
)


class RoutingError(ConfigError):
    """The routing file does not parse or contradicts itself."""

    code = "llm.routing"


class UnknownTaskError(UserError, LookupError):
    """The routing file has no such task."""

    code = "llm.unknown_task"


class UnknownModelError(UnverifiableError, LookupError):
    """Nobody knows the model or its price, so what a call would cost cannot be judged."""

    code = "llm.unknown_model"


class PromptTooLargeError(UserError, ValueError):
    """The prompt and the longest answer fit into no model that may be asked."""

    code = "llm.prompt_too_large"


class RouteRefusedError(RefusedError):
    """No provider may be asked; `decision` says why for each. Not a byte has left."""

    code = "llm.refused"

    def __init__(self, decision: Decision) -> None:
        super().__init__(
            decision.message,
            got="; ".join(finding.message for finding in decision.findings[:3]) or decision.reason,
            hint=next((finding.hint for finding in decision.findings if finding.hint), None),
        )
        self.decision = decision


class ContentFilteredError(RefusedError):
    """The provider's content filter stopped the prompt or the answer; another provider is not asked instead."""

    code = "llm.content_filter"


class RejectedError(UserError):
    """The provider says that the request is wrong (a 4xx); another provider is not asked instead."""

    code = "llm.rejected"
    exit_status = 1


class ExhaustedError(UnverifiableError):
    """Every provider that may be asked has failed, or the time is over; the text names each attempt."""

    code = "llm.exhausted"


class PartialAnswerError(UnverifiableError):
    """The stream broke off and nobody could continue it; `completion` holds the text so far, marked as partial."""

    code = "llm.partial"

    def __init__(self, completion: Completion, why: str) -> None:
        super().__init__(
            "the answer broke off and nobody could continue it",
            got=f"{len(completion.text)} characters; {why}",
            hint="use what is there as a part, or ask again",
        )
        self.completion = completion


class OutputError(UserError, ValueError):
    """The answer is not of the shape that was asked for; `repair` tells the model what is wrong with it."""

    code = "llm.output"
    exit_status = 1

    def __init__(self, what: str, *, repair: str, got: object = None, expected: object = None) -> None:
        super().__init__(what, got=got, expected=expected)
        self.repair = repair


class ProviderError(UnverifiableError):
    """One attempt at one provider failed; raised by providers, and to callers only within the errors above."""

    code = "llm.provider"

    def __init__(
        self,
        kind: FailureKind,
        what: str,
        *,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        maybe_billed: bool = False,
    ) -> None:
        super().__init__(what)
        self.kind = kind
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.maybe_billed = maybe_billed
