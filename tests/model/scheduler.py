"""Who goes next: every operation on a store or hub waits here until the schedule lets it happen.

A schedule maps step numbers to options. A step it does not name takes option 0: the actor that ran
last runs on, and time moves only when nobody can. So a schedule is its deviations: somebody else
goes first, a process dies or freezes, an answer is lost, a client acts.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.model.virtual_loop import VirtualLoop

Option = tuple[str, Callable[[], None]]

MOST_STEPS = 2_000  # a simulation that takes more has gone round in circles

LONGEST_HANG = 35.0  # seconds that time may move on at once while operations wait


class Fate(Enum):
    """What becomes of one operation."""

    GOES_WELL = "goes well"
    FAILS = "fails"  # not applied, and reported so
    IS_LOST = "is lost"  # applied, but reported as failed
    IS_FATAL = "is fatal"  # applied, and whoever asked dies before knowing


class Kind(Enum):
    DELIVERY = "delivery"
    CLIENT = "client"
    READER = "reader"
    SWEEPER = "sweeper"


@dataclass(slots=True, eq=False)
class Actor:
    """A process's part in the story. It has at most one operation waiting."""

    name: str
    kind: Kind
    loop: VirtualLoop
    task: asyncio.Task[Any] | None = None
    waiting: tuple[str, bool, asyncio.Future[Fate]] | None = None
    dead: bool = False
    frozen: bool = False
    acted_at: int = -1  # the step of its last operation

    async def point(self, what: str, *, writes: bool = False) -> Fate:
        """Wait until the schedule lets the operation happen; return its fate."""
        if self.dead:
            raise asyncio.CancelledError
        fate: asyncio.Future[Fate] = self.loop.create_future()
        self.waiting = (what, writes, fate)
        return await fate

    def go_on(self, fate: Fate = Fate.GOES_WELL) -> None:
        assert self.waiting
        future, self.waiting = self.waiting[2], None
        future.set_result(fate)

    def die(self) -> None:
        self.dead, self.frozen, self.waiting = True, False, None
        assert self.task
        self.task.cancel()  # nothing that its code does on the way out reaches a store either

    async def die_here(self) -> None:
        self.die()
        await self.loop.create_future()

    @property
    def is_over(self) -> bool:
        return self.task is not None and self.task.done()


@dataclass(slots=True)
class Scheduler:
    """`extra` gives the options that belong to no operation, `faults` those of the front actor's.

    `may_switch`: somebody else may go first. `may_hang`: time may pass while operations wait.
    """

    loop: VirtualLoop
    may_switch: bool
    may_hang: bool
    faults: Callable[[Actor], list[Option]]
    extra: Callable[[], list[Option]]
    is_pending: Callable[[], bool]
    actors: list[Actor] = field(default_factory=list)
    queue: list[Actor] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)  # of each step taken: how many options it had

    def start(
        self, name: str, kind: Kind, work: Callable[[Actor], Coroutine[Any, Any, None]], *, first: bool = False
    ) -> Actor:
        actor = Actor(name, kind, self.loop)
        actor.task = self.loop.create_task(work(actor))
        self.actors.append(actor)
        if first:
            self.queue.insert(0, actor)
        return actor

    def run(self, schedule: Mapping[int, int], check: Callable[[], None]) -> None:
        """Play the story to its end; `check` is called after every step."""
        for step in range(MOST_STEPS):
            self._settle()
            check()
            options = self._options()
            if not options:
                return
            name, act = options[schedule.get(step, 0) % len(options)]
            self.widths.append(len(options))
            self.trace.append(f"{step:4} {self.loop.time():8.2f} {name}")
            act()
            if self.queue and self.queue[0].waiting is None:
                self.queue[0].acted_at = step
        raise AssertionError("The story does not end.")

    def close(self) -> None:
        """End whoever is left: the sweeper, and all of a story that broke off."""
        for actor in self.actors:
            actor.die()
        self.loop.settle()

    def _settle(self) -> None:
        self.loop.settle()
        self.actors = [actor for actor in self.actors if not actor.is_over]
        ready = [actor for actor in self.actors if actor.waiting and not actor.frozen]
        self.queue = [actor for actor in self.queue if actor in ready]
        self.queue += [actor for actor in ready if actor not in self.queue]

    def _options(self) -> list[Option]:
        """Option 0 is what happens if the schedule says nothing; none means that the story is over."""
        frozen = [actor for actor in self.actors if actor.frozen]
        thaws = [(f"{actor.name} thaws", _thawing(actor, self.queue)) for actor in frozen]
        others = [actor for actor in self.actors if actor.kind is not Kind.SWEEPER and actor not in frozen]
        if not others and not self.is_pending():
            return thaws
        options = [_going(actor, self.queue) for actor in self.queue[: None if self.may_switch else 1]]
        if self.queue:
            options += self.faults(self.queue[0])
        due = self.loop.next_timer()
        may_pass = not self.queue or (self.may_hang and due is not None and due - self.loop.time() <= LONGEST_HANG)
        if due is not None and may_pass:
            options.append(("time passes", self.loop.move_on))
        return options + thaws + self.extra()


def _going(actor: Actor, queue: list[Actor]) -> Option:
    assert actor.waiting

    def go() -> None:
        queue.remove(actor)
        queue.insert(0, actor)
        actor.go_on()

    return f"{actor.name}: {actor.waiting[0]}", go


def _thawing(actor: Actor, queue: list[Actor]) -> Callable[[], None]:
    def thaw() -> None:
        actor.frozen = False
        queue.insert(0, actor)

    return thaw
