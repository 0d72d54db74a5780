"""Thousands of generated requests, and what they leave behind in the worker."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from tests.worker_bed.generated import generated
from tests.worker_bed.process import WorkerBed
from tests.worker_bed.proxy import Proxy

SEED = 8
AT_ONCE = 16
MOST_WRONG = 10  # after which nothing more is to be learned
MOST_GROWTH = 5 << 20  # bytes
PATIENCE = 15.0  # seconds for what is left to end; the bed's halves wait less for each other


@dataclass
class Result:
    """`open` and `running` are requests and invocations that did not end, `grown` is in bytes of resident memory."""

    sent: int = 0
    wrong: list[str] = field(default_factory=list)
    open: int = 0
    running: int = 0
    grown: int = 0

    @property
    def is_clean(self) -> bool:
        return not self.wrong and self.open == self.running == 0 and self.grown < MOST_GROWTH


async def send_many(bed: WorkerBed, count: int, *, warm_up: int) -> Result:
    """Send `warm_up` requests, then `count` whose memory counts."""
    proxy, chance, result = Proxy(bed), random.Random(SEED), Result()
    await _send(proxy, chance, warm_up, result)
    await _settle(bed)
    before = bed.state()["memory"]
    await _send(proxy, chance, count, result)
    state = await _settle(bed)
    result.open, result.running, result.grown = state["open"], state["running"], state["memory"] - before
    await proxy.close()
    return result


async def _send(proxy: Proxy, chance: random.Random, count: int, result: Result) -> None:
    waiting = [generated(chance) for _ in range(count)][::-1]

    async def send_some() -> None:
        while waiting and len(result.wrong) < MOST_WRONG:
            request = waiting.pop()
            reply = await proxy.send_generated(request)
            result.sent += 1
            if not request.is_answered_well(reply):
                result.wrong.append(f"{request} -> {reply}")

    await asyncio.gather(*(send_some() for _ in range(AT_ONCE)))


async def _settle(bed: WorkerBed) -> dict[str, int]:
    deadline = time.monotonic() + PATIENCE
    while (state := bed.state())["open"] or state["running"]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    bed.tidy()
    return bed.state()
