"""Which decisions may be recorded a moment late: reads declared of low risk, on resources that hold no secrets.

Everything else is on the ledger before the caller goes on: writes, exports, administration, anything with obligations,
every refusal (whoever tries doors leaves a trace at once), and whatever could not be decided.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from companyos.authz._text import plain
from companyos.authz.audit import is_impersonal
from companyos.authz.derived import holds_personal_data, is_highly_sensitive, required_clearance
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ("READS", "checked_actions", "is_of_low_risk")

READS = frozenset({"browse", "count", "describe", "get", "head", "list", "preview", "query", "read", "search", "view"})
"""The words by which an action is known to be a read; it may say what is read, too (`document.read`, `list_files`)."""
_OTHER_WORDS = (
    "access add admin administer apply approve archive assign audit backup billing bulk bypass cancel change "
    "consent copy create credential credentials decrypt delete deploy disable download dump edit enable erase exec "
    "execute export grant impersonate import install invite key keys lock login manage merge move password patch "
    "permission permissions personal pii promote publish purge put refund release remove rename restore revoke role "
    "roles rotate run secret secrets send set share sign start stop submit sudo suspend sync token tokens transfer "
    "unlock update upload upsert write"
)
_OTHERS = frozenset(_OTHER_WORDS.split())
"""Words beside which a read is none, or none of low risk."""
_WORDS = re.compile(r"[a-z0-9]+")


def checked_actions(actions: Iterable[str]) -> frozenset[str]:
    """The actions that may be declared of low risk.

    Raises:
        ConfigError: one of them is not known to be a read, or not in the plain spelling in which requests name it.
    """
    declared = frozenset(actions)
    for action in sorted(map(str, declared)):
        words = set(_WORDS.findall(action))
        if action != plain(action) or not words & READS or words & _OTHERS:
            raise ConfigError(
                "only a read may be declared of low risk",
                got=action,
                expected=f"a lower-case name with one of the words {', '.join(sorted(READS))}",
                hint="take it out of authz.batched_actions: its decisions are recorded before the caller goes on",
            )
    return declared


def is_of_low_risk(resource: Mapping[str, Any]) -> bool:
    """Whether a resource is of a kind that is not about people, and states nothing by which it were not for everybody.

    That is personal data, a sensitivity that is not low, a clearance that it requires.
    """
    kind = resource["type"]
    return (
        kind != "secret"
        and is_impersonal(kind)
        and not holds_personal_data(resource)
        and not is_highly_sensitive(resource)
        and required_clearance(resource) == 0
    )
