"""Where services under test keep what they store: on this machine, or in Cosmos DB and Blob Storage.

A set of stores gives each service a place of its own. What a test wants to see of it, it sees through
`documents_of` and `blobs_of`, whichever set it is.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from azure.storage.blob import ContainerClient

from adapters.blob_storage import blob_storage
from adapters.cosmos_client import cosmos_documents
from adapters.folder import FolderBlobs
from adapters.sqlite import SqliteDocuments
from ports.blobs import Blobs
from ports.documents import Documents
from settings import Settings
from tests.azurite import Azurite, create_container
from tests.cosmos_container import drop_database, endpoint_under_test, make_database
from tests.cosmos_double.process import DoubleProcess, running_double
from tests.cosmos_double.server import KEY
from tests.service import Service


class Stores(Protocol):
    def new_place(self) -> dict[str, str]:
        """Return settings that lead a service to stores with nothing in them."""
        ...


class LocalStores:
    """SQLite and a folder, both in the service's own data folder."""

    def new_place(self) -> dict[str, str]:
        return {}


class AzureStores:
    """Azurite, and the Cosmos DB double or whatever COSMOS_TEST_ENDPOINT names. Each place is a database and a
    container in them."""

    def __init__(self, azurite: Azurite, cosmos: DoubleProcess | tuple[str, str]) -> None:
        """`cosmos` may be the address and the key of an endpoint."""
        self.azurite = azurite
        self._cosmos = cosmos
        self._databases: list[str] = []

    @property
    def double(self) -> DoubleProcess:
        if not isinstance(self._cosmos, DoubleProcess):
            pytest.skip("COSMOS_TEST_ENDPOINT is set; only the Cosmos DB double fails on demand")
        return self._cosmos

    def new_place(self) -> dict[str, str]:
        name = f"test-{secrets.token_hex(6)}"
        create_container(self.azurite.connection_string, name)
        documents = _elsewhere(make_database(self._endpoint, name, self._key))
        self._databases.append(name)
        return documents | {"BLOB_CONNECTION_STRING": self.azurite.connection_string, "BLOB_CONTAINER": name}

    def drop_databases(self) -> None:
        """What the double holds ends with it; an endpoint keeps it."""
        if not isinstance(self._cosmos, DoubleProcess):
            for name in self._databases:
                _elsewhere(drop_database(self._endpoint, name, self._key))

    @property
    def _endpoint(self) -> str:
        return self._cosmos.endpoint if isinstance(self._cosmos, DoubleProcess) else self._cosmos[0]

    @property
    def _key(self) -> str:
        return KEY if isinstance(self._cosmos, DoubleProcess) else self._cosmos[1]


@contextmanager
def azure_stores(folder: Path, *, may_use_endpoint: bool = True) -> Iterator[AzureStores]:
    """Run both. What needs stores that fail on demand may not use the endpoint, which does not."""
    azurite = Azurite(folder / "azurite")
    endpoint = endpoint_under_test() if may_use_endpoint else None
    with ExitStack() as running:
        running.callback(azurite.kill)
        azurite.start()
        stores = AzureStores(azurite, endpoint or running.enter_context(running_double()))
        running.callback(stores.drop_databases)
        yield stores


def _elsewhere[T](work: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread of its own: this one may have an event loop that runs."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def documents_of(service: Service) -> Documents:
    """Open the service's documents. The caller closes them."""
    settings = Settings.from_environment(service.settings)
    return cosmos_documents(settings) if settings.cosmos_endpoint else SqliteDocuments(service.data / "assistants.db")


def blobs_of(service: Service) -> Blobs:
    """Open the service's blobs. The caller closes them, if they are in Blob Storage."""
    settings = Settings.from_environment(service.settings)
    return blob_storage(settings) if settings.blob_connection_string else FolderBlobs(service.data / "files")


def blob_names(service: Service, *, prefix: str = "") -> set[str]:
    """The ids of what the service's blob store holds; of a folder also what is half-written."""
    settings = Settings.from_environment(service.settings)
    if settings.blob_connection_string:
        place = (settings.blob_connection_string, settings.blob_container)
        with ContainerClient.from_connection_string(*place) as container:
            found = {name.partition("/")[2] for name in container.list_blob_names()}
    else:
        found = {path.name for path in (service.data / "files").rglob("*") if path.is_file()}
    return {name for name in found if name.startswith(prefix)}
