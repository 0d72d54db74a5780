"""Runs at the edge while nobody works on them: the task hub of these tests is silent."""

import asyncio
from typing import Any

import httpx
import pytest

import wiring

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


@pytest.mark.parametrize("path", ["messages", "runs", "runs/run_unknown/steps"])
async def test_a_bad_query_is_named_before_a_missing_thread(client: httpx.AsyncClient, path: str):
    refused = await client.get(f"/threads/thread_unknown/{path}?limit=0")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")
