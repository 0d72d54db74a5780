"""What is done to the service, and where each blow landed."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import psutil

from tests.processes import runs
from tests.service import Service
from tests.soak.host_log import Delivery, HostLog
from tests.soak.stores import Store
from tests.soak.violation import must

Kind = Literal["kill a worker", "kill host and workers", "freeze a worker", "lock the store"]

PLACES = ("call_model", "append_message", "close_run", "orchestrator")
AIM_TIMEOUT = 3.0  # seconds that an aimed blow waits for its target; then it falls anywhere
REPLACED_WITHIN = 30.0
LEAVES_WITHIN = 15.0
LOCKED_FOR = 7.0  # seconds; a commit waits 5


@dataclass(slots=True)
class Strike:
    """`aim`: strike when somebody gets work there, None: at any moment.

    `at` (Unix seconds) is when it fell, `until` when its direct effects were over. `hit` is what the
    struck processes were at, `cut` the clients' requests and streams that it broke, `recoveries` the
    seconds that runs stood still from then on.
    """

    kind: Kind
    aim: str | None = None
    at: float = 0.0
    until: float = 0.0
    hit: list[Delivery] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    recoveries: dict[str, float] = field(default_factory=dict)

    @property
    def is_kill(self) -> bool:
        return self.kind.startswith("kill")

    @property
    def places(self) -> set[str]:
        return {delivery.place for delivery in self.hit} | set(self.cut) or {"idle"}

    def __str__(self) -> str:
        aimed = f" in {self.aim}" if self.aim else ""
        return f"{self.kind}{aimed}, landed in {', '.join(sorted(self.places))}"


def draw(chance: random.Random, kills: int) -> Iterator[Strike]:
    """Yield so many kills, and among them a freeze for each five and a locked store for each forty."""
    aims = (None, None, None, "append_message", "append_message", "close_run", "orchestrator", "call_model")
    for number in range(1, kills + 1):
        kind = "kill host and workers" if chance.random() < 0.2 else "kill a worker"
        yield Strike(kind, chance.choice(aims))
        if number % 5 == 0:
            yield Strike("freeze a worker", chance.choice(aims))
        if number % 40 == 0:
            yield Strike("lock the store")


class Striker:
    def __init__(self, service: Service, workers: int, store: Store, chance: random.Random) -> None:
        self._service = service
        self._workers = workers
        self._store = store
        self._chance = chance
        self._log = HostLog(service.log_path)

    async def strike(self, blow: Strike) -> None:
        """Carry it out, and wait until what it broke is there again. Raises Violation."""
        self._log.begin()
        match blow.kind:
            case "kill a worker":
                await self._kill_worker(blow)
            case "kill host and workers":
                await self._kill_all(blow)
            case "freeze a worker":
                await self._freeze(blow)
            case "lock the store":
                blow.at = time.time()
                await self._store.take_away(LOCKED_FOR)
                self._log.read()
        blow.until = time.time()

    async def _kill_worker(self, blow: Strike) -> None:
        pid = await self._hit(blow, signal.SIGKILL)
        deadline = time.monotonic() + REPLACED_WITHIN
        while len(pids := await asyncio.to_thread(self._service.worker_pids)) < self._workers or pid in pids:
            must(time.monotonic() < deadline, "wrong", f"worker {pid} was killed and not replaced")
            await asyncio.sleep(0.05)
        self._log.read()
        blow.hit = [delivery for delivery in self._log.lost if delivery.pid == pid]

    async def _kill_all(self, blow: Strike) -> None:
        if blow.aim:
            await asyncio.to_thread(self._await_target, blow.aim)
        blow.at = time.time()
        await asyncio.to_thread(self._service.kill)
        blow.hit = self._log.restarted()
        await asyncio.sleep(self._chance.choice((0.0, 0.0, 1.0)))
        await asyncio.to_thread(self._service.start)

    async def _freeze(self, blow: Strike) -> None:
        pid = await self._hit(blow, signal.SIGSTOP)
        frozen = psutil.Process(pid)
        deadline = time.monotonic() + REPLACED_WITHIN
        while not self._log.says(f"worker {pid} has been silent"):
            must(time.monotonic() < deadline, "wrong", f"worker {pid} was frozen and not replaced")
            await asyncio.sleep(0.05)
        blow.hit = [delivery for delivery in self._log.lost if delivery.pid == pid]
        await asyncio.sleep(self._chance.uniform(0.0, 3.0))
        frozen.resume()
        deadline = time.monotonic() + LEAVES_WITHIN
        while runs(frozen):
            must(time.monotonic() < deadline, "wrong", f"worker {pid} was replaced, woke up and did not leave")
            await asyncio.sleep(0.05)

    async def _hit(self, blow: Strike, number: signal.Signals) -> int:
        pid: int | None = None
        if blow.aim:
            delay = self._chance.choice((0.0, 0.0, 0.001, 0.003))
            pid = await asyncio.to_thread(self._log.hit, blow.aim, number, delay=delay, timeout=AIM_TIMEOUT)
        blow.at = time.time()
        if pid is None:
            pid = self._chance.choice(await asyncio.to_thread(self._service.worker_pids))
            blow.at = time.time()
            os.kill(pid, number)
        return pid

    def _await_target(self, place: str) -> None:
        deadline = time.monotonic() + AIM_TIMEOUT
        while time.monotonic() < deadline and place not in {delivery.place for delivery in self._log.read()}:
            time.sleep(0.0003)
