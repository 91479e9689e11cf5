"""The small protocols through which rooms meet, and the value objects that hooks mention.

Rooms on one floor never import each other; they ask for one of these instead, and `company.py` hands it to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from companyos.decision import Obligation

__all__ = (
    "AccessRequest",
    "Channel",
    "Command",
    "DecisionEngine",
    "Delivery",
    "Entry",
    "LedgerPort",
    "Message",
    "ObligationHandler",
    "Opinion",
    "Pending",
    "Personal",
    "Receipt",
    "TextNet",
    "is_idle",
)


@dataclass(frozen=True, slots=True)
class Personal:
    """A value about a person, to be encrypted under that person's key wherever it is stored.

    The ledger stores the ciphertext and a pseudonym, never the value nor the person's id; erasing the person's key
    makes it unreadable everywhere at once. As the `subject` of an entry it stands for the pseudonym alone.
    """

    value: Any
    """The JSON value to protect."""
    person: str
    """Whom it is about: the id used in the company's own systems."""


class Receipt(NamedTuple):
    """Proof for the caller that an entry is durable and has its place."""

    id: str
    """The entry's id, unique within its source."""
    index: int  # type: ignore[assignment] # hides tuple.index, which nobody asks a receipt
    """Its index in the log, counted from 0 without gaps."""
    leaf_hash: bytes
    """SHA-256 leaf hash (RFC 6962), 32 bytes."""
    size: int
    """A tree size that includes the entry."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What an append in a caller's own transaction returns: the entry is logged if and only if that commits."""

    id: str
    """The entry's id, unique within its source."""
    source: str
    """What produced it."""
    digest: bytes
    """The leaf hash that it will have, 32 bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger, as listeners and projections see it."""

    index: int
    """Its index in the log."""
    id: str
    """Unique within `source`."""
    source: str
    """URI reference of what produced it."""
    type: str
    """Reverse-dotted or dotted name of what happened, for example `companyos.authz.decision`."""
    time: datetime
    """When it was appended: aware, UTC."""
    stream: str | None
    """The sequence it belongs to (an order, a budget, a release), if any."""
    subject: str | None
    """What it is about; a person only as a pseudonym."""
    data: Mapping[str, Any] | None
    """The payload with personal fields still encrypted; None when it is detached and was dropped."""


class LedgerPort(Protocol):
    """What a room needs of the ledger to leave its entries there."""

    def append(
        self,
        type: str,  # noqa: A002 - the CloudEvents attribute is called so
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - the CloudEvents attribute is called so
        source: str | None = None,
        stream: str | None = None,
        subject: str | Personal | None = None,
    ) -> Receipt:
        """Append one entry; the same `id` and content again give the same receipt.

        `data` may hold `Personal` values at any depth.

        Raises:
            IntegrityError: the id is taken by an entry with other content.
        """
        ...


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """May this subject do this action to that resource, here and now?"""

    subject: Mapping[str, Any]
    """`id`, `type` and `attributes` of who asks."""
    action: str
    """What is to be done: `read`, `write`, `delete`, `export`, or any name the policies know."""
    resource: Mapping[str, Any]
    """`id`, `type` and the attributes that policies read (`owner`, `region`, `contains_pii`, ...)."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """`ip`, `device_trust`, `time`, `auth_strength`, `approval_ticket`, ..."""

    def to_dict(self) -> dict[str, Any]:
        """The request as a JSON object, with the playbook's keys."""
        return {
            "subject": dict(self.subject),
            "action": self.action,
            "resource": dict(self.resource),
            "environment": dict(self.environment),
        }


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one engine thinks of a request; opinions are data, combined by a fixed rule in which deny wins."""

    allow: bool
    """Whether the engine would allow it."""
    reason: str
    """Stable id of the policy that decided."""
    message: str = ""
    """The same for a person."""
    obligations: tuple[Obligation, ...] = ()
    """What must be carried out for it to be allowed."""
    version: str | None = None
    """Digest of the policies that gave it, where the engine learns that only with the answer (a remote one)."""


class DecisionEngine(Protocol):
    """A policy decision point: embedded (Rego, Cedar) or remote (OPA, AuthZEN)."""

    @property
    def name(self) -> str:
        """Name by which the configuration chooses it."""
        ...

    @property
    def version(self) -> str:
        """Digest of the policies it decides by."""
        ...

    def decide(self, request: AccessRequest) -> Opinion:
        """The engine's opinion.

        Raises:
            UnverifiableError: the policies could not be evaluated; the caller must refuse.
        """
        ...


class ObligationHandler(Protocol):
    """Carries out one kind of obligation."""

    @property
    def obligation(self) -> str:
        """Id of the obligation it discharges."""
        ...

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """Carry it out on the result `value` of the guarded call, and return what may leave.

        Raises:
            RefusedError: it could not be carried out, so the call is refused.
        """
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell people."""

    topic: str
    """Dotted name of the kind of message, for example `gate.refused`."""
    text: str
    """What to tell, plain text."""
    correlation_id: str = ""
    """Ties the message to the trace, decision or release that caused it; one is found or made where it is empty."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Further JSON values for channels that can show them."""
    id: str = ""
    """Idempotency key, the same on every attempt; made where it is empty."""
    time: datetime | None = None
    """When it was published: aware, UTC; set by the notifier."""
    traceparent: str = ""
    """The W3C trace context it was published in, if any; set by the notifier."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one message on one channel."""

    channel: str
    """Name of the channel."""
    delivered: bool
    """Whether the channel took it."""
    detail: str = ""
    """Where it went, or why it did not."""
    message_id: str = ""
    """Id of the message, to ask for its status by."""
    queued: bool = False
    """Whether it is in the outbox and will be tried, or tried again, by a worker."""


class TextNet(Protocol):
    """The safety net over what leaves: masks what looks like a secret."""

    def field(self, key: str, value: Any) -> Any:
        """What may be shown of a JSON value under that name; a value without secrets comes back equal."""
        ...


class Channel(Protocol):
    """A way to reach people.

    A channel that stays within the company says so by an attribute `outside = False`: what it is given may be logged
    anyway. One whose receiver takes a message once, however often it arrives, says so by `honours_key = True`.
    """

    @property
    def name(self) -> str:
        """Name by which the configuration chooses it."""
        ...

    def deliver(self, message: Message) -> str:
        """Deliver the message and return where it went; raise if it could not be delivered.

        An attempt may be repeated, with the same `message.id`. An exception may say `permanent = True` where that is
        pointless, or `retry_after_seconds` where it is too early.
        """
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """A command for the `companyos` command line, loaded only when it is called."""

    name: str
    """Its name, as typed."""
    help: str
    """One line for the list of commands."""
    target: str
    """`package.module:attribute` of a click command."""


def is_idle(function: object) -> bool:
    """Whether a listener or validator says by a method `is_idle` that nobody would hear it now.

    Whoever is about to call it may leave that out, and all that would be copied and decoded for it.
    """
    ask = getattr(function, "is_idle", None)
    return ask is not None and ask() is True
