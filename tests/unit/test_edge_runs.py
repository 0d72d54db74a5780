"""Runs at the edge while nobody works on them: the task hub of these tests is silent."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import wiring
from domain import runs
from events.addresses import thread_partition
from events.closing import close
from events.log import batch_document, run_event
from events.run_record import changed_run, lifetime_of, run_of
from events.tail import next_number
from ports.documents import Create

Run = dict[str, Any]


@pytest.fixture
async def overdue(client: httpx.AsyncClient, assistant: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose time is over, and that nothing but a request can notice."""
    monkeypatch.setenv("RUN_LIFETIME_SECONDS", "1")
    wiring.settings.cache_clear()
    body = {"assistant_id": assistant["id"], "thread": {"messages": [{"role": "user", "content": "Hi"}]}}
    run = (await client.post("/threads/runs", json=body)).json()
    await asyncio.sleep(1.05)
    return run


def path_of(run: Run) -> str:
    return f"/threads/{run['thread_id']}/runs/{run['id']}"


async def test_the_list_of_runs_shows_an_overdue_run_as_expired(client: httpx.AsyncClient, overdue: Run):
    [listed] = (await client.get(f"/threads/{overdue['thread_id']}/runs")).json()["data"]
    assert (listed["status"], listed["expires_at"]) == ("expired", None)


async def test_modifying_an_overdue_run_shows_it_as_expired(client: httpx.AsyncClient, overdue: Run):
    modified = (await client.post(path_of(overdue), json={"metadata": {"a": "b"}})).json()
    assert (modified["status"], modified["metadata"]) == ("expired", {"a": "b"})


async def test_an_overdue_run_no_longer_locks_its_thread(client: httpx.AsyncClient, overdue: Run):
    message = {"role": "user", "content": "And now?"}
    assert (await client.post(f"/threads/{overdue['thread_id']}/messages", json=message)).status_code == 200


async def test_cancelling_an_overdue_run_is_refused_as_of_an_expired_one(client: httpx.AsyncClient, overdue: Run):
    refused = await client.post(f"{path_of(overdue)}/cancel")
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "Cannot cancel run with status 'expired'."


async def test_a_run_may_bring_its_own_resources(
    client: httpx.AsyncClient, thread: dict[str, Any], assistant: dict[str, Any], file_id: str
):
    """azure-ai-agents sends them with every run that has a toolset."""
    path = f"/threads/{thread['id']}/runs"
    resources = {"code_interpreter": {"file_ids": [file_id]}}
    run = (await client.post(path, json={"assistant_id": assistant["id"], "tool_resources": resources})).json()
    assert run["tool_resources"] == resources
    for nothing in ({}, None):
        body = {"assistant_id": assistant["id"], "tool_resources": nothing}
        assert (await client.post("/threads/runs", json=body)).json()["tool_resources"] == {}


async def test_the_files_of_a_run_must_be_there(
    client: httpx.AsyncClient, thread: dict[str, Any], assistant: dict[str, Any]
):
    resources = {"code_interpreter": {"file_ids": ["file-unknown"]}}
    for path in (f"/threads/{thread['id']}/runs", "/threads/runs"):
        refused = await client.post(path, json={"assistant_id": assistant["id"], "tool_resources": resources})
        assert refused.status_code == 404
        assert refused.json()["error"]["param"] == "tool_resources.code_interpreter.file_ids[0]"


def question(run: Run) -> tuple[str, Any]:
    return f"/threads/{run['thread_id']}/messages", {"role": "user", "content": "And now?"}


def another_run(run: Run) -> tuple[str, Any]:
    messages = [{"role": "user", "content": "And now?"}]
    body = {"assistant_id": run["assistant_id"], "additional_messages": messages}
    return f"/threads/{run['thread_id']}/runs", body


NEXT = pytest.mark.parametrize("next_request", [question, another_run])


@pytest.fixture
async def queued(client: httpx.AsyncClient, assistant: dict[str, Any]) -> Run:
    """A run that nobody works on."""
    return (await client.post("/threads/runs", json={"assistant_id": assistant["id"]})).json()


@pytest.fixture
async def working(queued: Run) -> Run:
    """A run whose model is being asked, for all that anybody can see."""
    await change(queued, lambda run: runs.started(run, run["created_at"]))
    return queued


async def change(run: Run, changed: Callable[[Run], Run]) -> None:
    """Take the next step of the run's life, as an activity would."""
    documents, partition = wiring.documents(), thread_partition("default", run["thread_id"])
    stored = await documents.get(partition, run["id"])
    assert stored
    after = changed(run_of(stored))
    number = await next_number(documents, partition, run["id"])
    batch = batch_document(run["id"], number, [run_event(after)], lifetime=lifetime_of(stored))
    await documents.commit(partition, Create(batch), changed_run(stored, after, now=time.time()))


@NEXT
async def test_a_queued_run_is_over_when_its_cancel_is_answered(
    client: httpx.AsyncClient, queued: Run, next_request: Callable[[Run], tuple[str, Any]]
):
    cancelling = (await client.post(f"{path_of(queued)}/cancel")).json()
    assert (cancelling["status"], cancelling["expires_at"]) == ("cancelling", queued["expires_at"])
    path, body = next_request(queued)
    assert (await client.post(path, json=body)).status_code == 200
    cancelled = (await client.get(path_of(queued))).json()
    assert (cancelled["status"], bool(cancelled["cancelled_at"])) == ("cancelled", True)
    again = await client.post(f"{path_of(queued)}/cancel")
    assert again.json()["error"]["message"] == "Cannot cancel run with status 'cancelled'."


@NEXT
async def test_the_end_of_a_cancelled_run_is_waited_for(
    client: httpx.AsyncClient, working: Run, next_request: Callable[[Run], tuple[str, Any]]
):
    assert (await client.post(f"{path_of(working)}/cancel")).json()["status"] == "cancelling"
    assert (await client.get(path_of(working))).json()["status"] == "cancelling"

    async def end() -> None:
        await asyncio.sleep(0.3)
        partition = thread_partition("default", working["thread_id"])
        ending = runs.Ending("cancelled")
        await close(wiring.documents(), partition, working["thread_id"], working["id"], ending, now=time.time())

    path, body = next_request(working)
    answer, _ = await asyncio.gather(client.post(path, json=body), end())
    assert answer.status_code == 200, answer.text


@NEXT
async def test_a_cancelled_run_that_does_not_end_locks_its_thread(
    client: httpx.AsyncClient, working: Run, next_request: Callable[[Run], tuple[str, Any]]
):
    path, body = next_request(working)
    at_once = await client.post(path, json=body)
    await client.post(f"{path_of(working)}/cancel")
    refused = await client.post(path, json=body)
    assert (refused.status_code, refused.json()) == (400, at_once.json())
    assert working["id"] in refused.json()["error"]["message"]


@pytest.mark.parametrize("path", ["messages", "runs", "runs/run_unknown/steps"])
async def test_a_bad_query_is_named_before_a_missing_thread(client: httpx.AsyncClient, path: str):
    refused = await client.get(f"/threads/thread_unknown/{path}?limit=0")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")
