"""A streamed call: text as it comes, continued elsewhere when a stream is cut or stalls, or honestly partial."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from companyos.llm.errors import ExhaustedError, PartialAnswerError, ProviderError
from companyos.llm.interface import Chunk, StreamEvent
from companyos.llm.run import filtered
from companyos.llm.splice import Splice, continuation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from companyos.errors import UserError
    from companyos.llm.interface import Candidate, Request
    from companyos.llm.run import Asking, Run

__all__ = ("Streaming",)


class Streaming:
    """The events of one call, and the text that came so far."""

    def __init__(self, run: Run) -> None:
        self.text = ""
        """What was given out."""
        self._run = run
        self._speaker: Candidate | None = None
        self._ends: list[Chunk] = []

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """The events.

        Raises:
            PartialAnswerError: the text broke off, and nobody could continue it.
            UserError: as `Run.complete`, if there is no text yet.
        """
        run = self._run
        while not self._ends:
            request = continuation(run.request, self.text) if self.text else run.request
            try:
                place = await run.next()
            except ExhaustedError as error:
                raise self._ending(error) from error
            asking = await run.begin(place, request)
            if asking is None:
                continue
            if self.text:
                yield StreamEvent("switched", provider=place.candidate.provider)
            async with aclosing(self._attempt(asking, place.candidate, request)) as texts:
                async for text in texts:
                    self.text, self._speaker = self.text + text, place.candidate
                    yield StreamEvent("text", text)
            for last in self._ends:
                if last.finish_reason == "content_filter":
                    raise filtered(place.candidate)
                yield StreamEvent("done", completion=run.completion(place.candidate, self.text, last))

    async def _attempt(self, asking: Asking, candidate: Candidate, request: Request) -> AsyncGenerator[str]:
        """The new text of one attempt, which it also concludes."""
        splice = Splice(self.text) if self.text else None
        last: Chunk | None = None
        try:
            chunks = cast("AsyncGenerator[Chunk]", asking.provider.stream(request, candidate.model, asking.limits))
            async with aclosing(chunks):
                async for chunk in chunks:
                    new = _new(asking, splice, chunk)
                    if new:
                        yield new
                    last = chunk if chunk.finish_reason is not None else last
        except ProviderError as error:
            await asking.failed(self._judged(error))
        except BaseException:
            await asking.abandoned()
            raise
        else:
            if last is None:
                cut = ProviderError("cut", "the stream ended before the model did", maybe_billed=True)
                await asking.failed(cut)
                return
            self._ends.append(last)
            await asking.ended(last)

    def _judged(self, error: ProviderError) -> ProviderError:
        """A refusal of a continuation says nothing of the request itself, so another provider may take it."""
        if error.kind != "rejected" or not self.text:
            return error
        return ProviderError("unknown_model", f"it takes no continuation: {error.what}", status=error.status)

    def _ending(self, error: ExhaustedError) -> UserError:
        if self._speaker is None:
            return error
        return PartialAnswerError(self._run.completion(self._speaker, self.text, None), error.got or error.what)


def _new(asking: Asking, splice: Splice | None, chunk: Chunk) -> str:
    """What of a chunk is new."""
    if chunk.text:
        asking.token()
    if splice is None:
        return chunk.text
    new = splice.feed(chunk.text) if chunk.text else ""
    return new + splice.end() if chunk.finish_reason is not None else new
