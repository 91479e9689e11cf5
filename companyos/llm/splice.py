"""Joining the answer of one provider to the beginning that another one gave, without repeating or losing text.

Who continues is shown the beginning and asked to go on from its last character. Some begin anew all the same, or
repeat the last words: what is there already is left out. One that begins anew in other words cannot be joined.
"""

from __future__ import annotations

from companyos.llm.errors import ProviderError
from companyos.llm.interface import Message, Request

__all__ = ("Splice", "continuation")

LEAST_OVERLAP = 8
"""Characters; shorter repetitions happen in any text."""
MOST_OVERLAP = 400
"""Characters that are looked at."""
SAME_BEGINNING = 24
"""So many characters like those of the beginning are no accident: it begins anew."""
_ASK = (
    "Your answer above was cut off. Continue it from exactly the character where it ends. Do not repeat anything of "
    "it, do not introduce or comment the continuation."
)


def continuation(request: Request, text: str) -> Request:
    """The request that asks to go on after `text`; the last turn is the user's, as some models take no other."""
    messages = (*request.messages, Message("assistant", text), Message("user", _ASK))
    return Request(messages, request.max_tokens, request.temperature, request.stop, request.json_schema)


class Splice:
    """Takes what continues a text, and gives back what is new of it."""

    __slots__ = ("_before", "_decided", "_held")

    def __init__(self, before: str) -> None:
        self._before = before
        self._held = ""
        self._decided = False

    def feed(self, text: str) -> str:
        """What of `text`, and of what was held back, is known to be new.

        Raises:
            ProviderError: it begins anew in other words.
        """
        if self._decided:
            return text
        self._held += text
        if self._undecided():
            return ""
        return self._decide()

    def end(self) -> str:
        """What is new of the rest."""
        return "" if self._decided else self._decide()

    def _undecided(self) -> bool:
        """Whether what is held may be the beginning of a repetition whose end is not here yet."""
        held, before = self._held, self._before
        if before.startswith(held):
            return True
        return len(held) < MOST_OVERLAP and not held.startswith(before) and held in before[-MOST_OVERLAP:]

    def _decide(self) -> str:
        held, before = self._held, self._before
        self._decided = True
        if held.startswith(before):
            return held[len(before) :]
        if held[:SAME_BEGINNING] == before[:SAME_BEGINNING] and len(held) >= SAME_BEGINNING:
            raise ProviderError("malformed", "it began anew in other words, which cannot be joined", maybe_billed=True)
        most = min(len(held), len(before), MOST_OVERLAP)
        overlap = next((n for n in range(most, LEAST_OVERLAP - 1, -1) if before.endswith(held[:n])), 0)
        return held[overlap:]
