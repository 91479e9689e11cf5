"""The control `AUTHZ-PDP-SUBJECT`: what callers say of subjects and must not be honoured where there is a store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from companyos.authz.identity import Attribute, Binding, IdentityStore, Role, Subject
from companyos.authz.interface import RequestError
from companyos.authz.request import build_request
from companyos.authz.subjects import UnresolvedSubjectError
from companyos.authz.vouching import CONTRADICTED, SubjectSource, Vouching
from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding, Severity
from companyos.ledger import Ledger

if TYPE_CHECKING:
    from companyos.ports import AccessRequest

__all__ = ("CONTROL", "ID", "check")

ID = "AUTHZ-PDP-SUBJECT"
RULES = {
    "subject.status": "Who is not active in the store is not active, whatever the caller says.",
    "subject.role": "A role that has expired in the store is held no longer.",
    "subject.contradicted": "What the store does not say of a subject it knows is refused, not passed over.",
    "subject.unknown": "A subject that the store does not know is refused.",
    "identity.unavailable": "Where the store cannot be asked nobody knows who asks.",
}


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a caller says of a subject, and to whom."""

    scratch: Path
    source: SubjectSource
    subject: dict[str, Any]
    is_away: bool


def check(claim: _Claim) -> Decision:
    """Whether the subject that policies would see is active, and has no role but `editor`."""
    request = build_request(claim.subject, "read", {"id": "d-1", "type": "document"})
    shutil.copytree(_filled().name, claim.scratch, dirs_exist_ok=True)
    with _ledger(claim.scratch) as ledger, _store(claim.scratch, ledger) as store:
        if claim.is_away:
            store.close()
            (claim.scratch / "identity.db").unlink()
        try:
            return _judged(Vouching(store, claim.source).vouched(request))
        except UnresolvedSubjectError as error:
            return _refused(error.decision.reason, error.decision.message)
        except RequestError as error:
            return Decision.undetermined(f"{ID}.request", error.what)


def _judged(request: AccessRequest) -> Decision:
    subject = request.subject
    if subject.get("status") != "active":
        return _refused("subject.status", f"the subject is {subject.get('status')}")
    if "editor" not in subject["attributes"]["roles"]:
        return _refused("subject.role", "the subject does not hold the role")
    return Decision.allowed(ID, "the subject is who it says")


def _refused(rule: str, message: str) -> Decision:
    return Decision.denied(ID, message, findings=[Finding(rule, message, Severity.CRITICAL)])


def _ledger(directory: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{directory / 'ledger.db'}")


def _store(directory: Path, ledger: Ledger) -> IdentityStore:
    return IdentityStore.open(f"sqlite:///{directory / 'identity.db'}", ledger)


@cache
def _filled() -> TemporaryDirectory[str]:
    """A store, made once in a process, of which each specimen has a copy; it goes with the process."""
    scratch = TemporaryDirectory(prefix="companyos-subjects-")
    directory = Path(scratch.name)
    with _ledger(directory) as ledger, _store(directory, ledger) as store:
        _fill(store)
    return scratch


def _fill(store: IdentityStore) -> None:
    """Ana and a program are active editors; Eve was suspended, Dan was deleted, and Bob's role has expired."""
    ended = datetime.now(UTC) - timedelta(seconds=1)
    subjects = [
        Subject("ana", status="active", org_id="shop"),
        Subject("bob", status="active", org_id="shop"),
        Subject("eve", status="suspended", org_id="shop"),
        Subject("dan", status="deleted", org_id="shop"),
        Subject("bot", "service", "shop", status="active"),
    ]
    bindings = [Binding(one.id, "editor", expires_at=ended if one.id == "bob" else None) for one in subjects]
    store.put(Role("editor", org_id="shop"), *subjects, *bindings, Attribute("clearance", "low", "subject", "ana"))


def _case(
    name: str,
    subject: str,
    violates: str | None = None,
    *,
    kind: str = "user",
    source: SubjectSource = "store",
    away: bool = False,
    **asserted: Any,
) -> Specimen:
    described = {"id": subject, "type": kind, **asserted}
    return Specimen(name, partial(_Claim, source=source, subject=described, is_away=away), violates)


_ACTIVE_EDITOR: dict[str, Any] = {"status": "active", "attributes": {"roles": ["editor"]}}
CONTROL = Control(
    id=ID,
    title="Subjects that callers describe otherwise than the identity store does",
    check=check,
    rules=RULES,
    specimens=(
        _case("somebody of whom nothing is said", "ana"),
        _case("a program", "bot", kind="service"),
        _case("what the store says too", "ana", org_id="shop", **_ACTIVE_EDITOR),
        _case("more than the store says, where that may be", "ana", source="both", attributes={"team": "red"}),
        _case("a guest, where the caller may vouch for one", "guest", source="both", **_ACTIVE_EDITOR),
        _case("who was suspended", "eve", "subject.status"),
        _case("who was deleted", "dan", "subject.status"),
        _case("who was suspended, where the caller may say more", "eve", "subject.status", source="both"),
        _case("whose role has expired", "bob", "subject.role"),
        _case("suspended, but active in the caller's words", "eve", CONTRADICTED, **_ACTIVE_EDITOR),
        _case("a role of one's own", "ana", CONTRADICTED, attributes={"roles": ["admin"]}),
        _case("one role more", "ana", CONTRADICTED, source="both", attributes={"roles": ["admin", "editor"]}),
        _case("a role that has expired", "bob", CONTRADICTED, source="both", attributes={"roles": ["editor"]}),
        _case("another organisation", "ana", CONTRADICTED, source="both", org_id="bank"),
        _case("another organisation, in the attributes", "ana", CONTRADICTED, attributes={"org_id": "bank"}),
        _case("a workspace where there is none", "ana", CONTRADICTED, source="both", workspace_id="eu"),
        _case("a better clearance", "ana", CONTRADICTED, source="both", attributes={"clearance": "top"}),
        _case("a clearance that nobody gave", "bot", CONTRADICTED, kind="service", attributes={"clearance": "top"}),
        _case("a suspended user as a program", "eve", CONTRADICTED, kind="service", source="both"),
        _case("nobody", "nobody", "subject.unknown"),
        _case("nobody, well described", "nobody", "subject.unknown", **_ACTIVE_EDITOR),
        _case("a name in other letters", "Ana", "subject.unknown"),
        _case("a store that is gone", "ana", "identity.unavailable", away=True),
        _case("a guest, and a store that is gone", "guest", "identity.unavailable", source="both", away=True),
    ),
    docs="server.md",
    subject="subject",
    severity=Severity.CRITICAL,
)
"""The proof that nobody is taken at a caller's word where there is a store."""
