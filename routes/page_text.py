"""The text of a page: written as it is read, since a hundred of its items may be a megabyte each."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import NamedTuple

from azurefunctions.extensions.http.fastapi import Response, StreamingResponse
from pydantic_core import to_json

from ports.documents import Document

AT_ONCE = 1_000_000  # bytes of a page that are collected before anything is sent
_JSON = "application/json"


class Item(NamedTuple):
    """A resource: its id, its place in the list, its JSON."""

    id: str
    sort: str
    text: bytes


async def items_of(documents: AsyncIterable[Document]) -> AsyncIterator[Item]:
    async for document in documents:
        resource = document.body["resource"]
        yield Item(resource["id"], document.sort, to_json(resource, inf_nan_mode="null"))


async def page_reply(items: AsyncIterable[Item], limit: int, *, has_more: bool = False) -> Response:
    """Answer with up to `limit` items; one beyond them only proves that there are more.

    What the store raises while the page's first AT_ONCE bytes are read is the caller's to answer. Later
    the answer has begun, and breaks off.
    """
    pieces = _pieces(items, limit, has_more)
    collected: list[bytes] = []
    size = 0
    async for piece in pieces:
        collected.append(piece)
        size += len(piece)
        if size > AT_ONCE:
            return StreamingResponse(_joined(collected, pieces), media_type=_JSON)
    return Response(b"".join(collected), media_type=_JSON)


async def _pieces(items: AsyncIterable[Item], limit: int, has_more: bool) -> AsyncIterator[bytes]:
    first_id = last_id = None
    count = 0
    yield b'{"object":"list","data":['
    async for item in items:
        if count == limit:
            has_more = True
            continue
        yield b"," + item.text if count else item.text
        count += 1
        first_id, last_id = first_id or item.id, item.id
    yield b"]," + to_json({"first_id": first_id, "last_id": last_id, "has_more": has_more})[1:]


async def _joined(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    begun = b"".join(first)
    first.clear()
    yield begun
    del begun
    async for piece in rest:
        yield piece


async def each[T](values: Iterable[T]) -> AsyncIterator[T]:
    for value in values:
        yield value
