"""The control OBS-AUDIT: what somebody may do to an audit trail who can write its database, and what a service forgets.

Each trail is written to a real ledger by the real `AuditTrail`, then tampered with in the database.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from companyos.controls import Control, Specimen
from companyos.decision import Severity, Verdict
from companyos.ledger import Ledger
from companyos.ledger.merkle import leaf_hash
from companyos.observability.audit.record import FIELDS, SOURCE, TYPE, committed, signed_bytes
from companyos.observability.audit.trail import AuditTrail
from companyos.observability.audit.verification import RULES, check_trail
from companyos.observability.logs import get_logger
from companyos.observability.specimens._quiet import observed
from companyos.signing import PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from companyos.decision import Decision
    from companyos.signing import PublicKey

__all__ = ("ID", "TrailCase", "audit_control", "check")

ID = "OBS-AUDIT"
ORIGIN = "specimens.companyos/log"
ACTS = 5
"""How many records each trail has before anything happens to it."""
AT = 2
"""Index of the record that is tampered with."""
SILENT = {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_SAMPLER": "always_off"}


@dataclass(frozen=True, slots=True)
class TrailCase:
    """A trail and what an honest observer knows about it."""

    url: str
    """Store of the log."""
    log_key: PublicKey
    """Key of the log."""
    key: PrivateKey
    """Key that signs records; its public half is trusted."""
    anchor: bytes
    """A checkpoint that was kept elsewhere."""
    done: tuple[str, ...]
    """Ids of the records that somebody holds receipts for."""

    @property
    def file(self) -> str:
        """Path of the database."""
        return self.url.removeprefix("sqlite:///")


def check(case: TrailCase) -> Decision:
    """May this trail be believed?"""
    with Ledger.open_readonly(case.url, [case.log_key], origin=ORIGIN) as log:
        return check_trail(log, [case.key.public], against=case.anchor, done=case.done)


def audit_control() -> Control:
    """The control over the audit trail."""
    return Control(
        id=ID,
        title="Audit records that were altered, deleted, moved, forged or never written",
        check=check,
        rules=RULES,
        specimens=tuple(_specimens()),
        docs="audit.md",
        subject="audit trail",
        severity=Severity.CRITICAL,
    )


def _open(scratch: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{scratch / 'log.db'}", origin=ORIGIN)


def _world(scratch: Path, acts: int = ACTS, *, retention: str | None = "audit") -> TrailCase:
    key = PrivateKey.generate()
    with _open(scratch) as ledger:
        trail = AuditTrail(ledger, key, retention=retention)
        done = tuple(_act(trail, number) for number in range(acts))
        return TrailCase(f"sqlite:///{scratch / 'log.db'}", ledger.verifier.key, key, ledger.checkpoint(), done)


def _act(trail: AuditTrail, number: int) -> str:
    target = {"type": "table", "id": f"orders_{number}"}
    made = trail.record(
        actor=f"u-{number}", verb="drop", target=target, decision=Verdict.ALLOW, policy="ops", ip="192.0.2.1"
    )
    return made.id


def _tampered(*statements: str, retention: str | None = None) -> Callable[[Path], TrailCase]:
    def build(scratch: Path) -> TrailCase:
        case = _world(scratch, retention=retention)
        with closing(sqlite3.connect(case.file)) as database, database:
            for statement in statements:
                database.execute(statement)
        return case

    return build


def _edited(*, with_leaf: bool, resigned: bool = False) -> Callable[[Path], TrailCase]:
    """The verb of one record changed where it is stored, its hash made to fit, even its signature made anew."""

    def build(scratch: Path) -> TrailCase:
        case = _world(scratch, retention=None)
        with closing(sqlite3.connect(case.file)) as database, database:
            raw = database.execute("SELECT raw FROM entry WHERE idx = ?", (AT,)).fetchone()[0]
            forged = raw.replace(b'"verb":"drop"', b'"verb":"read"')
            if resigned:
                data = json.loads(forged)["data"]
                old, new = data["signature"]["sig"], _signature(case.key, data)["sig"]
                forged = forged.replace(old.encode(), new.encode())
            leaf = leaf_hash(forged) if with_leaf else None
            database.execute("UPDATE entry SET raw = ?, leaf = coalesce(?, leaf) WHERE idx = ?", (forged, leaf, AT))
        return case

    return build


def _rolled_back(scratch: Path) -> TrailCase:
    """The database as it was two records ago: a backup that was put back."""
    case = _world(scratch, ACTS - 2)
    with closing(sqlite3.connect(case.file)) as source, closing(sqlite3.connect(scratch / "backup.db")) as backup:
        source.backup(backup)
    with _open(scratch) as ledger:
        trail = AuditTrail(ledger, case.key)
        done = (*case.done, *(_act(trail, number) for number in range(2)))
        anchor = ledger.checkpoint()
    with closing(sqlite3.connect(scratch / "backup.db")) as backup, closing(sqlite3.connect(case.file)) as target:
        backup.backup(target)
    return replace(case, done=done, anchor=anchor)


def _rewritten(scratch: Path) -> TrailCase:
    """The whole log made anew without the record, by somebody who has a key, but not the log's."""
    case = _world(scratch)
    (scratch / "other").mkdir()
    other = _world(scratch / "other", ACTS - 1)
    with closing(sqlite3.connect(other.file)) as source, closing(sqlite3.connect(case.file)) as target:
        source.backup(target)
    return case


