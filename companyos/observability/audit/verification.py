"""Checking an audit trail: the log it is in, each record's signature, and that nothing is missing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from companyos.canonical import NotCanonicalError
from companyos.decision import Decision, Finding, Severity
from companyos.errors import UserError
from companyos.ledger import (
    EntryMissingError,
    LedgerDamagedError,
    RolledBackError,
    TailDroppedError,
)
from companyos.ledger.retention import DEFAULT_DAYS
from companyos.observability.audit.record import FIELDS, RETENTION, SOURCE, TYPE, signed_bytes
from companyos.signing.keys import b64decode_strict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from companyos.ledger.reading import Reader
    from companyos.ports import Entry
    from companyos.signing import PublicKey

__all__ = ("RULES", "check_trail", "problem_of")

RULES = {
    "OBS-AUDIT.altered": "The log is the one that was signed: no entry changed, moved or was slipped in.",
    "OBS-AUDIT.deleted": "Nothing that was logged is gone, and no record before its time of retention is over.",
    "OBS-AUDIT.unsigned": "Each record carries a signature.",
    "OBS-AUDIT.forged": "Each signature holds, over this very record, by a key that is trusted.",
    "OBS-AUDIT.fields": "Each record has every audit field of the playbook.",
    "OBS-AUDIT.lost": "Each action that was done has its record.",
}
"""What the control OBS-AUDIT may report."""
_GONE = (EntryMissingError, TailDroppedError, RolledBackError)


def check_trail(
    log: Reader,
    keys: Sequence[PublicKey],
    *,
    against: bytes | None = None,
    done: Collection[str] = (),
    also: Collection[str] = (),
    retention: str = RETENTION,
    retention_days: Mapping[str, int] = DEFAULT_DAYS,
) -> Decision:
    """May this trail be believed? The log is verified from its first byte, then each record by the trusted `keys`.

    `against` is an anchor, without which a log that was cut back to an earlier state is not recognised. `done` are the
    ids of records that somebody holds receipts for. Entries of the types `also` must have the fields, too; they are
    signed by the log's checkpoint only.

    Denied with findings by the rules of OBS-AUDIT; undetermined if there is no record at all, or the log cannot be
    read.
    """
    try:
        verified = log.verify(against=against)
    except LedgerDamagedError as error:
        rule = "OBS-AUDIT.deleted" if isinstance(error, _GONE) else "OBS-AUDIT.altered"
        finding = Finding(rule, error.what, Severity.CRITICAL, hint="companyos ledger verify --against ANCHOR --deep")
        return Decision.denied("audit.damaged", error.message, findings=[finding])
    except UserError as error:
        return Decision.undetermined("audit.unreadable", error.message)
    seen: set[str] = set()
    findings: list[Finding] = []
    expired = 0
    for entry in log.read():
        if entry.type != TYPE and entry.type not in also:
            continue
        seen.add(entry.id)
        if entry.data is None and _is_over(entry, retention_days.get(retention)):
            expired += 1
        else:
            findings += _findings(entry, keys)
    findings += [Finding("OBS-AUDIT.lost", f"there is no record {name}") for name in sorted(set(done) - seen)]
    facts = {"records": len(seen), "expired": expired, "entries": verified.size, "anchored": verified.anchored}
    return _verdict(findings, facts)


def _verdict(findings: list[Finding], facts: dict[str, Any]) -> Decision:
    if findings:
        return Decision.denied("audit.refused", f"findings: {len(findings)}", findings=findings, facts=facts)
    if not facts["records"]:
        return Decision.undetermined("audit.empty", "there is no audit record in this log", facts=facts)
    tail = "" if facts["anchored"] else "; without an anchor a rollback is not excluded"
    return Decision.allowed("audit.intact", f"{facts['records']} records, all signed and whole{tail}", facts=facts)


def _findings(entry: Entry, keys: Sequence[PublicKey]) -> Iterable[Finding]:
    if entry.data is None:
        yield Finding("OBS-AUDIT.deleted", f"the payload of record {entry.id} is gone before its time")
        return
    missing = [name for name in FIELDS if name not in entry.data]
    if missing:
        yield Finding("OBS-AUDIT.fields", f"record {entry.id} lacks {', '.join(missing)}")
    if entry.type == TYPE:
        problem = problem_of(entry, keys)
        if problem is not None:
            yield Finding(problem[0], f"record {entry.id}: {problem[1]}", Severity.CRITICAL)


def problem_of(entry: Entry, keys: Sequence[PublicKey]) -> tuple[str, str] | None:
    """What is wrong with the signature of one record, as a rule and a sentence; None if it holds.

    It needs nothing but the entry and the public key: a record that was handed over alone can be checked.
    """
    data = entry.data or {}
    signature = data.get("signature")
    if not isinstance(signature, Mapping) or not signature.get("sig"):
        return "OBS-AUDIT.unsigned", "it carries no signature"
    key = next((key for key in keys if key.key_id == signature.get("keyid")), None)
    if key is None:
        return "OBS-AUDIT.forged", f"it is signed by a key that nobody trusts: {str(signature.get('keyid'))[:16]}"
    try:
        key.verify(b64decode_strict(str(signature["sig"])), signed_bytes(data))
    except (UserError, NotCanonicalError, ValueError, TypeError) as error:
        return "OBS-AUDIT.forged", f"its signature does not hold: {error}"
    if data.get("id") != entry.id or entry.source != SOURCE:
        return "OBS-AUDIT.forged", "its signature is that of another record"
    return None


def _is_over(entry: Entry, kept_days: int | None) -> bool:
    return kept_days is not None and entry.time < datetime.now(UTC) - timedelta(days=kept_days)
