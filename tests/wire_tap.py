"""Listens to what every Python client of the tests is answered, and checks it against the official schema.

It sits in the transports of httpx (bare requests) and httpx2 (the SDK's), below the clients, so nobody has
to remember it. Node's client and that of generation 1 are processes of their own; they ask the same service.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any

import httpx
import httpx2

from tests.official_schema import faults_of_answer, faults_of_event, operation_of

_OURS = "openai-version"  # a header of all that the service answers, and of nothing else that tests ask


class WireTap:
    """`faults` are what answers had wrong since somebody took them. Equal answers are looked at once."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.heard = 0  # answers and events
        self._seen: set[int] = set()

    def install(self) -> None:
        for package in (httpx, httpx2):
            heard = _heard_stream(package)
            package.HTTPTransport.handle_request = self._tapped(package.HTTPTransport.handle_request, heard)
            for transport in (package.AsyncHTTPTransport, package.ASGITransport):
                transport.handle_async_request = self._tapped_async(transport.handle_async_request, heard)

    def take_faults(self) -> list[str]:
        faults, self.faults = self.faults, []
        return faults

    def hear(self, method: str, path: str, status: int, media_type: str, body: bytes) -> None:
        """Check what was read of an answer: all of it, or what came before the client left."""
        operation = operation_of(method, path)
        if operation is None or not body:
            return
        if media_type == "text/event-stream":
            for frame in body.split(b"\n\n")[:-1]:
                self._hear_frame(path, frame.decode())
        elif media_type == "application/json":
            self._once((operation, status >= 400, body), lambda: self._check(operation, status, body))

    def _check(self, operation: tuple[str, str], status: int, body: bytes) -> None:
        try:
            content = _parsed(body)
        except ValueError:
            return  # cut off
        self._note(" ".join(operation), faults_of_answer(operation, status, content))

    def _hear_frame(self, path: str, frame: str) -> None:
        lines = (line.partition(": ") for line in frame.split("\n") if not line.startswith(":"))
        fields = {name: value for name, _, value in lines}
        name, data = fields.get("event", ""), fields.get("data", "")
        content = data if name == "done" else _parsed(data)
        self._once((name, data), lambda: self._note(f"{name} of {path}", faults_of_event(name, content)))

    def _once(self, what: Any, check: Callable[[], None]) -> None:
        self.heard += 1
        if hash(what) not in self._seen:
            self._seen.add(hash(what))
            check()

    def _note(self, where: str, faults: list[str]) -> None:
        self.faults += [f"{where}: {fault}" for fault in faults]

    def _tapped(self, handle: Any, heard: type[Any]) -> Any:
        @wraps(handle)
        def tapped(transport: Any, request: Any) -> Any:
            return self._listened(handle(transport, request), request, heard)

        return tapped

    def _tapped_async(self, handle: Any, heard: type[Any]) -> Any:
        @wraps(handle)
        async def tapped(transport: Any, request: Any) -> Any:
            return self._listened(await handle(transport, request), request, heard)

        return tapped

    def _listened(self, response: Any, request: Any, heard: type[Any]) -> Any:
        if _OURS not in response.headers:
            return response
        media_type = response.headers.get("content-type", "").partition(";")[0]

        def done(body: bytes) -> None:
            self.hear(request.method, request.url.path, response.status_code, media_type, body)

        response.stream = heard(response.stream, done)
        return response


def _parsed(text: str | bytes) -> Any:
    """Python would read NaN and Infinity, which nobody else does: they are made something that no number may be."""
    return json.loads(text, parse_constant=lambda word: f"not JSON: {word}")


def _heard_stream(package: Any) -> type[Any]:
    """Return the package's kind of stream that hands on another's bytes and tells them all when it is closed."""

    class Heard(package.SyncByteStream, package.AsyncByteStream):
        def __init__(self, inner: Any, done: Callable[[bytes], None]) -> None:
            self._inner, self._done, self._read = inner, done, bytearray()

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._inner:
                self._read += chunk
                yield chunk

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._inner:
                self._read += chunk
                yield chunk

        def close(self) -> None:
            self._inner.close()
            self._done(bytes(self._read))

        async def aclose(self) -> None:
            await self._inner.aclose()
            self._done(bytes(self._read))

    return Heard


TAP = WireTap()
