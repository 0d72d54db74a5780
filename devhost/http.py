"""The worker's HTTP side: routes a request to its function, bounds its body, logs a line."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from devhost.functions import App, Function
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        body = BoundedBody(receive, self._body_limit)
        answer = Answer(send, body)
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
        match = self._router.find(scope["method"], scope["raw_path"].decode("latin-1"))
        if match is None:
            await answer.error(404, f"Unknown path: {scope['method']} {scope['path'][:200]}")
            return
        scope["path_params"] = match.params
        alarm = self._overtime.watch(match.target.name, answer)
        try:
            response = await self._app.request(match.target, self._request_type(scope, body.receive))
            await response(scope, body.receive, answer.send)
        except ClientDisconnect:  # while its body was read, which also ends so at the limit
            pass
        except Exception:
            # The Functions host answers 500 for whatever escapes a function; so does this stand-in for it.
            logger.exception("%s failed", match.target.name)
            await answer.error(500, "The server had an error while processing your request.")
        finally:
            if alarm:
                alarm.cancel()
        if body.exceeded:
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
    """Sends one response. A function's response to a body that was too large is held back for our own."""

    def __init__(self, send: Send, body: BoundedBody) -> None:
        self._send = send
        self._body = body
        self._ended = False
        self.status = 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self._ended or (self._body.exceeded and not self.status):
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def end(self) -> None:
        """Answer as the Functions host does where it cuts a request, unless a response is under way: with nothing."""
        if self.status:
            return
        self.status, self._ended = 500, True
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": 500, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    async def error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        """Answer with the API's error body, unless a response is under way."""
        if self.status:
            return
        self.status = status
        kind = "server_error" if status == 500 else "invalid_request_error"
        content = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}})
        response = Response(content, status, headers, media_type="application/json")
        await self._send({"type": "http.response.start", "status": status, "headers": response.raw_headers})
        await self._send({"type": "http.response.body", "body": response.body})


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
