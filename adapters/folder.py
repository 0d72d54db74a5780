"""Blobs as files of a local folder: `{root}/{tenant}/{id}`.

A put writes to a file of its own in `{root}/.partial` and renames it when it is whole and on disk.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import suppress
from itertools import batched
from pathlib import Path
from typing import BinaryIO

from errors import StoreUnavailable
from ports.blobs import StoredBlob, blob_name

PIECE = 1 << 20  # bytes; one hop to a thread each
ENOUGH_TO_TELL = 1 << 16  # bytes: more than what is left of a disk that is full


class FolderBlobs:
    """The blob port on a folder, which several processes may share."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partial = root / ".partial"

    async def put(self, tenant: str, id: str, content: AsyncIterable[bytes]) -> int:
        path = self._path(tenant, id)
        partial = self._partial / secrets.token_hex(16)
        try:
            file = await _in_thread(_create, partial)
            try:
                async for piece in _pieces(content):
                    await _in_thread(file.write, piece)
                size = file.tell()
                await _in_thread(_flush, file)
            finally:
                file.close()
            await _in_thread(_publish, partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return size

    async def get(
        self, tenant: str, id: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        path = self._path(tenant, id)
        with suppress(FileNotFoundError):
            # Opened now: a delete does not disturb whoever has begun to read.
            return _read(await _in_thread(open, path, "rb"), start, length)
        return None

    async def size(self, tenant: str, id: str) -> int | None:
        with suppress(FileNotFoundError):
            return (await _in_thread(self._path(tenant, id).stat)).st_size
        return None

    async def delete(self, tenant: str, id: str) -> None:
        await _in_thread(self._path(tenant, id).unlink, True)

    async def list(self, *, older_than: float) -> AsyncIterator[StoredBlob]:
        await _in_thread(self._remove_partials, older_than)
        for names in batched(await _in_thread(_names, self._root), 500, strict=False):
            for blob in await _in_thread(_older, self._root, names, older_than):
                yield blob

    async def check(self) -> None:
        try:
            await _in_thread(_try, self._partial / secrets.token_hex(16))
        except FileNotFoundError as error:
            raise StoreUnavailable("The file store's folder is missing.") from error

    async def close(self) -> None:
        pass

    def _path(self, tenant: str, id: str) -> Path:
        return self._root / blob_name(tenant, id)

    def _remove_partials(self, older_than: float) -> None:
        for partial in self._partial.glob("*"):
            with suppress(FileNotFoundError):
                if partial.stat().st_mtime < older_than:
                    partial.unlink()


async def _in_thread[**P, T](work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking file work off the event loop.

    Unlike asyncio.to_thread it is not left before the thread is done: a cancelled caller would
    close a file descriptor under a thread that is about to write to that number.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreUnavailable(f"The file store failed: {error.strerror}.") from error


async def _pieces(content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Gather what arrives, often a few kB at a time, into pieces worth a hop to a thread."""
    gathered = bytearray()
    async for chunk in content:
        gathered += chunk
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def _read(file: BinaryIO, start: int, length: int | None) -> AsyncIterator[bytes]:
    with file:
        file.seek(start)
        left = length
        while left is None or left > 0:
            piece = await _in_thread(file.read, PIECE if left is None else min(PIECE, left))
            if not piece:
                return
            yield piece
            left = None if left is None else left - len(piece)


def _try(partial: Path) -> None:
    """Write a little and remove it again."""
    try:
        with _create(partial) as file:
            file.write(bytes(ENOUGH_TO_TELL))
            _flush(file)
    finally:
        partial.unlink(missing_ok=True)


def _create(partial: Path) -> BinaryIO:
    partial.parent.mkdir(parents=True, exist_ok=True)
    return partial.open("xb")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(partial: Path, path: Path) -> None:
    """Give the file its name, and see that the name outlives a power loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(path)
    if os.name == "posix":  # elsewhere a folder can't be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _names(root: Path) -> list[tuple[str, str]]:
    return [(path.parent.name, path.name) for path in root.glob("[!.]*/*")]  # not .partial


def _older(root: Path, names: Iterable[tuple[str, str]], older_than: float) -> list[StoredBlob]:
    """Return those of the blobs that are old enough; one deleted meanwhile is passed over."""
    found = []
    for tenant, id in names:
        with suppress(FileNotFoundError):
            stat = (root / tenant / id).stat()
            if stat.st_mtime < older_than:
                found.append(StoredBlob(tenant, id, stat.st_size))
    return found
