"""One run's story: its orchestration, its activities, the clients and the sweeper, over one store."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from activities.append_message import append_answer
from activities.call_model import TurnDelivery
from activities.outcomes import Outcome, or_store_away
from domain import runs
from errors import InvalidRequest, StoreUnavailable
from events import requests
from events.addresses import sort_of, thread_partition
from events.closing import close
from events.starting import starting_changes
from events.stream import RunStream
from ports.documents import Create, Document
from ports.task_hub import RunAddress
from tests.model.executor import Orchestration, Work
from tests.model.frames import Reading
from tests.model.invariants import Ended, Watch, ended_run
from tests.model.memory_documents import Memory, MemoryDocuments
from tests.model.scheduled_ports import ScheduledDocuments, ScheduledHub
from tests.model.scheduler import Actor, Fate, Kind, Option, Scheduler
from tests.model.scripted_language_model import Said, ScriptedModel
from tests.model.virtual_loop import VirtualLoop
from timers.sweep_runs import sweep

BEGAN = 1_700_000_000.0  # Unix seconds at the loop's 0
SWEEPS_EVERY = 5.0
FAILURES = {"throttled", "unavailable"}
THREAD, RUN = "thread_1", "run_1"
ADDRESS: RunAddress = {"tenant": "default", "thread_id": THREAD, "run_id": RUN}
PARTITION = thread_partition("default", THREAD)
RETRIES_AFTER = 1.0  # seconds, as clients do after a 503


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the model says, what clients do, and which faults a schedule may choose from.

    Faults: "other" (another actor goes first), "time" (it passes while operations hang), "kill"
    (before or after an operation), "zombie" (a delivery freezes and is given to another, and wakes
    whenever), "twin" (delivered again while the first lives), "away" (store or hub fail, or their
    answer is lost), "nudge" (only the hub does), "hub" (it is lost with all it knew), "sweep" (the
    sweeper comes by).
    """

    name: str
    turns: tuple[Said, ...]
    faults: frozenset[str]
    clients: tuple[str, ...] = ()  # that a schedule lets act once, at any moment: "cancel", "submit"
    submits: int = 1  # clients that submit the outputs when the run waits for them
    reads: bool = False  # whether a client streams all along
    lifetime: float = 600.0
    submits_after: float = 0.0  # seconds that a client thinks about the outputs
    ends: frozenset[str] = frozenset({"completed"})
    within: float = 40.0  # seconds in which the run ends, whatever goes wrong
    cancelled_within: float = 12.0  # of them, after a cancel: a lost nudge costs a sweep


