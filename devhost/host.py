"""The host process: public port, task hub, timers and workers, put together."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devhost import frames, local_model
from devhost.background import Background
from devhost.code_interpreter import CodeInterpreter
from devhost.crew import Crew, Worker, WorkersBroken
from devhost.descriptors import allowance, raise_limit
from devhost.dispatch import Dispatcher
from devhost.environment import Environment, check_model_is_not_us
from devhost.gate import Gate
from devhost.host_json import HostJson
from devhost.run_folder import run_folder
from devhost.schedule import ScheduleError
from devhost.task_hub import LocalTaskHub
from devhost.ticks import Ticker
from devhost.work import Failure, Kind, Work

LONGEST_SLEEP = 1.0  # seconds until durable timers are looked at again: a suspended laptop's clock jumps
API_BASE = "openai"  # what clients put behind host and port; of the app's routes, whatever host.json's prefix
LOOK_AT_TIME = 0.5  # seconds between looks at whose time is over
GOODBYE = 1.5  # seconds that workers get to end what they are at when the host stops

logger = logging.getLogger("devhost")


@dataclass(frozen=True, slots=True)
class Options:
    host: str
    workers: int
    app: Path
    told: HostJson
    has_code_interpreter: bool = True


class Host:
    """Implements crew.Events."""

    def __init__(self, options: Options, environment: Environment, listener: socket.socket, folder: Path) -> None:
        self._options = options
        self._environment = environment
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._noted = False
        self._alarm: asyncio.TimerHandle | None = None
        self._hub = LocalTaskHub(self._note_work)
        told = options.told
        limits: dict[Kind, int] = {"orchestration": told.orchestrators, "activity": told.activities}
        self._dispatcher = Dispatcher(self._complete, limits)
        self._gate = Gate(allowance(raise_limit(), options.workers))
        client = {"taskHubName": "local", "rpcBaseUrl": self._hub.serve(folder)}
        self._crew = Crew(options.workers, options.app, folder, json.dumps(client), environment.variables, events=self)
        self._ticker: Ticker | None = None
        self._ready: set[Worker] = set()
        self._stop = asyncio.Event()
        self._background = Background(WorkersBroken, ScheduleError)

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM. Raises SetupError if the app cannot be served."""
        self._heed_signals()
        await self._gate.listen(self._listener)
        self._background.begin(self._crew.keep())
        self._background.begin(self._watch_time())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            failed = self._background.failed
            await asyncio.wait([stopped, failed], return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """End what can be ended quickly; leave no process behind."""
        self._gate.close()
        self._background.stop()
        self._crew.stop()
        await self._crew.end(GOODBYE)
        self._hub.stop()

    def _heed_signals(self) -> None:
        def heed(*_: object) -> None:
            if self._stop.is_set():  # asked twice: no more patience
                self._crew.kill()
                os._exit(1)
            self._loop.call_soon_threadsafe(self._stop.set)

        if sys.platform == "win32":
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, heed)
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is under nohup
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._loop.add_signal_handler(number, heed)

    # What workers report

    def worker_ready(self, worker: Worker, timers: list[dict[str, Any]]) -> None:
        self._gate.admit(worker.address)
        self._dispatcher.welcome(worker)
        self._ready.add(worker)
        if self._ticker is None and len(self._ready) == self._options.workers:
            self._open(timers)

    def worker_lost(self, worker: Worker) -> None:
        self._ready.discard(worker)
        self._gate.expel(worker.address)
        self._dispatcher.lose(worker)

    def workers_failing(self) -> None:
        self._gate.note_trouble()

    def worker_replied(self, worker: Worker, frame: frames.Frame) -> None:
        self._dispatcher.reply(worker, frame)

    def _open(self, timers: list[dict[str, Any]]) -> None:
        try:
            self._ticker = Ticker(timers, self._environment.variables, lambda tick: self._dispatcher.add([tick]))
        except ScheduleError as error:
            self._background.fail(error)
            return
        self._background.begin(self._ticker.run())
        port = self._listener.getsockname()[1]
        print(f"Listening on http://localhost:{port}/{API_BASE}", flush=True)
        if self._environment.api_key:
            print(f"API key: {self._environment.api_key}", flush=True)

    # Work

    def _note_work(self) -> None:
        """Called in any thread."""
        if not self._noted:
            self._noted = True
            self._loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        try:
            self._move_work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the host ends with it and says so
            self._background.fail(error)

    def _move_work(self) -> None:
        """Move what is ready from the hub to the workers; come back when the next durable timer is due."""
        self._noted = False
        due = self._hub.fire_timers(datetime.now(UTC))
        self._dispatcher.add(self._hub.take())
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if due:
            left = (due - datetime.now(UTC)).total_seconds()
            self._alarm = self._loop.call_later(min(max(left, 0.0), LONGEST_SLEEP), self._hand_out)

    async def _watch_time(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_TIME)
            late = self._dispatcher.end_overdue(self._options.told.function_timeout)
            for worker in [each for each in self._ready if each in late]:
                self._crew.restart(worker)

    def _complete(self, work: Work, outcome: str | Failure) -> None:
        if work.kind == "orchestration":
            self._hub.complete_step(work, outcome)
        elif work.kind == "activity":
            self._hub.complete_activity(work, outcome)
        elif self._ticker:
            self._ticker.done(work)


async def serve(options: Options, environment: Environment, listener: socket.socket) -> None:
    """Run the host. Raises SetupError."""
    check_model_is_not_us(environment.variables, options.host, listener.getsockname()[1])
    async with AsyncExitStack() as leaving:
        folder = leaving.enter_context(run_folder())
        if not environment.names_a_model:
            await _start_local_model(environment, leaving)
        if options.has_code_interpreter and not environment.names_code_sessions:
            _start_code_interpreter(environment, folder, leaving)
        await Host(options, environment, listener, folder).run()


def _start_code_interpreter(environment: Environment, folder: Path, leaving: AsyncExitStack) -> None:
    if sys.platform == "win32":
        logger.warning("The code interpreter is off: its sandbox needs Linux.")
        return
    interpreter = CodeInterpreter(folder / "code.sock")
    leaving.push_async_callback(interpreter.stop)
    environment.variables.update(interpreter.environment)


async def _start_local_model(environment: Environment, leaving: AsyncExitStack) -> None:
    try:
        model = await local_model.start(logger.info)
    except local_model.LocalModelUnavailable as error:
        logger.warning("%s", error)  # everything but runs works without
        return
    leaving.push_async_callback(model.stop)
    environment.variables.update(model.environment)
