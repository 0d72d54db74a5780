"""The wire of the scripted model: as much HTTP/1.1 and chat-completions JSON as it takes.

Written by hand because it must be able to misbehave: hang, cut a stream, notice who left.
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Speech(Protocol):
    text: str
    refusal: str
    calls: list[tuple[str, str]]
    finish: str | None
    usage: tuple[int, int] | None
    pieces: int | None
    raw: list[Any] | None


@dataclass(frozen=True)
class HttpRequest:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """The next request of the connection, or None at its end."""
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode("ascii").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return HttpRequest(method, path, headers, body)


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def unless_closed(self, work: Coroutine[Any, Any, bool]) -> bool | None:
        """Run the work; None if the client closed the connection before it was done."""
        working = asyncio.ensure_future(work)
        # Nobody pipelines requests, so the only thing to read now is the end.
        leaving = asyncio.ensure_future(self._reader.read(1))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() and not working.cancelled() else None
        except ConnectionError:
            return None
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def send_json(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        all_headers = {"content-type": "application/json", "content-length": str(len(payload)), **headers}
        self._writer.write(_head(status, all_headers) + payload)
        await self._writer.drain()

    async def begin_events(self, headers: Mapping[str, str]) -> None:
        fixed = {"content-type": "text/event-stream", "transfer-encoding": "chunked", "cache-control": "no-cache"}
        self._writer.write(_head(200, {**fixed, **headers}))
        await self._writer.drain()

    async def send_event(self, chunk: Any) -> None:
        await self.send_piece(f"data: {chunk if isinstance(chunk, str) else _json(chunk)}\n\n".encode())

    async def send_piece(self, piece: bytes) -> None:
        self._writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await self._writer.drain()

    async def end_events(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


def _json(chunk: Any) -> str:
    text = json.dumps(chunk, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair can only be sent escaped
        return json.dumps(chunk)
    return text


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunks_of(speech: Speech, model: str, *, with_usage: bool) -> list[Any]:
    """The chunks of a streamed answer, as the hosted API sends them, "[DONE]" included."""
    if speech.raw is not None:
        return speech.raw
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if speech.calls else ""}]
    deltas += [{"content": piece} for piece in _pieces(speech.text, speech.pieces)]
    deltas += [{"refusal": piece} for piece in _pieces(speech.refusal, speech.pieces)]
    for index, (name, arguments) in enumerate(speech.calls):
        deltas += _call_deltas(index, name, arguments)
    chunks: list[Any] = [_chunk(model, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    chunks.append(_chunk(model, [{"index": 0, "delta": {}, "finish_reason": _finish(speech)}]))
    if with_usage and speech.usage:
        chunks.append(_chunk(model, [], usage=_usage(speech.usage)))
    return [*chunks, "[DONE]"]


def completion_of(speech: Speech, model: str) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    calls = [
        {"id": call_id(index, name, arguments), "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(speech.calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": speech.text or None, "refusal": speech.refusal or None}
    if calls:
        message["tool_calls"] = calls
    completion = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message | ({"tool_calls": calls} if calls else {}),
                "finish_reason": _finish(speech),
            }
        ],
    }
    return completion | ({"usage": _usage(speech.usage)} if speech.usage else {})


def call_id(index: int, name: str, arguments: str) -> str:
    return f"call_{index}_{abs(hash_of(name + arguments)):x}"


def hash_of(text: str) -> int:
    """A number that is the same in every process (hash() is salted)."""
    value = 0
    for byte in text.encode():
        value = (value * 131 + byte) % 2**61
    return value


def _pieces(text: str, count: int | None) -> list[str]:
    if count is None:
        words = text.split(" ")
        return [word if position == 0 else f" {word}" for position, word in enumerate(words)] if text else []
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _call_deltas(index: int, name: str, arguments: str) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": ""}
    begin = {"index": index, "id": call_id(index, name, arguments), "type": "function", "function": function}
    halves = [arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]]
    rest = [{"index": index, "function": {"arguments": half}} for half in halves if half]
    return [{"tool_calls": [call]} for call in (begin, *rest)]


def _finish(speech: Speech) -> str:
    return speech.finish or ("tool_calls" if speech.calls else "stop")


def _chunk(model: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    fixed = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}
    return {**fixed, "choices": choices, **more}


def _usage(usage: tuple[int, int]) -> dict[str, Any]:
    prompt, completion = usage
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
