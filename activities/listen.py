"""Listening to the model: its text, and what it writes into calls of built-in tools, goes to the run's log as it
comes, in batches of about 40 ms."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from pydantic_core import to_json

from activities.outcomes import Outcome
from activities.write_calls import CallWriter
from domain.messages import PartType
from domain.sizes import MAX_ANSWER
from events.turn_stream import TurnStream
from ports.language_model import (
    CallPiece,
    ChatRequest,
    Ending,
    FunctionCall,
    LanguageModel,
    ModelRefused,
    ModelThrottled,
    ModelUnavailable,
    Piece,
    RefusalPiece,
    TextPiece,
)

BATCH_SECONDS = 0.04
LOOK_SECONDS = 1.0

ModelError = ModelThrottled | ModelUnavailable | ModelRefused
Look = Callable[[TurnStream], Awaitable[None]]


class Interrupted(Exception):
    """The run is not to go on: cancelled, expired, ended or gone."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome["outcome"])
        self.outcome = outcome


class OutOfTime(Exception):
    """The turn has lasted as long as one may."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model said in one turn, beside the text that is in the stream already."""

    request: ChatRequest
    ending: Ending

    @property
    def may_call(self) -> bool:
        return bool(self.request.tools) and self.request.tool_choice != "none"

    @property
    def calls(self) -> list[FunctionCall]:
        """The calls to be answered: those of an answer that was cut off are not, nor those that nobody let it make."""
        return self.ending.calls if self.may_call and self.ending.finish in ("tool_calls", "stop") else []


async def listen(
    model: LanguageModel,
    request: ChatRequest,
    stream: TurnStream,
    writer: CallWriter,
    look: Look,
    clock: Callable[[], float],
    ends_at: float | None = None,
) -> Spoken:
    """Stream the model's answer into the log, its first text at once.

    `look` is called once a second, even while the model is silent. Whatever ends this early closes
    the connection to the model. An answer of more than MAX_ANSWER is cut there, as one that reached the
    model's own limit. Raises what the model raises, Replaced, what `look` raises, and OutOfTime at `ends_at` (of the
    event loop's clock; between two commits, so that it is known what is in the log).
    """
    pieces: asyncio.Queue[Piece | ModelError] = asyncio.Queue()
    early = writer.names if request.tool_choice != "none" else ()
    ear = _Ear(stream, writer)
    reader = asyncio.create_task(_read(model.stream(request, early=early), pieces))
    try:
        spoken = Spoken(request, await _write(reader, pieces, stream, ear, look, clock, ends_at))
        if not spoken.calls:
            ear.say_held(int(clock()))
        return spoken
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _read(pieces: AsyncIterator[Piece], queue: asyncio.Queue[Piece | ModelError]) -> None:
    try:
        async with aclosing(pieces) as stream:  # type: ignore[type-var]
            async for piece in stream:
                queue.put_nowait(piece)
    except (ModelThrottled, ModelUnavailable, ModelRefused) as error:
        queue.put_nowait(error)


async def _write(
    reader: asyncio.Task[None],
    queue: asyncio.Queue[Piece | ModelError],
    stream: TurnStream,
    ear: "_Ear",
    look: Look,
    clock: Callable[[], float],
    ends_at: float | None,
) -> Ending:
    loop = asyncio.get_running_loop()
    look_at = loop.time() + LOOK_SECONDS
    flush_at = loop.time()
    while True:
        due = min(look_at, flush_at) if stream.pending else look_at
        if ends_at is not None:
            if loop.time() >= ends_at:
                raise OutOfTime
            due = min(due, ends_at)
        piece = await _next(queue, due - loop.time())
        if piece is None and reader.done() and queue.empty():
            reader.result()
            raise ModelUnavailable("The model's stream ended without an ending.")
        if isinstance(piece, CallPiece) and ear.ends_speech(piece):
            await stream.end_speech(int(clock()))
        if ending := ear.hear(piece, int(clock())):
            return ending
        if stream.pending and loop.time() >= flush_at:
            await stream.flush()
            flush_at = loop.time() + BATCH_SECONDS
        if loop.time() >= look_at:
            await look(stream)
            look_at = loop.time() + LOOK_SECONDS


class _Ear:
    """What becomes of a piece.

    Where a predecessor's words have entered the thread, before calls that it could not finish, the same words of this
    delivery are not said again: words are held until it is known whether calls follow them.
    """

    def __init__(self, stream: TurnStream, writer: CallWriter) -> None:
        self._stream = stream
        self._writer = writer
        self._room = MAX_ANSWER
        self._held: list[tuple[PartType, str]] = []

    def ends_speech(self, piece: CallPiece) -> bool:
        return self._stream.speaking and self._writer.wants(piece)

    def hear(self, piece: Piece | ModelError | None, now: int) -> Ending | None:
        match piece:
            case TextPiece(text) | RefusalPiece(text):
                kept, size = _within(text, self._room)
                self._room -= size
                if kept:
                    self._take("text" if isinstance(piece, TextPiece) else "refusal", kept, now)
                return Ending("length") if kept != text else None
            case CallPiece():
                self._writer.take(piece, now)
            case Ending():
                return piece
            case Exception():
                raise piece
        return None

    def _take(self, kind: PartType, text: str, now: int) -> None:
        if self._stream.continues and not (self._stream.calling or self._stream.speaking):
            self._held.append((kind, text))
        else:
            self._stream.say(kind, text, now)

    def say_held(self, now: int) -> None:
        """No calls follow: it is another answer than the predecessor's."""
        if not self._stream.calling:
            for kind, text in self._held:
                self._stream.say(kind, text, now)


def _within(text: str, room: int) -> tuple[str, int]:
    """The beginning of the text that takes at most `room` bytes as JSON, and how many it takes."""
    size = _bytes(text)
    if size <= room:
        return text, size
    length = bisect_right(range(len(text)), room, key=lambda length: _bytes(text[:length])) - 1
    return text[:length], _bytes(text[:length])


def _bytes(text: str) -> int:
    return len(to_json(text)) - 2  # quotes


async def _next(queue: asyncio.Queue[Piece | ModelError], timeout: float) -> Piece | ModelError | None:
    if not queue.empty():
        return queue.get_nowait()
    try:
        async with asyncio.timeout(max(timeout, 0.0)):
            return await queue.get()
    except TimeoutError:
        return None
