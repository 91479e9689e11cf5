"""Whose word counts about the subjects that callers of the server ask about, by the settings and by what there is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from companyos.errors import CompanyOSError

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.authz.vouching import SubjectSource
    from companyos.company import Company

__all__ = ("SourceInForce", "source_for")

_log = logging.getLogger("companyos.server")


class SourceInForce:
    """What the settings say; where they say nothing, the store as soon as there is one, and from then on for good."""

    def __init__(self, chosen: SubjectSource | None, has_store: Callable[[], bool]) -> None:
        self._chosen = chosen
        self._has_store = has_store

    def __call__(self) -> SubjectSource:
        """Whose word counts now."""
        if self._chosen is None and self._has_store():
            _log.info("there is an identity store: from now on it speaks for subjects")
            self._chosen = "store"
        return self._chosen or "caller"


def source_for(company: Company) -> SourceInForce:
    """Whose word counts at this company's server.

    A store is opened here, so that no request waits for it. One that cannot be opened now is tried again with each
    request, which is refused as long as it cannot.
    """
    chosen = company.settings.server.subjects
    if chosen is None and not company.has_identity and _had_identities(company):
        # Its file was lost; what the log says of subjects holds all the same, and the store is made of it again.
        chosen = "store"
    source = SourceInForce(chosen, lambda: company.has_identity)
    if source() == "caller":
        _log.warning("there is no identity store: what callers say of subjects counts (server.subjects)")
        return source
    try:
        _ = company.identity
    except (CompanyOSError, OSError):
        _log.exception("the identity store cannot be opened; requests are refused until it can")
    return source


def _had_identities(company: Company) -> bool:
    from companyos.authz.identity.entries import SOURCE

    return next(iter(company.ledger.of_source(SOURCE)), None) is not None
