"""multipart/form-data, read part by part while it arrives: nothing is collected but small fields."""

import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from errors import InvalidRequest, TooLarge

MAX_PARTS = 20
MAX_FIELD = 65_536  # bytes

# The extended form of RFC 5987; the plain one beside it is a fallback for those that can't read it.
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `content` is read before the next part is asked for; what is left of it is skipped.

    `filename` is as the client gave it, "" if it gave none; so is `media_type`.
    """

    name: str
    filename: str
    media_type: str
    content: AsyncIterator[bytes]

    async def text(self) -> str:
        """Return a small field's value."""
        value = bytearray()
        async for chunk in self.content:
            value += chunk
            if len(value) > MAX_FIELD:
                raise InvalidRequest(f"The field '{self.name[:100]}' is too long.", param=self.name[:100])
        return value.decode("utf-8", "replace")


async def read_parts(request: Request, limit: int, too_large: TooLarge) -> AsyncIterator[Part]:
    """Yield the parts in the order of the request. InvalidRequest if it is not well formed, or is cut.

    `too_large` is raised for a form of more than `limit` bytes in all: at once if it says so itself.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    events = _Events(request, limit, too_large)
    for _ in range(MAX_PARTS):
        if not await events.next_part():
            return
        headers: dict[str, str] = events.take()
        content = events.content()
        yield _part(headers, content)
        async for _ in content:
            pass
    raise InvalidRequest(f"The form has more than {MAX_PARTS} fields.")


class _Events:
    """What the parser found, in order: headers of a part, its bytes, None for its end."""

    def __init__(self, request: Request, limit: int, too_large: TooLarge) -> None:
        self._chunks = request.stream()
        self._left = limit
        self._too_large = too_large
        self._found: deque[dict[str, str] | bytes | None] = deque()
        self._header, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._over = False
        self._parser = _parser(request.headers.get("content-type", ""), self)

    async def next_part(self) -> bool:
        """Wait until a part has begun; False if there are no more."""
        while not self._found and not self._over:
            await self._receive()
        return bool(self._found)

    def take(self) -> Any:
        return self._found.popleft()

    async def content(self) -> AsyncIterator[bytes]:
        while True:
            while not self._found:
                await self._receive()
            chunk = self._found.popleft()
            if chunk is None:
                return
            assert isinstance(chunk, bytes)
            yield chunk

    async def _receive(self) -> None:
        try:
            chunk = await anext(self._chunks, b"")
        except ClientDisconnect:
            chunk = b""
        if not chunk:
            raise InvalidRequest("The request's body ended too early.")
        self._left -= len(chunk)
        if self._left < 0:
            raise self._too_large
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"We could not parse the form data of your request: {error}.") from None

    # The parser's callbacks.

    def on_part_begin(self) -> None:
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        self._found.append(self._headers)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def on_part_end(self) -> None:
        self._found.append(None)

    def on_end(self) -> None:
        self._over = True


_CALLBACKS = (
    "on_part_begin",
    "on_header_field",
    "on_header_value",
    "on_header_end",
    "on_headers_finished",
    "on_part_data",
    "on_part_end",
    "on_end",
)


def _parser(content_type: str, events: _Events) -> MultipartParser:
    kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequest("Expected a body of type multipart/form-data, with a boundary.")
    try:
        return MultipartParser(options[b"boundary"], {name: getattr(events, name) for name in _CALLBACKS})  # type: ignore[arg-type]
    except FormParserError as error:
        raise InvalidRequest(f"We could not parse the form data of your request: {error}.") from None


def _part(headers: dict[str, str], content: AsyncIterator[bytes]) -> Part:
    disposition = headers.get("content-disposition", "")
    _, options = parse_options_header(disposition.encode())
    name = options.get(b"name", b"").decode("utf-8", "replace")
    # Form data escape quotes in names like this (WHATWG), not as headers elsewhere do.
    filename = options.get(b"filename", b"").decode("utf-8", "replace").replace("%22", '"')
    if extended := _EXTENDED_NAME.search(disposition):
        filename = unquote(extended[2], encoding=extended[1], errors="replace")
    return Part(name, filename, headers.get("content-type", "").strip(), content)
