"""Every durable timer of the task hub, in one heap."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime


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
        self._heap: list[Timer] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_due(self) -> datetime | None:
        return self._heap[0].due if self._heap else None

    def add(self, due: datetime, instance_id: str, execution: int, id: int) -> None:
        self._number += 1
        heapq.heappush(self._heap, Timer(due, self._number, instance_id, execution, id))

    def pop_due(self, now: datetime) -> Iterator[Timer]:
        while self._heap and self._heap[0].due <= now:
            yield heapq.heappop(self._heap)

    def drop(self, instance_id: str) -> None:
        """Forget the timers of an ended instance, so that ten-minute timers don't outlive short runs."""
        self._heap = [timer for timer in self._heap if timer.instance_id != instance_id]
        heapq.heapify(self._heap)
