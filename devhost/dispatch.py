"""Gives each piece of work to one worker, again to another if that one is lost, and takes the reply."""

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from devhost.frames import Frame
from devhost.work import Failure, Work

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

    The debug log says who holds what; from it `tests/soak` knows where a kill has landed.
    """

    def __init__(self, complete: Callable[[Work, str | Failure], None]) -> None:
        self._complete = complete
        self._waiting: deque[tuple[Work, int]] = deque()
        self._out: dict[int, Delivery] = {}
        self._loads: dict[Worker, int] = {}
        self._numbers = itertools.count(1)

    def add(self, work: Iterable[Work]) -> None:
        self._waiting.extend((item, 1) for item in work)
        self._give_out()

    def welcome(self, worker: Worker) -> None:
        """Count a worker in: it has loaded the app and takes work."""
        self._loads[worker] = 0
        self._give_out()

    def lose(self, worker: Worker) -> None:
        """Count a worker out, and give what it held to others."""
        self._loads.pop(worker, None)
        for number, delivery in [item for item in self._out.items() if item[1].worker is worker]:
            del self._out[number]
            logger.debug("delivery %d is lost with its worker", number)
            if delivery.count >= MAX_DELIVERIES:
                self._give_up(delivery.work)
            else:
                self._waiting.append((delivery.work, delivery.count + 1))
        self._give_out()

    def reply(self, worker: Worker, frame: Frame) -> None:
        """Take a worker's reply, if it still holds the dispatch of that number."""
        delivery = self._out.get(frame["reply"])
        if delivery is None or delivery.worker is not worker:
            return
        del self._out[frame["reply"]]
        logger.debug("delivery %d is answered", frame["reply"])
        self._loads[worker] -= 1
        outcome = Failure(frame["error"], frame["trace"]) if "error" in frame else frame["body"]
        self._complete(delivery.work, outcome)

    def end_overdue(self, limit: float) -> set[Worker]:
        """Answer activities and timers that have been out for more than `limit` seconds as failed.

        Returns the workers that hold what is overdue: until they are lost they hold it. A step of an orchestration
        is given out again then.
        """
        now = time.monotonic()
        overdue = [(number, each) for number, each in self._out.items() if now - each.given_at > limit]
        for number, delivery in overdue:
            text = f"Timeout value of {limit:g} s was exceeded by function: {delivery.work.name}"
            logger.error(text)
            if delivery.work.kind != "orchestration":
                del self._out[number]
                self._loads[delivery.worker] -= 1
                self._complete(delivery.work, Failure(text))
        return {delivery.worker for _, delivery in overdue}

    def _give_out(self) -> None:
        while self._waiting and self._loads:
            work, count = self._waiting.popleft()
            worker = min(self._loads, key=self._loads.__getitem__)
            number = next(self._numbers)
            self._out[number] = Delivery(work, worker, count)
            self._loads[worker] += 1
            what = (number, work.kind, work.name, work.instance_id, worker.pid)
            logger.debug("delivery %d: %s %s of [%s] to worker %d", *what)
            worker.send({"run": number, "kind": work.kind, "name": work.name, "body": work.body})

    def _give_up(self, work: Work) -> None:
        text = f"{work.kind} {work.name} was given to {MAX_DELIVERIES} workers and each of them died."
        logger.error(text)
        self._complete(work, Failure(text))
