"""Secrets in notifications: what the safety net has to mask before a message is kept or leaves.

The room of notifications knows no net and the net knows no notifications; this is above both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - a field of a dataclass names it
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding, Severity
from companyos.errors import ConfigError
from companyos.notify import Message, Notifier, open_outbox
from companyos.observability.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from companyos.controls import Build

__all__ = ("Told", "redaction_control")

CONTROL = "NOTIFY-REDACTION"
RULES = {
    f"{CONTROL}.secret": "A message holds what looks like a secret; it is masked before it is kept or sent.",
    f"{CONTROL}.no-net": "A channel leads outside and there is no safety net before it.",
}


@dataclass(frozen=True, slots=True)
class Told:
    """A message on its way."""

    folder: Path
    """An empty directory."""
    text: str
    """What it says."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """What it says besides."""
    secret: str = ""
    """What must not arrive."""
    net: bool = True
    """Whether there is a safety net."""


class _Outside:
    """A channel that leads outside; here it keeps what it is given."""

    name = "outside"
    outside = True

    def __init__(self) -> None:
        self.arrived: list[str] = []

    def deliver(self, message: Message) -> str:
        self.arrived.append(json.dumps([message.text, message.correlation_id, dict(message.properties)]))
        return "kept"


def _check(told: Told) -> Decision:
    """Publish it for real, and look at what was kept and what arrived."""
    channel, path = _Outside(), told.folder / "notify.db"
    outbox = open_outbox(f"sqlite:///{path}", "notify")
    try:
        notifier = Notifier([channel], outbox=outbox, net=Redactor() if told.net else None)
        (sent,) = notifier.publish(Message("specimen", told.text, "specimen-1", told.properties))
        redacted = notifier.get_delivery_status(sent.message_id).redacted
        kept = json.dumps([record.body + record.meta for record in outbox.find(sent.message_id)])
    except ConfigError as error:
        return _denied("no-net", error.what)
    finally:
        outbox.close()
    if told.secret and (told.secret in kept or any(told.secret in text for text in channel.arrived)):
        return Decision.undetermined(CONTROL, "the secret went out")
    return _denied("secret", "a secret was masked") if redacted else Decision.allowed(CONTROL, "nothing to mask")


def _denied(rule: str, what: str) -> Decision:
    found = Finding(f"{CONTROL}.{rule}", what, Severity.CRITICAL)
    return Decision.denied(found.rule, what, findings=[found])


def _planted() -> dict[str, Callable[[Path], Told]]:
    """Assembled here, so that no scanner takes them for real ones."""
    body = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    word = "correct" + "horse" + "9"
    cloud, forge = "AKIA" + "Z3JQ5XW7P2KD4M6T", "ghp_" + body
    login = f"https://deploy:{word}@db.example/x"
    return {
        "a password in words": lambda folder: Told(folder, f"login failed, password={word}", secret=word),
        "a cloud key": lambda folder: Told(folder, f"found {cloud} in the log", secret=cloud),
        "a token of a forge": lambda folder: Told(folder, f"push with {forge}", secret=forge),
        "a bearer token": lambda folder: Told(folder, f"Authorization: Bearer {body}", secret=body),
        "credentials in a URL": lambda folder: Told(folder, f"see {login}", secret=word),
        "a key under a name": lambda folder: Told(folder, "deploy failed", {"api_key": word}, secret=word),
        "one deep inside": lambda folder: Told(folder, "failed", {"env": {"db": {"password": word}}}, secret=word),
        "one in a list": lambda folder: Told(folder, "failed", {"argv": ["--verbose", forge]}, secret=forge),
        "one as a key": lambda folder: Told(folder, "failed", {forge: "yes"}, secret=forge),
    }


def redaction_control() -> Control:
    """The control; its subject is a `Told`."""
    clean: dict[str, Build] = {
        "plain words": lambda folder: Told(folder, "The release of orders was refused: error budget is used up."),
        "figures": lambda folder: Told(folder, "94 % of the week is spent", {"spent": "282.00", "currency": "USD"}),
        "a commit and a link": lambda folder: Told(
            folder, "see https://ci.example/runs/42", {"commit": "9fceb02d0ae598e95dc970b74767f19372d61af8"}
        ),
        "talk of passwords": lambda folder: Told(folder, "The password policy changed; tokens now live an hour."),
        "an id in its own name": lambda folder: Told(
            folder, "run finished", {"run_id": "0192f0c1-6f0e-7b1a-9c57-3a1d2c4e5f60", "attempt": 2}
        ),
    }
    return Control(
        id=CONTROL,
        title="Secrets in notifications",
        check=_check,
        rules=RULES,
        specimens=(
            *(Specimen(name, build, f"{CONTROL}.secret") for name, build in _planted().items()),
            Specimen("no net at all", lambda folder: Told(folder, "text", net=False), f"{CONTROL}.no-net"),
            *(Specimen(name, build) for name, build in clean.items()),
        ),
        docs="notify.md",
        subject="message",
        severity=Severity.CRITICAL,
    )
