"""The record of calls on the ledger: who was asked what, where, for how much, and what came back.

Two entries a call. `companyos.llm.call` stays for ever and holds no text: digests of prompt and answer are salted, so
that nobody can test guesses at what was asked. `companyos.llm.text` lies beside the log under a class of retention,
with the salt and, where the class of the data allows it, the text: masked, or encrypted under the person it is about.
Dropping it, or erasing that person, leaves every proof intact.
"""

from __future__ import annotations

import base64
import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from companyos.canonical import digest
from companyos.errors import UnverifiableError
from companyos.ledger.entry import timestamp
from companyos.ledger.preparation import Draft
from companyos.ports import Personal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from companyos.ledger import Ledger
    from companyos.llm.interface import Attempt, CallRecord
    from companyos.observability.redaction import Redactor

__all__ = ("CALL", "TEXT", "CallAudit", "CallAuditError", "about", "commitment")

CALL = "companyos.llm.call"
"""Type of the entry about a call."""
TEXT = "companyos.llm.text"
"""Type of the entry with salt and text."""
SOURCE = "companyos/llm"
LATE_SECONDS = 0.05
"""How late the record of a call of low risk may be on the ledger."""
MOST_WAITING = 64
"""How many of them may wait; the one after writes all of them before it goes on."""
LONGEST_TEXT = 65_536
"""Characters of one message that are kept."""
LONGEST_CALL = 1_000_000
"""Characters of all of them together; what comes later is left out, and the digest covers it all the same."""
_SALT_BYTES = 16

_LOW_RISK = frozenset({"non-sensitive", "telemetry"})
"""Classes whose calls may be recorded a moment late, many in one commit."""
_MASKED = {"non-sensitive": "general", "telemetry": "telemetry", "sensitive": "sensitive"}
"""Classes whose text is kept with secrets and addresses masked, with the class of retention of each."""
_RETENTION = {"pii": "pii", "restricted": "restricted", "secret": "restricted"}
"""Class of retention of the others."""

_about: ContextVar[str | None] = ContextVar("companyos_llm_about", default=None)


class CallAuditError(UnverifiableError):
    """A call could not be recorded, so that its answer may not be used."""

    code = "llm.audit"


@contextmanager
def about(person: str) -> Iterator[None]:
    """The calls within are about this person, under whose key their text is kept; without it no personal text is."""
    token = _about.set(person)
    try:
        yield
    finally:
        _about.reset(token)


