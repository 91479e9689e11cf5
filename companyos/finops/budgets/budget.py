"""The front door: reserve before spending, settle afterwards, and never more than every cap allows."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import msgspec

from companyos.finops.budgets.alerting import AlertDesk
from companyos.finops.budgets.caps import Slots, parts_of
from companyos.finops.budgets.errors import (
    BudgetConflictError,
    BudgetRefusedError,
    BudgetRequestError,
    BudgetStoreError,
    BudgetUnknownError,
)
from companyos.finops.budgets.history import content_of
from companyos.finops.budgets.interface import Charge, Fence, Snapshot
from companyos.finops.budgets.journal import PAGE, Journal, lost
from companyos.finops.budgets.policy import BudgetPolicy
from companyos.finops.budgets.reservation import Reservation, moment
from companyos.finops.budgets.stores import open_store
from companyos.finops.budgets.units import TOKENS, to_units
from companyos.finops.budgets.verdicts import crossed, foreseen, model_refusal, no_room, warnings
from companyos.finops.rows import require_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from companyos.decision import Decision, Finding
    from companyos.finops.budgets.alerting import Publisher, Route, Told
    from companyos.finops.budgets.interface import BudgetLedger, BudgetStore, Level, Mark, Outcome, Purged, Record

__all__ = ("Budget",)

_CLOCK_ATTEMPTS = 5
_BEGIN_ATTEMPTS = 3
_MOST_ID = 200
LONGEST_LEASE_SECONDS = 86_400
"""The longest that a reservation may hold without being settled."""


class Budget:
    """A budget that cannot be overspent: spent and reserved together never pass a cap by a reservation.

    Make one with `Budget.open`. Usable from any number of threads and processes; `close` it, or use it as a context
    manager. Every reservation, settlement, refund, expiry and refusal is an entry on the ledger; with
    `unlogged_percent: 0` (the default) it is there before the call returns.
    """

    def __init__(
        self,
        policy: BudgetPolicy,
        store: BudgetStore,
        ledger: BudgetLedger,
        *,
        name: str = "company",
        clock: Callable[[], float] = time.time,
        on_alert: Callable[[Finding], None] | None = None,
        routes: Sequence[Route] = (),
        fallback: Publisher | None = None,
    ) -> None:
        self.policy = policy
        self.name = name
        self._store = store
        self._journal = Journal(ledger, name)
        self._windows = Slots(policy.caps, policy.zone, policy.allowance)
        self._clock, self._offset = clock, 0.0
        self._desk = AlertDesk(self._journal, routes, fallback=fallback, on_alert=on_alert)
        self._seen_lock = threading.Lock()
        self._fence = self._begin()

    @classmethod
    def open(
        cls,
        policy: BudgetPolicy | Path | str,
        url: str,
        ledger: BudgetLedger,
        *,
        name: str = "company",
        clock: Callable[[], float] = time.time,
        on_alert: Callable[[Finding], None] | None = None,
        routes: Sequence[Route] = (),
        fallback: Publisher | None = None,
    ) -> Budget:
        """The budget `name` in the store at `url`, made if neither store nor ledger knows of one.

        `url` is `sqlite:///PATH`, `postgresql://…` or `redis://…`. `clock` only guesses which windows run; the store's
        own clock decides. `on_alert` and each of `routes` is told once when a level passes the alert threshold, once
        when it is full, and once when a cap of a week or month will be reached within 72 hours; `fallback` hears what
        a route could not deliver.

        Raises:
            BudgetPolicyError: the policy cannot be used.
            BudgetStoreLostError: the store is not the one the ledger tells of, or has lost something.
            BudgetStoreError: the store does not answer.
        """
        read = policy if isinstance(policy, BudgetPolicy) else BudgetPolicy.load(Path(policy))
        store = open_store(url, name)
        try:
            return cls(read, store, ledger, name=name, clock=clock, on_alert=on_alert, routes=routes, fallback=fallback)
        except BaseException:
            store.close()
            raise

    def reserve(
        self,
        amount: Decimal | int | None = None,
        *,
        task: str,
        tokens: int | None = None,
        currency: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 - the reservation's
        lease_seconds: float | None = None,
    ) -> Reservation:
        """Hold an amount of money, of tokens, or both, in every level that applies, or in none.

        `task` is a path `company/team/feature/run`; caps on it and on all above apply. `currency` may be left out where
        all caps of money have the same. With phases in the policy, `provider` and `model` must be said and allowed.
        The same `id` again is the same reservation.

        Raises:
            BudgetRefusedError: a cap has no room, or the provider or model is not allowed; its `decision` is recorded.
            BudgetRequestError: an amount is missing that a cap needs, or makes no sense.
            BudgetConflictError: the id is taken by another reservation, or this one is over.
            BudgetStoreLostError: the store was lost; nothing is reserved.
            BudgetStoreError: the store does not answer; call again with the same id to learn whether it is reserved.
        """
        name = _checked_id(id)
        path = parts_of(task)
        amounts = self._amounts(amount, tokens, currency)
        _check_names(provider, model)
        refusal = model_refusal(self.policy, provider, model)
        if refusal is not None:
            self._refuse(refusal, name, task)
        lease = self.policy.lease_seconds if lease_seconds is None else _checked_lease(lease_seconds)
        body: dict[str, Any] = {"task": task, "provider": provider, "model": model, "amounts": amounts}
        charges, outcome = self._take(name, path, amounts, body, lease)
        if outcome.status == "refused":
            self._refuse(no_room(charges, outcome.levels), name, task)
        if outcome.status != "ok" or outcome.found not in {None, "open"}:
            raise _conflict(name, outcome)
        self._logged(name, outcome)
        self._alert(charges, outcome)
        if outcome.found == "open":
            charges = _charges_in(self._known(name))
        return Reservation(name, task, charges, moment(outcome.lease_until), provider, model, self)

    def settle(
        self, reservation: Reservation | str, amount: Decimal | int | None = None, *, tokens: int | None = None
    ) -> None:
        """`Reservation.settle`, also by the id alone."""
        if isinstance(reservation, str):
            record = self._known(reservation)
            name, charges, body = reservation, _charges_in(record), dict(record.body)
        else:
            name, charges = reservation.id, reservation.charges
            body = _body_of(reservation)
        actual = self._actual(charges, amount, tokens)
        outcome = self._told(self._store.settle(name, actual, body=_text(body), fence=self._fence))
        if outcome.status == "conflict":
            raise _conflict(name, outcome)
        self._logged(None, outcome)
        self._alert(actual, outcome)

    def refund(self, id: str) -> None:  # noqa: A002 - the reservation's
        """`Reservation.refund`, by its id."""
        outcome = self._told(self._store.refund(id, fence=self._fence))
        if outcome.status == "unknown":
            raise _unknown(id)
        if outcome.status == "conflict":
            raise _conflict(id, outcome)
        if self.policy.unlogged_percent == 0:
            self.flush()

    def find(self, id: str) -> Record | None:  # noqa: A002 - the reservation's
        """What became of a reservation."""
        return self._store.find(id)

    def levels(self) -> list[Level]:
        """How full each level is, in the windows that run now and those that are over; what is due has expired."""
        self._told(self._store.expire(fence=self._fence))
        self.flush()
        return self._store.levels()

    def alerts(self) -> list[Told]:
        """Raise what is to be told of all levels by now, and tell again what has not reached every route.

        Spending raises alerts by itself; this is for what time alone brings about, and for channels that failed.
        """
        levels, now = self.levels(), self.now()
        told = self._desk.resend(now)
        running = [one for one in levels if one.start <= now < one.end]
        charges = [Charge(one.key, 0, one.limit, one.unit, one.start, one.end) for one in running]
        held = [(one.spent, one.reserved) for one in running]
        for finding, key, percent in crossed(charges, held, self.policy.alerts.threshold_percent):
            told += self._raise(finding, f"{key}:{percent}", key, now)
        for finding, key in warnings(levels, now):
            told += self._raise(finding, f"{key}:projected", key, now)
        return told

    def purge(self, before: datetime, *, dry_run: bool = False) -> Purged:
        """Forget reservations of the store that are over, in windows that ended by `before`; the ledger keeps all.

        The sums of each level stay as they are, and equal to the ledger's. A caller that settles such a reservation
        again is not known any more, so `before` must be at least a day ago, the longest lease.

        Raises:
            BudgetRequestError: `before` is less than a day ago, or has no time zone.
            BudgetStoreLostError: the store was lost; nothing was removed.
        """
        self._told(self._store.expire(fence=self._fence))
        self.flush()
        moment_before = require_zone(before, "before").timestamp()
        if moment_before > self.now() - LONGEST_LEASE_SECONDS:
            raise BudgetRequestError(
                "what is purged must be over for a day",
                got=before.isoformat(),
                expected="a moment a day ago or earlier",
            )
        found = self._store.purge(moment_before, fence=self._fence, dry_run=dry_run)
        if found.lost:
            raise lost("it is another one than when it was opened")
        if not dry_run and found.removed:
            self._journal.record("purged", {"before": before.isoformat(), "removed": found.removed})
        return found

    def open_reservations(self) -> list[Record]:
        """What is reserved and not yet settled."""
        return self._store.open_records()

    def now(self) -> float:
        """The store's clock: seconds since 1970."""
        return self._store.now()

    def record(self, decision: Decision) -> Decision:
        """Leave a verdict on the ledger; it then carries the id of its entry."""
        data = decision.to_dict()
        del data["audit_id"], data["durable"]
        audit = self._journal.record("verdict", data)
        return decision if audit is None else decision.recorded(audit)

    def flush(self) -> None:
        """Bring every event that waits to the ledger."""
        self._journal.carry(self._store, self._fence)

    def close(self) -> None:
        """Bring what waits to the ledger, and release the store."""
        try:
            self.flush()
        finally:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._store.close()

    def _begin(self) -> Fence:
        """What to hold the store to, once it is known to be the ledger's."""
        import secrets

        if self._store.mark() is None and self._journal.epoch() is None:
            self._store.create(secrets.token_hex(8), Snapshot(), replaces=None)
        for _ in range(_BEGIN_ATTEMPTS):
            known, mark = self._journal.epoch(), self._store.mark()
            doubt = self._doubt(known, mark)
            if mark is not None and doubt is None:
                break
            time.sleep(0.05)  # somebody may have made or rebuilt it between the two looks
        else:
            raise lost(doubt or "nothing is known of it")
        self._journal.begin("opened", mark.epoch, {"unlogged_percent": str(self.policy.unlogged_percent)})
        return Fence(mark.epoch, mark.seq)

    def _doubt(self, known: str | None, mark: Mark | None) -> str | None:
        """Why the store is not the one that the ledger tells of; None if it is."""
        if mark is None:
            return "there is nothing in it, and the ledger tells of one"
        if not mark.whole:
            return "its server was restarted, or it is a copy: what it forgot nobody knows"
        if known is None:
            return "the ledger does not know of it" if mark.seq else None
        if known != mark.epoch:
            return f"it is of epoch {mark.epoch}, and the ledger tells of {known}"
        if self._journal.is_behind(self._store, mark):
            return "it knows less than the ledger: an older copy was put back"
        return None

    def _take(
        self, name: str, path: tuple[str, ...], amounts: Mapping[str, int], body: dict[str, Any], lease: float
    ) -> tuple[tuple[Charge, ...], Outcome]:
        for _ in range(_CLOCK_ATTEMPTS):
            now = self._clock() + self._offset
            charges = self._windows.charges(path, amounts, body["provider"], now)
            text = _text(body | {"charges": [one[:6] for one in charges], "lease_ms": round(lease * 1000)})
            outcome = self._told(
                self._store.reserve(
                    name, charges, body=text, content=content_of(body), lease_seconds=lease, fence=self._fence
                )
            )
            if outcome.status != "clock":
                return charges, outcome
        raise BudgetStoreError("the store's clock does not stand still", got=f"{_CLOCK_ATTEMPTS} windows in one call")

    def _told(self, outcome: Outcome) -> Outcome:
        """Note what the store said, or raise if it is lost."""
        if outcome.status == "lost":
            raise lost("it is another one than when it was opened, was restarted, or knows less than before")
        with self._seen_lock:
            if outcome.seq > self._fence.seen:
                self._fence = Fence(self._fence.epoch, outcome.seq)
            self._offset = outcome.now - self._clock()
        return outcome

    def _logged(self, reserved: str | None, outcome: Outcome) -> None:
        """Have the ledger know what it must know before the caller does; else take a reservation back."""
        if not outcome.log_first and outcome.waiting < PAGE:
            return
        try:
            self.flush()
        except BaseException:
            if reserved is not None and outcome.found is None:
                self._store.refund(reserved, fence=self._fence)
            raise

    def _alert(self, charges: tuple[Charge, ...], outcome: Outcome) -> None:
        for finding, key, percent in crossed(charges, outcome.levels, self.policy.alerts.threshold_percent):
            self._raise(finding, f"{key}:{percent}", key, outcome.now)
        for finding, key in foreseen(charges, outcome.levels, outcome.now):
            self._raise(finding, f"{key}:projected", key, outcome.now)

    def _raise(self, finding: Finding, name: str, key: str, now: float) -> list[Told]:
        return self._desk.raise_alert(finding, name, key, now) if self._desk.is_new(name) else []

    def _refuse(self, decision: Decision, name: str, task: str) -> NoReturn:
        data = decision.to_dict() | {"asked": name, "task": task}
        del data["audit_id"], data["durable"]
        audit = self._journal.record("refused", data)
        raise BudgetRefusedError(decision if audit is None else decision.recorded(audit))

    def _known(self, name: str) -> Record:
        found = self._store.find(name)
        if found is None:
            raise _unknown(name)
        return found

    def _amounts(self, amount: Decimal | int | None, tokens: int | None, currency: str | None) -> dict[str, int]:
        amounts = {}
        if amount is not None:
            unit = currency or self._currency()
            amounts[unit] = to_units(amount, unit)
        if tokens is not None:
            amounts[TOKENS] = to_units(tokens, TOKENS)
        if not amounts or not any(amounts.values()):
            raise BudgetRequestError("nothing is to be reserved", got=amounts, expected="an amount, tokens, or both")
        return amounts

    def _currency(self) -> str:
        found = sorted({cap.unit for cap in self.policy.caps} - {TOKENS})
        if len(found) != 1:
            raise BudgetRequestError(
                "the amount does not say its currency",
                got=", ".join(found) or "no caps of money",
                expected="currency=…",
            )
        return found[0]

    @staticmethod
    def _actual(charges: tuple[Charge, ...], amount: Decimal | int | None, tokens: int | None) -> tuple[Charge, ...]:
        units = {one.unit for one in charges}
        if tokens is not None and TOKENS not in units:
            raise BudgetRequestError("no tokens were reserved", got=tokens, expected=", ".join(sorted(units)))
        money = sorted(units - {TOKENS})
        if amount is not None and not money:
            raise BudgetRequestError("no money was reserved", got=amount, expected=TOKENS)
        said: dict[str, int] = {}
        if amount is not None:
            said[money[0]] = to_units(amount, money[0], what="actual amount")
        if tokens is not None:
            said[TOKENS] = to_units(tokens, TOKENS, what="actual number")
        return tuple(one._replace(amount=said.get(one.unit, one.amount)) for one in charges)


