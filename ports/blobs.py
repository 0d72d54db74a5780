"""The blob store: bytes of any length under `{tenant}/{id}`, streamed in and out.

Names are made of a tenant and an id of ours, never of anything a user wrote. What lists, expires or
belongs to somebody is the document store's business; this port only keeps bytes.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Where a blob is. Its size is in bytes."""

    tenant: str
    id: str
    size: int


class Blobs(Protocol):
    """Every method raises StoreUnavailable when the store throttles, times out or is away, and
    ValueError for a tenant or an id that is not 1 to 80 letters, digits, `_` or `-`."""

    async def put(self, tenant: str, id: str, content: AsyncIterable[bytes]) -> int:
        """Store what `content` yields and return its size in bytes.

        All or nothing: what is stored replaces a blob of that name when it is whole. If `content`
        raises, or the caller is cancelled or dies, nothing can be seen of it, and a blob that had
        this name is as it was. Only where the answer to the very last step was lost may the blob be
        there although this raised. Holds a few MB in memory, whatever the size.
        """
        ...

    async def get(
        self, tenant: str, id: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        """Return the blob's bytes from `start`, at most `length` of them; None if there is no such blob.

        A range beyond the end is cut to what there is. The iterator yields pieces of up to a few MB
        and is read to its end or closed (`aclose`).
        """
        ...

    async def size(self, tenant: str, id: str) -> int | None:
        """Return the blob's size in bytes, or None if there is no such blob."""
        ...

    async def delete(self, tenant: str, id: str) -> None:
        """Remove the blob. If there is none, this is a no-op."""
        ...

    def list(self, *, older_than: float) -> AsyncIterator[StoredBlob]:
        """Yield the blobs of every tenant that were put before `older_than` (Unix seconds).

        For the sweeper alone. Where the store does not do it by itself, this also clears away what
        puts older than that left when they were cut.
        """
        ...

    async def check(self) -> None:
        """Raise StoreUnavailable if the store can't serve now, with a reason that anybody may read."""
        ...

    async def close(self) -> None:
        """Let go of connections. The port is not used afterwards."""
        ...


def blob_name(tenant: str, id: str) -> str:
    """Return `{tenant}/{id}`. ValueError if either could mean anything else to a file system or a URL."""
    for part in (tenant, id):
        if not _NAME.fullmatch(part):
            raise ValueError(f"not a blob name: {part[:100]!r}")
    return f"{tenant}/{id}"
