"""The policy of budgets, `finops.yaml`: which caps there are, and which of them a reservation must pass."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from companyos.config import Budget as CostBudget  # noqa: TC001 - pydantic needs it at run time
from companyos.finops.budgets.caps import Cap, parts_of
from companyos.finops.budgets.errors import BudgetPolicyError
from companyos.finops.budgets.units import TOKENS, to_units

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("BudgetPolicy",)

_EXPECTED = "finops.yaml as docs/budgets.md has it: phases, levels, costs, alerts, timezone"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Provider(_Part):
    """What one provider may be asked for in a phase."""

    max_tokens: int = Field(gt=0)
    """Tokens of a day, prompts and answers together."""
    models: tuple[str, ...] | None = Field(None, min_length=1)
    """The models that may be used; None for all of this provider."""


class Phase(_Part):
    """What language models may cost in one phase of the company, and which may be used."""

    daily_eur_cap: Decimal = Field(gt=0)
    daily_eur_target: Decimal | None = Field(None, gt=0)
    """What a day should cost, which its variance is told against; None for what was reserved."""
    monthly_eur_cap: Decimal = Field(gt=0)
    providers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")], Provider] = Field(min_length=1)


class LevelCap(_Part):
    """One cap of one level."""

    period: Literal["day", "week", "month", "total"]
    limit: Decimal = Field(gt=0)
    unit: str = Field("EUR", pattern=r"^([A-Z]{3}|tokens)$")


class ChannelSetting(_Part):
    """Where alerts go."""

    type: str
    destination: str


class Alerts(_Part):
    """When, and whom, to alert."""

    threshold_percent: int = Field(80, ge=1, le=100)
    channels: tuple[ChannelSetting, ...] = ()


class BudgetPolicy(_Part):
    """Everything that `finops.yaml` says, checked.

    Raises:
        BudgetPolicyError: (by `load` and `parse`) it contradicts itself, names no such time zone, or has unknown keys.
    """

    timezone: str = "UTC"
    """IANA name of the zone whose days, weeks and months count."""
    phase: int = 1
    """The phase in force, one of `phases`."""
    phases: dict[int, Phase] = Field(default_factory=dict)
    """Caps on language models, by phase; without any, reservations need no provider."""
    levels: dict[str, tuple[LevelCap, ...]] = Field(default_factory=dict)
    """Caps by path (`acme`, `acme/search`, `acme/*/*`): company, team, feature, run; `*` is any one name."""
    costs: tuple[CostBudget, ...] = ()
    """Targets and ceilings over all ingested costs, which the gate judges."""
    alerts: Alerts = Alerts()
    """When, and whom, to alert."""
    lease_seconds: float = Field(300.0, gt=0, le=86_400)
    """How long a reservation holds if nobody settles it."""
    unlogged_percent: Decimal = Field(Decimal(0), ge=0, le=50)
    """How much of each cap may be handed out before it is on the ledger; 0: nothing."""

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no IANA time zone of this machine") from error
        return name

    @model_validator(mode="after")
    def _consistent(self) -> BudgetPolicy:
        for number, phase in self.phases.items():
            if phase.daily_eur_target is not None and phase.daily_eur_target > phase.daily_eur_cap:
                raise ValueError(f"phase {number} has a target of a day beyond its cap")
        if self.phases and self.phase not in self.phases:
            raise ValueError(f"phase {self.phase} is in force, but there is none in phases")
        for path in self.levels:
            parts_of(path, pattern=True)
        for cap in self.caps:
            if cap.limit == 0:
                raise ValueError(f"the cap {cap.name} is less than can be told apart")
        return self

    @classmethod
    def load(cls, path: Path) -> BudgetPolicy:
        """Read a policy file; raises as said above, also if it cannot be read."""
        from companyos.config import parse_yaml

        try:
            values = parse_yaml(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise BudgetPolicyError(f"cannot read the policy {path.name}", got=error, expected=_EXPECTED) from error
        return cls.parse(values)

    @classmethod
    def parse(cls, values: Any) -> BudgetPolicy:
        """The policy in a parsed YAML value."""
        try:
            return cls.model_validate(_exact(values))
        except ValidationError as error:
            found = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors()[:5]
            )
            raise BudgetPolicyError("the policy of budgets does not validate", got=found, expected=_EXPECTED) from error

    @cached_property
    def zone(self) -> ZoneInfo:
        """The zone whose days count."""
        return ZoneInfo(self.timezone)

    @property
    def in_force(self) -> Phase | None:
        """The phase in force."""
        return self.phases.get(self.phase)

    @cached_property
    def caps(self) -> tuple[Cap, ...]:
        """Every cap that can apply to a reservation."""
        found = []
        if self.in_force is not None:
            name = f"phase-{self.phase}"
            pairs: tuple[tuple[Literal["day", "month"], Decimal], ...] = (
                ("day", self.in_force.daily_eur_cap),
                ("month", self.in_force.monthly_eur_cap),
            )
            found += [Cap(name, (), "EUR", kind, _units(limit, "EUR")) for kind, limit in pairs]
            found += [
                Cap(f"{name}/{provider}", (), TOKENS, "day", rules.max_tokens, provider)
                for provider, rules in self.in_force.providers.items()
            ]
        for path, caps in self.levels.items():
            parts = parts_of(path, pattern=True)
            found += [Cap(path, parts, one.unit, one.period, _units(one.limit, one.unit)) for one in caps]
        return tuple(found)

    def allowance(self, cap: Cap) -> int:
        """Units of a cap that may be handed out before they are on the ledger."""
        return int(cap.limit * self.unlogged_percent / 100)


def _units(limit: Decimal, unit: str) -> int:
    if unit == TOKENS and limit != int(limit):
        raise ValueError("a limit of tokens is a whole number")
    return to_units(int(limit) if unit == TOKENS else limit, unit, what="limit")


def _exact(values: Any) -> Any:
    """The values with floats as the decimals that were written, so that 0.1 is a tenth."""
    if isinstance(values, dict):
        return {key: _exact(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_exact(value) for value in values]
    if isinstance(values, float):
        return Decimal(repr(values))
    if isinstance(values, datetime | date):
        return values.isoformat()
    return values
