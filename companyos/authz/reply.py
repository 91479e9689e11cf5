"""What leaves of a response: all of it, masked JSON, masked lines, or a refusal in its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from companyos.authz.duty import run_async
from companyos.authz.interface import ObligationError, Phase
from companyos.authz.obligations.mask_lines import JsonLines, LineMasker, MaskStreamError
from companyos.authz.obligations.mask_text import JsonText
from companyos.authz.problem import Refusal

if TYPE_CHECKING:
    from companyos.authz.duty import Duty
    from companyos.authz.middleware import Session
    from companyos.decision import Obligation

__all__ = ("MAX_BODY_BYTES", "Reply")

MAX_BODY_BYTES = 10_485_760
"""Longest JSON body that is masked, unless told otherwise."""

Message = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]

_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_ABOUT_THE_BODY = frozenset(
    {b"content-length", b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges"}
)
"""Headers that tell of a body that does not leave as it was."""
_PARTIAL = 206


class Reply:
    """The `send` that an application is given."""

    def __init__(
        self,
        send: Callable[[Message], Awaitable[None]],
        session: Session,
        *,
        decided_within: bool,
        max_body_bytes: int,
    ) -> None:
        self._send = send
        self._session = session
        self._decided_within = decided_within
        self._limit = max_body_bytes
        self._take: Callable[[Message], Awaitable[None]] | None = None
        self._start: Message = {}
        self._held = bytearray()
        self._maskers: list[_Masker] = []

    async def __call__(self, message: Message) -> None:
        """Take one message of the application."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
            await self._begin()
        elif self._take is None:
            raise ObligationError("a body came before its response", got=kind)
        elif kind == "http.response.body" or self._take == self._send:
            await self._take(message)
        elif kind != "http.response.trailers":  # trailers tell of a body that does not leave as it was
            raise ObligationError("a response cannot be sent so under an obligation", got=kind)

    async def _begin(self) -> None:
        session = self._session
        if session.refusal is not None:
            for duty in session.duties:  # of decisions that allowed, before the one that did not
                await run_async(duty.fail(session.refusal))
            await self._refuse(session.refusal)
        elif self._decided_within and not session.duties and self._start["status"] < 400:
            await self._refuse(Refusal(403, "route.undeclared"))
        elif not any(duty.obligations(Phase.AFTER) for duty in session.duties):
            self._take = self._send
            await self._send(self._start)
        else:
            await self._begin_obliged()

    async def _begin_obliged(self) -> None:
        try:
            kind = _content_type(self._start.get("headers", ()))
            if self._start["status"] == _PARTIAL:
                raise ObligationError("a part of a body cannot be masked")  # noqa: TRY301 - one place answers
            if kind in _LINES:
                await self._begin_lines()
            elif kind is None or kind == "application/json" or kind.endswith("+json"):
                # No type is a body that nobody knows, which is refused unless there is none.
                self._take = self._hold if kind else self._hold_nothing
            else:
                raise ObligationError("a body that is not JSON cannot be masked", got=kind)  # noqa: TRY301 - as above
        except ObligationError as error:
            await self._fail(error)

    async def _hold(self, message: Message) -> None:
        """Keep the body until it is whole, then send what may leave of it."""
        self._held += message.get("body", b"")
        if len(self._held) > self._limit:
            await self._fail(ObligationError("a body is too long to be masked", expected=f"{self._limit} bytes"))
        elif not message.get("more_body", False):
            await self._release()

    async def _hold_nothing(self, message: Message) -> None:
        if message.get("body", b""):
            await self._fail(ObligationError("a body without a type cannot be masked"))
        elif not message.get("more_body", False):
            await self._release()

    async def _release(self) -> None:
        value: Any = None
        try:
            if self._held:
                value = JsonText(self._held.decode())
            for duty in self._session.duties:
                value = await run_async(duty.finish(value))
            body = _encoded(value)
        except (ObligationError, UnicodeDecodeError) as error:
            await self._fail(error)
            return
        headers = _cleaned(self._start.get("headers", ()))
        if body or self._held:
            headers.append((b"content-length", str(len(body)).encode()))
        self._take = self._drop
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _begin_lines(self) -> None:
        lines: Any = JsonLines(())
        for duty in self._session.duties:
            for obligation, handler in duty.obligations(Phase.AFTER):
                make = getattr(handler, "line_masker", None)
                if make is None:
                    raise ObligationError(f"the obligation {obligation.id} cannot be carried out on a stream")
                self._maskers.append(_Masker(duty, obligation, make(obligation)))
            lines = await run_async(duty.finish(lines))
        self._take = self._pass_lines
        await self._send({**self._start, "headers": _cleaned(self._start.get("headers", ()))})

    async def _pass_lines(self, message: Message) -> None:
        more = message.get("more_body", False)
        lines, error = await asyncio.to_thread(self._through, message.get("body", b""), last=not more)
        if error is not None:
            if lines:
                await self._send({"type": "http.response.body", "body": b"".join(lines), "more_body": True})
            self._take = self._drop
            masker = next(masker for masker in self._maskers if masker.refused)
            await run_async(masker.duty.complain(masker.obligation, error))
            raise error  # the server breaks the connection off: the client must not take this for the end
        await self._send({"type": "http.response.body", "body": b"".join(lines), "more_body": more})

    def _through(self, piece: bytes, *, last: bool) -> tuple[list[bytes], MaskStreamError | None]:
        """The lines that may leave, and the error that refuses the rest."""
        flow: Iterable[bytes] = [piece]
        for masker in self._maskers:
            flow = masker.flow(flow, last=last)
        lines: list[bytes] = []
        try:
            lines.extend(flow)
        except MaskStreamError as error:
            return lines, error
        return lines, None

    async def _fail(self, error: Exception) -> None:
        """Answer with a refusal; an application's own failure keeps its status, not its text."""
        self._held.clear()
        for duty in self._session.duties:
            await run_async(duty.fail(error))
        status = self._start["status"]
        await self._refuse(Refusal(status if status >= 400 else 403, "obligation.failed", audit_id=self._audit_id()))

    async def _refuse(self, refusal: Refusal) -> None:
        self._take = self._drop
        await refusal.send(self._send)

    async def _drop(self, message: Message) -> None:
        """Take what comes after the answer was given."""

    def _audit_id(self) -> str | None:
        return self._session.duties[0].audit_id if self._session.duties else None


