"""Who waits in this process for which document: the shared half of `wait_for`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ports.documents import Document

Key = tuple[str, str]  # partition, id


class Arrivals:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._expected: dict[Key, set[asyncio.Future[Document]]] = {}

    @contextmanager
    def expect(self, key: Key) -> Iterator[asyncio.Future[Document]]:
        """Give a future that `announce` fulfils, for as long as the block lasts."""
        arrival: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        self._expected.setdefault(key, set()).add(arrival)
        try:
            yield arrival
        finally:
            waiting = self._expected[key]
            waiting.discard(arrival)
            if not waiting:
                del self._expected[key]

    def expected(self) -> list[Key]:
        return list(self._expected)

    def is_expected(self, key: Key) -> bool:
        return key in self._expected

    def announce(self, key: Key, document: Document) -> None:
        for arrival in self._expected.get(key, ()):
            if not arrival.done():
                arrival.set_result(document)