class CallAudit:
    """Writes the records of calls to a ledger; a `companyos.llm.interface.AuditSink`.

    A record is durable when `record` returns, but for data of low risk, which is written up to 50 ms later and many at
    once: a process that is killed loses that much. `close` it before the ledger. With `keep_text` False no text is
    kept, whatever its class.
    """

    def __init__(self, ledger: Ledger, *, redactor: Redactor | None = None, keep_text: bool = True) -> None:
        from companyos.observability.redaction import Redactor

        self._ledger = ledger
        self._redactor = redactor or Redactor()
        self._keep_text = keep_text
        self._lock = threading.Lock()
        self._waiting: list[Draft] = []
        self._timer: threading.Timer | None = None

    def record(self, call: CallRecord) -> str:
        """Record a call, and return the id of its entry.

        Raises:
            CallAuditError: it is not on the ledger, or a batch before it is not.
        """
        drafts = self._drafts(call)
        if call.data_class in _LOW_RISK:
            self._put(drafts)
        else:
            self._write(drafts)
        return call.id

    def flush(self) -> None:
        """Write what waits.

        Raises:
            CallAuditError: the ledger does not take it; it is kept, and tried again by whoever comes next.
        """
        with self._lock:
            self._flush()

    def close(self) -> None:
        """Write what waits; raises as `flush`."""
        self.flush()

    def _put(self, drafts: Sequence[Draft]) -> None:
        with self._lock:
            if len(self._waiting) >= 2 * MOST_WAITING:
                self._flush()
            self._waiting += drafts
            if self._timer is None:
                self._timer = threading.Timer(LATE_SECONDS, self._late)
                self._timer.daemon = True
                self._timer.start()

    def _late(self) -> None:
        """Write the batch; where that fails, whoever records next tries again and is told."""
        with self._lock:
            self._timer = None
            try:
                self._flush()
            except CallAuditError:
                # Kept: the next record of low risk beyond the bound, `flush` and `close` raise it.
                return

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []

    def _write(self, drafts: Sequence[Draft]) -> None:
        try:
            self._ledger.append_many(drafts)
        except Exception as error:
            raise CallAuditError(
                "a call of a language model could not be recorded",
                got=f"{type(error).__name__}: {error}",
                expected="an entry on the ledger",
                hint="do not use the answer; mend the ledger",
            ) from error

    def _drafts(self, call: CallRecord) -> list[Draft]:
        salt = base64.b64encode(os.urandom(_SALT_BYTES)).decode()
        turns = [[message.role, message.content] for message in call.request.messages]
        data = {
            **_facts(call),
            "prompt": commitment(salt, turns),
            "answer": None if call.text is None else commitment(salt, call.text),
            "text": f"{call.id}/text",
        }
        kept, retention = self._kept(call)
        beside = {"call": call.id, "salt": salt, "text": kept}
        return [
            Draft(CALL, data, call.id, SOURCE, stream=call.feature),
            Draft(TEXT, beside, f"{call.id}/text", SOURCE, retention=retention),
        ]

    def _kept(self, call: CallRecord) -> tuple[Any, str]:
        """The text as it is kept, None if it is not; and for how long."""
        data_class = call.data_class or "pii"
        retention = _MASKED.get(data_class) or _RETENTION.get(data_class, "restricted")
        if not self._keep_text:
            return None, retention
        if data_class in _MASKED:
            return self._texts(call, masked=True), retention
        person = _about.get()
        if data_class == "pii" and person is not None:
            return Personal(self._texts(call, masked=False), person), retention
        return None, retention

    def _texts(self, call: CallRecord, *, masked: bool) -> Mapping[str, Any]:
        left = LONGEST_CALL

        def shown(text: str) -> str:
            nonlocal left
            limit = min(LONGEST_TEXT, left)
            left -= min(len(text), limit)
            return self._redactor.cut(text, limit) if masked else text[:limit]

        turns = [{"role": message.role, "content": shown(message.content)} for message in call.request.messages]
        return {"prompt": turns, "answer": None if call.text is None else shown(call.text), "masked": masked}


def commitment(salt: str, value: Any) -> str:
    """The digest by which salt and text prove what was asked or answered: `sha256:` and 64 hexadecimal digits."""
    return digest({"salt": salt, "value": value})


def _facts(call: CallRecord) -> dict[str, Any]:
    chosen = call.attempts[-1] if call.attempts else None
    return {
        "at": timestamp(call.at),
        "duration_ms": round(call.seconds * 1000, 3),
        "task": call.task,
        "feature": call.feature,
        "data_class": call.data_class,
        "provider": None if chosen is None else chosen.provider,
        "model": None if chosen is None else chosen.model,
        "region": None if chosen is None else chosen.region,
        "attempts": [_attempt(one) for one in call.attempts],
        "decision": _decision(call),
        "error": call.error,
        "trace_id": call.trace_id,
    }


def _attempt(one: Attempt) -> dict[str, Any]:
    usage = one.usage
    return {
        "provider": one.provider,
        "model": one.model,
        "endpoint": one.endpoint,
        "region": one.region,
        "outcome": one.outcome,
        "status": one.status,
        "duration_ms": round(one.seconds * 1000, 3),
        "first_token_ms": None if one.first_token_seconds is None else round(one.first_token_seconds * 1000, 3),
        "tokens": None
        if usage is None
        else {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cache_read": usage.cache_read_tokens,
            "cache_write": usage.cache_write_tokens,
            "reasoning": usage.reasoning_tokens,
        },
        "amount": format(one.amount, "f"),
        "currency": one.currency,
        "assumed": one.assumed,
        "reservation": one.reservation,
    }


def _decision(call: CallRecord) -> dict[str, Any]:
    """Whom to ask, and why the others were not."""
    return {
        "input_tokens": call.decision.input_tokens,
        "max_tokens": call.decision.max_tokens,
        "chain": [[one.provider, one.model] for one in call.decision.chain],
        "refused": {f"{one.provider}/{one.model}": one.refusal for one in call.decision.candidates if one.refusal},
    }
