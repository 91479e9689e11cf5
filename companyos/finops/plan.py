"""Remediation plans: what lets a change pass although the forecast is over the target."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from companyos.canonical import sha256_hex
from companyos.finops.errors import PlanError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("RemediationPlan",)

EXPECTED = "a mapping with owner (text), actions (list of text), due (YYYY-MM-DD) and, if it is for one only, budget"
HORIZON_DAYS = 90
"""A plan that is due later than this is a wish: it does not count yet."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_KEYS = frozenset({"owner", "actions", "due", "budget"})


@dataclass(frozen=True, slots=True)
class RemediationPlan:
    """Who does what until when to bring costs back to the target.

    Raises:
        PlanError: nobody owns it, there are no actions, or one of them has no words.
    """

    owner: str
    """Who answers for it."""
    actions: tuple[str, ...]
    """What will be done, in words; at least one."""
    due: date
    """By when; a plan that is past due, or due in more than 90 days, does not count."""
    budget: str | None = None
    """The budget it is for; None for all."""
    digest: str = ""
    """`sha256:<hex>` of the file it was read from."""

    def __post_init__(self) -> None:
        if not self.owner.strip():
            raise PlanError("the plan names no owner", got=self.owner, expected=EXPECTED)
        if not self.actions or not all(_WORD.search(action) for action in self.actions):
            raise PlanError("the plan names no actions in words", got=self.actions, expected=EXPECTED)

    @classmethod
    def load(cls, path: Path) -> RemediationPlan:
        """Read a plan from a YAML file.

        Raises:
            PlanError: it cannot be read, or owner, actions or due are missing, empty or of another type.
        """
        from companyos.config import parse_yaml

        try:
            content = path.read_bytes()
            values = parse_yaml(content.decode("utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"cannot read the plan {path}", got=error, expected="a readable UTF-8 file") from error
        return cls.parse(values, digest=f"sha256:{sha256_hex(content)}")

    @classmethod
    def parse(cls, values: Any, *, digest: str = "") -> RemediationPlan:
        """The plan in a parsed YAML value; raises as `load` does."""
        if not isinstance(values, dict) or set(values) - _KEYS:
            raise PlanError("not a remediation plan", got=values, expected=EXPECTED)
        owner, actions, due = values.get("owner"), values.get("actions"), values.get("due")
        if not isinstance(owner, str):
            raise PlanError("the plan names no owner", got=owner, expected=EXPECTED)
        if not isinstance(actions, list) or not all(isinstance(action, str) for action in actions):
            raise PlanError("the plan names no actions", got=actions, expected=EXPECTED)
        if not isinstance(due, date) or isinstance(due, datetime):
            raise PlanError("the plan has no due date", got=due, expected=EXPECTED)
        budget = values.get("budget")
        if budget is not None and not isinstance(budget, str):
            raise PlanError("the plan's budget is not a name", got=budget, expected=EXPECTED)
        return cls(owner.strip(), tuple(action.strip() for action in actions), due, budget, digest)

    def covers(self, budget: str, on: date) -> bool:
        """Whether it is for that budget and due between that day and 90 days later."""
        return self.budget in {None, budget} and timedelta(0) <= self.due - on <= timedelta(days=HORIZON_DAYS)

    def to_dict(self) -> dict[str, Any]:
        """The plan as a JSON object."""
        return {
            "owner": self.owner,
            "actions": list(self.actions),
            "due": self.due.isoformat(),
            "budget": self.budget,
            "digest": self.digest,
        }
