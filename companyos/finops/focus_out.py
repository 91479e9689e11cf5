"""Our own spending as FOCUS rows: what budgets settled for language models, for the same table as every bill.

The ledger knows amounts, tokens, provider, model and task of each settlement, and from the record of a router's call
how the tokens were divided. Prices it does not know, so there are no unit prices in the rows, and list, contracted and
effective cost are what was settled. FOCUS 1.2 and 1.4 are written.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from companyos.errors import UserError
from companyos.finops.budgets.journal import TYPE
from companyos.finops.budgets.units import TOKENS, number
from companyos.finops.columns import mandatory
from companyos.finops.money import ISO_4217, plain
from companyos.finops.rows import require_zone, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from companyos.ports import Entry

__all__ = ("FocusVersion", "LlmSpend", "focus_csv", "settled_spend")

FocusVersion = Literal["1.2", "1.4"]
"""The versions that are written."""
SOURCE = "companyos/finops/budgets/"
CALL = "companyos.llm.call"
"""The type of the record of a call of a model, each attempt of which names its reservation."""
UNSAID = "(unspecified)"
"""The provider or model of spending for which none was said."""
_LEVELS = ("company", "team", "feature", "run")
_OPTIONAL = (
    "ChargeFrequency",
    "ConsumedQuantity",
    "ConsumedUnit",
    "PricingCurrency",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "Tags",
)
_CUSTOM = (
    "x_CacheTokens",
    "x_InputTokens",
    "x_Model",
    "x_OutputTokens",
    "x_ReservationId",
    "x_Task",
)


@dataclass(frozen=True, slots=True)
class LlmSpend:
    """What one call of a model, or one task, cost.

    Raises:
        UserError: the time has no zone, the currency is none, or a number of tokens is below zero.
    """

    id: str
    """What it is known by, such as the id of its reservation; unique together with the currency."""
    at: datetime
    """When it was settled; aware."""
    amount: Decimal
    """What it cost."""
    currency: str
    """ISO 4217 code."""
    provider: str | None
    """Whose model it was."""
    model: str | None
    """Which model."""
    task: str
    """The path `company/team/feature/run` that it was spent on."""
    budget: str = "company"
    """The budget that it was settled in."""
    tokens: int | None = None
    """All of its tokens; None when they were not counted."""
    input_tokens: int | None = None
    """Those of the prompt, if told apart."""
    output_tokens: int | None = None
    """Those of the answer, if told apart."""
    cache_tokens: int | None = None
    """Those of the prompt that came from a cache, if told apart."""

    def __post_init__(self) -> None:
        require_zone(self.at, "at")
        if self.currency not in ISO_4217:
            raise UserError("spending in no currency", got=self.currency, expected="an ISO 4217 code")
        counts = (self.tokens, self.input_tokens, self.output_tokens, self.cache_tokens)
        if any(count is not None and count < 0 for count in counts):
            raise UserError("tokens below zero", got=counts, expected="zero or more")


def settled_spend(
    entries: Iterable[Entry], start: date | None = None, end: date | None = None
) -> tuple[tuple[LlmSpend, ...], int]:
    """What budgets settled on the UTC days `[start, end)`, by time; and how many settlements held no money.

    `entries` are those of a ledger. A reservation that was settled twice, as only a lost store can, counts with the
    larger amount, as the budget itself counts it.
    """
    found: dict[tuple[str, str], LlmSpend] = {}
    counted: dict[str, Mapping[str, int]] = {}
    moneyless: set[tuple[str, str]] = set()
    for entry in entries:
        if entry.type == CALL and entry.data is not None:
            counted |= {one["reservation"]: one["tokens"] for one in entry.data.get("attempts", ()) if one["tokens"]}
        if entry.type != f"{TYPE}.settled" or not entry.source.startswith(SOURCE) or entry.data is None:
            continue
        at = datetime.fromtimestamp(entry.data["at_us"] / 1e6, UTC)
        if not (start or date.min) <= at.date() < (end or date.max):
            continue
        budget = entry.source.removeprefix(SOURCE).partition("/")[0]
        parts = list(_spent(entry.data, at, budget))
        if not parts:
            moneyless.add((budget, entry.data["reservation"]))
        for one in parts:
            key = f"{budget}/{one.id}", one.currency
            known = found.get(key)
            found[key] = one if known is None or one.amount > known.amount else known
    told_apart = (_told_apart(one, counted.get(one.id)) for one in found.values())
    return tuple(sorted(told_apart, key=_order)), len(moneyless)


def focus_csv(spend: Iterable[LlmSpend], version: FocusVersion = "1.2") -> str:
    """The spending as FOCUS CSV, one row each: the same text for the same spending, in whatever order it comes.

    A charge period is the UTC hour, a billing period the UTC month. The billing account is the budget, so that rows
    never meet those of the provider's own invoice in one billing period; do not ingest both into one store, or the
    same money counts twice.

    Raises:
        UserError: the version is not one that is written.
    """
    if version not in {"1.2", "1.4"}:
        raise UserError("this version of FOCUS is not written", got=version, expected="1.2 or 1.4")
    header = sorted([*mandatory(version), *_OPTIONAL]) + list(_CUSTOM)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(one) for one in sorted(spend, key=_order))
    return text.getvalue()


def _told_apart(one: LlmSpend, tokens: Mapping[str, int] | None) -> LlmSpend:
    """The same with its tokens as the record of the call divides them, if there is one."""
    if tokens is None:
        return one
    said, answered = tokens["input"], tokens["output"]
    whole = said + answered if one.tokens is None else one.tokens
    return replace(one, tokens=whole, input_tokens=said, output_tokens=answered, cache_tokens=tokens["cache_read"])


def _order(one: LlmSpend) -> tuple[Any, ...]:
    return one.at, one.budget, one.id, one.currency


def _spent(data: Any, at: datetime, budget: str) -> Iterator[LlmSpend]:
    """The amounts of one settlement, one a currency; every level of a unit was charged the same."""
    unit_of = {key: unit for key, _, _, unit, *_ in data["charges"]}
    spent: dict[str, int] = {}
    for key, units in data["actual"]:
        spent[unit_of[key]] = max(units, spent.get(unit_of[key], 0))
    for unit, units in sorted(spent.items()):
        if unit != TOKENS:
            yield LlmSpend(
                data["reservation"],
                at,
                Decimal(number(units, unit)),
                unit,
                data["provider"],
                data["model"],
                data["task"],
                budget,
                spent.get(TOKENS),
            )


def _row(one: LlmSpend) -> dict[str, str]:
    at = one.at.astimezone(UTC)
    hour = at.replace(minute=0, second=0, microsecond=0)
    month = hour.replace(day=1, hour=0)
    provider, cost = one.provider or UNSAID, plain(one.amount)
    measured = one.tokens is not None
    quantity = plain(Decimal(one.tokens or 0))  # with a mark, by which readers of CSV tell decimals from integers
    names = dict.fromkeys(
        ("HostProviderName", "InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceProviderName"), provider
    )
    costs = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost)
    return {
        **names,
        **costs,
        "BillingAccountId": f"{SOURCE}{one.budget}",
        "BillingAccountName": f"Budget {one.budget}",
        "BillingCurrency": one.currency,
        "BillingPeriodStart": stamp(month),
        "BillingPeriodEnd": stamp((month + timedelta(days=32)).replace(day=1)),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{one.model or 'a model'} of {provider} for {one.task}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": stamp(hour),
        "ChargePeriodEnd": stamp(hour + timedelta(hours=1)),
        "ConsumedQuantity": quantity if measured else "",
        "ConsumedUnit": "Tokens" if measured else "",
        "PricingCurrency": one.currency,
        "PricingQuantity": quantity if measured else "1.00",
        "PricingUnit": "Tokens" if measured else "Requests",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{provider} models",
        "ServiceSubcategory": "Generative AI",
        "SkuId": f"{provider}/{one.model or UNSAID}",
        "SkuMeter": "Tokens" if measured else "Requests",
        "Tags": json.dumps(dict(zip(_LEVELS, one.task.split("/"), strict=False)), sort_keys=True),
        "x_CacheTokens": _count(one.cache_tokens),
        "x_InputTokens": _count(one.input_tokens),
        "x_Model": one.model or "",
        "x_OutputTokens": _count(one.output_tokens),
        "x_ReservationId": one.id,
        "x_Task": one.task,
    }


def _count(tokens: int | None) -> str:
    return "" if tokens is None else str(tokens)
