"""How the built-in channels and the controls of this room register themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from companyos.errors import ConfigError
from companyos.hookspecs import hookimpl
from companyos.notify.channels import AppriseChannel, JsonLinesChannel, LogChannel, WebhookChannel
from companyos.notify.secrets import checked_reference, read_secret
from companyos.notify.webhooks.addresses import AddressRule
from companyos.notify.webhooks.client import Client
from companyos.notify.webhooks.cloudevents import Mode  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.controls import Control
    from companyos.ports import Channel

__all__ = ("AppriseOptions", "JsonLinesOptions", "WebhookOptions", "companyos_channels", "companyos_controls")


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_T = TypeVar("_T", bound=_Options)


class JsonLinesOptions(_Options):
    """Options of the channel `jsonl`."""

    path: str = Field(".companyos/notifications.jsonl", min_length=1)
    """The file, relative to the company."""


class WebhookOptions(_Options):
    """Options of a channel `webhook` or `webhook:NAME`."""

    url: str | None = None
    """Where to post to; give `url_from` instead where the URL itself is a secret."""
    url_from: str | None = None
    """Where the URL is: `env:NAME` or `file:PATH`."""
    secrets: list[str] = Field(min_length=1, max_length=4)
    """Where the signing secrets are, `env:NAME` or `file:PATH`: the new one first while one is replaced."""
    mode: Mode = "structured"
    """How CloudEvents are put into requests."""
    source: str = "companyos"
    """Their `source`."""
    origin: str | None = None
    """Ask the receiver first whether it takes events from this origin."""
    allow: list[str] = []
    """Hosts and networks that are allowed though they are not public."""
    plain_http: bool = False
    """Whether `http` will do."""
    timeout_seconds: float = Field(10.0, gt=0, le=60)
    """For one attempt, all in all."""


class AppriseOptions(_Options):
    """Options of a channel `apprise` or `apprise:NAME`."""

    url_from: str
    """Where the URL of the service is, which holds its credentials: `env:NAME` or `file:PATH`."""
    timeout_seconds: float = Field(20.0, gt=0, le=60)
    """For one attempt."""


@hookimpl
def companyos_channels(settings: Mapping[str, Any]) -> Sequence[Channel]:
    """The log, a JSON Lines file, and each webhook and Apprise service that has options."""
    options = settings.get("options", {})
    root = Path(settings.get("root", "."))
    lines = _read(JsonLinesOptions, "jsonl", options.get("jsonl", {}))
    channels: list[Channel] = [LogChannel(), JsonLinesChannel(root / lines.path)]
    for name, given in options.items():
        kind = name.partition(":")[0]
        if kind == "webhook":
            channels.append(_webhook(name, _read(WebhookOptions, name, given), root))
        elif kind == "apprise":
            channels.append(_apprise(name, _read(AppriseOptions, name, given), root))
    return channels


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The proofs of delivery, of addresses and of signatures."""
    from companyos.notify.specimens import delivery_control, ssrf_control

    return (delivery_control(), ssrf_control())


def _webhook(name: str, options: WebhookOptions, root: Path) -> Channel:
    if (options.url is None) == (options.url_from is None):
        raise ConfigError(f"notify.options.{name} needs url or url_from, and not both")
    references = [checked_reference(one, f"notify.options.{name}.secrets") for one in options.secrets]
    url = options.url
    if options.url_from is not None:
        url = read_secret(checked_reference(options.url_from, f"notify.options.{name}.url_from"), root)
    client = Client(
        str(url),
        AddressRule.parse(options.allow),
        timeout_seconds=options.timeout_seconds,
        plain_http=options.plain_http,
    )
    return WebhookChannel(
        name,
        client,
        lambda: [read_secret(one, root) for one in references],
        mode=options.mode,
        source=options.source,
        origin=options.origin,
    )


def _apprise(name: str, options: AppriseOptions, root: Path) -> Channel:
    reference = checked_reference(options.url_from, f"notify.options.{name}.url_from")
    return AppriseChannel(name, lambda: read_secret(reference, root), timeout_seconds=options.timeout_seconds)


def _read(kind: type[_T], name: str, given: object) -> _T:
    if not isinstance(given, Mapping):
        raise ConfigError(f"notify.options.{name} is not a mapping", got=type(given).__name__)
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]  # what was given may be a secret
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"notify.options.{name}.{place} is wrong: {first['msg']}",
            expected=f"the keys {', '.join(kind.model_fields)}",
        ) from None