class Story:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = VirtualLoop()
        self.watch = Watch()
        self.store = MemoryDocuments(Memory(self.now, self._committed))
        self.model = ScriptedModel(scenario.turns)
        self.scheduler = Scheduler(
            loop=self.loop,
            may_switch="other" in scenario.faults,
            may_hang="time" in scenario.faults,
            faults=self._faults,
            extra=self._extra,
            is_pending=lambda: not self.watch.is_over,
        )
        self.works: dict[Actor, Work] = {}
        self.orchestration: Orchestration | None = None
        self.changed = asyncio.Event()
        self.unused = list(scenario.clients)
        self.is_cancelled = False
        self.is_over = False
        self.offered: list[dict[str, str]] = []  # outputs that clients sent
        self.taken: list[dict[str, str]] = []  # those of them that were answered with 200
        self.reading = Reading()
        self.comes_back: dict[str, Callable[[Actor], Any]] = {}  # by name: what a client does whose server died
        self.deliveries = 0
        self.hub_losses = 1
        self.times: dict[str, float] = {}  # when the run came into each status
        self.entries: list[tuple[int, Actor]] = []  # by which step who took over a turn

    def now(self) -> float:
        return BEGAN + self.loop.time()

    def play(self, schedule: Mapping[int, int]) -> None:
        """Tell the story from the run's creation to the last actor's end, and check every rule."""
        self._begin()
        try:
            self.scheduler.run(schedule, self._check)
        finally:
            self.is_over = True
            self.scheduler.close()
        ended = self._ended()
        ended.check(self.model.answers, self._allowed_ends())
        self._check_times(ended.run["status"])
        self._check_outputs(ended)
        self._check_readers()

    def _allowed_ends(self) -> set[str]:
        if self.is_cancelled:
            return {"cancelled"}
        # A cancel whose answer was lost may have been heard.
        tried = "cancel" in self.scenario.clients and "cancel" not in self.unused
        return {*self.scenario.ends, *(["cancelled"] if tried else [])}

    def _check_times(self, end: str) -> None:
        ended_at = self.times[end]
        assert ended_at <= self.scenario.within, f"the run ended only after {ended_at:.0f} seconds"
        waited = ended_at - self.times.get("cancelling", ended_at)
        assert waited <= self.scenario.cancelled_within, f"the run was cancelled only after {waited:.0f} seconds"

    def _check(self) -> None:
        self.watch.check()
        for context in self.loop.errors:
            raise AssertionError(context["message"]) from context.get("exception")

    # How the run begins, and who acts in it.

    def _begin(self) -> None:
        question = {"id": "msg_q", "role": "user", "run_id": None, "content": [_text("Hello?")]}
        thread = Document(THREAD, "thread", {"resource": {"id": THREAD}, "active_run_id": None, "next_seq": 1})
        asked = Document("msg_q", "message", {"resource": question}, sort=sort_of(0))
        tools = [{"type": "function", "function": {"name": "f"}}]
        assistant = {"id": "asst_1", "model": "m", "instructions": None, "tools": tools, "response_format": "auto"}
        run = runs.begin(RUN, THREAD, assistant, {}, now=int(self.now()), lifetime=self.scenario.lifetime)

        async def create() -> None:
            stored, _ = await self.store.commit(PARTITION, Create(thread), Create(asked))
            changes = starting_changes(stored, run, lifetime=self.scenario.lifetime, now=self.now())
            await self.store.commit(PARTITION, *changes)

        self._complete(create())
        self._start("create", Kind.CLIENT, self._wake)
        self._start("sweeper", Kind.SWEEPER, self._sweeper)
        for number in range(self.scenario.submits if any(turn.calls for turn in self.scenario.turns) else 0):
            self._start_lasting(f"submitter {number}", Kind.CLIENT, self._submitter)
        if self.scenario.reads:
            self._start_lasting("reader", Kind.READER, self._reader)

    def _complete(self, work: Any) -> Any:
        """Do something outside the story, at once."""
        task = self.loop.create_task(work)
        self.loop.settle()
        return task.result()

    def _start(self, name: str, kind: Kind, work: Callable[[Actor], Any], *, first: bool = False) -> Actor:
        actor = self.scheduler.start(name, kind, work, first=first)
        assert actor.task
        actor.task.add_done_callback(lambda task: self._over(actor, task))
        return actor

    def _start_lasting(self, name: str, kind: Kind, work: Callable[[Actor], Any], *, first: bool = False) -> None:
        """Start somebody who comes back if the server dies that answers."""
        self.comes_back[name] = work
        self._start(name, kind, work, first=first)

    def _over(self, actor: Actor, task: asyncio.Task[Any]) -> None:
        """At least once: a delivery that died is given to another, a client or reader comes back."""
        if self.is_over:
            return
        if not task.cancelled() and (error := task.exception()):
            self.loop.errors.append({"message": f"{actor.name} failed: {error!r}", "exception": error})
        work = self.works.pop(actor, None)
        if work and actor.dead and work.is_wanted and not self._is_worked_on(work):
            self._deliver(work)
        if actor.dead and (again := self.comes_back.get(actor.name)):
            self._start(actor.name, actor.kind, again)

    def _is_worked_on(self, work: Work) -> bool:
        return any(each is work and not actor.frozen for actor, each in self.works.items())

    def _committed(self, partition: str, written: list[Document]) -> None:
        self.watch(partition, written)
        if self.watch.run:
            self.times[self.watch.run["status"]] = self.loop.time()
        if any(document.kind == "batch" and document.body["turn"] is not None for document in written):
            self.entries.append((len(self.scheduler.trace) - 1, self.scheduler.queue[0]))
        self.changed.set()
        self.changed = asyncio.Event()

    def _documents(self, actor: Actor) -> ScheduledDocuments:
        return ScheduledDocuments(self.store, actor)

    def _hub(self, actor: Actor) -> ScheduledHub:
        return ScheduledHub(self._nudged, actor)

    # The task hub, and what it delivers.

    def _nudged(self, run: RunAddress, event: str | None) -> None:
        if self.orchestration is None or self.orchestration.is_over:
            self.orchestration = Orchestration(self.loop, self.now, self._deliver, run)
            self.orchestration.go_on()
        if event:
            self.orchestration.raise_event(event)

    def _lose_hub(self) -> None:
        self.hub_losses -= 1
        if self.orchestration:
            self.orchestration.forget()

    def _deliver(self, work: Work, *, first: bool = False) -> None:
        self.deliveries += 1
        turn = work.input.get("turn", "")

        async def deliver(actor: Actor) -> None:
            outcome = await or_store_away(self._activity(actor, work))
            if outcome["outcome"] in FAILURES:
                assert not self._was_replaced(actor), "being replaced is reported as a failure"
            await actor.point("report")
            work.report(outcome)

        actor = self._start(f"{work.name} {turn}#{self.deliveries}", Kind.DELIVERY, deliver, first=first)
        self.works[actor] = work

    def _was_replaced(self, actor: Actor) -> bool:
        """Whether another had taken over when the actor last looked at the store."""
        mine = max((step for step, who in self.entries if who is actor), default=None)
        return mine is not None and any(mine < step < actor.acted_at for step, _ in self.entries)

    async def _activity(self, actor: Actor, work: Work) -> Outcome:
        documents, given = self._documents(actor), work.input
        match work.name:
            case "call_model":
                delivery = TurnDelivery(
                    documents, self.model, 32_000, PARTITION, THREAD, RUN, given["turn"], clock=self.now
                )
                return await delivery.take()
            case "append_message":
                return await append_answer(documents, PARTITION, THREAD, RUN, given["turn"], now=self.now())
        ending = runs.Ending(**given["ending"])
        await close(documents, PARTITION, THREAD, RUN, ending, now=self.now())
        return {"outcome": "over"}

    # Clients, readers, the sweeper.

    async def _wake(self, actor: Actor) -> None:
        await self._hub(actor).wake(ADDRESS)

    async def _sweeper(self, actor: Actor) -> None:
        while True:
            await asyncio.sleep(SWEEPS_EVERY)
            await self._sweep(actor)

    async def _sweep(self, actor: Actor) -> None:
        try:
            await sweep(self._documents(actor), self._hub(actor), now=self.now())
        except StoreUnavailable:
            return  # the timer fires again

    async def _cancel(self, actor: Actor) -> None:
        if await self._request(lambda: requests.cancel(self._documents(actor), PARTITION, RUN, now=self.now())):
            self.is_cancelled = True
            await self._hub(actor).wake(ADDRESS, "cancel_requested")

    async def _submitter(self, actor: Actor) -> None:
        """Give the outputs each time the run asks for some."""
        answered: list[str] = []
        while not self.watch.is_over:
            calls = self._awaited_calls()
            if calls and calls != answered:
                await asyncio.sleep(self.scenario.submits_after)
                await self._submit(actor)
                answered = calls
            else:
                await self.changed.wait()

    async def _submit(self, actor: Actor) -> None:
        """Give outputs that tell who gave them."""
        outputs = {call_id: f"{call_id} by {actor.name}" for call_id in self._awaited_calls()}
        turn = self.watch.turn
        given = list(outputs.items())
        self.offered.append(outputs)
        if await self._request(lambda: requests.submit(self._documents(actor), PARTITION, RUN, given, now=self.now())):
            self.taken.append(outputs)
            await self._hub(actor).wake(ADDRESS, f"tool_outputs_submitted:{turn}")

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

    async def _reader(self, actor: Actor) -> None:
        """Follow the run to its end, a stream after the other, from where the last was cut."""
        while not self.reading.is_over:
            stream = RunStream(self._documents(actor), PARTITION, RUN, keep_alive=15.0, ends_at_first_wait=False)
            after = self.reading.begin()
            async for frame in stream.frames(after):
                self.reading.take(frame)
            self.reading.end()

    # What a schedule may choose from.

    def _faults(self, actor: Actor) -> list[Option]:
        assert actor.waiting
        faults, _, writes = self.scenario.faults, *actor.waiting[:2]
        options: list[Option] = []
        if "kill" in faults and actor.kind is not Kind.SWEEPER:
            options.append((f"{actor.name} dies", actor.die))
            if writes:
                options.append((f"{actor.name} dies after {actor.waiting[0]}", lambda: actor.go_on(Fate.IS_FATAL)))
        if self._may_fail(actor, actor.waiting[0]):
            options.append((f"{actor.name}: {actor.waiting[0]} fails", lambda: actor.go_on(Fate.FAILS)))
            if writes:
                options.append((f"{actor.name}: {actor.waiting[0]} is lost", lambda: actor.go_on(Fate.IS_LOST)))
        work = self.works.get(actor)
        if work and "zombie" in faults:
            options.append((f"{actor.name} freezes", lambda: self._freeze(actor, work)))
        if work and "twin" in faults:
            options.append((f"{actor.name} gets a twin", lambda: self._deliver(work, first=True)))
        return options

    def _may_fail(self, actor: Actor, what: str) -> bool:
        if actor.kind is Kind.SWEEPER or what == "report":
            return False
        return "away" in self.scenario.faults or ("nudge" in self.scenario.faults and what.startswith("wake"))

    def _freeze(self, actor: Actor, work: Work) -> None:
        actor.frozen = True
        if work.is_wanted:
            self._deliver(work, first=True)

    def _extra(self) -> list[Option]:
        options: list[Option] = [(f"a client will {name}", partial(self._act, name)) for name in self.unused]
        if "sweep" in self.scenario.faults:
            options.append(("the sweeper comes by", self._sweep_now))
        if "hub" in self.scenario.faults and self.hub_losses:
            options.append(("the task hub is lost", self._lose_hub))
        return options

    def _sweep_now(self) -> None:
        self._start("sweep", Kind.CLIENT, self._sweep, first=True)

    def _act(self, name: str) -> None:
        self.unused.remove(name)
        self._start_lasting(name, Kind.CLIENT, {"cancel": self._cancel, "submit": self._submit}[name], first=True)

    # The end.

    def _ended(self) -> Ended:
        return self._complete(ended_run(self.store, "default", THREAD, self.watch))

    def _check_outputs(self, ended: Ended) -> None:
        given = [step for step in ended.steps if step["type"] == "tool_calls" and step["status"] == "completed"]
        stored = [
            {call["id"]: call["function"]["output"] for call in step["step_details"]["tool_calls"]} for step in given
        ]
        assert all(outputs in self.offered for outputs in stored), "outputs that nobody sent, or of two clients"
        assert [outputs for outputs in stored if outputs in self.taken] == self.taken, "outputs were lost"

    def _check_readers(self) -> None:
        if self.scenario.reads:
            self.reading.check(self.watch.events, self.watch.run)
        late = Reading()

        async def read_all() -> None:
            stream = RunStream(self.store, PARTITION, RUN, keep_alive=15.0, ends_at_first_wait=False)
            after = late.begin()
            async for frame in stream.frames(after):
                late.take(frame)
            late.end()

        self._complete(read_all())
        late.check(self.watch.events, self.watch.run)


def _text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": {"value": value, "annotations": []}}
