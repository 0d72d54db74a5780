"""The worker's HTTP side: routes a request to its function, bounds its body, logs a line."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from devhost.functions import App, Function
from devhost.paths import without_dots
from devhost.routing import Route, Router

DRAIN_SECONDS = 2.0
LAST_WORDS = 0.5  # seconds for an answer to get out of a worker that is to be restarted

logger = logging.getLogger("devhost.http")


class HttpApp:
    """An ASGI app over the HTTP functions of `app`."""

    def __init__(self, app: App, prefix: str, body_limit: int, request_type: Any, overtime: "Overtime") -> None:
        self._app = app
        self._overtime = overtime
        self._body_limit = body_limit
        self._request_type = request_type
        self._router = Router(prefix, [_route(function) for function in app.http])
        for name, fault in self._router.in_error.items():
            logger.error("%s gets no requests: %s", name, fault)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        body = BoundedBody(receive, self._body_limit)
        answer = Answer(send, body, scope["method"])
        try:
            await self._serve(scope, body, answer)
        finally:
            _log(scope, answer.status, (time.perf_counter() - began) * 1000)

    async def _serve(self, scope: Scope, body: "BoundedBody", answer: "Answer") -> None:
        headers = dict(scope["headers"])
        if int(headers.get(b"content-length", b"0")) > self._body_limit:
            if headers.get(b"expect", b"").lower() != b"100-continue":
                await body.drain()
            await answer.end()
            return
        path = without_dots(scope["raw_path"].decode("latin-1"))
        scope["raw_path"], scope["path"] = path.encode("latin-1"), unquote(path)
        if status := _of_the_host(scope["method"], path):
            await answer.status_alone(status)
        elif match := self._router.find(scope["method"], path):
            await self._call(match.target, {**scope, "path_params": match.params}, body, answer)
        else:
            await answer.status_alone(404)

    async def _call(self, function: Function, scope: Scope, body: "BoundedBody", answer: "Answer") -> None:
        alarm = self._overtime.watch(function.name, answer)
        try:
            response = await self._app.request(function, self._request_type(scope, body.receive))
            await response(scope, body.receive, answer.send)
        except ClientDisconnect:  # while its body was read, which also ends so at the limit
            pass
        except Exception:
            # The Functions host answers 500 for whatever escapes a function; so does this stand-in for it.
            logger.exception("%s failed", function.name)
            await answer.failed()
        finally:
            if alarm:
                alarm.cancel()
        if body.exceeded:
            await body.drain()
            await answer.end()


class Overtime:
    """Ends what takes longer than `limit` seconds: its request with nothing, then, by `restart`, the whole worker."""

    def __init__(self, limit: float, restart: Callable[[str], None]) -> None:
        """`restart` is given the name of the function."""
        self._limit = limit
        self._restart = restart
        self._ending: set[asyncio.Task[None]] = set()

    def watch(self, function: str, answer: "Answer") -> asyncio.TimerHandle | None:
        """To be cancelled when the function has answered."""
        if math.isinf(self._limit):
            return None
        return asyncio.get_running_loop().call_later(self._limit, self._over, function, answer)

    def _over(self, function: str, answer: "Answer") -> None:
        self._ending.add(asyncio.create_task(self._end(function, answer)))

    async def _end(self, function: str, answer: "Answer") -> None:
        await answer.end()
        await asyncio.sleep(LAST_WORDS)
        self._restart(function)


class BoundedBody:
    """Receives a request's body up to `limit` bytes; at the limit the body ends and `exceeded` is set."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.exceeded = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left >= 0 or message["type"] != "http.request":
            return message
        self.exceeded = True
        return {"type": "http.disconnect"}

    async def drain(self) -> None:
        """Read on for a moment: a client that is cut off while it sends never sees the answer."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while (await self._receive()).get("more_body"):
                    pass
        except TimeoutError:
            return


class Answer:
    """Sends one response as the Functions host passes it on; the host's own where there can be none."""

    def __init__(self, send: Send, body: BoundedBody, method: str) -> None:
        self._send = send
        self._body = body
        self._method = method
        self._held: MutableMapping[str, Any] | None = None
        self._ended = self._is_bodiless = False
        self.status = 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self._ended or (self._body.exceeded and not self.status):
            return
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        if self._held:
            if not message.get("more_body") and len(message.get("body", b"")) < _length(self._held):
                await self.end()
                return
            await self._send_head(self._held)
        await self._send({**message, "body": b""} if self._is_bodiless else message)

    async def _begin(self, message: MutableMapping[str, Any]) -> None:
        if not all(_is_sendable(value) for _, value in message["headers"]):
            await self.end()
            return
        self._is_bodiless = self._method == "HEAD" or message["status"] in (204, 304)
        if self._is_bodiless:
            headers = [header for header in message["headers"] if header[0].lower() != b"content-length"]
            await self._send_head({**message, "headers": headers})
        elif _length(message):
            self._held = message  # until its body is there, which may be too short
        else:
            await self._send_head(message)

    async def _send_head(self, message: MutableMapping[str, Any]) -> None:
        self.status, self._held = message["status"], None
        await self._send(message)

    async def end(self) -> None:
        """Answer as the Functions host does where it cuts a request, unless a response is under way: with nothing."""
        await self.status_alone(500, (b"connection", b"close"))

    async def failed(self) -> None:
        """Answer as the worker's server does for a function that raised, unless a response is under way."""
        await self._answer(500, b"Internal Server Error", (b"content-type", b"text/plain; charset=utf-8"))

    async def status_alone(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        await self._answer(status, b"", *headers)

    async def _answer(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        if self.status:
            return
        self.status, self._ended = status, True
        length = (b"content-length", str(len(body)).encode())
        await self._send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
        await self._send({"type": "http.response.body", "body": body})


def _length(start: MutableMapping[str, Any]) -> int:
    return int(next((value for name, value in start["headers"] if name.lower() == b"content-length"), 0))


def _is_sendable(value: bytes) -> bool:
    return value.isascii() and b"\r" not in value and b"\n" not in value


def _of_the_host(method: str, path: str) -> int:
    """Return the status of what is the Functions host's own, of which only its ping is open; 0 if it isn't."""
    match path.lower().split("/")[1:]:
        case ["admin", "host", "ping"] if method in ("GET", "POST"):
            return 200
        case ["admin", _, *_] | ["runtime", "webhooks", *_]:
            return 401
        case _:
            return 0


def _route(function: Function) -> Route[Function]:
    trigger = function.trigger
    methods = frozenset(str(method).upper() for method in trigger.get("methods") or [])
    return Route(function.name, trigger.get("route") or function.name, methods, function)


def _log(scope: Scope, status: int, milliseconds: float) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    path = scope["raw_path"].decode("latin-1")  # still encoded, so it can't break the line
    # No status: the client went away, or the connection was cut, before there was one.
    line = f"{scope['method']} {path} {status or 'gone'} {milliseconds:.0f} ms"
    colour = "31" if status >= 500 else "33" if status >= 400 else "32"
    logger.info(line, extra={"colour": colour})
