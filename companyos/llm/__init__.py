"""Language models behind one router: within budget and residency, and with failover that loses and repeats nothing.

Start here: `ModelRouter("model_routing.yaml", budget).route("...", task="planning")`.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.llm.errors import (
        ContentFilteredError,
        ExhaustedError,
        OutputError,
        PartialAnswerError,
        PromptTooLargeError,
        ProviderError,
        RejectedError,
        RouteRefusedError,
        RoutingError,
        UnknownModelError,
        UnknownTaskError,
    )
    from companyos.llm.interface import (
        Answer,
        Attempt,
        AuditSink,
        CallRecord,
        Candidate,
        Chunk,
        Completion,
        Limits,
        Message,
        OutputShape,
        Price,
        PriceList,
        Provider,
        ProviderKind,
        ProviderSetting,
        Request,
        ResidencyCheck,
        RouteDecision,
        SpendGuard,
        StreamEvent,
        Usage,
    )
    from companyos.llm.local_budget import LocalBudget
    from companyos.llm.router import ModelRouter
    from companyos.llm.routing import RoutingPolicy

__all__ = (
    "Answer",
    "Attempt",
    "AuditSink",
    "CallRecord",
    "Candidate",
    "Chunk",
    "Completion",
    "ContentFilteredError",
    "ExhaustedError",
    "Limits",
    "LocalBudget",
    "Message",
    "ModelRouter",
    "OutputError",
    "OutputShape",
    "PartialAnswerError",
    "Price",
    "PriceList",
    "PromptTooLargeError",
    "Provider",
    "ProviderError",
    "ProviderKind",
    "ProviderSetting",
    "RejectedError",
    "Request",
    "ResidencyCheck",
    "RouteDecision",
    "RouteRefusedError",
    "RoutingError",
    "RoutingPolicy",
    "SpendGuard",
    "StreamEvent",
    "UnknownModelError",
    "UnknownTaskError",
    "Usage",
)

_HOMES = {
    "errors": (
        *("ContentFilteredError", "ExhaustedError", "OutputError", "PartialAnswerError", "PromptTooLargeError"),
        *("ProviderError", "RejectedError", "RouteRefusedError", "RoutingError", "UnknownModelError"),
        "UnknownTaskError",
    ),
    "interface": (
        *("Answer", "Attempt", "AuditSink", "CallRecord", "Candidate", "Chunk", "Completion", "Limits", "Message"),
        *("OutputShape", "Price", "PriceList", "Provider", "ProviderKind", "ProviderSetting", "Request"),
        *("ResidencyCheck", "RouteDecision", "SpendGuard", "StreamEvent", "Usage"),
    ),
    "local_budget": ("LocalBudget",),
    "router": ("ModelRouter",),
    "routing": ("RoutingPolicy",),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