def _planted(
    change: Callable[[dict[str, Any], TrailCase], Mapping[str, Any]], *, identity: str = "planted"
) -> Callable[[Path], TrailCase]:
    """A further record that got into the log by a regular append, but not by the trail."""

    def build(scratch: Path) -> TrailCase:
        case = _world(scratch)
        with _open(scratch) as ledger:
            made = committed({"id": identity, "log": ORIGIN, **dict.fromkeys(FIELDS), "verb": "drop"})
            ledger.append(TYPE, change(made, case), id=identity, source=SOURCE)
        return case

    return build


def _signature(key: PrivateKey, data: Mapping[str, Any]) -> dict[str, str]:
    public = key.public
    text = base64.b64encode(key.sign(signed_bytes(data))).decode()
    return {"alg": public.algorithm, "keyid": public.key_id, "sig": text}


def _unsigned(value: Any) -> Callable[[dict[str, Any], TrailCase], Mapping[str, Any]]:
    return lambda data, _: {**data, "signature": value}


def _by_another(data: dict[str, Any], _: TrailCase) -> Mapping[str, Any]:
    return {**data, "signature": _signature(PrivateKey.generate(), data)}


def _in_anothers_name(data: dict[str, Any], case: TrailCase) -> Mapping[str, Any]:
    forged = _signature(PrivateKey.generate(), data) | {"keyid": case.key.public.key_id}
    return {**data, "signature": forged}


def _changed_later(data: dict[str, Any], case: TrailCase) -> Mapping[str, Any]:
    return {**data, "signature": _signature(case.key, data), "decision": "deny"}


def _added_later(data: dict[str, Any], case: TrailCase) -> Mapping[str, Any]:
    return {**data, "signature": _signature(case.key, data), "note": "approved"}


def _garbled(data: dict[str, Any], case: TrailCase) -> Mapping[str, Any]:
    return {**data, "signature": _signature(case.key, data) | {"sig": "not base64!"}}


def _replayed(data: dict[str, Any], case: TrailCase) -> Mapping[str, Any]:
    other = {**data, "id": "another"}
    return {**other, "signature": _signature(case.key, other)}


def _of_another_log(data: dict[str, Any], case: TrailCase) -> Mapping[str, Any]:
    other = {**data, "log": "elsewhere.example/log"}
    return {**other, "signature": _signature(case.key, other)}


def _without(name: str) -> Callable[[dict[str, Any], TrailCase], Mapping[str, Any]]:
    def change(data: dict[str, Any], case: TrailCase) -> Mapping[str, Any]:
        less = {key: value for key, value in data.items() if key != name}
        return {**less, "signature": _signature(case.key, less)}

    return change


def _only_logged(**options: Any) -> Callable[[Path], TrailCase]:
    """An action whose record went to the application's log, where a level or a switch silenced it."""

    def build(scratch: Path) -> TrailCase:
        case = _world(scratch)
        with observed(SILENT, **options):
            get_logger("app").info("audit", actor="u-9", verb="drop", decision="allow")
        return replace(case, done=(*case.done, "only-logged"))

    return build


