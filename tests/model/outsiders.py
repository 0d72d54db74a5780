"""Who acts on a run from outside: clients of the API, readers of its stream, the sweeper."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from errors import InvalidRequest, StoreUnavailable
from events import requests
from events.log import is_run_event
from events.run_record import run_of
from events.stream import RunStream
from ports.task_hub import RunAddress
from tests.model.frames import Reading
from tests.model.invariants import Watch
from tests.model.memory_documents import MemoryDocuments
from tests.model.scenario import Scenario
from tests.model.scheduled_ports import ScheduledDocuments, ScheduledHub
from tests.model.scheduler import Actor
from tests.model.thread import ADDRESS, PARTITION, RUN
from timers.sweep_runs import sweep

SWEEPS_EVERY = 5.0
RETRIES_AFTER = 1.0  # seconds, as clients do after a 503


@dataclass(slots=True)
class Outsiders:
    """What they do, and what they were told. `changed` is set, and replaced, at every commit."""

    scenario: Scenario
    watch: Watch
    store: MemoryDocuments
    nudge: Callable[[RunAddress, str | None], None]
    now: Callable[[], float]
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    is_cancelled: bool = False  # a cancel was answered with 200
    offered: list[dict[str, str]] = field(default_factory=list)  # outputs that clients sent
    taken: list[dict[str, str]] = field(default_factory=list)  # those of them that were answered with 200
    reading: Reading = field(default_factory=Reading)

    def documents(self, actor: Actor) -> ScheduledDocuments:
        return ScheduledDocuments(self.store, actor)

    def hub(self, actor: Actor) -> ScheduledHub:
        return ScheduledHub(self.nudge, actor)

    def committed(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def create(self, actor: Actor) -> None:
        await self.hub(actor).wake(ADDRESS)

    async def sweep_on(self, actor: Actor) -> None:
        while True:
            await asyncio.sleep(SWEEPS_EVERY)
            await self.sweep(actor)

    async def sweep(self, actor: Actor) -> None:
        try:
            await sweep(self.documents(actor), self.hub(actor), now=self.now())
        except StoreUnavailable:
            return  # the timer fires again

    async def cancel(self, actor: Actor) -> None:
        """Ask the run to stop; where nothing was under way it has ended with the answer."""
        requested = await self._request(lambda: requests.cancel(self.documents(actor), PARTITION, RUN, now=self.now()))
        if requested is None:
            return
        self.is_cancelled = True
        assert run_of(requested.run)["status"] == "cancelling"
        if self._cancelled_from() != "in_progress" and requested.batch is not None:
            assert self.watch.is_over or "away" in self.scenario.faults, "the thread is still locked"
        await self.hub(actor).wake(ADDRESS, "cancel_requested")

    def _cancelled_from(self) -> str:
        """Return the run's state before it was cancelling."""
        states = [data["status"] for name, data in self.watch.events if is_run_event(name)]
        return states[states.index("cancelling") - 1]

    async def answer_calls(self, actor: Actor) -> None:
        """Give the outputs each time the run asks for some."""
        answered: list[str] = []
        while not self.watch.is_over:
            calls = self._awaited_calls()
            if calls and calls != answered:
                await asyncio.sleep(self.scenario.submits_after)
                await self.submit(actor)
                answered = calls
            else:
                await self.changed.wait()

    async def submit(self, actor: Actor) -> None:
        """Give outputs that tell who gave them."""
        outputs = {call_id: f"{call_id} by {actor.name}" for call_id in self._awaited_calls()}
        turn = self.watch.turn
        given = list(outputs.items())
        self.offered.append(outputs)
        if await self._request(lambda: requests.submit(self.documents(actor), PARTITION, RUN, given, now=self.now())):
            self.taken.append(outputs)
            await self.hub(actor).wake(ADDRESS, f"tool_outputs_submitted:{turn}")

    def _awaited_calls(self) -> list[str]:
        action = self.watch.run and self.watch.run["required_action"]
        return [call["id"] for call in action["submit_tool_outputs"]["tool_calls"]] if action else []

    async def _request(self, send: Callable[[], Any]) -> requests.Requested | None:
        """Send a client's request, again after each 503; None if it was refused."""
        while True:
            try:
                return await send()
            except InvalidRequest:
                return None
            except StoreUnavailable:
                await asyncio.sleep(RETRIES_AFTER)

    async def read(self, actor: Actor) -> None:
        """Follow the run to its end, a stream after the other, from where the last was cut."""
        while not self.reading.is_over:
            stream = RunStream(self.documents(actor), PARTITION, RUN, keep_alive=15.0, ends_at_first_wait=False)
            after = self.reading.begin()
            async for frame in stream.frames(after):
                self.reading.take(frame)
            self.reading.end()
