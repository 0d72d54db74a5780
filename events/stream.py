"""Server-sent events: a cursor over a run's log, from any process, as often as wanted.

Framing as in F.1. Each frame carries `id: {batch}.{index}`, by which a stream is resumed. It comes last:
Azure's two Java clients take the first line for the event and the second for the data.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import Any

from pydantic_core import to_json

from errors import StoreUnavailable
from events.addresses import batch_id
from events.log import (
    Batch,
    Event,
    as_batch,
    ends_run,
    ends_stream,
    is_run_event,
    names_a_step,
    read,
    run_event,
)
from events.run_record import run_of
from ports.documents import Documents

# One line and no empty line: once an id was sent, openai-python takes an empty line for an event.
KEEP_ALIVE = b": keep-alive\n"
DONE = b"event: done\ndata: [DONE]\n\n"
PATIENCE = 30.0  # seconds that a reader waits for a store that is away
AWAY_INTERVAL = 1.0
INTERRUPTED = "The stream was interrupted. Retrieve the run, or resume the stream from its last event."
LOOK_INTERVAL = 1.0  # seconds of silence after which a reader looks whether the run is still there


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of an event: the last one a reader has seen. Batch 0, index -1 is before them all."""

    batch: int = 0
    index: int = -1

    def __str__(self) -> str:
        return f"{self.batch}.{self.index}"


class _Interrupted(Exception):
    """The stream ends here, although its log does not."""


@dataclass(slots=True)
class RunStream:
    """One reader of a run's log.

    `keep_alive`: seconds of silence after which a comment says that the stream lives; `math.inf` for none.
    `ends_at_first_wait`: the stream of a request ends at the first requires_action (F.1.8); a replay
    goes on if the log does.
    `ends_at`: when, by the event loop's clock, it ends whatever there is to come; None for never.
    """

    documents: Documents
    partition: str
    run_id: str
    keep_alive: float
    ends_at_first_wait: bool = True
    ends_at: float | None = None
    _run: dict[str, Any] | None = None  # what the log leaves out of the run's events

    async def frames(self, after: Cursor, *first: Event) -> AsyncIterator[bytes]:
        """Yield frames until the run ends or waits for its client. `first` go before the log's events.

        The frames of a batch come as one piece: every process between here and the client handles it once.
        """
        try:
            async for piece in self._pieces(after, first):
                yield piece
        except _Interrupted:
            yield _error_frame(INTERRUPTED) + DONE

    async def _pieces(self, after: Cursor, first: Iterable[Event]) -> AsyncIterator[bytes]:
        for name, data in first:
            yield _frame(name, data)
        async for batch in self._batches(after.batch):
            if batch is None:
                yield KEEP_ALIVE
                continue
            piece = bytearray()
            for index, (name, data) in enumerate(batch.events):
                if batch.number == after.batch and index <= after.index:
                    continue
                piece += _frame(name, data, Cursor(batch.number, index))
                if ends_run(name) or (ends_stream(name) and await self._waits_after(batch.number)):
                    yield bytes(piece + DONE)
                    return
            if piece:
                yield bytes(piece)
        yield await self._last_frame() + DONE

    async def _waits_after(self, number: int) -> bool:
        if self.ends_at_first_wait:
            return True
        try:
            return await self.documents.get(self.partition, batch_id(self.run_id, number + 1)) is None
        except StoreUnavailable:
            return True  # the stream can be resumed from here

    async def _batches(self, number: int) -> AsyncIterator[Batch | None]:
        """Yield batches from `number` on, their events whole, None for each silence of `keep_alive` seconds.

        Ends only if the run is over or gone and no further batch is there. A store that is away for
        less than PATIENCE is waited for. Raises _Interrupted.
        """
        away_since: float | None = None
        heard_at = monotonic()
        while True:
            try:
                self._run = self._run or await self._whole_run()
                async for batch in read(self.documents, self.partition, self.run_id, after=number - 1):
                    yield await self._whole(batch)
                    number, heard_at = batch.number + 1, monotonic()
                while document := await self._next(number):
                    yield await self._whole(as_batch(document))
                    number, heard_at = number + 1, monotonic()
                away_since = None
                if await self._over(number):
                    return
                if monotonic() - heard_at >= self.keep_alive:
                    yield None
                    heard_at = monotonic()
            except StoreUnavailable:
                away_since = away_since or monotonic()
                if monotonic() - away_since > PATIENCE or self._time_left() <= 0:
                    raise _Interrupted from None
                await asyncio.sleep(AWAY_INTERVAL)

    def _time_left(self) -> float:
        return inf if self.ends_at is None else self.ends_at - asyncio.get_running_loop().time()

    async def _whole(self, batch: Batch) -> Batch:
        if self._time_left() <= 0:
            raise _Interrupted
        return replace(batch, events=[(event[0], await self._whole_data(event)) for event in batch.events])

    async def _whole_data(self, event: Event) -> dict[str, Any]:
        name, data = event
        if is_run_event(name):
            if ends_run(name):  # its metadata may have been changed since
                self._run = await self._whole_run() or self._run
            return (self._run or {}) | data
        if names_a_step(event):
            step = await self.documents.get(self.partition, data["id"])
            return step.body["resource"] if step else data
        return data

    async def _whole_run(self) -> dict[str, Any]:
        run = await self.documents.get(self.partition, self.run_id)
        return run_of(run) if run else {}

    async def _next(self, number: int) -> Any:
        timeout = min(self.keep_alive, LOOK_INTERVAL, self._time_left())
        if timeout <= 0:
            raise _Interrupted
        return await self.documents.wait_for(self.partition, batch_id(self.run_id, number), timeout=timeout)

    async def _over(self, number: int) -> bool:
        run = await self.documents.get(self.partition, self.run_id)
        if run is not None and run.unfinished_since is not None:
            return False
        return await self.documents.get(self.partition, batch_id(self.run_id, number)) is None

    async def _last_frame(self) -> bytes:
        """Return what ends a stream whose log has no end: it expired, or the run is gone."""
        message = INTERRUPTED
        with suppress(StoreUnavailable):
            run = await self.documents.get(self.partition, self.run_id)
            if run is None:
                message = f"No run found with id '{self.run_id}'."
            elif run.unfinished_since is None:
                name, _ = run_event(run_of(run))
                return _frame(name, run_of(run))
        return _error_frame(message)


def _error_frame(message: str) -> bytes:
    return _frame("error", {"error": {"message": message, "type": "server_error", "param": None, "code": None}})


def _frame(name: str, data: dict[str, Any], cursor: Cursor | None = None) -> bytes:
    end = f"\nid: {cursor}\n\n" if cursor else "\n\n"
    return f"event: {name}\ndata: ".encode() + to_json(data) + end.encode()
