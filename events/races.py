"""Races in the store: whoever loses one reads again and decides again, but not for ever."""

from collections.abc import Awaitable, Callable

from errors import Conflict, StoreUnavailable

ATTEMPTS = 20  # each lost race means that somebody else made progress


async def settle[T](decide: Callable[[], Awaitable[T]]) -> T:
    """Repeat `decide`, which reads, decides and commits, until its commit is not a Conflict."""
    for _ in range(ATTEMPTS):
        try:
            return await decide()
        except Conflict:
            continue
    raise StoreUnavailable("This is changing too fast. Try again.")
