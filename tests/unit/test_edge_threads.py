"""Threads through the edge (B.2)."""

import asyncio
from typing import Any

import wiring
from domain.threads import entry_id, new_thread_document, thread_entry
from ports.documents import Create, Delete
from schemas.thread import CreateThread


async def contents_of(client, thread_id: str, **query: Any) -> list[str]:
    page = (await client.get(f"/threads/{thread_id}/messages", params=query)).json()
    return [message["content"][0]["text"]["value"] for message in page["data"]]


async def listed(client, **query: Any) -> list[str]:
    return [thread["id"] for thread in (await client.get("/threads", params=query)).json()["data"]]


async def test_a_thread_needs_no_body(client):
    for body in ({}, {"content": b""}, {"json": {}}, {"json": {"messages": None, "metadata": None}}):
        thread = (await client.post("/threads", **body)).json()
        assert list(thread) == ["id", "object", "created_at", "metadata", "tool_resources"]
        assert thread["object"] == "thread"
        assert thread["metadata"] == thread["tool_resources"] == {}


async def test_initial_messages_keep_their_order(client):
    messages = [{"role": "user", "content": str(n)} for n in range(32)]
    thread = (await client.post("/threads", json={"messages": messages})).json()
    assert await contents_of(client, thread["id"], order="asc", limit=100) == [str(n) for n in range(32)]
    await client.post(f"/threads/{thread['id']}/messages", json={"role": "assistant", "content": "last"})
    assert await contents_of(client, thread["id"], limit=2) == ["last", "31"]


async def test_messages_that_fit_no_commit_are_refused_and_leave_nothing(client):
    messages = [{"role": "user", "content": "x" * 250_000}] * 5
    response = await client.post("/threads", json={"messages": messages})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"
    assert await listed(client) == []


async def test_a_modified_thread_shows_in_the_list(client, thread, file_id):
    place = f"/threads/{thread['id']}"
    resources = {"code_interpreter": {"file_ids": [file_id]}}
    modified = (await client.post(place, json={"metadata": {"user": "u1"}, "tool_resources": resources})).json()
    assert modified == thread | {"metadata": {"user": "u1"}, "tool_resources": resources}
    assert (await client.get(place)).json() == modified
    assert (await client.get("/threads")).json()["data"] == [modified]
    cleared = (await client.post(place, json={"tool_resources": None})).json()
    assert cleared == modified | {"tool_resources": {}}


async def test_modifications_at_the_same_time_leave_list_and_thread_the_same(client, thread):
    place = f"/threads/{thread['id']}"
    await asyncio.gather(*(client.post(place, json={"metadata": {"n": str(n)}}) for n in range(8)))
    assert (await client.get("/threads")).json()["data"] == [(await client.get(place)).json()]


async def test_the_list_is_filtered_by_metadata(client):
    bodies = [{"user": "u1", "kind": "a"}, {"user": "u1", "kind": "b"}, {"user": "u2", "kind": "a"}, {}]
    ids = [(await client.post("/threads", json={"metadata": metadata})).json()["id"] for metadata in bodies]
    assert await listed(client, order="asc") == ids
    assert await listed(client, **{"metadata[user]": "u1"}) == [ids[1], ids[0]]
    assert await listed(client, **{"metadata[user]": "u1", "metadata[kind]": "a"}) == [ids[0]]
    assert await listed(client, **{"metadata[user]": "nobody"}) == []
    assert await listed(client, **{"metadata[user]": "u1", "after": ids[1]}) == [ids[0]]


async def test_more_filters_than_a_thread_has_metadata_are_refused(client):
    assert (await client.get("/threads", params={f"metadata[{n}]": "1" for n in range(16)})).status_code == 200
    assert (await client.get("/threads", params={f"metadata[{n}]": "1" for n in range(2000)})).status_code == 400


async def test_a_deleted_thread_takes_everything_with_it(client, thread, assistant):
    place = f"/threads/{thread['id']}"
    partition = f"default/{thread['id']}"
    for n in range(100):
        await client.post(f"{place}/messages", json={"role": "user", "content": str(n)})
    run = (await client.post(f"{place}/runs", json={"assistant_id": assistant["id"]})).json()
    assert run["status"] == "queued"

    deleted = await client.delete(place)
    assert deleted.json() == {"id": thread["id"], "object": "thread.deleted", "deleted": True}
    for kind in ("thread", "message", "run", "batch", "step", "turn", "tombstone"):
        assert await wiring.documents().list(partition, kind, limit=1) == []
    assert await listed(client) == []
    for response in (
        await client.get(place),
        await client.delete(place),
        await client.get(f"{place}/messages"),
        await client.get(f"{place}/runs/{run['id']}"),
    ):
        assert response.status_code == 404
        assert response.json()["error"]["message"] == f"No thread found with id '{thread['id']}'."


async def test_a_deletion_that_was_cut_is_finished_by_the_next(client, thread):
    place = f"/threads/{thread['id']}"
    await client.post(f"{place}/messages", json={"role": "user", "content": "left over"})
    await wiring.documents().commit(f"default/{thread['id']}", Delete(thread["id"]))
    assert await listed(client) == [thread["id"]]
    assert (await client.delete(place)).status_code == 200
    assert await wiring.documents().list(f"default/{thread['id']}", "message", limit=1) == []
    assert await listed(client) == []
    assert (await client.delete(place)).status_code == 404


async def test_a_creation_that_was_cut_leaves_an_entry_that_can_be_deleted(client):
    thread = new_thread_document("thread_cut", CreateThread(), 0)
    await wiring.documents().commit("default/threads", Create(thread_entry(thread.body["resource"], 0)))
    assert await listed(client) == ["thread_cut"]
    assert (await client.get("/threads/thread_cut")).status_code == 404
    assert (await client.delete("/threads/thread_cut")).status_code == 200
    assert await wiring.documents().get("default/threads", entry_id("thread_cut")) is None


async def test_deletions_at_the_same_time_all_succeed_or_find_nothing(client, thread):
    for n in range(30):
        await client.post(f"/threads/{thread['id']}/messages", json={"role": "user", "content": str(n)})
    answers = await asyncio.gather(*(client.delete(f"/threads/{thread['id']}") for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert 200 in {answer.status_code for answer in answers}
    assert await listed(client) == []


async def test_a_listing_goes_on_after_its_last_item_was_deleted(client):
    ids = [(await client.post("/threads")).json()["id"] for _ in range(4)]
    await client.delete(f"/threads/{ids[1]}")
    assert await listed(client, order="asc", after=ids[1]) == ids[2:]
    assert await listed(client, order="asc", before=ids[1]) == ids[:1]
