"""A chat-completions server that plays scripts and keeps what it was sent.

Real HTTP on a free loopback port, served from a thread of its own, so sync and async tests and
other processes can use it. A script belongs to a model name, so tests that run at the same time
share one server: `for_test()` makes a name that nobody else has.

A model without a script answers by the rules of `tests/echo_model.py`: the same request always
gets the same answer, which is what crash tests need. Run as a program it serves only those:

    python -m tests.scripted_model --port 8081 --first-delay 0.5 --delay 0.01
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tests import echo_model
from tests.chat_wire import Connection, HttpRequest, chunks_of, completion_of, read_request

Usage = tuple[int, int] | None  # prompt and completion tokens


@dataclass(eq=False)
class Answer:
    """One answer of the model. Delays are in seconds.

    `arrived` is set when the request is there, `abandoned` when its client left before the end.
    """

    text: str = ""
    refusal: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)  # name, arguments as JSON text
    finish: str | None = None  # None: what follows from the rest
    usage: Usage = (10, 5)
    first_delay: float = 0.0
    delay: float = 0.0  # between chunks
    pieces: int | None = None  # chunks of text; None: one per word
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None  # of an error answer
    raw: list[Any] | None = None  # chunks as they are, instead of text and calls
    wire: list[bytes] | None = None  # pieces of the body as they are, instead of events
    hold_after: int | None = None  # stop after so many chunks until `release()`
    cut_after: int | None = None  # close the connection after so many chunks
    arrived: threading.Event = field(default_factory=threading.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)
    _held: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        self._held.set()

    async def held(self) -> None:
        while not self._held.is_set():
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class SeenRequest:
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class Script:
    """What one model name will answer, in order, and what it was asked (`requests`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[SeenRequest] = []
        self._answers: deque[Answer] = deque()
        self._was_written = False

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of the requests so far."""
        return [request.body for request in self.seen]

    def will(self, answer: Answer) -> Answer:
        self._answers.append(answer)
        self._was_written = True
        return answer

    def will_say(self, text: str, **options: Any) -> Answer:
        """Answer with text; options are those of Answer."""
        return self.will(Answer(text=text, **options))

    def will_call(self, function: str, /, **arguments: Any) -> Answer:
        return self.will_call_all((function, arguments))

    def will_call_all(self, *calls: tuple[str, dict[str, Any]], **options: Any) -> Answer:
        """Answer with several parallel function calls."""
        return self.will(Answer(calls=[(name, json.dumps(arguments)) for name, arguments in calls], **options))

    def will_fail(self, status: int = 500, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        body = body if body is not None else {"error": {"message": f"Scripted failure {status}.", "code": None}}
        return self.will(Answer(status=status, body=body, headers=headers or {}))

    def will_hang(self, text: str = "", *, after: int = 0, **options: Any) -> Answer:
        """Send so many chunks of the text, then nothing until the answer's `release()`."""
        return self.will(Answer(text=text, hold_after=after, **options))

    def will_cut(self, text: str = "", *, after: int = 0) -> Answer:
        """Send so many chunks of the text, then close the connection in the middle of the answer."""
        return self.will(Answer(text=text, cut_after=after))

    def will_send(self, *chunks: Any, **options: Any) -> Answer:
        """Send these chunks as they are: dicts as JSON, strings verbatim as the data of an event."""
        return self.will(Answer(raw=list(chunks), **options))

    def will_write(self, *pieces: bytes, content_type: str = "text/event-stream", **options: Any) -> Answer:
        """Send these pieces of a body as they are, each by itself."""
        return self.will(Answer(wire=list(pieces), headers={"content-type": content_type}, **options))

    def forget(self) -> None:
        """Drop the answers that nobody has asked for."""
        self._answers.clear()

    def next_answer(self, request: dict[str, Any]) -> Answer:
        if self._answers:
            return self._answers.popleft()
        if self._was_written:
            message = f"The script of '{self.name}' is over, but the model was called again."
            return Answer(status=400, body={"error": {"message": message, "code": "script_over"}})
        return echo_answer(request)


def echo_answer(request: dict[str, Any], *, first_delay: float = 0.0, delay: float = 0.0) -> Answer:
    """The stateless answer to a request (`tests/echo_model.py`)."""
    reply = echo_model.reply_to(request["messages"])
    return Answer(
        text=reply.text,
        calls=reply.calls,
        usage=(echo_model.prompt_tokens(request["messages"]), reply.tokens),
        first_delay=reply.first_delay if reply.first_delay is not None else first_delay,
        delay=reply.delay if reply.delay is not None else delay,
    )


class ScriptedModel:
    """The server. `with ScriptedModel() as model:` or start() and stop()."""

    def __init__(self, *, port: int = 0, first_delay: float = 0.0, delay: float = 0.0) -> None:
        self.port = port
        self.open_requests = 0
        self.most_open_requests = 0
        self.abandoned_requests = 0
        self.answered_requests = 0
        self._echo: Callable[[dict[str, Any]], Answer] = lambda request: echo_answer(
            request, first_delay=first_delay, delay=delay
        )
        self._scripts: dict[str, Script] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-model", daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def for_test(self, prefix: str = "model") -> Script:
        """A model of its own, with an empty script: its `name` is what a request must name."""
        return self.script(f"{prefix}-{secrets.token_hex(6)}")

    def script(self, name: str) -> Script:
        return self._scripts.setdefault(name, Script(name))

    def start(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=16_000_000)

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        connection = Connection(reader, writer)
        try:
            while (request := await read_request(reader)) is not None:
                if not await self._serve(request, connection):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone, as clients do
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, request: HttpRequest, connection: Connection) -> bool:
        """Answer one request; False if the connection is used up."""
        if not request.path.partition("?")[0].endswith("/chat/completions"):
            await connection.send_json(404, {"error": {"message": "Not Found", "code": None}}, {})
            return True
        body = json.loads(request.body)
        answer = self._answer_for(request, body)
        answer.arrived.set()
        self.open_requests += 1
        self.most_open_requests = max(self.most_open_requests, self.open_requests)
        try:
            finished = await connection.unless_closed(self._play(answer, body, connection))
        finally:
            self.open_requests -= 1
        if finished is None:
            self.abandoned_requests += 1
            answer.abandoned.set()
        else:
            self.answered_requests += 1
        return bool(finished)

    def _answer_for(self, request: HttpRequest, body: dict[str, Any]) -> Answer:
        name = body.get("model", "")
        if script := self._scripts.get(name):
            script.seen.append(SeenRequest(request.path, request.headers, body))
            return script.next_answer(body)
        if name.startswith("unknown"):
            error = {"message": f"The model `{name}` does not exist.", "code": "model_not_found"}
            return Answer(status=404, body={"error": error})
        return self._echo(body)

    async def _play(self, answer: Answer, body: dict[str, Any], connection: Connection) -> bool:
        """Send the answer; False if the connection was cut on purpose."""
        if answer.first_delay:
            await asyncio.sleep(answer.first_delay)
        if answer.status != 200:
            await connection.send_json(answer.status, answer.body, answer.headers)
            return True
        asked_for_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        chunks = chunks_of(answer, body["model"], with_usage=asked_for_usage)
        if not body.get("stream"):
            await connection.send_json(200, completion_of(answer, body["model"]), answer.headers)
            return True
        return await self._stream(answer, chunks, connection)

    async def _stream(self, answer: Answer, chunks: list[Any], connection: Connection) -> bool:
        await connection.begin_events(answer.headers)
        if answer.wire is not None:
            for piece in answer.wire:
                await connection.send_piece(piece)
            await connection.end_events()
            return True
        for number, chunk in enumerate(chunks):
            if answer.hold_after == number:
                await answer.held()
            if answer.cut_after == number:
                return False
            if answer.delay and number:
                await asyncio.sleep(answer.delay)
            await connection.send_event(chunk)
        if answer.cut_after is not None:
            return False
        await connection.end_events()
        return True


async def _serve_forever(model: ScriptedModel) -> None:
    sys.stdout.write(f"Listening on {model.base_url}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stateless scripted chat model for soak tests and benchmarks.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--first-delay", type=float, default=0.0, help="seconds before the first chunk")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between chunks")
    options = parser.parse_args()
    model = ScriptedModel(port=options.port, first_delay=options.first_delay, delay=options.delay)
    with model, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_forever(model))


if __name__ == "__main__":
    main()
