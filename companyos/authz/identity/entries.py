"""How a change stands in the ledger: one entry a change, everything about a subject encrypted under that subject's key.

An entry holds `record`, the record as it is from then on (of what is removed: as it was), `by`, who made the change,
and `rest`, how many entries of the same change are still to follow. Changes are made visible together or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from companyos.authz.identity.errors import IdentityBehindError, IdentityInvalidError
from companyos.authz.identity.records import Attribute, Binding, Bundle, Record, Role, Subject, from_json, to_json
from companyos.ledger import Draft, ErasedError, Ledger
from companyos.ports import Entry, Personal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ("SOURCE", "Change", "changed", "drafts", "is_ours", "rest_of")

SOURCE = "companyos/identity"
"""`source` of every entry of the identity store."""
PREFIX = "companyos.identity."
_VERBS = ("put", "removed")
_TYPES = {
    f"{PREFIX}{kind}_{verb}": (kind, verb)
    for kind in (record.kind for record in (Subject, Attribute, Role, Binding, Bundle))
    for verb in _VERBS
}


@dataclass(frozen=True, slots=True)
class Change:
    """One record is put, or removed."""

    verb: str
    """`put` or `removed`."""
    record: Record
    """As it is from then on; of what is removed, only the key counts."""

    @property
    def type(self) -> str:
        """The type of its entry."""
        return f"{PREFIX}{self.record.kind}_{self.verb}"


def drafts(changes: Sequence[Change], by: str | None) -> list[Draft]:
    """The entries of changes that belong together."""
    return [_draft(change, by, len(changes) - number) for number, change in enumerate(changes, 1)]


def is_ours(entry: Entry) -> bool:
    """Whether an entry is a change of the identity model.

    Raises:
        IdentityBehindError: it is one of a kind that only a newer companyos knows.
    """
    if entry.source != SOURCE or not entry.type.startswith(PREFIX):
        return False
    if entry.type not in _TYPES:
        raise IdentityBehindError(
            f"entry {entry.index} is a change that this companyos does not know",
            got=entry.type,
            hint="pip install --upgrade companyos",
        )
    return True


def rest_of(entry: Entry) -> int:
    """How many entries of the same change follow."""
    rest = (entry.data or {}).get("rest")
    return rest if isinstance(rest, int) else 0


def changed(ledger: Ledger, entry: Entry) -> Change:
    """The change that an entry records, decrypted.

    Raises:
        ErasedError: it is about a person whose key is gone, or not at hand.
        IdentityInvalidError: it does not hold what its type says.
    """
    kind, verb = _TYPES[entry.type]
    if entry.data is None or "record" not in entry.data:
        raise IdentityInvalidError("the entry holds no record")
    values = _revealed(ledger, entry, {"record": entry.data["record"]})["record"]
    if kind == Bundle.kind and isinstance(values, dict):
        values = {**values, "created_by": _author(ledger, entry)}
    if not isinstance(values, dict):
        raise IdentityInvalidError("the entry's record is not an object")
    return Change(verb, from_json(kind, values))


def _draft(change: Change, by: str | None, rest: int) -> Draft:
    record, person = change.record, change.record.person
    body: Any = to_json(record)
    data: dict[str, Any] = {"by": None if by is None else Personal(by, by), "rest": rest}
    if isinstance(record, Bundle):
        # What was promoted stays known when its author is not: only the author is about a person.
        del body["created_by"]
        data |= {"record": body, "created_by": None if person is None else Personal(person, person)}
    else:
        data["record"] = body if person is None else Personal(body, person)
    subject = None if person is None else Personal(None, person)
    return Draft(change.type, data, source=SOURCE, stream="identity", subject=subject)


def _revealed(ledger: Ledger, entry: Entry, part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the data, decrypted: another part may be about somebody who was erased."""
    return ledger.reveal(replace(entry, data=part)).data or {}


def _author(ledger: Ledger, entry: Entry) -> Any:
    part = {"created_by": (entry.data or {}).get("created_by")}
    try:
        return _revealed(ledger, entry, part)["created_by"]
    except ErasedError:
        return None
