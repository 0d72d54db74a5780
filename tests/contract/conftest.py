"""The stores that the contract suites run against, each made from nothing for its test."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDocuments
from ports.documents import Documents
from tests.model.memory_documents import Memory, MemoryDocuments


@pytest.fixture
def sqlite_opener(tmp_path: Path) -> Callable[[], Documents]:
    return lambda: SqliteDocuments(tmp_path / "store.db")


@pytest.fixture
def memory_opener() -> Callable[[], Documents]:
    memory = Memory()
    return lambda: MemoryDocuments(memory)


@pytest.fixture(params=["sqlite_opener", "memory_opener"])
def open_documents(request: pytest.FixtureRequest) -> Callable[[], Documents]:
    """Open the test's one store: each call is another client of it."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def documents(open_documents: Callable[[], Documents]) -> AsyncIterator[Documents]:
    documents = open_documents()
    yield documents
    await documents.close()


@pytest.fixture
async def other_client(open_documents: Callable[[], Documents]) -> AsyncIterator[Documents]:
    documents = open_documents()
    yield documents
    await documents.close()
