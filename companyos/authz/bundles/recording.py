"""Promotions as rows of the identity store: what the ledger says was promoted, told once more where people look.

The promotion on the ledger is the truth and nothing waits for the row: one that is missing, or says otherwise, is put
right by the next call.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from companyos.authz.bundles.promotion import person_of
from companyos.authz.bundles.promotions import promotions_of
from companyos.authz.identity import Bundle, IdentityInvalidError
from companyos.ledger import ErasedError

if TYPE_CHECKING:
    from companyos.authz.bundles.promotions import Promoted
    from companyos.authz.identity import IdentityStore
    from companyos.ledger import Ledger

__all__ = ("record_promotions",)


def record_promotions(store: IdentityStore, ledger: Ledger) -> tuple[Bundle, ...]:
    """Make the store's bundles say what the promotions on its ledger say, and return those that it did not know.

    A bundle that was recorded and never promoted is left alone; one recorded with another checksum is replaced.

    Raises:
        IdentityUnavailableError: the store or the ledger does not answer.
    """
    there = {bundle.key: bundle for bundle in store.bundles()}
    missing: list[Bundle] = []
    for promoted in promotions_of(ledger).entries:
        known = there.get((promoted.name, promoted.version, promoted.stage))
        if known is None or known.checksum != promoted.digest:
            missing.append(_bundle(promoted, ledger))
    wrong = [there[bundle.key] for bundle in missing if bundle.key in there]
    if wrong:
        store.remove(*wrong)
    if missing:
        store.put(*missing)
    return tuple(missing)


def _bundle(promoted: Promoted, ledger: Ledger) -> Bundle:
    place = (promoted.name, promoted.version, promoted.stage, promoted.digest)
    try:
        return Bundle(*place, created_by=_creator(promoted, ledger))
    except IdentityInvalidError:
        # A name that cannot be an id is no reason to know nothing of the bundle: the promotion has it.
        return Bundle(*place)


def _creator(promoted: Promoted, ledger: Ledger) -> str | None:
    """Who built it, under the id by which the promotion is encrypted; None once that person was erased."""
    entry = next(ledger.read(promoted.index, promoted.index + 1))
    # This part alone: who promoted it may have been erased.
    part = {"created_by": (entry.data or {}).get("created_by")}
    try:
        name = (ledger.reveal(replace(entry, data=part)).data or {}).get("created_by")
    except ErasedError:
        return None
    return person_of(name) if isinstance(name, str) else None
