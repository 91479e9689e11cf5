"""What a server of language models can be told to do with a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Fault", "Kind")

Kind = Literal[
    "ok",  # a whole answer
    "status",  # an HTTP status with an error body
    "reset",  # the connection is reset before any byte
    "close",  # it is closed instead
    "silent",  # no byte, until the client goes away
    "slow",  # the head at once, the first token late
    "pings",  # the head, then pings for ever
    "cut",  # the connection ends in the middle
    "ended",  # the body ends in the middle, as HTTP well-formed
    "stall",  # silent in the middle
    "garbage",  # a piece that is no JSON in the middle
    "error_event",  # an error within the stream
    "unterminated",  # whole, without the event that ends the stream
    "hanging",  # the same, and the connection stays open
    "no_usage",  # whole, and nothing is counted
    "html",  # 200 and a page
    "schema",  # 200 and JSON of something else
    "no_choices",  # 200 and no answer in it
    "huge_count",  # 2^63 tokens
    "big_header",  # a header of a megabyte
    "endless",  # a body that does not end
    "redirect",  # to another place
    "compressed",  # a body that nobody asked to be compressed
    "filtered",  # the provider's filter stopped the answer
    "no_prefill",  # refuses a conversation whose last turn is the model's, else a whole answer
]
"""How a request is answered."""


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request is answered."""

    kind: Kind = "ok"
    """In which way."""
    status: int = 500
    """For `status`."""
    code: str = "server_error"
    """Code of the error, for `status` and `error_event`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the reply."""
    after: int = 5
    """After how many words it happens, where it happens in the middle."""
    seconds: float = 0.0
    """How late, for `slow`; before each word otherwise."""
    text: str | None = None
    """What is answered; None for the server's own text."""
