"""Activity: one call of a built-in tool, made by the model in a turn of a run.

It ends with one commit that creates the call's record, of which a call has exactly one: whoever finds it
there, before or after the work, did nothing that counts. It takes no number of the log: the calls of a turn
run side by side, and what follows them shows their outputs (activities/tool_results.py).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import azure.durable_functions as df

import wiring
from activities.outcomes import Outcome, closed, or_store_away, standing, unavailable
from activities.tool_results import call_record, ours
from domain import runs
from domain.sizes import MAX_SHOWN_OUTPUTS
from errors import Conflict, StoreUnavailable
from events.addresses import call_record_id, thread_partition, turn_id
from events.races import commit_patiently
from events.run_record import lifetime_of, run_of
from ids import derived_id
from ports.documents import Create, Document, Documents
from tools.table import Table
from tools.tool import ToolCall, ToolResult, ToolUnavailable

bp = df.Blueprint()

logger = logging.getLogger("durable_assistants.runs")

LOOK_SECONDS = 1.0
OUT_OF_TIME = "[The call took longer than the {:g} seconds that one may take here, and was ended.]"


@bp.activity_trigger(input_name="call")
async def call_tool(call: dict) -> dict:
    """Run call `call["call"]` (its index) of turn `call["turn"]` of the run at `call["run"]`; return an Outcome."""
    address = call["run"]
    delivery = CallDelivery(
        documents=wiring.documents(),
        tools=wiring.tools(),
        partition=thread_partition(address["tenant"], address["thread_id"]),
        run_id=address["run_id"],
        turn=call["turn"],
        index=call["call"],
        time_limit=wiring.host().time_limit,
    )
    return await or_store_away(delivery.take())


@dataclass(slots=True)
class CallDelivery:
    """`time_limit`: seconds after which it ends by itself, before the host cuts it; None for never."""

    documents: Documents
    tools: Table
    partition: str
    run_id: str
    turn: int
    index: int
    clock: Callable[[], float] = time.time
    time_limit: float | None = None

    async def take(self) -> Outcome:
        run = await self.documents.get(self.partition, self.run_id)
        if outcome := standing(run, self.clock()) or await self._recorded():
            return outcome
        turn = await self.documents.get(self.partition, turn_id(self.run_id, self.turn))
        assert run and turn
        try:
            result = await self._result(run, turn)
        except ToolUnavailable as error:
            if error.retry_after is None:
                return closed(runs.failed("server_error", error.message))
            outcome = unavailable(error.message, run_of(run)["expires_at"])
            outcome["retry_after"] = error.retry_after
            return outcome
        if isinstance(result, ToolResult):
            return await self._record(run, result)
        return result

    async def _recorded(self) -> Outcome | None:
        record = await self.documents.get(self.partition, self._record_id)
        return {"outcome": "called"} if record else None

    @property
    def _record_id(self) -> str:
        return call_record_id(self.run_id, self.turn, self.index)

    async def _result(self, run: Document, turn: Document) -> ToolResult | Outcome:
        """Run the call, and look once a second whether it is still wanted. Raises ToolUnavailable."""
        called = turn.body["calls"][self.index]
        own = derived_id("call", self.partition, self.run_id, self.turn, self.index)
        room = MAX_SHOWN_OUTPUTS // len(ours(turn.body["calls"]))
        call = ToolCall(self.partition, run_of(run), own, called["arguments"], room)
        work = asyncio.create_task(self.tools[called["tool"]].run(call))
        ends_at = None if self.time_limit is None else asyncio.get_running_loop().time() + self.time_limit
        try:
            while not work.done():
                await asyncio.wait([work], timeout=LOOK_SECONDS)
                if not work.done() and (outcome := await self._look()):
                    return outcome
                if not work.done() and ends_at is not None and asyncio.get_running_loop().time() >= ends_at:
                    return ToolResult(OUT_OF_TIME.format(self.time_limit))
            return work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _look(self) -> Outcome | None:
        """Return why the call is not to go on, or that another delivery has recorded it."""
        try:
            run = await self.documents.get(self.partition, self.run_id)
            return standing(run, self.clock()) or await self._recorded()
        except StoreUnavailable:
            return None  # nobody can have done anything meanwhile; the next look tells

    async def _record(self, run: Document, result: ToolResult) -> Outcome:
        record = call_record(self._record_id, self.turn, self.index, result, lifetime_of(run))
        with suppress(Conflict):  # another delivery's is there
            await commit_patiently(self.documents, self.partition, Create(record))
        return {"outcome": "called"}
