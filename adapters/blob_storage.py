"""Blobs in one container of Azure Blob Storage, named `{tenant}/{id}`."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobClient, ContainerClient, LinearRetry

from errors import StoreUnavailable
from ports.blobs import StoredBlob, blob_name
from settings import Settings, SettingsError

BLOCK = 4 << 20  # bytes; 8 GB, the longest upload, is 2,048 of the 50,000 blocks a blob may have
IN_FLIGHT = 2  # blocks on their way; a third one is being gathered
BUSY = frozenset({408, 429, 500, 502, 503, 504})


def blob_storage(settings: Settings) -> "BlobStorage":
    """Return the adapter for the container that the settings name; the container must exist.

    In Azure by identity; a connection string, which holds a key, is for emulators.
    """
    options: dict[str, Any] = {
        # About 3 s in all: whoever called knows better whether longer waiting is worth it.
        "retry_policy": LinearRetry(backoff=1, random_jitter_range=1, retry_total=3),
        "connection_timeout": 5,  # seconds, as the next one
        "read_timeout": 30,
        "max_single_get_size": BLOCK,
        "max_chunk_get_size": BLOCK,
    }
    if settings.blob_connection_string:
        return BlobStorage(_by_key(settings, options))
    credential = DefaultAzureCredential()
    return BlobStorage(
        ContainerClient(settings.blob_endpoint, settings.blob_container, credential, **options), credential
    )


def _by_key(settings: Settings, options: dict[str, Any]) -> ContainerClient:
    try:
        return ContainerClient.from_connection_string(
            settings.blob_connection_string, settings.blob_container, **options
        )
    except ValueError:
        raise SettingsError("BLOB_CONNECTION_STRING is not the connection string of a storage account.") from None


class BlobStorage:
    """The blob port on a container."""

    def __init__(self, container: ContainerClient, credential: DefaultAzureCredential | None = None) -> None:
        self._container = container
        self._credential = credential

    async def put(self, tenant: str, id: str, content: AsyncIterable[bytes]) -> int:
        blob = self._blob(tenant, id)
        blocks: list[BlobBlock] = []
        size = 0
        async with _Stager(blob) as stager:
            async for block in _blocks(content):
                blocks.append(await stager.stage(block))
                size += len(block)
        with _store_errors():
            # Until now nothing can be seen; blocks that are never committed vanish after a week.
            await blob.commit_block_list(blocks)
        return size

    async def get(
        self, tenant: str, id: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        if length == 0:  # a range of no bytes can't be said in HTTP
            return None if await self.size(tenant, id) is None else _nothing()
        try:
            with _store_errors():
                download = await self._blob(tenant, id).download_blob(offset=start, length=length)
        except HttpResponseError as error:
            if _is_missing(error):
                return None
            if error.status_code == 416:
                return _nothing()
            raise
        return _chunks(download.chunks())

    async def size(self, tenant: str, id: str) -> int | None:
        try:
            with _store_errors():
                return (await self._blob(tenant, id).get_blob_properties()).size
        except ResourceNotFoundError as error:
            if _is_missing(error):
                return None
            raise

    async def delete(self, tenant: str, id: str) -> None:
        try:
            with _store_errors():
                await self._blob(tenant, id).delete_blob()
        except ResourceNotFoundError as error:
            if not _is_missing(error):
                raise

    async def list(self, *, older_than: float) -> AsyncIterator[StoredBlob]:
        with _store_errors():
            async for blob in self._container.list_blobs():
                tenant, _, id = blob.name.partition("/")
                if id and blob.last_modified.timestamp() < older_than:
                    yield StoredBlob(tenant, id, blob.size)

    async def check(self) -> None:
        try:
            with _store_errors():
                await self._container.get_container_properties()
        except HttpResponseError as error:
            refused = isinstance(error, ClientAuthenticationError) or error.status_code in (401, 403)
            reason = "refuses this identity or key" if refused else f"answers {error.status_code}"
            if error.status_code == 404:
                reason = "has no such container"
            raise StoreUnavailable(f"Blob Storage {reason}.") from error

    async def close(self) -> None:
        await self._container.close()
        if self._credential:
            await self._credential.close()

    def _blob(self, tenant: str, id: str) -> BlobClient:
        return self._container.get_blob_client(blob_name(tenant, id))


class _Stager:
    """Sends blocks, a few at a time. Leaving it waits for those under way, or on an error stops them."""

    def __init__(self, blob: BlobClient) -> None:
        self._blob = blob
        self._numbers = count()
        # Two puts of one name must not mix their blocks: each has ids of its own.
        self._put = secrets.token_hex(8)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "_Stager":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        else:
            await asyncio.gather(*self._tasks)

    async def stage(self, block: bytes) -> BlobBlock:
        """Begin to send the block, as soon as fewer than IN_FLIGHT are on their way."""
        if len(self._tasks) >= IN_FLIGHT:
            done, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        # Block ids of one blob must all have the same length.
        id = base64.b64encode(f"{self._put}-{next(self._numbers):06}".encode()).decode()
        self._tasks.add(asyncio.create_task(self._send(id, block)))
        return BlobBlock(id)

    async def _send(self, id: str, block: bytes) -> None:
        with _store_errors():
            await self._blob.stage_block(id, block, length=len(block))


async def _blocks(content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Gather what arrives, often a few kB at a time, into blocks; the last one may be shorter."""
    gathered = bytearray()
    async for chunk in content:
        gathered += chunk
        if len(gathered) >= BLOCK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def _chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with _store_errors():
        async for chunk in chunks:
            yield chunk


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in ():
        yield chunk


def _is_missing(error: HttpResponseError) -> bool:
    """Tell a missing blob from a missing container, which is a broken set-up."""
    return error.status_code == 404 and getattr(error, "error_code", None) != "ContainerNotFound"


@contextmanager
def _store_errors() -> Iterator[None]:
    """Map what the SDK raises after its retries; what no retry would cure stays as it is."""
    try:
        yield
    except (ServiceRequestError, ServiceResponseError) as error:
        raise StoreUnavailable("Blob Storage could not be reached. Try again.") from error
    except HttpResponseError as error:
        # InvalidBlockList: another put of this name was committed, which discards everybody's blocks.
        if error.status_code not in BUSY and getattr(error, "error_code", None) != "InvalidBlockList":
            raise
        raise StoreUnavailable("Blob Storage is busy. Try again.", retry_after=_retry_after(error)) from error


def _retry_after(error: HttpResponseError) -> float:
    with suppress(AttributeError, KeyError, ValueError):
        return float(error.response.headers["Retry-After"])  # type: ignore[union-attr]
    return 1.0
