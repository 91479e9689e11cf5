"""`log_event`: what is done is on the ledger before it is done."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from companyos.authz.audit import SOURCE
from companyos.authz.interface import ObligationError, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.decision import Obligation

__all__ = ("EVENT", "LogEvent")

EVENT = "companyos.authz.event"
"""Type of the entry."""


class LogEvent:
    """Appends an entry with the obligation's properties and the context's `attributes`."""

    obligation = "log_event"
    phase = Phase.BEFORE
    types = ("notification", "custom")

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """Append the entry to `context["ledger"]`; the value passes unchanged.

        Raises:
            ObligationError: there is no ledger in the context.
        """
        ledger = context.get("ledger")
        if ledger is None:
            raise ObligationError("log_event has no ledger to write to", hint="discharge through with_obligations")
        decision = context.get("decision")
        data = {
            "decision_id": decision.audit_id if decision is not None else None,
            # A denial that obliges to it is logged too, and must not read like the deed.
            "decision": decision.verdict.value if decision is not None else None,
            "event": dict(obligation.properties),
            "attributes": dict(context.get("attributes", {})),
        }
        ledger.append(EVENT, data, id=str(uuid.uuid4()), source=SOURCE)
        return value
