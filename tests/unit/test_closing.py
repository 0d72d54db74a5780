"""A run can be ended whatever its record holds: an older version stored what endpoints sent."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from adapters.sqlite import SqliteDocuments
from domain.runs import Ending, failed
from events.closing import close
from events.log import batch_document
from events.starting import starting_changes
from ports.documents import Create, Document
from tests.unit.resources import a_run

PARTITION, THREAD, RUN = "default/thread_1", "thread_1", "run_1"
NOW = 1_700_000_100.0


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "assistants.db"


@pytest.fixture
async def documents(path: Path) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(path)
    thread = Document(THREAD, "thread", {"resource": {"id": THREAD}, "active_run_id": None, "next_seq": 1})
    await documents.commit(PARTITION, *starting_changes(thread, a_run(), lifetime=600, now=NOW))
    yield documents
    await documents.close()


def overwrite(path: Path, id: str, **members: Any) -> None:
    """Change a stored body in the file itself, as an older version may have left it."""
    connection = apsw.Connection(str(path))
    [(text,)] = connection.execute("SELECT body FROM documents WHERE id = ?", (id,)).fetchall()
    body = json.dumps(json.loads(str(text)) | members)
    connection.execute("UPDATE documents SET body = ? WHERE id = ?", (body, id))
    connection.close()


async def assert_ended(documents: SqliteDocuments, status: str) -> dict[str, Any]:
    thread, run = await documents.get(PARTITION, THREAD), await documents.get(PARTITION, RUN)
    assert thread
    assert run
    assert thread.body["active_run_id"] is None
    assert (run.body["resource"]["status"], run.unfinished_since) == (status, None)
    json.dumps(run.body["resource"], allow_nan=False)
    batches = await documents.list(PARTITION, "batch", descending=True, limit=1)
    assert batches[0].body["events"][-1][0] == f"thread.run.{status}"
    return run.body["resource"]


@pytest.mark.parametrize(
    "usages",
    [
        {"0": {"prompt_tokens": "12", "completion_tokens": 3}},
        {"0": {"prompt_tokens": float("nan"), "completion_tokens": float("inf")}},
        {"0": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_token_details": None}},
        {"0": "fifteen", "1": [1]},
        ["none"],
    ],
)
async def test_a_total_that_cannot_be_computed(documents: SqliteDocuments, path: Path, usages: Any) -> None:
    overwrite(path, RUN, usages=usages)
    await close(documents, PARTITION, THREAD, RUN, Ending("expired"), now=NOW)
    run = await assert_ended(documents, "expired")
    assert all(isinstance(run["usage"][name], int) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))


async def test_words_that_cannot_be_stored(documents: SqliteDocuments) -> None:
    await close(documents, PARTITION, THREAD, RUN, failed("server_error", "half \ud83d a pair"), now=NOW)
    run = await assert_ended(documents, "failed")
    assert run["last_error"] == {"code": "server_error", "message": "half � a pair"}


async def test_words_that_are_too_many(documents: SqliteDocuments) -> None:
    await close(documents, PARTITION, THREAD, RUN, failed("server_error", "x" * 2_000_000), now=NOW)
    run = await assert_ended(documents, "failed")
    assert run["last_error"]["message"].startswith("xxx")


@pytest.mark.parametrize(
    "event",
    [
        ["thread.message.delta", {"delta": {"content": [{"index": 0, "type": "text", "text": {"value": ["x"]}}]}}],
        ["thread.message.delta", {"delta": None}],
        ["thread.run.step.created", {}],
    ],
)
async def test_a_log_that_cannot_be_read(documents: SqliteDocuments, event: Any) -> None:
    opened = ("thread.message.created", {"id": "msg_1", "run_id": RUN})
    first = ("thread.message.delta", {"delta": {"content": [{"index": 0, "type": "text", "text": {"value": "x"}}]}})
    await documents.commit(PARTITION, Create(batch_document(RUN, 1, [opened, first, tuple(event)], lifetime=600)))
    await close(documents, PARTITION, THREAD, RUN, Ending("cancelled"), now=NOW)
    await assert_ended(documents, "cancelled")


async def test_an_open_step_that_cannot_be_read(documents: SqliteDocuments, path: Path) -> None:
    step = Document("step_1", "step", {"nothing": "known"}, sort="000000000009")
    await documents.commit(PARTITION, Create(step))
    overwrite(path, RUN, open_step="step_1")
    await close(documents, PARTITION, THREAD, RUN, Ending("expired"), now=NOW)
    await assert_ended(documents, "expired")


async def test_nothing_that_is_no_json_is_stored(documents: SqliteDocuments) -> None:
    run = await documents.get(PARTITION, RUN)
    assert run
    for value in (float("nan"), float("inf"), "\ud83d"):
        document = replace(run, id="run_2", body={"value": value})
        with pytest.raises(ValueError):
            await documents.commit(PARTITION, Create(document))
    text = "NaN and Infinity are words"
    await documents.commit(PARTITION, Create(replace(run, id="run_3", body={"value": text})))
