"""Permission for all that touches a document: asked first, obligations carried out, all on the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from companyos.authz import AccessDeniedError, AccessUndeterminedError, ObligationError
from companyos.observability import current_trace_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos import Decision
    from companyos.authz import Authorizer

    from ..models.accounts import Caller
    from ..models.documents import Document

__all__ = ("Access", "NotAllowedError", "NotDecidedError")

T = TypeVar("T")


class NotAllowedError(Exception):
    """The policies refuse, or oblige to something that was not done."""

    def __init__(self, decision: Decision, detail: str) -> None:
        self.decision = decision
        self.detail = detail
        super().__init__(detail)


class NotDecidedError(Exception):
    """It could not be decided, so it is refused."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(decision.message)


class Access:
    """Decides by the policies of `companyos.yaml`, and does what they oblige to."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    @property
    def policy_digest(self) -> str:
        """Digest of the policies in force."""
        return self._authorizer.policy_digest

    def to_document(self, caller: Caller, action: str, document: Document, call: Callable[[], T]) -> T:
        """The result of `call` if `caller` may do `action`, masked where the policies say so.

        Raises:
            NotAllowedError: it is refused, or an obligation is not met; what `call` does was not done.
            NotDecidedError: the policies or the ledger could not be reached.
        """
        environment = {"auth_strength": caller.auth_strength}
        trace_id = current_trace_id()
        if trace_id:
            environment["trace_id"] = trace_id
        subject, resource = _subject(caller), _resource(document)
        decision = self._authorizer.authorize(subject, action, resource, environment)
        try:
            result: T = self._authorizer.with_obligations(call, decision, context=environment)
        except AccessDeniedError as error:
            raise NotAllowedError(decision, decision.message) from error
        except ObligationError as error:
            raise NotAllowedError(decision, error.what) from error
        except AccessUndeterminedError as error:
            raise NotDecidedError(decision) from error
        return result


def _subject(caller: Caller) -> dict[str, Any]:
    account = caller.account
    return {
        "id": account.id,
        "type": "user",
        "org_id": account.org_id,
        "attributes": {"clearance": account.clearance},
    }


def _resource(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "type": "document",
        "owner": document.owner,
        "org_id": document.org_id,
        "region": document.region,
        "contains_pii": document.contains_pii,
        "required_clearance": document.required_clearance,
        "masked_fields": ["title", "body"],
    }
