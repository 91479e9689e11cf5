"""What a call must not do under failover, and what it may: real requests over a socket, a real budget and ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - a field of a dataclass names it
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path  # noqa: TC003 - a field of a dataclass names it
from typing import TYPE_CHECKING

from companyos.controls import Specimen
from companyos.decision import Decision, Finding, Severity
from companyos.finops.budgets.errors import BudgetRefusedError
from companyos.llm.audit import TEXT, CallAudit
from companyos.llm.errors import ContentFilteredError, ExhaustedError, RouteRefusedError
from companyos.llm.residency.guard import ResidencyGuard
from companyos.llm.residency.policy import ResidencyPolicy
from companyos.llm.specimens.residency import NOW
from companyos.llm.specimens.vendors import ANSWER, Behaviour, Vendors

if TYPE_CHECKING:
    from companyos.ledger import Ledger
    from companyos.llm.interface import Completion
    from companyos.llm.router import ModelRouter

__all__ = ("RULES", "SPECIMENS", "CallCase", "check_call")

ID = "LLM-CALL"
RULES = {
    f"{ID}.truncated": "An answer that is not whole is not passed off as one.",
    f"{ID}.content-filter": "What one vendor's content filter stops is not asked of another vendor instead.",
    f"{ID}.budget": "A failover does not spend what the budget has no room for.",
    f"{ID}.residency": "A failover does not go where the data may not.",
    f"{ID}.redirect": "A redirect to another host is not followed.",
    f"{ID}.secret-kept": "A secret that somebody put into a prompt is not kept on the audit trail.",
}
_TASK = "review"
_AMPLE = Decimal(1)
"""Room for several attempts."""
_PRICE = Decimal("0.001")
"""Of a token; with at most 100 of the answer a call holds a tenth, and what its prompt may take."""


@dataclass(frozen=True, slots=True)
class CallCase:
    """A call, and the world that it is made in."""

    folder: Path
    """An empty directory."""
    vendors: Mapping[str, Behaviour] = field(default_factory=lambda: {"one": "ok", "two": "ok"})
    """How each vendor answers; the first is preferred, the second the fallback."""
    room: Decimal = Decimal(100)
    """What the budget has left."""
    listed: tuple[str, ...] = ("one", "two")
    """Vendors in the residency file."""
    prompt: str = "Is the report fine?"
    """What is asked."""
    secret: str | None = None
    """What of the prompt must not be kept."""


def check_call(case: CallCase) -> Decision:
    """Make the call, and say what kept it from being made, or from being all that it seemed."""
    from companyos.ledger import Ledger
    from companyos.llm.local_budget import LocalBudget

    with Vendors(case.vendors) as vendors, Ledger.open(f"sqlite:///{case.folder / 'ledger.db'}") as ledger:
        budget = LocalBudget(case.room)
        with _router(case, vendors, ledger, budget) as router:
            try:
                made = router.route(case.prompt, task=_TASK, data_class="sensitive", max_tokens=100)
            except (BudgetRefusedError, ContentFilteredError, ExhaustedError, RouteRefusedError) as error:
                return _judged(case, vendors, error)
        return _kept(case, made, ledger)


def _router(case: CallCase, vendors: Vendors, ledger: Ledger, budget: object) -> ModelRouter:
    from companyos.llm.router import ModelRouter
    from companyos.llm.routing import RoutingPolicy

    routing = {
        "currency": "EUR",
        "providers": {
            name: {
                "kind": "openai",
                "base_url": vendors.url(name),
                "models": {_TASK: "specimen"},
                "cost_per_1k_tokens": {"specimen": float(_PRICE * 1000)},
            }
            for name in case.vendors
        },
        "task_types": {_TASK: {"preferred_provider": "one", "fallback": "two", "max_tokens": 100}},
        "failover": {"max_retries": 2, "retry_delay_ms": 1, "fallback_provider": "two", "deadline_seconds": 10},
    }
    local = {
        "region": "on-premise",
        "data_retention": True,
        "training_data_opt_out": True,
        "logging_enabled": True,
    }
    listed = {name: {**local, "endpoint": vendors.url(name)} for name in case.listed}
    guard = ResidencyGuard(ResidencyPolicy.parse({"vendors": listed}), clock=lambda: NOW)
    return ModelRouter(RoutingPolicy.parse(routing), budget, residency=guard, audit=CallAudit(ledger))  # type: ignore[arg-type]


def _judged(case: CallCase, vendors: Vendors, error: Exception) -> Decision:
    """Which rule the refusal is by; none if somebody was asked who should not have been."""
    first, second = case.vendors["one"], vendors.asked["two"]
    if isinstance(error, ContentFilteredError):
        return _denied("content-filter", error) if not second else _missed("another vendor was asked")
    if case.room < _AMPLE:  # refused at once, or after a first attempt that may be billed
        return _denied("budget", error) if not second else _missed("it was asked without a reservation")
    if "two" not in case.listed:
        return _denied("residency", error) if not second else _missed("data left for an unlisted vendor")
    if first == "cut":
        return _denied("truncated", error)
    if first == "elsewhere":
        return _denied("redirect", error)
    return Decision.undetermined(f"{ID}.failed", str(error))


def _kept(case: CallCase, made: Completion, ledger: Ledger) -> Decision:
    if made.text != ANSWER or made.partial:
        return _missed("the answer is not whole, and was passed off as one")
    kept = json.dumps([entry.data for entry in ledger.read() if entry.type == TEXT])
    if case.secret is None:
        return Decision.allowed(f"{ID}.answered") if case.prompt in kept else _missed("the text was not kept")
    if case.secret in kept:
        return _missed("the secret stands on the ledger")
    return _denied("secret-kept", "a secret in the prompt was masked before it was kept")


def _denied(rule: str, why: object) -> Decision:
    message = str(why).splitlines()[0]
    found = Finding(f"{ID}.{rule}", message, Severity.CRITICAL)
    return Decision.denied(found.rule, message, findings=[found])


def _missed(why: str) -> Decision:
    """Something went through that must not: undetermined, so that it counts neither as caught nor as clean."""
    return Decision.undetermined(f"{ID}.missed", why)


def _case(
    vendors: Mapping[str, Behaviour] | None = None,
    *,
    room: Decimal = Decimal(100),
    listed: tuple[str, ...] = ("one", "two"),
    secret: str | None = None,
    scratch: Path,
) -> CallCase:
    prompt = "Is the report fine?" if secret is None else f"Is the report fine? Use {secret} for the login."
    return CallCase(scratch, vendors or {"one": "ok", "two": "ok"}, room, listed, prompt, secret)


def _specimen(name: str, rule: str | None, vendors: Mapping[str, Behaviour] | None = None, **plan: object) -> Specimen:
    def build(scratch: Path) -> CallCase:
        return partial(_case, vendors, **plan)(scratch=scratch)  # type: ignore[arg-type]

    return Specimen(name, build, None if rule is None else f"{ID}.{rule}")


_KEY = "sk-" + "proj-" + "Z9y8X7w6V5u4T3s2R1q0" * 2
_TOKEN = "ghp" + "_" + "a1B2c3D4e5F6g7H8i9J0" * 2

SPECIMENS = (
    _specimen("both vendors end their answers early", "truncated", {"one": "cut", "two": "cut"}),
    _specimen("the content filter stops it", "content-filter", {"one": "filtered", "two": "ok"}),
    _specimen("room for one attempt, and the first may be billed", "budget", {"one": "cut", "two": "ok"},
              room=Decimal("0.3")),
    _specimen("no room at all", "budget", room=Decimal("0.01")),
    _specimen("the fallback is not in the residency file", "residency", {"one": "broken", "two": "ok"},
              listed=("one",)),
    _specimen("both vendors send the request elsewhere", "redirect", {"one": "elsewhere", "two": "elsewhere"}),
    _specimen("a vendor's key in the prompt", "secret-kept", secret=_KEY),
    _specimen("a token of a code host in the prompt", "secret-kept", secret=_TOKEN),
    _specimen("an ordinary call", None),
    _specimen("the first is overloaded, the second answers", None, {"one": "overloaded", "two": "ok"}),
    _specimen("the first ends early, the second answers", None, {"one": "cut", "two": "ok"}),
    _specimen("the first is not in the residency file, the second answers", None, listed=("two",)),
)  # fmt: skip
