"""Activity: one turn of the model, streamed into the run's log.

A delivery enters the turn, streams, and ends with one commit that holds the turn's record. If the
record is there already, the work was done and the outcome is read off it; if another delivery
takes over meanwhile, this one writes nothing more and waits for the other's record.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import azure.durable_functions as df

import wiring
from activities.finish_turn import finish_turn, recorded_outcome
from activities.listen import Interrupted, ModelError, OutOfTime, Spoken, listen
from activities.outcomes import Outcome, closed, or_store_away, standing, throttled, unavailable
from activities.read_conversation import BudgetSpent, read_conversation
from activities.show_images import show_images
from activities.tool_results import results_of, with_results
from activities.write_calls import CallWriter
from domain import run_steps, runs
from domain.usage import total
from errors import Conflict, StoreUnavailable
from events.addresses import batch_id, tenant_of, thread_partition, turn_id
from events.fold import LogState, fold
from events.log import ended_step_event, run_event
from events.run_record import changed_run, lifetime_of, run_of
from events.turn_stream import Replaced, TurnStream
from ports.blobs import Blobs
from ports.documents import CommitTooLarge, Document, Documents, Replace
from ports.language_model import ChatRequest, LanguageModel, ModelRefused, ModelThrottled, ModelUnavailable
from tools.table import Table, missing, named

bp = df.Blueprint()

logger = logging.getLogger("durable_assistants.runs")

STANDS_STILL = 30.0  # seconds without a new batch, after which a replaced delivery takes over again
FOLLOW_INTERVAL = 0.25  # seconds between looks at the other delivery's work
TOO_LONG = (
    "The model did not finish its turn within {:g} seconds, which is all that one turn may take here (functionTimeout)."
)
TOO_MUCH = "The model's function calls hold too much to be stored."
BROKEN_TURN = "This turn of the model could not be read or stored: {}."
CALLS_NOTHING = "The model answered with nothing but function calls, although this run lets it call none."
ATTEMPTS = 20  # to enter; each lost race means that somebody else made progress


@bp.activity_trigger(input_name="turn")
async def call_model(turn: dict) -> dict:
    """Take the model's turn `turn["turn"]` of the run at `turn["run"]`; return an Outcome."""
    address = turn["run"]
    delivery = TurnDelivery(
        documents=wiring.documents(),
        model=wiring.language_model(),
        tools=wiring.tools(),
        context_tokens=wiring.settings().model_context_tokens,
        partition=thread_partition(address["tenant"], address["thread_id"]),
        thread_id=address["thread_id"],
        run_id=address["run_id"],
        turn=turn["turn"],
        time_limit=wiring.host().time_limit,
    )
    return await or_store_away(delivery.take())


