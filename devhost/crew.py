"""The worker processes: started, listened to, and replaced when they die or fall silent."""

import asyncio
import itertools
import logging
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from devhost import frames
from devhost.descriptors import check_spare

SILENCE = 5.0  # seconds without a sign of life after which a worker is replaced
CHECK_EVERY = 0.5  # seconds
LAST_CHANCE = 10.0  # seconds that a worker that was replaced for its silence may still wake up and leave by itself
START_UP = 10.0  # seconds more until a new worker can give its first
CRASHES, CRASH_WINDOW = 5, 30.0  # this many deaths in so many seconds, with no worker ever ready, are a loop
PAUSE_AFTER_CRASH = 0.5  # seconds, after a worker that died before it was ready
DESCRIPTORS_TO_START = 16  # uvloop leaks those that it got, and hides why, where it runs out of them half-way
LONGEST_PAUSE = 5.0  # seconds between tries to start one, while the system refuses

_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows

logger = logging.getLogger("devhost.crew")


class WorkersBroken(Exception):
    """No worker can be had. The message is one line."""


class Events(Protocol):
    """What the host does about its workers. Called on the event loop."""

    def worker_ready(self, worker: "Worker", timers: list[dict[str, Any]]) -> None: ...
    def worker_lost(self, worker: "Worker") -> None: ...
    def workers_failing(self) -> None: ...  # one could not be started, or ended before it was ready
    def worker_replied(self, worker: "Worker", frame: frames.Frame) -> None: ...


class Worker:
    """One process. `address` is where it serves HTTP, "" until it is ready."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.address = ""
        self.last_heard = time.monotonic() + START_UP
        self.listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, frame: frames.Frame) -> None:
        assert self.process.stdin
        if not self.process.stdin.is_closing():
            self.process.stdin.write(frames.encode(frame))


class Crew:
    """Keeps `size` workers alive, running in `app`."""

    def __init__(
        self, size: int, app: Path, run_folder: Path, client: str, environment: Mapping[str, str], events: Events
    ) -> None:
        self._size = size
        self._app = app
        self._run_folder = run_folder
        self._client = client
        self._environment = environment
        self._events = events
        self._numbers = itertools.count(1)
        self._processes: dict[asyncio.subprocess.Process, asyncio.Task[None]] = {}
        self._workers: set[Worker] = set()
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._ever_ready = False

    async def keep(self) -> None:
        """Run until cancelled. Raises WorkersBroken."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._size):
                tasks.create_task(self._keep_one())
            tasks.create_task(self._watch())

    def stop(self) -> None:
        """Ask every worker to end what it can, and to leave."""
        for worker in self._workers:
            worker.send({"stop": True})

    async def end(self, patience: float) -> None:
        """Wait for every process to leave; after `patience` seconds kill, also those replaced and frozen."""
        leaving = list(self._processes.values())
        if leaving:
            await asyncio.wait(leaving, timeout=patience)
        self.kill()
        await asyncio.gather(*leaving)

    def kill(self) -> None:
        for process in self._processes:
            _kill(process)

    async def _keep_one(self) -> None:
        while True:
            worker = Worker(await self._started())
            self._workers.add(worker)
            logger.debug("worker %d started", worker.process.pid)
            worker.listening = asyncio.create_task(self._listen(worker))
            try:
                await worker.listening
            except asyncio.CancelledError:
                if worker in self._workers:  # not replaced: the host is stopping
                    raise
            self._let_go(worker)
            if not worker.address:
                self._note_crash(f"The workers died {CRASHES} times before they had loaded the app.")
                await asyncio.sleep(PAUSE_AFTER_CRASH)

    async def _listen(self, worker: Worker) -> None:
        """Return when the worker is gone."""
        assert worker.process.stdout
        while frame := await frames.receive(worker.process.stdout):
            worker.last_heard = time.monotonic()
            if "reply" in frame:
                self._events.worker_replied(worker, frame)
            elif "ready" in frame:
                worker.address = frame["ready"]
                self._ever_ready = True
                self._events.worker_ready(worker, frame["timers"])
            elif "overtime" in frame:
                logger.error("Timeout value was exceeded by function: %s", frame["overtime"])
                self.restart(worker)
            elif "broken" in frame:
                self._note_broken(frame["broken"])

    async def _watch(self) -> None:
        checked = time.monotonic()
        while True:
            await asyncio.sleep(CHECK_EVERY)
            now = time.monotonic()
            host_slept = now - checked > SILENCE / 2
            checked = now
            for worker in list(self._workers):
                if host_slept:  # a laptop's lid was closed: nobody could be heard
                    worker.last_heard = now
                elif now - worker.last_heard > SILENCE:
                    self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        logger.warning("worker %d has been silent for %g s and is replaced", worker.process.pid, SILENCE)
        self._let_go(worker)
        # Should it wake up, it finds its pipe closed and leaves by itself; whatever it still says is not
        # listened to. If not, it is killed: it may hold the lock of the local store.
        asyncio.get_running_loop().call_later(LAST_CHANCE, _kill, worker.process)
        if worker.process.stdin:
            worker.process.stdin.transport.abort()
        if worker.listening:
            worker.listening.cancel()

    def restart(self, worker: Worker) -> None:
        """End a worker, with all that it is at, and start another: one of its invocations took too long."""
        logger.warning("worker %d is restarted", worker.process.pid)
        self._let_go(worker)
        _kill(worker.process)

    def _let_go(self, worker: Worker) -> None:
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        if worker.address:
            self._events.worker_lost(worker)

    async def _started(self) -> asyncio.subprocess.Process:
        """Start a process, however often that takes: descriptors, memory and processes become free again."""
        pause = PAUSE_AFTER_CRASH
        while True:
            try:
                check_spare(DESCRIPTORS_TO_START)
                return await self._start()
            except OSError as error:
                reason = error.strerror or str(error)
                logger.error("a worker cannot be started: %s; trying again in %g s", reason, pause)
                self._note_crash(f"No worker can be started: {reason}.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _start(self) -> asyncio.subprocess.Process:
        number = next(self._numbers)
        arguments = ["--app", str(self._app), "--client", self._client]
        if sys.platform != "win32":
            arguments += ["--socket", str(self._run_folder / f"worker-{number}.sock")]
        if self._ever_ready:
            arguments.append("--again")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devhost.worker", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,  # bytes read ahead of the frames
            env=self._environment,
            cwd=self._app,
            # Ctrl-C in the terminal is for the host alone.
            start_new_session=sys.platform != "win32",
            creationflags=_NEW_GROUP,
        )
        self._processes[process] = asyncio.create_task(self._reap(process))
        return process

    async def _reap(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        del self._processes[process]
        logger.debug("worker %d ended with %s", process.pid, code)

    def _note_broken(self, message: str) -> None:
        if not self._ever_ready:
            raise WorkersBroken(message)
        logger.error(message)

    def _note_crash(self, message: str) -> None:
        self._events.workers_failing()
        self._crashes.append(time.monotonic())
        looping = len(self._crashes) == CRASHES and self._crashes[-1] - self._crashes[0] < CRASH_WINDOW
        if looping and not self._ever_ready:
            raise WorkersBroken(message)


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