class _Masker:
    """One obligation on a stream of lines."""

    def __init__(self, duty: Duty, obligation: Obligation, masker: LineMasker) -> None:
        self.duty = duty
        self.obligation = obligation
        self.refused = False
        self._masker = masker

    def flow(self, pieces: Iterable[bytes], *, last: bool) -> Iterator[bytes]:
        """The masked lines of the pieces."""
        for piece in pieces:
            yield from self._guard(self._masker.feed(piece))
        if last:
            yield from self._guard(self._masker.finish())

    def _guard(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from lines
        except MaskStreamError:
            self.refused = True
            raise


def _encoded(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, JsonText):
        return value.text.encode()
    if isinstance(value, Mapping | list):
        try:
            return json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise ObligationError("a handler gave back what is not JSON", got=type(error).__name__) from error
    raise ObligationError("a handler gave back what is not JSON", got=type(value).__name__)


def _content_type(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The media type of a body that can be looked into, in lower case; None if none is stated."""
    found = [value.decode("latin-1") for name, value in headers if name.lower() == b"content-type"]
    coded = [value for name, value in headers if name.lower() == b"content-encoding"]
    if any(value.strip().lower() != b"identity" for value in coded):
        raise _unreadable("it is compressed")
    if len(found) > 1:
        raise _unreadable("it has two types")
    if not found:
        return None
    kind, *parameters = (part.strip().lower() for part in found[0].split(";"))
    charsets = {part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset")}
    if not charsets <= {"utf-8", "utf8"}:
        raise _unreadable("it is not UTF-8")
    return kind


def _unreadable(why: str) -> ObligationError:
    return ObligationError("a body cannot be looked into", got=why)


def _cleaned(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in _ABOUT_THE_BODY]
