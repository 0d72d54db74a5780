"""A worker process: loads the app, serves its HTTP functions and runs what the host sends.

The host starts it as `python -m devhost.worker`. It lives as long as its pipe to the host.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

import uvicorn

from devhost import frames
from devhost.connection import HttpConnection
from devhost.event_loop import new_event_loop
from devhost.functions import App, AppBroken, StoreBroken
from devhost.host_json import HostJson
from devhost.http import HttpApp, Overtime
from devhost.logs import start_logging
from devhost.work import Failure

HEARTBEAT = 1.0  # seconds
GRACE = 1  # seconds for requests under way when the host stops
DEFAULT_BODY_LIMIT = 104_857_600  # bytes; FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, with Azure's default

logger = logging.getLogger("devhost.worker")


class Host:
    """The pipes to the host process."""

    def __init__(self, incoming: BinaryIO, outgoing: int, leave: Callable[[int], NoReturn]) -> None:
        """`leave` ends the process, from any thread, with the exit code it is given."""
        self._incoming = incoming
        self._outgoing = outgoing
        self.leave = leave
        self._writing = threading.Lock()

    def send(self, frame: frames.Frame) -> None:
        data = memoryview(frames.encode(frame))
        with self._writing:
            try:
                while data:
                    data = data[os.write(self._outgoing, data) :]
            except OSError:
                self.leave(0)

    def start(self, on_frame: Callable[[frames.Frame], object]) -> None:
        """Listen and show signs of life, in threads of their own: the app may keep the event loop busy."""
        threading.Thread(target=self._listen, args=[on_frame], daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def _listen(self, on_frame: Callable[[frames.Frame], object]) -> None:
        while frame := frames.read(self._incoming):
            on_frame(frame)
        # The host is gone, or has replaced this worker. Nothing done from here on would count.
        self.leave(0)

    def _beat(self) -> None:
        while True:
            self.send({"alive": True})
            time.sleep(HEARTBEAT)


class Server(uvicorn.Server):
    """Calls `ready` when it listens. Signals are the host's business."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1] if not self.config.uds else 0
        self._ready(self.config.uds or f"127.0.0.1:{port}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(host: Host, options: argparse.Namespace) -> NoReturn:
    """Load the app and serve until the host says stop. Leaves from here: frames need the loop to the last."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    app: App | None = None
    running: set[asyncio.Task[None]] = set()

    async def execute(frame: frames.Frame) -> None:
        assert app is not None  # the host sends work to workers that are ready
        outcome = await app.invoke(frame["kind"], frame["name"], frame["body"])
        if isinstance(outcome, Failure):
            logger.error("%s %s failed: %s\n%s", frame["kind"], frame["name"], outcome.error, outcome.trace)
            host.send({"reply": frame["run"], "error": outcome.error, "trace": outcome.trace})
        else:
            host.send({"reply": frame["run"], "body": outcome})

    def accept(frame: frames.Frame) -> None:
        if "stop" in frame:
            stop.set()
            return
        task = loop.create_task(execute(frame))
        running.add(task)
        task.add_done_callback(running.discard)

    host.start(lambda frame: loop.call_soon_threadsafe(accept, frame))
    try:
        app = App(Path(options.app), options.client)
        await _warm_up(app, options.again)
    except AppBroken as error:
        logger.debug("loading", exc_info=True)
        host.send({"broken": str(error)})
        host.leave(1)
    timers = [
        {"name": f.name, "schedule": f.trigger["schedule"], "at_start": bool(f.trigger.get("runOnStartup"))}
        for f in app.timers
    ]
    http = _http_app(app, options, lambda function: host.send({"overtime": function}))
    server = Server(_server_config(http, options), lambda address: host.send({"ready": address, "timers": timers}))
    serving = asyncio.create_task(server.serve())
    await stop.wait()
    server.should_exit = True
    await serving
    host.leave(0)


async def _warm_up(app: App, again: bool) -> None:
    """Raises AppBroken; not for a store that broke while the service ran: requests are to be told why."""
    try:
        await app.warm_up()
    except StoreBroken as error:
        if not again:
            raise
        logger.error("%s", error)


def _http_app(app: App, options: argparse.Namespace, on_overtime: Callable[[str], None]) -> HttpApp:
    from azurefunctions.extensions.base import RequestTrackerMeta

    told = HostJson.read(Path(options.app))
    limit = int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") or DEFAULT_BODY_LIMIT)
    overtime = Overtime(told.function_timeout, on_overtime)
    return HttpApp(app, told.route_prefix, limit, RequestTrackerMeta.get_request_type(), overtime)


def _server_config(http: HttpApp, options: argparse.Namespace) -> uvicorn.Config:
    return uvicorn.Config(
        http,
        uds=options.socket,
        host="127.0.0.1",
        port=0,
        http=HttpConnection,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        # Longer than clients keep idle connections, so that the client is the one who closes.
        timeout_keep_alive=130,
        timeout_graceful_shutdown=GRACE,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--app", required=True)
    parser.add_argument("--client", required=True, help="what a durable client binding gives, JSON")
    parser.add_argument("--socket", help="where to listen; without it on a free port")
    parser.add_argument("--again", action="store_true", help="the host has had workers that were ready")
    options = parser.parse_args()
    # Ctrl-C reaches the whole terminal; the host decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start_logging()

    def leave(code: int) -> NoReturn:
        if options.socket:
            with suppress(OSError):  # the host may have cleared it away
                Path(options.socket).unlink()
        os._exit(code)

    # Frames keep the pipes to themselves; what the app prints goes to standard error.
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.dup(1)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    host = Host(incoming, outgoing, leave)
    asyncio.run(run(host, options), loop_factory=new_event_loop)


if __name__ == "__main__":
    main()
