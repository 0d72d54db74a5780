"""Gives each piece of work to one worker, again to another if that one is lost, and takes the reply."""

import itertools
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from devhost.frames import Frame
from devhost.work import Failure, Kind, Work

MAX_DELIVERIES = 5

logger = logging.getLogger("devhost.dispatch")


class Worker(Protocol):
    @property
    def pid(self) -> int: ...
    def send(self, frame: Frame) -> None: ...


@dataclass(slots=True)
class Delivery:
    """`count` is how often the work was given out, this time included; `given_at` is of the monotonic clock."""

    work: Work
    worker: Worker
    count: int
    given_at: float = field(default_factory=time.monotonic)


class Dispatcher:
    """`complete` takes the outcome of each piece of work exactly once. Runs on the host's event loop.

    `limits`: how much of a kind one worker is given at once, as Azure limits it for an instance; the rest waits in
    order, each kind by itself. The debug log says who holds what; from it `tests/soak` knows where a kill has landed.
    """

    def __init__(self, complete: Callable[[Work, str | Failure], None], limits: Mapping[Kind, int]) -> None:
        self._complete = complete
        self._limits = limits
        self._waiting: dict[Kind, deque[tuple[Work, int]]] = {}
        self._out: dict[int, Delivery] = {}
        self._loads: dict[Worker, Counter[Kind]] = {}
        self._numbers = itertools.count(1)

    def add(self, work: Iterable[Work]) -> None:
        for item in work:
            self._queue(item.kind).append((item, 1))
        self._give_out()

    def welcome(self, worker: Worker) -> None:
        """Count a worker in: it has loaded the app and takes work."""
        self._loads[worker] = Counter()
        self._give_out()

    def lose(self, worker: Worker) -> None:
        """Count a worker out, and give what it held to others, before what has waited until now."""
        self._loads.pop(worker, None)
        held = [item for item in self._out.items() if item[1].worker is worker]
        for number, delivery in reversed(held):
            del self._out[number]
            logger.debug("delivery %d is lost with its worker", number)
            if delivery.count >= MAX_DELIVERIES:
                self._give_up(delivery.work)
            else:
                self._queue(delivery.work.kind).appendleft((delivery.work, delivery.count + 1))
        self._give_out()

    def reply(self, worker: Worker, frame: Frame) -> None:
        """Take a worker's reply, if it still holds the dispatch of that number."""
        delivery = self._out.get(frame["reply"])
        if delivery is None or delivery.worker is not worker:
            return
        logger.debug("delivery %d is answered", frame["reply"])
        self._take_back(frame["reply"])
        outcome = Failure(frame["error"], frame["trace"]) if "error" in frame else frame["body"]
        self._complete(delivery.work, outcome)
        self._give_out()

    def end_overdue(self, limit: float) -> set[Worker]:
        """Answer activities and timers that have been out for more than `limit` seconds as failed.

        Returns the workers that hold what is overdue: they go on with it until they are lost. A step of an
        orchestration is given out again then.
        """
        now = time.monotonic()
        overdue = [(number, each) for number, each in self._out.items() if now - each.given_at > limit]
        for number, delivery in overdue:
            text = f"Timeout value of {limit:g} s was exceeded by function: {delivery.work.name}"
            logger.error(text)
            if delivery.work.kind != "orchestration":
                self._take_back(number)
                self._complete(delivery.work, Failure(text))
        return {delivery.worker for _, delivery in overdue}

    def _queue(self, kind: Kind) -> deque[tuple[Work, int]]:
        return self._waiting.setdefault(kind, deque())

    def _take_back(self, number: int) -> None:
        delivery = self._out.pop(number)
        self._loads[delivery.worker][delivery.work.kind] -= 1

    def _give_out(self) -> None:
        for kind, waiting in self._waiting.items():
            while waiting and (worker := self._free_worker(kind)):
                self._give(*waiting.popleft(), worker)

    def _free_worker(self, kind: Kind) -> Worker | None:
        """Return the one with the least to do, if any may be given more of the kind."""
        limit = self._limits.get(kind, math.inf)
        free = [worker for worker, load in self._loads.items() if load[kind] < limit]
        return min(free, key=lambda worker: self._loads[worker].total(), default=None)

    def _give(self, work: Work, count: int, worker: Worker) -> None:
        number = next(self._numbers)
        self._out[number] = Delivery(work, worker, count)
        self._loads[worker][work.kind] += 1
        what = (number, work.kind, work.name, work.instance_id, worker.pid)
        logger.debug("delivery %d: %s %s of [%s] to worker %d", *what)
        worker.send({"run": number, "kind": work.kind, "name": work.name, "body": work.body})

    def _give_up(self, work: Work) -> None:
        text = f"{work.kind} {work.name} was given to {MAX_DELIVERIES} workers and each of them died."
        logger.error(text)
        self._complete(work, Failure(text))