def _through(**options: Any) -> Callable[[Path], TrailCase]:
    """A trail that is written while logging, sampling and the SDK are silenced."""

    def build(scratch: Path) -> TrailCase:
        with observed(SILENT, **options):
            return _world(scratch)

    return build


def _erased(scratch: Path) -> TrailCase:
    case = _world(scratch)
    with _open(scratch) as ledger:
        ledger.erase("u-2", reason="asked for")
    return case


def _among_others(scratch: Path) -> TrailCase:
    case = _world(scratch)
    with _open(scratch) as ledger:
        ledger.append("orders.created", {"id": 1})
        return replace(case, anchor=ledger.checkpoint())


# In SQL as constants: 2 is AT, 5 is ACTS.
_SWAP = (
    "UPDATE entry SET idx = 99 WHERE idx = 2",
    "UPDATE entry SET idx = 2 WHERE idx = 3",
    "UPDATE entry SET idx = 3 WHERE idx = 99",
)
_REMOVED = "DELETE FROM entry WHERE idx = 2"
_NEWEST_REMOVED = "DELETE FROM entry WHERE idx = 4"
_CLOSE_THE_GAP = (_REMOVED, "UPDATE entry SET idx = idx - 1 WHERE idx > 2")
_COPY = "INSERT INTO entry SELECT 5, 'copy', source, raw, leaf, sameness FROM entry WHERE idx = 2"


def _specimens() -> list[Specimen]:
    planted = [
        ("the verb of a record edited in the database", _edited(with_leaf=False), "altered"),
        ("the verb edited, and its hash with it", _edited(with_leaf=True), "altered"),
        ("the verb edited and signed anew with the stolen key", _edited(with_leaf=True, resigned=True), "altered"),
        (
            "the payload beside the log edited",
            _tampered("UPDATE detached SET payload = '{}'", retention="audit"),
            "altered",
        ),
        ("two records swapped", _tampered(*_SWAP), "altered"),
        ("a record removed and the gap closed", _tampered(*_CLOSE_THE_GAP), "deleted"),
        ("a record slipped in at the end", _tampered(_COPY), "altered"),
        ("the log made anew under another key", _rewritten, "altered"),
        ("a record removed from the middle", _tampered(_REMOVED), "deleted"),
        ("the newest record removed", _tampered(_NEWEST_REMOVED), "deleted"),
        ("an older backup put back", _rolled_back, "deleted"),
        ("a payload dropped before its time", _tampered("DELETE FROM detached", retention="audit"), "deleted"),
        ("a record without a signature", _planted(_unsigned(None)), "unsigned"),
        ("a record with an empty signature", _planted(_unsigned({})), "unsigned"),
        ("a record that says yes where its signature belongs", _planted(_unsigned("yes")), "unsigned"),
        ("a record that points at the checkpoint instead", _planted(_unsigned({"by": "checkpoint"})), "unsigned"),
        ("a record signed by another key", _planted(_by_another), "forged"),
        ("a record signed by another key in the service's name", _planted(_in_anothers_name), "forged"),
        ("a decision turned after signing", _planted(_changed_later), "forged"),
        ("a field added after signing", _planted(_added_later), "forged"),
        ("a signature that is no Base64", _planted(_garbled), "forged"),
        ("the signed record of another entry", _planted(_replayed), "forged"),
        ("a record that was signed for another log", _planted(_of_another_log), "forged"),
        ("a record that only went to a log at level FATAL", _only_logged(log_level="fatal"), "lost"),
        ("a record that only went to a log at level INFO", _only_logged(log_level="info"), "lost"),
    ]
    found = [Specimen(name, build, f"{ID}.{rule}") for name, build, rule in planted]
    found += [
        Specimen(f"a record that does not say its {name}", _planted(_without(name)), f"{ID}.fields")
        for name in FIELDS
        if name != "signature"
    ]
    clean = [
        ("a whole trail", _world),
        ("a trail inside its entries", lambda scratch: _world(scratch, retention=None)),
        ("a trail among other entries", _among_others),
        ("a trail after an erasure", _erased),
        ("a trail written while logs are at FATAL and the SDK is off", _through(log_level="fatal")),
        ("a trail written in production", _through(environment="prod", log_level="error")),
    ]
    return found + [Specimen(name, build) for name, build in clean]
