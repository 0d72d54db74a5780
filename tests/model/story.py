"""One run's story: its orchestration, its activities, the clients and the sweeper, over one store."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from activities.append_message import append_answer
from activities.ask_client import ask
from activities.call_model import TurnDelivery
from activities.call_tool import CallDelivery
from activities.outcomes import Outcome, or_store_away
from domain import runs
from events.closing import close
from events.stream import RunStream
from ports.documents import Document
from ports.task_hub import RunAddress
from tests.model.executor import Orchestration, Work
from tests.model.frames import Reading
from tests.model.invariants import Ended, Watch, ended_run
from tests.model.memory_documents import Memory, MemoryDocuments
from tests.model.outsiders import Outsiders
from tests.model.scenario import Scenario
from tests.model.scheduler import Actor, Fate, Kind, Option, Scheduler
from tests.model.scripted_language_model import ScriptedModel
from tests.model.scripted_tool import ScriptedTool
from tests.model.thread import PARTITION, RUN, THREAD, begin_run
from tests.model.virtual_loop import VirtualLoop

BEGAN = 1_700_000_000.0  # Unix seconds at the loop's 0
FAILURES = {"throttled", "unavailable"}


class Story:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = VirtualLoop()
        self.watch = Watch()
        self.store = MemoryDocuments(Memory(self.now, self._committed))
        self.outsiders = Outsiders(scenario, self.watch, self.store, self._nudged, self.now)
        self.model = ScriptedModel(scenario.turns)
        self.tool = ScriptedTool(scenario.tool_takes)
        self.tools = {self.tool.type: self.tool}
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
        self.unused = list(scenario.clients)
        self.is_over = False
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
        self._check_results(ended)
        self._check_readers()

    def _allowed_ends(self) -> set[str]:
        if self.outsiders.is_cancelled:
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
        self._complete(begin_run(self.store, self.scenario.lifetime, self.now()))
        self._start("create", Kind.CLIENT, self.outsiders.create)
        self._start("sweeper", Kind.SWEEPER, self.outsiders.sweep_on)
        for number in range(self.scenario.submits if any(turn.calls for turn in self.scenario.turns) else 0):
            self._start_lasting(f"submitter {number}", Kind.CLIENT, self.outsiders.answer_calls)
        if self.scenario.reads:
            self._start_lasting("reader", Kind.READER, self.outsiders.read)

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
        self.outsiders.committed()

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
        documents, given = self.outsiders.documents(actor), work.input
        match work.name:
            case "call_model":
                delivery = TurnDelivery(
                    documents, self.model, self.tools, 32_000, PARTITION, THREAD, RUN, given["turn"], clock=self.now
                )
                return await delivery.take()
            case "call_tool":
                of_call = (given["turn"], given["call"])
                called = CallDelivery(documents, self.tools, PARTITION, RUN, *of_call, clock=self.now)
                return await called.take()
            case "ask_client":
                return await ask(documents, self.tools, PARTITION, RUN, given["turn"], now=self.now())
            case "append_message":
                return await append_answer(documents, PARTITION, THREAD, RUN, given["turn"], now=self.now())
        ending = runs.Ending(**given["ending"])
        await close(documents, PARTITION, THREAD, RUN, ending, now=self.now())
        return {"outcome": "over"}

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
        self._start("sweep", Kind.CLIENT, self.outsiders.sweep, first=True)

    def _act(self, name: str) -> None:
        self.unused.remove(name)
        self._start_lasting(
            name, Kind.CLIENT, {"cancel": self.outsiders.cancel, "submit": self.outsiders.submit}[name], first=True
        )

    # The end.

    def _ended(self) -> Ended:
        return self._complete(ended_run(self.store, "default", THREAD, self.watch))

    def _check_outputs(self, ended: Ended) -> None:
        given = [step for step in ended.steps if step["type"] == "tool_calls" and step["status"] == "completed"]
        stored = [
            {
                call["id"]: call["function"]["output"]
                for call in step["step_details"]["tool_calls"]
                if "function" in call
            }
            for step in given
        ]
        stored = [outputs for outputs in stored if outputs]
        assert all(outputs in self.outsiders.offered for outputs in stored), (
            "outputs that nobody sent, or of two clients"
        )
        assert [outputs for outputs in stored if outputs in self.outsiders.taken] == self.outsiders.taken, (
            "outputs were lost"
        )

    def _check_results(self, ended: Ended) -> None:
        """Each call that the model made of a tool of ours shows what one run of it gave.

        But one that the model was cut off in has not been made.
        """
        made = ended.steps[:-1] if ended.run["status"] == "incomplete" else ended.steps
        for step in made:
            if step["type"] == "tool_calls" and step["status"] == "completed":
                for call in calls_of(step):
                    if self.tool.type in call:
                        shown = [output["logs"] for output in call[self.tool.type]["outputs"]]
                        assert len(shown) == 1 and shown[0] in self.tool.results, "a result that no run gave"
        for request in self.model.requests[-1:]:
            told = [message["content"] for message in request.messages if message["role"] == "tool"]
            ours = [text for text in told if text.startswith(self.tool.type)]
            assert all(text in self.tool.results for text in ours), "a result that no run gave"

    def _check_readers(self) -> None:
        if self.scenario.reads:
            self.outsiders.reading.check(self.watch.events, self.watch.run)
        late = Reading()

        async def read_all() -> None:
            stream = RunStream(self.store, PARTITION, RUN, keep_alive=15.0, ends_at_first_wait=False)
            after = late.begin()
            async for frame in stream.frames(after):
                late.take(frame)
            late.end()

        self._complete(read_all())
        late.check(self.watch.events, self.watch.run)


def calls_of(step: dict[str, Any]) -> list[dict[str, Any]]:
    return step["step_details"]["tool_calls"]
