"""Durable execution in small: orchestrations, their events and timers, activities at least once.

It drives the real orchestrator with the SDK's own tasks. What it leaves out is replay, which only
repeats what was decided.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from durabletask import task

from orchestrators import run as run_module
from ports.task_hub import RunAddress
from tests.model.virtual_loop import VirtualLoop

# The plain generator function, as the SDK keeps it beside what it registers.
_STORY = run_module.run_orchestrator._function.get_user_function().orchestrator_function  # type: ignore[attr-defined]
MOST_BYTES = 4_000  # of an input or outcome: histories hold no content


@dataclass(slots=True, eq=False)
class Work:
    """An activity that an orchestration waits for. The first reported outcome counts."""

    orchestration: "Orchestration"
    name: str
    input: dict[str, Any]
    awaited: task.CompletableTask[Any] = field(default_factory=task.CompletableTask)

    @property
    def is_wanted(self) -> bool:
        return not self.awaited.is_complete and not self.orchestration.is_over

    def report(self, outcome: dict[str, Any]) -> None:
        if self.is_wanted:
            self.awaited.complete(_as_stored(outcome))
            self.orchestration.go_on()


class Orchestration:
    """One instance, and the context that its orchestrator sees."""

    def __init__(
        self, loop: VirtualLoop, now: Callable[[], float], dispatch: Callable[[Work], None], run: RunAddress
    ) -> None:
        self._loop, self._now, self._dispatch = loop, now, dispatch
        self._waiters: defaultdict[str, deque[task.CompletableTask[Any]]] = defaultdict(deque)
        self._early: defaultdict[str, int] = defaultdict(int)
        self.is_over = False
        self._story = _STORY(self, dict(run))
        self._awaited: task.Task[Any] | None = None

    @property
    def current_utc_datetime(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC).replace(tzinfo=None)

    def go_on(self) -> None:
        """Let the orchestrator run until it waits for something that has not happened."""
        while not self.is_over and (self._awaited is None or self._awaited.is_complete):
            try:
                self._awaited = self._step()
            except StopIteration:
                self.is_over = True

    def _step(self) -> task.Task[Any]:
        if self._awaited is None:
            return next(self._story)
        if self._awaited.is_failed:
            return self._story.throw(self._awaited.get_exception())
        return self._story.send(self._awaited.get_result())

    def forget(self) -> None:
        """The task hub was lost: nobody waits for anything any more."""
        self.is_over = True

    def raise_event(self, name: str) -> None:
        if self._waiters[name]:
            self._waiters[name].popleft().complete(None)
            self.go_on()
        else:
            self._early[name] += 1

    def wait_for_external_event(self, name: str) -> task.Task[Any]:
        waiter: task.CompletableTask[Any] = task.CompletableTask()
        if self._early[name]:
            self._early[name] -= 1
            waiter.complete(None)
        else:
            self._waiters[name].append(waiter)
        return waiter

    def create_timer(self, fire_at: datetime | timedelta) -> task.TimerTask:
        timer = task.TimerTask()
        seconds = fire_at.total_seconds() if isinstance(fire_at, timedelta) else fire_at.timestamp() - self._now()
        self._loop.call_later(max(seconds, 0.0), self._fire, timer)
        return timer

    def _fire(self, timer: task.TimerTask) -> None:
        if not timer.is_complete:
            timer.complete(None)
            self.go_on()

    def call_activity(self, name: str, *, input: dict[str, Any], retry_policy: task.RetryPolicy) -> task.Task[Any]:
        work = Work(self, name, _as_stored(input))
        self._dispatch(work)
        return work.awaited


def _as_stored(value: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(value)
    assert len(text) < MOST_BYTES
    return json.loads(text)
