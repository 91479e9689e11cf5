"""Where requests really went: the calls on the ledger by vendor and endpoint, each judged again by the file."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from companyos.errors import printable
from companyos.llm.audit import CALL
from companyos.llm.residency.endpoints import BadEndpointError, parse_endpoint
from companyos.llm.residency.judging import UNLABELLED, judge_request, judge_vendor, where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date, datetime

    from companyos.decision import Decision
    from companyos.llm.residency.policy import ResidencyPolicy
    from companyos.ports import Entry

__all__ = ("COLUMNS", "Share", "distribution", "to_csv")

COLUMNS = (
    "timestamp", "vendor", "region", "jurisdictions", "endpoint", "requests", "share_percent", "compliant", "reason",
    "attested_until",
)  # fmt: skip
"""Columns of the CSV file."""
_UNSENT = frozenset({"connect"})
"""Outcomes of attempts in which nothing has left."""


@dataclass(frozen=True, slots=True)
class Share:
    """What went to one endpoint of one vendor, or may."""

    vendor: str
    """Its name in the residency file and the routing file."""
    region: str | None
    """Region of the endpoint, None if it is not known."""
    jurisdictions: tuple[str, ...]
    """Everywhere that it may process."""
    endpoint: str
    """Host and port."""
    requests: int
    """Attempts on the ledger that went there."""
    decision: Decision
    """The strictest judgement of the file's entry and of those requests."""
    attested_until: date | None
    """The last day on which all that the vendor has attested counts; None without attestations."""

    def to_dict(self) -> dict[str, Any]:
        """The share as a JSON object."""
        return {
            "vendor": self.vendor,
            "region": self.region,
            "jurisdictions": list(self.jurisdictions),
            "endpoint": self.endpoint,
            "requests": self.requests,
            "attested_until": None if self.attested_until is None else self.attested_until.isoformat(),
            **self.decision.to_dict(),
        }


def distribution(policy: ResidencyPolicy, calls: Iterable[Entry], day: date) -> tuple[Share, ...]:
    """Every vendor of the file and every endpoint that was called, with how many requests went there.

    A request is judged as of its own day. One to a vendor that the file does not have (any more) is a violation.
    """
    judge = lru_cache(maxsize=4_096)(partial(_judge, policy))
    shares = {
        (name, _shown(vendor.endpoint)): (vendor.endpoint, 0, judge_vendor(policy, name, day))
        for name, vendor in policy.vendors.items()
    }
    for provider, endpoint, data_class, called in _attempts(calls):
        decision = judge(provider, endpoint, data_class, called)
        url, count, before = shares.get((provider, _shown(endpoint)), (endpoint, 0, decision))
        worse = decision if before.allow and not decision.allow else before
        shares[provider, _shown(endpoint)] = (url, count + 1, worse)
    return tuple(
        Share(vendor, *_place(policy, url), shown, count, decision, _attested_until(policy, vendor, day))
        for (vendor, shown), (url, count, decision) in sorted(shares.items())
    )


def to_csv(shares: Iterable[Share], at: datetime) -> str:
    """The distribution as a CSV file with a heading."""
    rows = tuple(shares)
    total = sum(share.requests for share in rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for share in rows:
        writer.writerow(
            (
                f"{at:%Y-%m-%dT%H:%M:%SZ}",
                share.vendor,
                share.region or "unknown",
                " ".join(share.jurisdictions) or "unknown",
                share.endpoint,
                share.requests,
                format(Decimal(100 * share.requests) / total, ".2f") if total else "0.00",
                str(share.decision.allow).lower(),
                share.decision.reason,
                share.attested_until or "",
            )
        )
    return out.getvalue()


def _attempts(calls: Iterable[Entry]) -> Iterator[tuple[str, str, str, date]]:
    for entry in calls:
        if entry.type == CALL and entry.data is not None:
            for attempt in entry.data["attempts"]:
                if attempt["outcome"] not in _UNSENT:
                    data_class = entry.data["data_class"] or UNLABELLED
                    yield attempt["provider"], attempt["endpoint"], data_class, entry.time.date()


def _judge(policy: ResidencyPolicy, provider: str, endpoint: str, data_class: str, day: date) -> Decision:
    return judge_request(policy, provider=provider, endpoint=endpoint, data_class=data_class, day=day)


def _place(policy: ResidencyPolicy, url: str) -> tuple[str | None, tuple[str, ...]]:
    region, jurisdictions = where(policy, url)
    return region, tuple(sorted(jurisdictions))


def _attested_until(policy: ResidencyPolicy, name: str, day: date) -> date | None:
    if name not in policy.vendors:
        return None
    return min(policy.current_claims(name, day).values(), default=None)


def _shown(url: str) -> str:
    try:
        found = parse_endpoint(url)
    except BadEndpointError:
        return printable(url[:200])
    return f"{found.host}:{found.port}"
