"""The stores that the contract suites run against, each made from nothing for its test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDocuments
from ports.documents import Documents


@pytest.fixture
async def sqlite_documents(tmp_path: Path) -> AsyncIterator[Documents]:
    documents = SqliteDocuments(tmp_path / "store.db")
    yield documents
    await documents.close()


@pytest.fixture(params=["sqlite_documents"])
def documents(request: pytest.FixtureRequest) -> Documents:
    return request.getfixturevalue(request.param)
