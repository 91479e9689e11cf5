"""From rows to the subject of a request: one statement, then the nearest and newest of what is live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.canonical import loads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ("merged", "query")

# One statement, so that all of it is of one moment. The first part gives the position even where there is no subject.
_QUERY = """
SELECT s.id, 0, s.type, s.status, s.org_id, {home}, i.position
FROM identity_store i LEFT JOIN subjects s ON s.id {is_one}
UNION ALL
SELECT s.id, 3, a.name, a.value, NULL, NULL, a.entry_index
FROM subjects s JOIN attributes a ON a.subject_id = s.id
WHERE s.id {is_one} AND (a.expires_at IS NULL OR a.expires_at > {at})
UNION ALL
SELECT s.id, 2, a.name, a.value, NULL, NULL, a.entry_index
FROM subjects s JOIN attributes a ON a.workspace_id = {home}
WHERE s.id {is_one} AND (a.expires_at IS NULL OR a.expires_at > {at})
UNION ALL
SELECT s.id, 1, a.name, a.value, NULL, NULL, a.entry_index
FROM subjects s JOIN attributes a ON a.org_id = s.org_id
WHERE s.id {is_one} AND (a.expires_at IS NULL OR a.expires_at > {at})
UNION ALL
SELECT s.id, 4, r.name, NULL, NULL, NULL, NULL
FROM subjects s JOIN role_bindings b ON b.subject_id = s.id JOIN roles r ON r.id = b.role_id
WHERE s.id {is_one} AND (b.expires_at IS NULL OR b.expires_at > {at})
AND (b.workspace_id IS NULL OR b.workspace_id = {home})
AND (r.org_id IS NULL OR r.org_id = s.org_id)
"""
SUBJECT, ROLE = 0, 4
_WORDS = {"true": True, "false": False, "null": None}


def query(*, postgresql: bool, count: int) -> str:
    """The statement for so many subjects; parameters: `s0`, `s1`, … (PostgreSQL: `s`), `at`, `workspace`."""
    if postgresql:
        home = "coalesce(%(workspace)s::text, s.workspace_id)"
        # One is looked for as one: a plan for any number of subjects may read whole tables.
        is_one = "= %(s)s::text" if count == 1 else "= ANY(%(s)s::text[])"
        return _QUERY.format(home=home, is_one=is_one, at="%(at)s::timestamptz")
    marks = ", ".join(f":s{number}" for number in range(count))
    return _QUERY.format(home="coalesce(:workspace, s.workspace_id)", is_one=f"IN ({marks})", at=":at")


def merged(rows: Iterable[Sequence[Any]]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The position that the rows are of (-1: they have none), and the subjects by id, as `build_request` takes them."""
    position, subjects = -1, {}
    attributes: dict[tuple[str, str], tuple[tuple[int, int], str]] = {}
    roles: dict[str, set[str]] = {}
    for subject, rank, first, second, org, home, number in rows:
        if rank == SUBJECT:
            position = number
            if subject is not None:
                found = {"id": subject, "type": first, "status": second, "org_id": org, "workspace_id": home}
                subjects[subject] = {key: value for key, value in found.items() if value is not None}
        elif rank == ROLE:
            roles.setdefault(subject, set()).add(first)
        else:
            key, precedence = (subject, first), (rank, number)
            if key not in attributes or attributes[key][0] < precedence:
                attributes[key] = precedence, second
    if position < 0:
        return position, {}
    for name, subject in subjects.items():
        subject["attributes"] = {"roles": sorted(roles.get(name, ()))}
    for (name, attribute), (_, value) in sorted(attributes.items()):
        subjects[name]["attributes"][attribute] = _value(value)
    return position, subjects


def _value(text: str) -> Any:
    """The value of a canonical JSON text; most are short words, which need no parser."""
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] == text[-1:] == '"' and len(text) > 1 and "\\" not in text and '"' not in text[1:-1]:
        return text[1:-1]
    return loads(text.encode())
