"""What a client is told of a refusal: a problem detail (RFC 9457) with reason and audit id, and no internals."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

__all__ = ("Refusal", "step_up_challenge")

CONTENT_TYPE = b"application/problem+json"
_QUOTABLE = re.compile(r"[!#-\[\]-~]+")
"""What an `acr_values` of RFC 9470 may hold in quotes: visible ASCII without quote and backslash."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error: it never reaches a caller
    """A call is refused; raised on the way to the one place that answers."""

    def __init__(
        self, status: int, reason: str, *, audit_id: str | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.audit_id = audit_id
        self._headers = tuple(headers)

    @property
    def body(self) -> bytes:
        """The problem detail; its type is `about:blank`, so that the title is the status's own."""
        problem = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "reason": self.reason,
            "audit_id": self.audit_id,
        }
        return json.dumps(problem).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with it."""
        length = str(len(self.body)).encode()
        return [
            (b"content-type", CONTENT_TYPE),
            (b"content-length", length),
            (b"cache-control", b"no-store"),
            *self._headers,
        ]

    async def send(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        """Answer an HTTP request with it; the server leaves the body out where the method is HEAD."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers()})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def step_up_challenge(scheme: str, acr_values: Iterable[str]) -> tuple[bytes, bytes]:
    """The header by which a client learns that it has to authenticate more strongly (RFC 9470)."""
    values = " ".join(value for value in acr_values if _QUOTABLE.fullmatch(value))
    text = f'{scheme} error="insufficient_user_authentication"'
    text += ', error_description="A stronger authentication is required"'
    return b"www-authenticate", (f'{text}, acr_values="{values}"' if values else text).encode("ascii")
