"""The routing file, `model_routing.yaml`: weights, providers and their models, tasks, and rules of failover."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from companyos.errors import ConfigError
from companyos.finops.money import ISO_4217
from companyos.llm.errors import RoutingError, UnknownModelError, UnknownTaskError
from companyos.llm.interface import Limits, ProviderSetting, Usage
from companyos.llm.keys import check_reference

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("FlatPrice", "RoutingPolicy", "TaskRoute")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_EXPECTED = "model_routing.yaml as docs/llm.md has it: weights, providers, task_types, failover"
_DEFAULTS: dict[str, tuple[str, str, str | None]] = {
    "openai": ("openai", "https://api.openai.com/v1", "env:OPENAI_API_KEY"),
    "anthropic": ("anthropic", "https://api.anthropic.com/v1", "env:ANTHROPIC_API_KEY"),
    "local": ("openai", "http://localhost:8080/v1", None),
}
"""Kind, URL and key of providers whose names say it all."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Part):
    """How much each score counts; only their proportion matters."""

    cost: float = Field(0.4, ge=0)
    latency: float = Field(0.3, ge=0)
    accuracy: float = Field(0.3, ge=0)

    @model_validator(mode="after")
    def _some(self) -> Weights:
        if self.cost + self.latency + self.accuracy <= 0:
            raise ValueError("at least one weight is more than zero")
        return self


class ProviderRoute(_Part):
    """One provider: where it is, and which of its models does which task."""

    models: dict[str, str] = Field(min_length=1)
    base_latency_ms: float = Field(1000.0, gt=0)
    cost_per_1k_tokens: dict[str, Decimal] = Field(default_factory=dict)
    accuracy: dict[str, float] = Field(default_factory=dict)
    context_tokens: dict[str, int] = Field(default_factory=dict)
    kind: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)

    @field_validator("cost_per_1k_tokens")
    @classmethod
    def _not_negative(cls, prices: dict[str, Decimal]) -> dict[str, Decimal]:
        if any(not price.is_finite() or price < 0 for price in prices.values()):
            raise ValueError("a price is a number, zero or more")
        return prices

    @field_validator("accuracy")
    @classmethod
    def _shares(cls, found: dict[str, float]) -> dict[str, float]:
        if any(not 0 <= share <= 1 for share in found.values()):
            raise ValueError("an accuracy is from 0 to 1")
        return found


class TaskRoute(_Part):
    """Who does one kind of task."""

    preferred_provider: str | None = None
    fallback: str | None = None
    max_tokens: int = Field(gt=0, le=1_000_000)


class Failover(_Part):
    """What to do when a provider fails, and how long to wait for one."""

    max_retries: int = Field(3, ge=0, le=20)
    retry_delay_ms: float = Field(500, ge=0, le=60_000)
    fallback_provider: str | None = None
    connect_seconds: float = Field(5, gt=0)
    first_token_seconds: float = Field(10, gt=0)
    idle_seconds: float = Field(15, gt=0)
    attempt_seconds: float = Field(60, gt=0)
    deadline_seconds: float = Field(120, gt=0, le=3600)
    patience_seconds: float = Field(3, ge=0)
    failures: int = Field(3, gt=0)
    cool_down_seconds: float = Field(5, gt=0)
    max_answer_bytes: int = Field(16 * 1024 * 1024, gt=0)

    def limits(self, left_seconds: float, *, streamed: bool) -> Limits:
        """Those of an attempt, when the whole call has so much time left; a stream may take all of it."""
        return Limits(
            self.connect_seconds,
            self.first_token_seconds,
            self.idle_seconds,
            left_seconds if streamed else min(self.attempt_seconds, left_seconds),
            self.max_answer_bytes,
        )


