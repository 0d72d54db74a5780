"""The stores a soak can run on: how the service is told, and how the soak itself looks inside."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import apsw

from adapters.sqlite import SqliteDocuments
from events.addresses import batch_id
from ports.documents import Documents


class Store(Protocol):
    settings: Mapping[str, str]

    def documents(self) -> Documents:
        """Open the service's own documents. The caller closes them."""
        ...

    async def written_at(self, run_id: str) -> list[float]:
        """Return when each batch of the run's log was written, Unix seconds."""
        ...

    async def take_away(self, seconds: float) -> None:
        """Keep everybody from writing for so long."""
        ...


class SqliteStore:
    settings: Mapping[str, str] = {}

    def __init__(self, data: Path) -> None:
        self._path = data / "assistants.db"

    def documents(self) -> Documents:
        return SqliteDocuments(self._path)

    async def written_at(self, run_id: str) -> list[float]:
        query = "SELECT expires_at - ttl FROM documents WHERE id BETWEEN ? AND ? ORDER BY id"
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(5000)
            rows = connection.execute(query, (batch_id(run_id, 0), batch_id(run_id, 99_999_999))).fetchall()
        finally:
            connection.close()
        return [float(str(written)) for (written,) in rows]

    async def take_away(self, seconds: float) -> None:
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(5000)
        try:
            connection.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()


STORES = {"sqlite": SqliteStore}
