"""The guard at the door: every request of the router passes it, and so does every hop of a failover."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from companyos.decision import Decision
from companyos.llm.residency.endpoints import BadEndpointError, parse_endpoint
from companyos.llm.residency.errors import ResidencyRefusedError
from companyos.llm.residency.judging import UNLABELLED, judge_redirect, judge_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.llm.residency.policy import ResidencyPolicy
    from companyos.ports import LedgerPort

__all__ = ("REFUSAL", "LocalOnly", "ResidencyGuard")

REFUSAL = "companyos.llm.residency_refusal"
"""Type of the entry that records a refusal."""
_SOURCE = "companyos/llm"
_MOST_REMEMBERED = 1_024
_log = logging.getLogger("companyos.llm")


class ResidencyGuard:
    """Judges requests by a policy; refusals go to the ledger and, where the file says so, to whoever is told.

    An answer is remembered until the end of its UTC day, since attestations end with a day, so that asking again costs
    next to nothing; a refusal is recorded and told of once a day for each vendor, endpoint and class of data. An alert
    that cannot be delivered changes no answer; a refusal that cannot be recorded is raised, and nothing is sent either
    way.
    """

    def __init__(
        self,
        policy: ResidencyPolicy,
        *,
        ledger: LedgerPort | None = None,
        on_violation: Callable[[Decision], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self._ledger = ledger
        self._on_violation = on_violation
        self._clock = clock
        self._remembered: dict[tuple[str, str, str | None], tuple[float, Decision]] = {}

    def region(self, provider: str) -> str | None:
        """The region that the file declares for a vendor; None for one that it does not have."""
        vendor = self.policy.vendors.get(provider)
        return None if vendor is None else vendor.region

    def check(self, *, provider: str, endpoint: str, data_class: str | None, model: str = "") -> Decision:
        """Whether a request may go out; a refusal has been recorded when this returns.

        Data of which nobody says the class is judged as `pii`: the strictest class that a vendor may be shown.
        """
        now = self._clock()
        key = (provider, endpoint, data_class)
        until, decision = self._remembered.get(key, (0.0, None))
        if decision is None or now >= until:
            at = datetime.fromtimestamp(now, UTC)
            judged = UNLABELLED if data_class is None else data_class
            decision = judge_request(
                self.policy, provider=provider, endpoint=endpoint, data_class=judged, day=at.date()
            )
            if not decision.allow or decision.findings:
                decision = self._refused(decision, model)
            self._remember(key, at, decision)
        return decision

    def require(self, *, provider: str, endpoint: str, data_class: str | None, model: str = "") -> Decision:
        """`check` for those who want an exception.

        Raises:
            ResidencyRefusedError: the request may not go out.
        """
        decision = self.check(provider=provider, endpoint=endpoint, data_class=data_class, model=model)
        if not decision.allow:
            raise ResidencyRefusedError(decision)
        return decision

    def check_redirect(self, *, provider: str, endpoint: str, location: str, model: str = "") -> Decision:
        """Whether a redirect may be followed; a refusal has been recorded when this returns."""
        decision = judge_redirect(self.policy, provider=provider, endpoint=endpoint, location=location)
        return decision if decision.allow else self._refused(decision, model)

    def _remember(self, key: tuple[str, str, str | None], at: datetime, decision: Decision) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        tomorrow = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        self._remembered[key] = (tomorrow.timestamp(), decision)

    def _refused(self, decision: Decision, model: str) -> Decision:
        """Record and tell of what was refused, or let through although something is wrong with it."""
        if self._ledger is not None:
            kept = {key: value for key, value in decision.to_dict().items() if key not in {"audit_id", "durable"}}
            receipt = self._ledger.append(REFUSAL, {**kept, "model": model}, source=_SOURCE)
            decision = decision.recorded(receipt.id)
        if self._on_violation is not None and self.policy.enforcement.alert_on_violation:
            try:
                self._on_violation(decision)
            except Exception:  # noqa: BLE001 - who is told may fail in any way, and the answer stands
                _log.exception("nobody could be told of a residency violation")
        return decision


class LocalOnly:
    """What holds where there is no residency file: nothing leaves this machine."""

    def __init__(self, missing: str) -> None:
        self._missing = missing

    def region(self, provider: str) -> str | None:  # noqa: ARG002 - the protocol's
        """None: nobody has said."""
        return None

    def check(self, *, provider: str, endpoint: str, data_class: str | None, model: str = "") -> Decision:  # noqa: ARG002 - the protocol's
        """Allowed where the endpoint is this very machine."""
        try:
            stays = parse_endpoint(endpoint).stays_here
        except BadEndpointError:
            stays = False
        if stays:
            return Decision.allowed("LLM-RESIDENCY.held", "it stays on this machine")
        message = f"no {self._missing} says where {provider} may process data"
        return Decision.undetermined("LLM-RESIDENCY.no-file", message, facts={"provider": provider})