@dataclass(slots=True)
class TurnDelivery:
    """`time_limit`: seconds after which it ends by itself, before the host cuts it; None for never."""

    documents: Documents
    model: LanguageModel
    tools: Table
    context_tokens: int
    partition: str
    thread_id: str
    run_id: str
    turn: int
    clock: Callable[[], float] = time.time
    blobs: Callable[[], Blobs] = wiring.blobs  # most conversations need none
    time_limit: float | None = None
    _ends_at: float | None = None  # by the event loop's clock

    async def take(self) -> Outcome:
        if self.time_limit is not None:
            self._ends_at = asyncio.get_running_loop().time() + self.time_limit
        while True:
            entered = await self._enter()
            if not isinstance(entered, tuple):
                return entered
            run, stream = entered
            try:
                return await self._speak(run, stream)
            except Replaced:
                outcome = await self._follow(stream.log.next)
                if outcome:
                    return outcome

    async def _enter(self) -> tuple[Document, TurnStream] | Outcome:
        for _ in range(ATTEMPTS):
            # The log before run and record: whatever ends, cancels or finishes after this look takes
            # the very number that is tried for below.
            log = await fold(self.documents, self.partition, self.run_id)
            run, outcome = await self._standing()
            if outcome:
                return outcome
            assert run
            if lacking := missing(self.tools, run_of(run)["tools"]):
                return closed(runs.failed("server_error", _not_yet(lacking)))
            try:
                return await self._take_number(run, log)
            except Conflict:
                continue
        raise StoreUnavailable(f"The run {self.run_id} is changing too fast.")

    async def _standing(self) -> tuple[Document | None, Outcome | None]:
        """Return the run, and what has become of it or of this turn already."""
        # The record before the run: beside a record that is there, an older run would tell what is over.
        record = await self.documents.get(self.partition, turn_id(self.run_id, self.turn))
        run = await self.documents.get(self.partition, self.run_id)
        outcome = standing(run, self.clock())
        return run, outcome or (recorded_outcome(record, run) if record and run else None)

    async def _take_number(self, document: Document, log: LogState) -> tuple[Document, TurnStream]:
        run = run_of(document)
        now = self.clock()
        if run["status"] != "queued":
            stream = TurnStream(self.documents, self.partition, run, self.turn, lifetime_of(document), log)
            return await self._complete_calls(document, stream), stream
        run = runs.started(run, int(now))
        stream = TurnStream(self.documents, self.partition, run, self.turn, lifetime_of(document), log)
        change = changed_run(document, run, now=now, turn=self.turn)
        (started,) = await stream.enter(change, events=[run_event(run)])
        return started, stream

    async def _complete_calls(self, document: Document, stream: TurnStream) -> Document:
        """Enter the turn, and with the same commit end the step of the built-in tools called in the one before."""
        step_id, called = document.body["open_step"], document.body["turn"]
        step = await self.documents.get(self.partition, step_id) if step_id else None
        turn = await self.documents.get(self.partition, turn_id(self.run_id, called)) if step else None
        if step is None or turn is None:
            await stream.enter(events=[])
            return document
        results = await results_of(self.documents, self.partition, self.run_id, turn)
        shown, events = with_results(step.body["resource"], turn, results, self.tools)
        usage = document.body["usages"].get(str(called)) or total([])
        done = run_steps.ended(shown, "completed", int(self.clock()), usage=usage)
        change = changed_run(document, run_of(document), now=self.clock(), turn=self.turn, open_step=None)
        ended = Replace(replace(step, body=step.body | {"resource": done}), step.version)
        entered, _ = await stream.enter(change, ended, events=[*events, ended_step_event(done)])
        return entered

    async def _speak(self, run: Document, stream: TurnStream) -> Outcome:
        expires_at = run_of(run)["expires_at"]
        try:
            request = await self._request(run, stream)
            names = named(self.tools, run_of(run)["tools"])
            writer = CallWriter(stream, {name: self.tools[type] for type, name in names.items()})
            spoken = await listen(self.model, request, stream, writer, self._look, self.clock, self._ends_at)
            if spoken.ending.calls and not spoken.may_call and not stream.speaking:
                return closed(runs.failed("server_error", CALLS_NOTHING))
            return await self._finish(run, stream, spoken)
        except Interrupted as interrupted:
            return interrupted.outcome
        except OutOfTime:
            logger.warning("run %s: its turn %d took %g s and was ended", self.run_id, self.turn, self.time_limit)
            too_long = closed(runs.failed("server_error", TOO_LONG.format(self.time_limit)))
            return await self._unless_overruled(too_long, stream)
        except BudgetSpent as spent:
            return closed(runs.incomplete(spent.reason))
        except (ModelThrottled, ModelUnavailable, ModelRefused) as error:
            return await self._unless_overruled(_failed(error, expires_at), stream)
        except ValueError as error:
            # What can't be read or stored now never will be: asking the model again would only be paid again.
            logger.error("run %s: its turn %d failed: %s", self.run_id, self.turn, error)
            return closed(runs.failed("server_error", BROKEN_TURN.format(error)))

    async def _request(self, run: Document, stream: TurnStream) -> ChatRequest:
        """Return what the model is asked, and have the stream know what belongs to its answer. Raises OutOfTime."""
        limit = asyncio.timeout_at(self._ends_at)
        try:
            async with limit:
                conversation = await read_conversation(
                    self.documents, self.partition, run, self.turn, self.context_tokens, self.tools
                )
                stream.images, stream.files = conversation.images, conversation.files
                return await show_images(conversation.request, self.documents, self.blobs, tenant_of(self.partition))
        except TimeoutError:
            if limit.expired():
                raise OutOfTime from None
            raise

    async def _unless_overruled(self, failure: Outcome, stream: TurnStream) -> Outcome:
        """Return the failure, unless the run was not to go on anyway. Raises Replaced.

        Whoever froze and was replaced finds its connection broken, and its time over: that is not the run's failure.
        """
        try:
            await self._look(stream)
        except Interrupted as interrupted:
            return interrupted.outcome
        return failure

    async def _look(self, stream: TurnStream) -> None:
        """Raise Interrupted if the run is not to go on, Replaced if somebody else goes on with it."""
        try:
            run = await self.documents.get(self.partition, self.run_id)
            taken = await self.documents.get(self.partition, batch_id(self.run_id, stream.log.next))
        except StoreUnavailable:
            return  # nobody can have done anything meanwhile; the next look tells
        if outcome := standing(run, self.clock()):
            raise Interrupted(outcome)
        if taken:
            raise Replaced

    async def _finish(self, run: Document, stream: TurnStream, spoken: Spoken) -> Outcome:
        for _ in range(ATTEMPTS):
            thread = await self.documents.get(self.partition, self.thread_id) if spoken.calls else None
            if spoken.calls and thread is None:
                return {"outcome": "over"}
            try:
                return await finish_turn(run, thread, stream, spoken, self.tools, now=self.clock())
            except Conflict:
                # Either the number was taken, or a client changed metadata of run or thread.
                if await self.documents.get(self.partition, batch_id(self.run_id, stream.log.next)):
                    raise Replaced from None
                latest = await self.documents.get(self.partition, self.run_id)
                if outcome := standing(latest, self.clock()):
                    return outcome
                assert latest
                run = latest
            except CommitTooLarge:  # calls with very long arguments
                return closed(runs.failed("server_error", TOO_MUCH))
        raise StoreUnavailable(f"The run {self.run_id} is changing too fast.")

    async def _follow(self, number: int) -> Outcome | None:
        """Wait for what the delivery that took over records; None if it stands still.

        It began after this one, so it may last longer than this one may follow it.
        """
        loop = asyncio.get_running_loop()  # whose clock is never set
        seen_at = loop.time()
        while loop.time() - seen_at < STANDS_STILL:
            _, outcome = await self._standing()
            if outcome:
                return outcome
            while await self.documents.get(self.partition, batch_id(self.run_id, number)):
                number, seen_at = number + 1, loop.time()
            if self._ends_at is not None and loop.time() >= self._ends_at:
                return {"outcome": "again"}
            await asyncio.sleep(FOLLOW_INTERVAL)
        return None


def _failed(error: ModelError, expires_at: int) -> Outcome:
    """Return what the model's failure means for the run."""
    match error:
        case ModelThrottled(quota=False):
            return throttled(error.message, error.retry_after, expires_at)
        case ModelThrottled():
            return closed(runs.failed("rate_limit_exceeded", error.message))
        case ModelUnavailable():
            return unavailable(error.message, expires_at)
        case ModelRefused():
            return closed(runs.failed(error.code, error.message))


def _not_yet(tools: list[str]) -> str:
    return f"This service does not run {' and '.join(tools)}. Use an assistant without such tools."
