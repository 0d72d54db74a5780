"""Timer-triggered functions: each at its schedule, never twice at once."""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from devhost.schedule import Schedule, ScheduleError
from devhost.work import Work

_SETTING = re.compile(r"%(\w+)%")


class Ticker:
    """`give` hands a tick to a worker; `done` must be called with each when it has run."""

    def __init__(self, timers: list[dict[str, Any]], settings: Mapping[str, str], give: Callable[[Work], None]) -> None:
        """`timers`: {"name", "schedule", "at_start"} each. Raises ScheduleError."""
        self._give = give
        self._running: set[str] = set()
        self._at_start = [timer["name"] for timer in timers if timer["at_start"]]
        self._schedules = {timer["name"]: _schedule(timer, settings) for timer in timers}

    async def run(self) -> None:
        for name in self._at_start:
            self._tick(name)
        async with asyncio.TaskGroup() as tasks:
            for name, schedule in self._schedules.items():
                tasks.create_task(self._run_one(name, schedule))

    def done(self, tick: Work) -> None:
        self._running.discard(tick.name)

    async def _run_one(self, name: str, schedule: Schedule) -> None:
        while True:
            await _wait_until(schedule.next_after(datetime.now(UTC)))
            self._tick(name)

    def _tick(self, name: str) -> None:
        if name not in self._running:
            self._running.add(name)
            self._give(Work("timer", name, ""))


async def _wait_until(due: datetime) -> None:
    """Wait as long as it was until then, also if the clock is set back meanwhile; no longer if it is set forward."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + (due - datetime.now(UTC)).total_seconds()
    while (left := min(ends_at - loop.time(), (due - datetime.now(UTC)).total_seconds())) > 0:
        # Short sleeps: a laptop that slept meanwhile does not owe us the rest of a long one.
        await asyncio.sleep(min(left, 60.0))


def _schedule(timer: dict[str, Any], settings: Mapping[str, str]) -> Schedule:
    def value(match: re.Match[str]) -> str:
        if match[1] not in settings:
            raise ScheduleError(f"The schedule of {timer['name']} names the setting {match[1]}, which is not set.")
        return settings[match[1]]

    return Schedule(_SETTING.sub(value, timer["schedule"]))
