"""What every blob store does."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.blob_storage import BLOCK, blob_storage
from adapters.folder import FolderBlobs
from errors import StoreUnavailable
from ports.blobs import Blobs, StoredBlob
from settings import Settings, SettingsError
from tests.azurite import azurite, create_container

__all__ = ["azurite"]

# Longer than the blocks that one put may have on their way, and no multiple of anything.
LONG = 5 * BLOCK + 12_345


@pytest.fixture(params=["folder", "blob_storage"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    store = FolderBlobs(tmp_path) if request.param == "folder" else _in_azurite(request.getfixturevalue("azurite"))
    yield store
    await store.close()


def _in_azurite(connection_string: str) -> Blobs:
    settings = replace(Settings(), blob_connection_string=connection_string, blob_container=f"test-{uuid4().hex}")
    create_container(connection_string, settings.blob_container)
    return blob_storage(settings)


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def cut_after(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    raise ConnectionResetError


async def read(blobs: Blobs, id: str, *, start: int = 0, length: int | None = None, tenant: str = "t1") -> bytes | None:
    content = await blobs.get(tenant, id, start=start, length=length)
    return None if content is None else b"".join([chunk async for chunk in content])


async def test_a_blob_reads_as_it_was_put(blobs: Blobs):
    content = os.urandom(LONG)
    chunks = [content[at : at + 65_536] for at in range(0, LONG, 65_536)]

    assert await blobs.put("t1", "file-1", pieces(*chunks)) == LONG

    assert await blobs.size("t1", "file-1") == LONG
    assert await read(blobs, "file-1") == content


async def test_an_empty_blob_exists(blobs: Blobs):
    assert await blobs.put("t1", "file-1", pieces()) == 0
    assert await blobs.size("t1", "file-1") == 0
    assert await read(blobs, "file-1") == b""


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, slice(0, 3)),
        (BLOCK - 2, 4, slice(BLOCK - 2, BLOCK + 2)),
        (LONG - 5, None, slice(LONG - 5, LONG)),
        (LONG - 5, 100, slice(LONG - 5, LONG)),
        (1, 2 * BLOCK + 1, slice(1, 2 * BLOCK + 2)),
        (LONG, 1, slice(0, 0)),
        (7, 0, slice(0, 0)),
    ],
)
async def test_a_range_is_read_alone(blobs: Blobs, start: int, length: int | None, expected: slice):
    content = os.urandom(LONG)
    await blobs.put("t1", "file-1", pieces(content))
    assert await read(blobs, "file-1", start=start, length=length) == content[expected]


async def test_reading_in_pieces_of_bounded_size(blobs: Blobs):
    await blobs.put("t1", "file-1", pieces(bytes(LONG)))
    content = await blobs.get("t1", "file-1")
    assert content is not None
    assert max([len(chunk) async for chunk in content]) <= BLOCK


async def test_a_missing_blob_is_none_and_deleting_it_changes_nothing(blobs: Blobs):
    assert await read(blobs, "file-1") is None
    assert await read(blobs, "file-1", length=0) is None
    assert await blobs.size("t1", "file-1") is None
    await blobs.delete("t1", "file-1")


async def test_a_deleted_blob_is_gone(blobs: Blobs):
    await blobs.put("t1", "file-1", pieces(b"once"))
    await blobs.delete("t1", "file-1")
    assert await read(blobs, "file-1") is None


async def test_a_second_put_replaces_the_blob(blobs: Blobs):
    await blobs.put("t1", "file-1", pieces(b"a longer first"))
    await blobs.put("t1", "file-1", pieces(b"second"))
    assert await read(blobs, "file-1") == b"second"


async def test_one_tenant_never_reads_anothers_blob(blobs: Blobs):
    await blobs.put("t1", "file-1", pieces(b"secret"))
    assert await read(blobs, "file-1", tenant="t2") is None
    await blobs.delete("t2", "file-1")
    assert await read(blobs, "file-1") == b"secret"


@pytest.mark.parametrize("before", [(b"short",), (bytes(BLOCK),) * 3])
async def test_a_put_cut_in_the_middle_leaves_nothing(blobs: Blobs, before: tuple[bytes, ...]):
    with pytest.raises(ConnectionResetError):
        await blobs.put("t1", "file-1", cut_after(*before))
    assert await blobs.size("t1", "file-1") is None
    assert await listed(blobs) == []


async def test_a_put_cut_in_the_middle_leaves_the_blob_that_was_there(blobs: Blobs):
    await blobs.put("t1", "file-1", pieces(b"as it was"))
    with pytest.raises(ConnectionResetError):
        await blobs.put("t1", "file-1", cut_after(bytes(BLOCK), bytes(BLOCK)))
    assert await read(blobs, "file-1") == b"as it was"


async def test_a_cancelled_put_leaves_nothing(blobs: Blobs):
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(BLOCK)
            begun.set()

    put = asyncio.create_task(blobs.put("t1", "file-1", endless()))
    await begun.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert await blobs.size("t1", "file-1") is None


async def test_nothing_is_seen_of_a_put_that_is_not_over(blobs: Blobs):
    seen: list[int | None] = []

    async def watched() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(BLOCK)
            seen.append(await blobs.size("t1", "file-1"))

    await blobs.put("t1", "file-1", watched())
    assert seen == [None, None, None]


async def test_of_puts_at_the_same_time_one_is_stored_whole(blobs: Blobs):
    contents = [bytes([n]) * (2 * BLOCK + n) for n in range(3)]
    results = await asyncio.gather(
        *(blobs.put("t1", "file-1", pieces(content)) for content in contents), return_exceptions=True
    )
    assert any(isinstance(result, int) for result in results)
    assert all(isinstance(result, int | StoreUnavailable) for result in results)
    assert await read(blobs, "file-1") in contents


async def test_blobs_of_every_tenant_are_listed_with_their_size(blobs: Blobs):
    await blobs.put("t1", "file-1", pieces(b"one"))
    await blobs.put("t2", "part_2", pieces(b"second"))
    assert await listed(blobs) == [StoredBlob("t1", "file-1", 3), StoredBlob("t2", "part_2", 6)]


async def test_young_blobs_are_not_listed(blobs: Blobs):
    await blobs.put("t1", "file-1", pieces(b"one"))
    assert [blob async for blob in blobs.list(older_than=time.time() - 3600)] == []


@pytest.mark.parametrize("id", ["", "..", "../file-1", "a/b", "a\\b", "a.b", "file-1\n", "x" * 81, "naïve"])
async def test_a_name_that_could_mean_something_else_is_refused(blobs: Blobs, id: str):
    calls: list[Callable[[str, str], object]] = [blobs.size, blobs.delete, blobs.get]
    for tenant, name in ((id, "file-1"), ("t1", id)):
        for call in calls:
            with pytest.raises(ValueError):
                await call(tenant, name)  # type: ignore[misc]
        with pytest.raises(ValueError):
            await blobs.put(tenant, name, pieces(b"x"))


async def listed(blobs: Blobs) -> list[StoredBlob]:
    soon = time.time() + 60
    return sorted([blob async for blob in blobs.list(older_than=soon)], key=lambda blob: blob.id)


async def test_a_folder_forgets_what_a_killed_process_left(tmp_path: Path):
    left = tmp_path / ".partial" / "0123"
    left.parent.mkdir()
    left.write_bytes(b"half a fi")
    store = FolderBlobs(tmp_path)

    assert [blob async for blob in store.list(older_than=time.time() - 60)] == []
    assert left.exists()  # young: it may be a put under way
    assert [blob async for blob in store.list(older_than=time.time() + 60)] == []
    assert not left.exists()


async def test_blob_storage_that_is_away_is_reported_as_such_within_seconds():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = _away(port)
    began = time.monotonic()
    for call in (store.put("t1", "file-1", pieces(b"x")), store.get("t1", "file-1"), store.size("t1", "file-1")):
        with pytest.raises(StoreUnavailable):
            await call
    await store.close()
    assert time.monotonic() - began < 30


async def test_blob_storage_that_stays_busy_is_asked_a_few_times_only():
    asked: list[bytes] = []

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 503 Server Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(busy, "127.0.0.1", 0)
    async with server:
        store = _away(server.sockets[0].getsockname()[1])
        with pytest.raises(StoreUnavailable) as busy_error:
            await store.size("t1", "file-1")
        await store.close()
    assert len(asked) == 4
    assert busy_error.value.retry_after == 1


@pytest.mark.parametrize("broken", ["nonsense", "AccountKey=c2VjcmV0", "BlobEndpoint"])
def test_a_broken_connection_string_is_named_without_its_key(broken: str):
    with pytest.raises(SettingsError, match=r"^BLOB_CONNECTION_STRING is not [a-z ]*\.$"):
        blob_storage(replace(Settings(), blob_connection_string=broken))


def _away(port: int) -> Blobs:
    endpoint = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=AAAA;BlobEndpoint=http://127.0.0.1:{port}/a;"
    return blob_storage(replace(Settings(), blob_connection_string=endpoint))