def _checked_id(name: str | None) -> str:
    if name is None:
        import uuid

        return uuid.uuid4().hex
    if not 1 <= len(name) <= _MOST_ID or not name.isprintable():
        raise BudgetRequestError("no id of a reservation", got=name, expected=f"1 to {_MOST_ID} printable characters")
    return name


def _check_names(*names: str | None) -> None:
    for name in names:
        if name is not None and not (0 < len(name) <= _MOST_ID and name.isprintable()):
            expected = f"1 to {_MOST_ID} printable characters"
            raise BudgetRequestError("no name of a provider or model", got=name, expected=expected)


def _checked_lease(seconds: float) -> float:
    if not 0 < seconds <= LONGEST_LEASE_SECONDS:
        raise BudgetRequestError("no lease", got=seconds, expected="more than 0 and at most 86400 seconds")
    return max(1, round(seconds * 1000)) / 1000


def _text(body: Mapping[str, Any]) -> str:
    return msgspec.json.encode(body).decode()


def _charges_in(record: Record) -> tuple[Charge, ...]:
    return tuple(Charge(*one) for one in record.body["charges"])


def _body_of(reservation: Reservation) -> dict[str, Any]:
    amounts = {one.unit: one.amount for one in reservation.charges}
    return {
        "task": reservation.task,
        "provider": reservation.provider,
        "model": reservation.model,
        "amounts": amounts,
        "charges": [one[:6] for one in reservation.charges],
    }


def _conflict(name: str, outcome: Outcome) -> BudgetConflictError:
    what = "is taken by another one" if outcome.found in {None, "open"} else f"was {outcome.found} before"
    return BudgetConflictError(
        f"reservation {name} {what}; nothing was written", got=outcome.found, hint="reserve under another id"
    )


def _unknown(name: str) -> BudgetUnknownError:
    return BudgetUnknownError("there is no reservation of that id", got=name, hint="companyos budget show lists them")
