"""Every evaluation as an event on the span in hand (OpenTelemetry feature-flag conventions)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos._extras import require

require("openfeature", extra="flags")

from openfeature.hook import Hook  # noqa: E402 - the line above says what to install when it is missing
from opentelemetry import trace  # noqa: E402

if TYPE_CHECKING:
    from openfeature.flag_evaluation import FlagEvaluationDetails, FlagValueType
    from openfeature.hook import HookContext, HookHints

__all__ = ("EvaluationHook",)


class EvaluationHook(Hook):
    """Adds `feature_flag.evaluation` to the span in hand; never whom it was evaluated for, which is personal data."""

    def finally_after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[FlagValueType],
        hints: HookHints,  # noqa: ARG002 - OpenFeature's signature
    ) -> None:
        """Add the event, if a span is being recorded."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        attributes = {
            "feature_flag.key": details.flag_key,
            "feature_flag.provider.name": hook_context.provider_metadata.name if hook_context.provider_metadata else "",
            "feature_flag.result.reason": str(details.reason or "unknown").lower(),
            "feature_flag.result.variant": details.variant or "",
            "error.type": str(details.error_code).lower() if details.error_code else "",
        }
        span.add_event("feature_flag.evaluation", {key: value for key, value in attributes.items() if value})
