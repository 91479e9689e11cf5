"""What the parts of the server promise each other: who calls, and how a request is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.errors import ConfigError, RefusedError, UnverifiableError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("AuthenticationError", "Caller", "HttpRefusedError", "KeysUnavailableError", "ServerConfigError", "one_line")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks the decision point: a program that enforces decisions, not the subject of a request."""

    id: str
    """Stable id: `key:NAME` of an API key, or `jwt:ISSUER#SUBJECT`."""
    scopes: frozenset[str] = frozenset()
    """The scopes of its token."""


class ServerConfigError(ConfigError):
    """The server's settings do not hold: it must not start."""

    code = "server.config"


class AuthenticationError(RefusedError):
    """A caller did not show who it is; `rule` is the stable id of what was wrong."""

    code = "server.unauthenticated"

    def __init__(self, rule: str, what: str) -> None:
        self.rule = rule
        super().__init__(what)


class KeysUnavailableError(UnverifiableError):
    """A token cannot be verified, because the issuer's keys could not be had."""

    code = "server.keys"


class HttpRefusedError(RefusedError):
    """A request is answered with an error status and a sentence."""

    code = "server.refused"

    def __init__(self, status: int, what: str, *, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = dict(headers or {})
        super().__init__(what)


def one_line(message: str) -> str:
    """The text of an error as one sentence: what, got, expected and the next step, told apart."""
    return "; ".join(" ".join(line.split()) for line in message.splitlines())
