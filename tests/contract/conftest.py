"""The stores that the contract suites run against, each made from nothing for its test."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from adapters.cosmos_client import cosmos_documents
from adapters.sqlite import SqliteDocuments
from ports.documents import Documents
from settings import Settings
from tests.cosmos_container import drop_database, endpoint_under_test, make_database
from tests.cosmos_double.server import KEY, CosmosDouble

Opener = Callable[[], Documents]


@pytest.fixture
def sqlite_opener(tmp_path: Path) -> Opener:
    return lambda: SqliteDocuments(tmp_path / "store.db")


@pytest.fixture
async def cosmos_double() -> AsyncIterator[CosmosDouble]:
    double = CosmosDouble()
    runner = web.AppRunner(double.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    double.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield double
    await runner.cleanup()
    assert not double.refusals


@pytest.fixture
async def double_opener(cosmos_double: CosmosDouble) -> AsyncIterator[Opener]:
    async with cosmos_store(cosmos_double.endpoint, KEY) as opener:
        yield opener


@pytest.fixture
async def endpoint_opener() -> AsyncIterator[Opener]:
    """On the official emulator, or on an account: whatever COSMOS_TEST_ENDPOINT and COSMOS_TEST_KEY name."""
    under_test = endpoint_under_test()
    assert under_test
    async with cosmos_store(*under_test) as opener:
        yield opener


@asynccontextmanager
async def cosmos_store(endpoint: str, key: str) -> AsyncIterator[Opener]:
    """Make a database for one test and remove it afterwards."""
    database = f"test-{secrets.token_hex(6)}"
    settings = Settings.from_environment(await make_database(endpoint, database, key))
    yield lambda: cosmos_documents(settings)
    await drop_database(endpoint, database, key)


COSMOS = "endpoint_opener" if endpoint_under_test() else "double_opener"


@pytest.fixture(params=["sqlite_opener", COSMOS])
def open_documents(request: pytest.FixtureRequest) -> Opener:
    """Open the test's one store: each call is another client of it."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def documents(open_documents: Opener) -> AsyncIterator[Documents]:
    documents = open_documents()
    yield documents
    await documents.close()


@pytest.fixture
async def other_client(open_documents: Opener) -> AsyncIterator[Documents]:
    documents = open_documents()
    yield documents
    await documents.close()
