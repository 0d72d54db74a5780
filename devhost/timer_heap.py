"""Every durable timer of the task hub, by the moment when it is due and by the time until then.

Whichever comes first counts: a clock that is set back holds up no timer, and a laptop that slept owes none.
"""

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, order=True)
class Timer:
    """`due` is in UTC. `execution` tells apart the executions that one instance id may have."""

    due: datetime
    number: int
    instance_id: str
    execution: int
    id: int


class TimerHeap:
    def __init__(self) -> None:
        self._by_due: list[Timer] = []
        self._by_elapsed: list[tuple[float, Timer]] = []  # seconds of time.monotonic()
        self._waiting: set[int] = set()  # numbers of timers that are in both
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def next_due(self) -> datetime | None:
        self._clear_heads()
        return self._by_due[0].due if self._by_due else None

    def add(self, due: datetime, instance_id: str, execution: int, id: int) -> None:
        self._number += 1
        timer = Timer(due, self._number, instance_id, execution, id)
        left = (due - datetime.now(UTC)).total_seconds()
        heapq.heappush(self._by_due, timer)
        heapq.heappush(self._by_elapsed, (time.monotonic() + left, timer))
        self._waiting.add(timer.number)

    def pop_due(self, now: datetime) -> Iterator[Timer]:
        while timer := self._next(now):
            self._waiting.discard(timer.number)
            yield timer

    def drop(self, instance_id: str) -> None:
        """Forget the timers of an ended instance, so that ten-minute timers don't outlive short runs."""
        self._by_due = [timer for timer in self._by_due if timer.instance_id != instance_id]
        self._by_elapsed = [entry for entry in self._by_elapsed if entry[1].instance_id != instance_id]
        self._waiting &= {timer.number for timer in self._by_due}
        heapq.heapify(self._by_due)
        heapq.heapify(self._by_elapsed)

    def _next(self, now: datetime) -> Timer | None:
        self._clear_heads()
        if self._by_due and self._by_due[0].due <= now:
            return self._by_due[0]
        if self._by_elapsed and self._by_elapsed[0][0] <= time.monotonic():
            return self._by_elapsed[0][1]
        return None

    def _clear_heads(self) -> None:
        """Take out what the other heap has given away."""
        while self._by_due and self._by_due[0].number not in self._waiting:
            heapq.heappop(self._by_due)
        while self._by_elapsed and self._by_elapsed[0][1].number not in self._waiting:
            heapq.heappop(self._by_elapsed)
