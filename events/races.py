"""Races in the store, and its short absences: whoever loses a race reads again and decides again, but not for ever."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from errors import Conflict, StoreUnavailable
from ports.documents import Change, Documents

ATTEMPTS = 20  # each lost race means that somebody else made progress
PATIENCE = 30.0  # seconds that work which must not be done twice waits for a store that is away


async def settle[T](decide: Callable[[], Awaitable[T]]) -> T:
    """Repeat `decide`, which reads, decides and commits, until its commit is not a Conflict."""
    for _ in range(ATTEMPTS):
        try:
            return await decide()
        except Conflict:
            continue
    raise StoreUnavailable("This is changing too fast. Try again.")


async def commit_patiently(documents: Documents, partition: str, *changes: Change) -> None:
    """Commit what is not to be worked for, and paid, twice. Raises Conflict, StoreUnavailable after PATIENCE."""
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + PATIENCE
    # One writer for all tries: a commit whose answer was lost is not somebody else's.
    writer = secrets.token_hex(8)
    while True:
        try:
            await documents.commit(partition, *changes, writer=writer)
            return
        except StoreUnavailable as away:
            if loop.time() + away.retry_after > gives_up_at:
                raise
            await asyncio.sleep(away.retry_after)
