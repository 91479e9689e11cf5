"""Who speaks for a subject that a caller describes: the identity store, the caller, or both.

Where the store speaks, policies judge what the store says and nothing else of the subject. What a caller asserts
besides is never passed over in silence, for it may be what a policy would have refused by: it has to agree with the
store, or the request is refused as `subject.contradicted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from companyos.authz.request import build_request
from companyos.authz.subjects import UnresolvedSubjectError, looked_up, workspace_of
from companyos.canonical import NotCanonicalError, canonical_bytes
from companyos.decision import Decision
from companyos.errors import ConfigError
from companyos.ports import AccessRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from companyos.authz.subjects import SubjectResolver

__all__ = ("CONTRADICTED", "SubjectSource", "Vouching")

SubjectSource = Literal["store", "caller", "both"]
"""Whose word counts about a subject."""
CONTRADICTED = "subject.contradicted"
"""Reason of the deny for what a caller asserts and the store does not confirm."""
_OF_STORE = frozenset(("type", "status", "org_id", "workspace_id", "roles"))
"""What only the store says of a subject that it knows: where it says nothing, there is nothing."""
_NAMES_SHOWN = 5
_LONGEST_NAME = 64
_MISSING = object()


class Vouching:
    """Holds what a caller says of a subject against the store.

    - `store`: the subject must be in the store, and the caller may say nothing of it that the store does not say.
    - `both`: what the store says counts, and the caller may say more: attributes of which the store says nothing, and
      everything about subjects that the store does not know.
    - `caller`: the store is not asked.
    """

    def __init__(self, subjects: SubjectResolver, source: SubjectSource | Callable[[], SubjectSource]) -> None:
        """`source` may be asked for anew with each request: a store may come to be.

        Raises:
            ConfigError: there is no such source.
        """
        if not callable(source) and source not in get_args(SubjectSource):
            raise ConfigError(
                "nobody of that name speaks for subjects", got=source, expected=", ".join(get_args(SubjectSource))
            )
        self._subjects = subjects
        self._source = source

    @property
    def source(self) -> SubjectSource:
        """Whose word counts now."""
        return self._source() if callable(self._source) else self._source

    def vouched(self, asked: AccessRequest) -> AccessRequest:
        """The request with the subject as it counts.

        Raises:
            RequestError: the subject's id, or the resource's workspace, cannot be one.
            UnresolvedSubjectError: the subject is unknown, could not be looked up, or is contradicted.
        """
        source = self.source
        if source == "caller":
            return asked
        try:
            found = looked_up(self._subjects, _bare(asked))
        except UnresolvedSubjectError as error:
            if source == "both" and error.decision.reason == "subject.unknown":
                return asked
            raise
        more, denied = self._compared(asked, found)
        if denied and self._is_home(denied, asked):
            denied = []
        if source == "store":
            denied = [*denied, *(name for _, name, _ in more)]
        if denied:
            raise UnresolvedSubjectError(_with(asked, found), _contradicted(denied))
        return _with(asked, _extended(found, more))

    def _compared(
        self, asked: AccessRequest, found: Mapping[str, Any]
    ) -> tuple[list[tuple[bool, str, Any]], list[str]]:
        """What the caller says that the store does not, and the names of what it contradicts."""
        more, denied = [], []
        for is_top, name, value in _asserted(asked.subject):
            known = _said(found, name)
            if known is not _MISSING:
                if not _agree(name, value, known):
                    denied.append(name)
            elif name in _OF_STORE:
                denied.append(name)
            else:
                more.append((is_top, name, value))
        return more, denied

    def _is_home(self, denied: list[str], asked: AccessRequest) -> bool:
        """Whether only the workspace is contradicted, and is the subject's own: it was resolved in the resource's."""
        if set(denied) != {"workspace_id"} or workspace_of(asked) is None:
            return False
        home = looked_up(self._subjects, _bare(asked), in_workspace=False)
        stated = [value for _, name, value in _asserted(asked.subject) if name == "workspace_id"]
        return all(value == home.get("workspace_id") for value in stated)


def _bare(asked: AccessRequest) -> AccessRequest:
    """The request without what the caller says of the subject; what is recorded where nobody knows who asks."""
    # Made of parts that were checked already.
    subject = {"id": asked.subject["id"], "type": asked.subject["type"]}
    return AccessRequest(subject, asked.action, asked.resource, asked.environment)


def _with(asked: AccessRequest, subject: Mapping[str, Any]) -> AccessRequest:
    return build_request(subject, asked.action, asked.resource, asked.environment)


def _asserted(subject: Mapping[str, Any]) -> Iterator[tuple[bool, str, Any]]:
    """All that is said of a subject but its id: whether at the top, under which name, and what."""
    for name, value in subject.items():
        if name not in {"id", "attributes"}:
            yield True, name, value
    for name, value in subject.get("attributes", {}).items():
        yield False, name, value


def _said(found: Mapping[str, Any], name: str) -> Any:
    """What the store says under a name, in whichever of the two places policies read."""
    return found.get(name, found.get("attributes", {}).get(name, _MISSING))


def _agree(name: str, value: Any, known: Any) -> bool:
    if name == "roles" and isinstance(value, list):
        return all(isinstance(role, str) for role in value) and set(value) == set(known)
    try:
        # As JSON: for Python, true is also 1.
        return canonical_bytes(value) == canonical_bytes(known)
    except NotCanonicalError:
        return False


def _extended(found: Mapping[str, Any], more: list[tuple[bool, str, Any]]) -> dict[str, Any]:
    top = {name: value for is_top, name, value in more if is_top}
    attributes = {name: value for is_top, name, value in more if not is_top}
    return {**top, **found, "attributes": {**attributes, **found.get("attributes", {})}}


def _contradicted(names: list[str]) -> Decision:
    shown = [name for name in dict.fromkeys(names) if name.isprintable() and len(name) <= _LONGEST_NAME]
    named = ", ".join(shown[:_NAMES_SHOWN]) or "a property"
    return Decision.denied(CONTRADICTED, f"the identity store does not say this of the subject: {named}")
