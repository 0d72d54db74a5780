"""The local sandbox: how long a session takes to start, what a call adds, what an idle session keeps."""

import asyncio
import sys
import time
from pathlib import Path
from statistics import median

import psutil

from bench.stage import row, table
from sandbox.availability import why_unavailable
from sandbox.bubblewrap import Runtime, find_bubblewrap
from sandbox.inside.limits import Limits
from sandbox.keeper import Keeper
from sandbox.session import Session

SESSIONS = 20
CALLS = 500


def measure(quick: bool = False) -> None:
    runtime = Runtime(Path(sys.base_prefix).resolve(), f"python{sys.version_info.major}.{sys.version_info.minor}")
    asyncio.run(_measure(runtime, SESSIONS // (5 if quick else 1), CALLS // (5 if quick else 1)))


async def _measure(runtime: Runtime, sessions: int, calls: int) -> None:
    if reason := await why_unavailable(runtime):
        print(reason)
        return
    columns = (
        "start, ms: median",
        "from the spare",
        "a call, ms: median",
        "p95",
        "idle, MB a session",
        "all at once, s",
    )
    table("The local sandbox, without packages", "sessions", *columns)
    starts: list[float] = []
    running: list[Session] = []
    for _ in range(sessions):
        began = time.perf_counter()
        running.append(await Session.start(find_bubblewrap(), runtime, Limits()))
        starts.append(time.perf_counter() - began)
    one = running[0]
    times = []
    for number in range(calls):
        began = time.perf_counter()
        await one.execute(f"x = {number}\nx", 10)
        times.append(time.perf_counter() - began)
    idle = [sum(map(_memory, _processes_of(session))) for session in running]
    began = time.perf_counter()
    await asyncio.gather(*(session.execute("sum(range(1_000_000))", 60) for session in running))
    together = time.perf_counter() - began
    for session in running:
        await session.close()
    ready = await _from_the_spare(runtime, sessions)
    times.sort()
    figures = (
        median(starts) * 1000,
        ready * 1000,
        median(times) * 1000,
        times[int(calls * 0.95)] * 1000,
        median(idle) / (1 << 20),
    )
    row(sessions, *(f"{figure:.1f}" for figure in figures), f"{together:.2f}")


async def _from_the_spare(runtime: Runtime, sessions: int) -> float:
    """Return the seconds that a session takes when one is in reserve, the median."""
    keeper = Keeper(lambda: Session.start(find_bubblewrap(), runtime, Limits()))
    keeping = asyncio.create_task(keeper.run())
    times = []
    for number in range(sessions):
        await asyncio.sleep(0.3)
        began = time.perf_counter()
        await keeper.begin(f"session-{number}")
        times.append(time.perf_counter() - began)
    keeping.cancel()
    await keeper.close()
    return median(times)


def _processes_of(session: Session) -> list[psutil.Process]:
    starter = psutil.Process(session.pid)
    return [starter, *starter.children(recursive=True)]


def _memory(process: psutil.Process) -> int:
    """Shared pages count in shares: a fork costs only what it has written."""
    return process.memory_full_info().pss
