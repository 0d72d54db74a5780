"""The local sandbox: how long a session takes to start, what a call adds, what an idle session keeps."""

import asyncio
import time
from dataclasses import replace
from statistics import median

import psutil

from bench.stage import row, table
from devhost.code_interpreter import PACKAGES, PRELOADED, RUNTIME
from sandbox.availability import why_unavailable
from sandbox.bubblewrap import Runtime, find_bubblewrap
from sandbox.inside.limits import Limits
from sandbox.keeper import Keeper
from sandbox.session import Session

SESSIONS = 20
CALLS = 500
WITH_PACKAGES = replace(RUNTIME, packages=PACKAGES, preloaded=PRELOADED)
PANDAS = "import pandas as pd\ntable = pd.DataFrame({'a': range(1000)})\ntable.a.sum()"


def measure(quick: bool = False) -> None:
    share = 5 if quick else 1
    runtimes = {"none": RUNTIME} | ({"those of the host": WITH_PACKAGES} if PACKAGES.is_dir() else {})
    asyncio.run(_measure(runtimes, SESSIONS // share, CALLS // share))


async def _measure(runtimes: dict[str, Runtime], sessions: int, calls: int) -> None:
    if reason := await why_unavailable(RUNTIME):
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
    table(f"The local sandbox, {sessions} sessions", "packages", *columns)
    for name, runtime in runtimes.items():
        row(name, *await _figures(runtime, sessions, calls))


async def _figures(runtime: Runtime, sessions: int, calls: int) -> list[str]:
    starts: list[float] = []
    running: list[Session] = []
    for _ in range(sessions):
        began = time.perf_counter()
        running.append(await Session.start(find_bubblewrap(), runtime, Limits()))
        starts.append(time.perf_counter() - began)
    times = await _call_times(running[0], calls)
    if runtime.packages:
        await asyncio.gather(*(session.execute(PANDAS, 60) for session in running))
    idle = [sum(map(_memory, _processes_of(session))) for session in running]
    began = time.perf_counter()
    await asyncio.gather(*(session.execute("sum(range(1_000_000))", 60) for session in running))
    together = time.perf_counter() - began
    for session in running:
        await session.close()
    ready = await _from_the_spare(runtime, sessions)
    in_ms = (median(starts), ready, median(times), times[int(calls * 0.95)])
    return [*(f"{figure * 1000:.1f}" for figure in in_ms), f"{median(idle) / (1 << 20):.1f}", f"{together:.2f}"]


async def _call_times(session: Session, calls: int) -> list[float]:
    times = []
    for number in range(calls):
        began = time.perf_counter()
        await session.execute(f"x = {number}\nx", 10)
        times.append(time.perf_counter() - began)
    return sorted(times)


async def _from_the_spare(runtime: Runtime, sessions: int) -> float:
    """Return the seconds that a session takes when one is in reserve, the median."""
    keeper = Keeper(lambda: Session.start(find_bubblewrap(), runtime, Limits()))
    keeping = asyncio.create_task(keeper.run())
    times = []
    for number in range(sessions):
        await asyncio.sleep(2.5 if runtime.packages else 0.3)  # until there is one
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
