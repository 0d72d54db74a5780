"""Threads through the official clients (N.2, B.2)."""

from uuid import uuid4

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.conversation import ask, run_when, text_of
from tests.scripted_model import Script


def test_the_life_of_a_thread(client: OpenAI) -> None:
    created = client.beta.threads.create()
    assert (created.object, created.metadata) == ("thread", {})
    assert list(client.beta.threads.messages.list(created.id)) == []
    changed = client.beta.threads.update(created.id, metadata={"who": "me"})
    assert client.beta.threads.retrieve(created.id) == changed
    assert changed.metadata == {"who": "me"}
    deleted = client.beta.threads.delete(created.id)
    assert deleted.model_dump() == {"id": created.id, "object": "thread.deleted", "deleted": True}
    with pytest.raises(openai.NotFoundError, match=f"No thread found with id '{created.id}'"):
        client.beta.threads.retrieve(created.id)
    with pytest.raises(openai.NotFoundError, match=f"No thread found with id '{created.id}'"):
        client.beta.threads.messages.create(created.id, role="user", content="Hi")


def test_initial_messages_keep_their_order(client: OpenAI) -> None:
    thread = client.beta.threads.create(
        messages=[
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three", "metadata": {"number": "3"}},
        ]
    )
    messages = client.beta.threads.messages.list(thread.id, order="asc").data
    assert [(message.role, text_of(message)) for message in messages] == [
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert messages[2].metadata == {"number": "3"}
    newest_first = client.beta.threads.messages.list(thread.id).data
    assert newest_first == messages[::-1]


async def test_the_asynchronous_clients(async_client: AsyncOpenAI) -> None:
    thread = await async_client.beta.threads.create(messages=[{"role": "user", "content": "one"}])
    assert [text_of(message) async for message in async_client.beta.threads.messages.list(thread.id)] == ["one"]
    assert (await async_client.beta.threads.delete(thread.id)).deleted


@pytest.mark.parametrize("body", [None, b"", b"  ", b"{}"])
def test_a_thread_needs_no_body(http: httpx.Client, body: bytes | None) -> None:
    answer = http.post("/threads", content=body)
    assert answer.status_code == 200
    assert list(answer.json()) == ["id", "object", "created_at", "metadata", "tool_resources"]


def test_threads_are_listed_by_their_metadata(http: httpx.Client) -> None:
    mark = uuid4().hex
    ids = [
        http.post("/threads", json={"metadata": {"mark": mark, "kind": kind}}).json()["id"] for kind in ("a", "b", "a")
    ]

    def listed(**query: str) -> list[str]:
        page = http.get("/threads", params={"metadata[mark]": mark, **query}).json()
        assert page["object"] == "list"
        return [thread["id"] for thread in page["data"]]

    assert listed() == ids[::-1]
    assert listed(**{"metadata[kind]": "a"}) == [ids[2], ids[0]]
    assert listed(order="asc", limit="1", after=ids[0]) == [ids[1]]
    http.post(f"/threads/{ids[1]}", json={"metadata": {"mark": mark, "kind": "a"}})
    assert listed(**{"metadata[kind]": "a"}) == ids[::-1]
    http.delete(f"/threads/{ids[2]}")
    assert listed() == [ids[1], ids[0]]


def test_deleting_a_thread_with_an_active_run_leaves_nothing(openai_client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Never.")
    run = run_when(openai_client, ask(openai_client, model), "in_progress")
    assert openai_client.beta.threads.delete(run.thread_id).deleted
    assert answer.abandoned.wait(5), "the model is left alone"
    with pytest.raises(openai.NotFoundError, match="No thread found"):
        openai_client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
    with pytest.raises(openai.NotFoundError, match="No thread found"):
        openai_client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)


def test_a_thread_with_hundreds_of_things_is_deleted_whole(openai_client: OpenAI) -> None:
    thread_id = openai_client.beta.threads.create().id
    for number in range(100):
        openai_client.beta.threads.messages.create(thread_id, role="user", content=f"#{number}")
    assert openai_client.beta.threads.delete(thread_id).deleted
    with pytest.raises(openai.NotFoundError):
        openai_client.beta.threads.messages.list(thread_id)
