"""Subjects by their id: where `authorize()` looks up who asks, and what it answers if it cannot."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from companyos.authz.interface import RequestError
from companyos.authz.request import build_request, request_from_dict
from companyos.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.authz.vouching import Vouching
    from companyos.ports import AccessRequest

__all__ = (
    "DeferredSubjects",
    "SubjectResolver",
    "UnresolvedSubjectError",
    "looked_up",
    "request_for",
    "request_of",
    "workspace_of",
)

_log = logging.getLogger(__name__)

NOBODY = "unknown"
"""Type of a subject of whom nothing is known but the id."""


class SubjectResolver(Protocol):
    """What knows subjects by their ids, such as an `IdentityStore`."""

    def resolve(self, subject_id: str, workspace: str | None = None) -> Mapping[str, Any]:
        """The subject as `build_request` takes it, with what holds in a workspace (default: its own).

        Raises:
            UnknownSubjectError: there is none of this id.
        """
        ...


class DeferredSubjects:
    """A resolver that is opened when it is first asked."""

    def __init__(self, open: Callable[[], SubjectResolver]) -> None:  # noqa: A002 - what it does
        self._open = open

    def resolve(self, subject_id: str, workspace: str | None = None) -> Mapping[str, Any]:
        """As the resolver that is opened."""
        return self._open().resolve(subject_id, workspace)


class UnresolvedSubjectError(Exception):
    """Nobody can say who asks; carries what is recorded of the request, and the decision on it."""

    def __init__(self, request: AccessRequest, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.request = request
        self.decision = decision


def request_for(
    subjects: SubjectResolver | None,
    subject: Mapping[str, Any] | str,
    action: str,
    resource: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
    *,
    vouching: Vouching | None = None,
) -> AccessRequest:
    """`build_request`, but a subject that is only an id is looked up, in the resource's workspace if it has one.

    With `vouching`, a subject that is described counts as far as it is vouched for.

    Raises:
        RequestError: the request is malformed.
        UnresolvedSubjectError: the id is unknown, or could not be looked up.
    """
    try:
        # Without a resolver an id is no subject, which is what `build_request` says then.
        resolver = subjects if isinstance(subject, str) else None
        who = subject if resolver is None else _stub(str(subject))
        bare = build_request(who, action, resource, environment)  # type: ignore[arg-type] # it checks
    except RequestError:
        raise
    except Exception as error:
        raise _unreadable(error) from error
    return _vouched(vouching, bare) if resolver is None else _resolved(resolver, bare)


def request_of(subjects: SubjectResolver | None, value: Any, *, vouching: Vouching | None = None) -> AccessRequest:
    """`request_from_dict`, with subjects as in `request_for`.

    Raises:
        RequestError: the request is malformed.
        UnresolvedSubjectError: as `request_for`.
    """
    try:
        subject = value.get("subject") if isinstance(value, Mapping) else None
        resolver = subjects if isinstance(subject, str) else None
        bare = request_from_dict(value if resolver is None else {**value, "subject": _stub(str(subject))})
    except RequestError:
        raise
    except Exception as error:
        raise _unreadable(error) from error
    return _vouched(vouching, bare) if resolver is None else _resolved(resolver, bare)


def _unreadable(error: Exception) -> RequestError:
    """Whatever a mapping of the caller's raises while it is read; what that says may be a secret of the caller's."""
    return RequestError("the request could not be read", got=type(error).__name__, expected="plain mappings")


def _vouched(vouching: Vouching | None, asked: AccessRequest) -> AccessRequest:
    return asked if vouching is None else vouching.vouched(asked)


def _stub(subject_id: str) -> dict[str, str]:
    return {"id": subject_id, "type": NOBODY}


def looked_up(subjects: SubjectResolver, bare: AccessRequest, *, in_workspace: bool = True) -> Mapping[str, Any]:
    """What is known of the subject, in the resource's workspace if it has one; `bare` is recorded if nobody knows.

    Raises:
        RequestError: the id, or the workspace, cannot be one.
        UnresolvedSubjectError: the id is unknown, or could not be looked up.
    """
    name, workspace = bare.subject["id"], workspace_of(bare) if in_workspace else None
    try:
        found = dict(subjects.resolve(name, workspace) or {})
    except Exception as error:
        _raise_if_malformed(error)
        raise UnresolvedSubjectError(bare, _refusal(error)) from error
    if not found or found.get("id") != name:
        _log.error("a resolver of subjects answered with another subject; the request is refused")
        raise UnresolvedSubjectError(bare, _unavailable())
    return found


def workspace_of(request: AccessRequest) -> str | None:
    """The workspace of a request's resource.

    Raises:
        RequestError: it is no text.
    """
    workspace = request.resource.get("workspace_id")
    if workspace is not None and not isinstance(workspace, str):
        raise RequestError(
            "resource.workspace_id is of the wrong type", got=type(workspace).__name__, expected="a text"
        )
    return workspace


def _resolved(subjects: SubjectResolver, bare: AccessRequest) -> AccessRequest:
    """The request with its subject looked up; `bare` is what is recorded where nobody knows who asks."""
    return build_request(looked_up(subjects, bare), bare.action, bare.resource, bare.environment)


def _raise_if_malformed(error: Exception) -> None:
    """An id that no store can hold is the caller's mistake, and says nothing about the store."""
    from companyos.authz.identity.errors import IdentityInvalidError

    if isinstance(error, IdentityInvalidError):
        raise RequestError(error.what, got=error.got, expected=error.expected) from error


def _refusal(error: Exception) -> Decision:
    from companyos.authz.identity.errors import UnknownSubjectError

    if isinstance(error, UnknownSubjectError):
        return Decision.denied("subject.unknown", "there is no such subject")
    _log.error("a subject could not be looked up; the request is refused", exc_info=error)
    return _unavailable()


def _unavailable() -> Decision:
    return Decision.undetermined("identity.unavailable", "nobody could say who asks")
