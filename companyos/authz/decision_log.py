"""The decisions on the ledger, as events of OPA's decision log, for tools that read those.

The event is that of OPA's decision log service (`EventV1`). What is personal stays behind: pseudonyms take the place
of ids (`masked`), ip and device are left out (`erased`). Of the request, the event has what the ledger keeps of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from companyos._version import __version__
from companyos.authz.audit import DECISION, SOURCE
from companyos.ledger.entry import PERSONAL, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.ledger.reading import Reader
    from companyos.ports import Entry

__all__ = ("PATH", "decisions", "event", "newest_decisions")

PATH = "companyos/access/decision"
"""The rule that was asked, as OPA writes a path."""
BUNDLE = "companyos"
"""Name under which the policies are listed, unless the decision names a bundle."""
_ORIGIN = {"ip": ("ip",), "device": ("device_id", "device_trust")}
"""Which keys of the environment a field of the entry stands for."""
_CHUNK = 512


def decisions(log: Reader, since: int = 0) -> Iterator[Entry]:
    """The entries of decisions from index `since` on, in order."""
    return (entry for entry in log.read(since) if _is_decision(entry))


def newest_decisions(log: Reader, count: int, verdict: str | None = None) -> list[Entry]:
    """The newest `count` decisions, of one verdict only if one is given, oldest first; read from the end."""
    found: list[Entry] = []
    end = len(log)
    while end > 0 and len(found) < count:
        start = max(0, end - _CHUNK)
        page = [entry for entry in log.read(start, end) if _is_decision(entry)]
        found[:0] = [entry for entry in page if verdict is None or (entry.data or {}).get("decision") == verdict]
        end = start
    return found[max(0, len(found) - count) :]


def event(entry: Entry, origin: str) -> dict[str, Any]:
    """One decision as an event of OPA's decision log; `origin` is the log that it comes from."""
    data = entry.data
    made: dict[str, Any] = {
        "labels": {"app": "companyos", "id": origin, "version": __version__},
        "decision_id": entry.id,
        "path": PATH,
        "timestamp": timestamp(entry.time),
        "metrics": {"ledger_index": entry.index},
    }
    if data is None:
        return {**made, "erased": ["/input", "/result"]}
    policy = data.get("policy") or {}
    asked = _input(entry, data)
    labels = made["labels"] | ({"engine": policy["engine"]} if policy.get("engine") else {})
    return {
        **made,
        "labels": labels,
        **({"trace_id": data["trace_id"]} if data.get("trace_id") else {}),
        **({"bundles": {BUNDLE: {"revision": policy["digest"]}}} if policy.get("digest") else {}),
        **({} if asked.value is None else {"input": asked.value}),
        "result": _result(data),
        **({"requested_by": entry.subject} if entry.subject else {}),
        "timestamp": (data.get("audit") or {}).get("decided") or made["timestamp"],
        **({"masked": asked.masked} if asked.masked else {}),
        **({"erased": asked.erased} if asked.erased else {}),
    }


class _Input(NamedTuple):
    """What of a request may leave the house."""

    value: dict[str, Any] | None
    masked: list[str]
    erased: list[str]


def _is_decision(entry: Entry) -> bool:
    return entry.type == DECISION and entry.source == SOURCE


def _input(entry: Entry, data: Mapping[str, Any]) -> _Input:
    if data.get("verb") is None:
        return _Input(None, [], ["/input"])  # malformed: nobody knows what it held
    masked, erased = ["/input/subject/id"], []
    target = dict(data.get("target") or {})
    sealed = _sealed(target.get("id"))
    if sealed is not None:
        target["id"] = sealed
        masked.append("/input/resource/id")
    environment = {key: data[key] for key in ("auth_strength", "approval_ticket") if data.get(key) is not None}
    for field, keys in _ORIGIN.items():
        if data.get(field) is not None:
            erased += [f"/input/environment/{key}" for key in keys]
    value = {
        "subject": {"id": entry.subject, "type": data.get("actor_type")},
        "action": data["verb"],
        "resource": {key: held for key, held in target.items() if held is not None},
        "environment": environment,
    }
    return _Input(value, masked, erased)


def _result(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "allow": data.get("decision") == "allow",
        "decision": data.get("decision"),
        "reason": data.get("reason"),
        "message": data.get("message"),
        "obligations": data.get("obligations", []),
    }


def _sealed(value: object) -> str | None:
    """The pseudonym of whom an encrypted value is about; None if the value is none."""
    if not isinstance(value, dict) or PERSONAL not in value:
        return None
    return str(value[PERSONAL].get("sub"))
