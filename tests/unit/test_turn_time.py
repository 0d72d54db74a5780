"""A delivery of a turn ends before the host would end it, whoever has the turn by then."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.call_model import TurnDelivery
from adapters.sqlite import SqliteDocuments
from tests.model.scripted_language_model import Said, ScriptedModel
from tests.model.scripted_tool import ScriptedTool
from tests.model.thread import PARTITION, RUN, THREAD, begin_run

SAID = Said(((0.0, "Once"), (1.5, "upon a time.")))


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(tmp_path / "assistants.db")
    await begin_run(documents, lifetime=600, now=time.time())
    yield documents
    await documents.close()


def delivery(documents: SqliteDocuments, model: ScriptedModel, time_limit: float | None) -> TurnDelivery:
    tools = {"code_interpreter": ScriptedTool(0)}
    return TurnDelivery(documents, model, tools, 32_000, PARTITION, THREAD, RUN, 0, time_limit=time_limit)


async def test_a_turn_that_takes_too_long_fails_its_run(documents: SqliteDocuments) -> None:
    outcome = await delivery(documents, ScriptedModel([SAID]), 0.5).take()
    assert outcome["outcome"] == "closed"
    assert outcome.get("ending", {})["status"] == "failed"


async def test_a_turn_that_is_shorter_is_not_touched(documents: SqliteDocuments) -> None:
    assert (await delivery(documents, ScriptedModel([SAID]), 5).take())["outcome"] == "answered"


async def test_the_delivery_that_was_replaced_is_asked_for_again_and_fails_nothing(documents: SqliteDocuments) -> None:
    model = ScriptedModel([SAID])
    first = asyncio.create_task(delivery(documents, model, 0.6).take())
    await asyncio.sleep(0.3)
    second = asyncio.create_task(delivery(documents, model, 5).take())

    assert await first == {"outcome": "again"}
    assert not second.done()
    assert (await second)["outcome"] == "answered"
    assert (await delivery(documents, model, 0.6).take())["outcome"] == "answered"
