"""The stores a soak can run on: how the service is told, and how the soak itself looks inside."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import apsw

from adapters.cosmos_client import cosmos_documents
from adapters.sqlite import SqliteDocuments
from events.addresses import batch_id
from ports.documents import Documents
from settings import Settings
from tests.stores import AzureStores, azure_stores


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


class AzureStore:
    """The Cosmos DB double and Azurite. They live on while the service is killed, as the real ones would."""

    def __init__(self, stores: AzureStores, settings: Mapping[str, str]) -> None:
        """`settings` name the service's place in the stores."""
        self.settings = settings
        self._double = stores.double

    def documents(self) -> Documents:
        return cosmos_documents(Settings.from_environment(self.settings))

    async def written_at(self, run_id: str) -> list[float]:
        return await asyncio.to_thread(self._double.written_at, batch_id(run_id, 0).rpartition(".")[0])

    async def take_away(self, seconds: float) -> None:
        await asyncio.to_thread(self._double.take_away)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(self._double.bring_back)


@contextmanager
def open_store(name: str, folder: Path) -> Iterator[Store]:
    """Open a store for a service whose data is in `folder`/data."""
    if name == "azure":
        with azure_stores(folder, may_use_endpoint=False) as stores:
            yield AzureStore(stores, stores.new_place())
    else:
        yield SqliteStore(folder / "data")


STORES = ("azure", "sqlite")
