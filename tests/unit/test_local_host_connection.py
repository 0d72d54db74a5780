"""How long the local host waits for whom, on real connections with shorter times."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from devhost import connection
from devhost.connection import HttpConnection

SILENCE, KEPT_ALIVE = 1.0, 2  # seconds
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 4_000_000  # bytes; more than all buffers on the way take


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell the size of the body; wait first, or don't read it, if the path says so."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5 * SILENCE)
    size, more = 0, scope["path"] != "/unread"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    body = b"%d!" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(connection, "SILENCE", SILENCE)
    config = uvicorn.Config(
        app, port=0, http=HttpConnection, lifespan="off", log_config=None, timeout_keep_alive=KEPT_ALIVE
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self) -> bytes:
        """Return what is said up to the exclamation mark of `app`."""
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"!")

    async def line(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readline()

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


Call = Callable[[], Awaitable[Caller]]


@pytest.fixture
async def call(port: int) -> AsyncIterator[Call]:
    """Make a new connection; all end with the test."""
    made: list[Caller] = []

    async def connect() -> Caller:
        made.append(Caller(*await asyncio.open_connection("127.0.0.1", port)))
        return made[-1]

    yield connect
    for caller in made:
        caller.close()


@pytest.fixture
async def caller(call: Call) -> Caller:
    return await call()


HALVES = (
    b"GE",
    b"GET /",
    GET[:-2],
    POST + b"Content-Len",
    POST + b"Content-Length: 5\r\n\r\n",
    POST + b"Content-Length: 5\r\n\r\nhell",
    POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhell",
    POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: ",
)


@pytest.mark.parametrize("before", [b"", GET])
async def test_half_a_request_and_then_silence_is_the_end(call: Call, before: bytes):
    async def end_of(half: bytes) -> bytes:
        caller = await call()
        await caller.say(before + half)
        return await caller.rest()

    for heard in await asyncio.gather(*map(end_of, HALVES)):
        assert heard.count(b"HTTP/1.1 200 OK\r\n") == bool(before)
        assert heard.count(b"HTTP/1.1 408 Request Timeout\r\n") == 1


async def test_a_request_that_trickles_is_waited_for(caller: Caller):
    for byte in POST + b"Content-Length: 8\r\n\r\n12":
        await caller.say(bytes([byte]))
        await asyncio.sleep(SILENCE / 50)
    for byte in b"345678":
        await caller.say(bytes([byte]))
        await asyncio.sleep(SILENCE / 4)
    assert (await caller.hear()).endswith(b"8!")


async def test_a_client_that_waits_for_its_answer_is_never_cut(caller: Caller):
    for body in (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
        await caller.say(POST.replace(b"/", b"/slow", 1) + body)
        assert (await caller.hear()).endswith(b"5!")


async def test_a_client_that_may_not_send_yet_is_waited_for(caller: Caller):
    """The app reads late: the rest of the body is held up on the way, and comes long after the first part."""
    await caller.say(POST.replace(b"/", b"/slow", 1) + b"Content-Length: %d\r\n\r\n" % LARGE + bytes(LARGE))
    assert (await caller.hear()).endswith(b"%d!" % LARGE)
    await caller.say(POST.replace(b"/", b"/slow", 1) + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert await caller.line() == b"HTTP/1.1 100 Continue\r\n"
    await caller.say(b"hello")
    assert (await caller.hear()).endswith(b"5!")


async def test_a_connection_between_requests_keeps_its_own_time(caller: Caller):
    for _ in range(2):
        await caller.say(GET)
        assert (await caller.hear()).endswith(b"0!")
        await asyncio.sleep(1.5 * SILENCE)
    await caller.say(b"\r\n\r\n")  # not the beginning of anything
    assert await caller.rest() == b""


async def test_a_connection_without_a_request_ends_too(caller: Caller):
    assert await caller.rest() == b""


async def test_a_body_that_nobody_wants_is_not_waited_for_either(caller: Caller):
    await caller.say(POST.replace(b"/", b"/unread", 1) + b"Content-Length: 5\r\n\r\nhe")
    assert (await caller.hear()).endswith(b"0!")
    await caller.say(b"l")
    assert await caller.rest() == b""