class RoutingPolicy(_Part):
    """Everything that `model_routing.yaml` says, checked.

    Raises:
        RoutingError: (by `load` and `parse`) it contradicts itself, or has unknown keys.
    """

    weights: Weights = Weights()
    """How much cost, latency and accuracy count."""
    providers: dict[Name, ProviderRoute] = Field(min_length=1)
    """By name."""
    task_types: dict[Name, TaskRoute] = Field(min_length=1)
    """By name."""
    failover: Failover = Failover()
    """Attempts, and how long they may take."""
    currency: str = "EUR"
    """Of `cost_per_1k_tokens`, and what all costs are converted to."""

    @field_validator("currency")
    @classmethod
    def _known(cls, currency: str) -> str:
        if currency not in ISO_4217:
            raise ValueError(f"{currency} is no currency")
        return currency

    @model_validator(mode="after")
    def _consistent(self) -> RoutingPolicy:
        named = [(f"task_types.{name}", one) for name, task in self.task_types.items() for one in _named(task)]
        if self.failover.fallback_provider is not None:
            named.append(("failover.fallback_provider", self.failover.fallback_provider))
        for place, name in named:
            if name not in self.providers:
                raise ValueError(f"{place} names {name}, which is no provider here")
        for name, task in self.task_types.items():
            for provider in _named(task):
                if name not in self.providers[provider].models:
                    raise ValueError(f"task_types.{name} names {provider}, which has no model for it")
        for name in self.providers:
            self.setting(name)
        return self

    @classmethod
    def load(cls, path: Path) -> RoutingPolicy:
        """Read a routing file; raises as said above, also if it cannot be read."""
        from companyos.config import parse_yaml

        try:
            values = parse_yaml(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise RoutingError(f"cannot read the routing file {path.name}", got=error, expected=_EXPECTED) from error
        return cls.parse(values)

    @classmethod
    def parse(cls, values: Any) -> RoutingPolicy:
        """The policy in a parsed YAML value."""
        try:
            return cls.model_validate(_exact(values))
        except ValidationError as error:
            # The input is left out: a key that was written where a reference belongs is not to be shown.
            found = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors()[:5]
            )
            raise RoutingError("the routing file does not validate", got=found, expected=_EXPECTED) from error

    def task(self, name: str) -> TaskRoute:
        """A task by name.

        Raises:
            UnknownTaskError: there is none.
        """
        found = self.task_types.get(name)
        if found is None:
            raise UnknownTaskError("no such task", got=name, expected=", ".join(sorted(self.task_types)))
        return found

    def setting(self, name: str) -> ProviderSetting:
        """Where a provider is, and what it speaks."""
        route = self.providers[name]
        kind, url, key = _DEFAULTS.get(name, (None, None, None))
        kind, url = route.kind or kind, route.base_url or url
        if kind is None or url is None:
            raise ValueError(f"providers.{name} says no kind or no base_url, and its name alone does not tell")
        _check_url(name, url)
        if route.api_key is not None or (route.base_url is None and key is not None):
            key = _checked_reference(route.api_key or key or "")
        else:
            # A key that goes with a well-known address is not sent to another one.
            key = None
        return ProviderSetting(name, kind, url.rstrip("/"), key, dict(route.headers))

    def find(self, provider: str, model: str) -> FlatPrice:
        """The price that the file itself states: this is a `PriceList`.

        Raises:
            UnknownModelError: it states none.
        """
        route = self.providers.get(provider)
        price = None if route is None else route.cost_per_1k_tokens.get(model)
        if route is None or price is None:
            raise UnknownModelError(
                "nobody knows what the model costs",
                got=f"{provider}/{model}",
                hint=f"state it under providers.{provider}.cost_per_1k_tokens",
            )
        return FlatPrice(self.currency, price / 1000, route.context_tokens.get(model))


class FlatPrice:
    """The same price for every token, whatever it is for: a `Price`."""

    __slots__ = ("context_tokens", "currency", "per_token")

    def __init__(self, currency: str, per_token: Decimal, context_tokens: int | None) -> None:
        self.currency = currency
        self.per_token = per_token
        self.context_tokens = context_tokens

    def cost(self, usage: Usage) -> Decimal:
        """What the usage costs."""
        return self.per_token * usage.total

    def worst(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The most that so many tokens can cost."""
        return self.per_token * (input_tokens + output_tokens)


def _named(task: TaskRoute) -> list[str]:
    return [one for one in (task.preferred_provider, task.fallback) if one is not None]


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not host or not plain or not url.isascii() or not url.isprintable():
        raise ValueError(f"providers.{name}.base_url is not https://host[:port][/path]")


def _checked_reference(reference: str) -> str:
    try:
        return check_reference(reference)
    except ConfigError as error:
        raise ValueError(f"{error.what}; expected {error.expected}") from None


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
