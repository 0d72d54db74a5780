"""Messages through the official clients (B.3, C.3, C.4)."""

import base64
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.conversation import ask, run_when, text_of
from tests.scripted_model import Script

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MESSAGE_MEMBERS = [
    "id", "object", "created_at", "assistant_id", "thread_id", "run_id", "status", "incomplete_details",
    "incomplete_at", "completed_at", "role", "content", "attachments", "metadata",
]  # fmt: skip


@pytest.fixture
def thread_id(openai_client: OpenAI) -> str:
    return openai_client.beta.threads.create().id


def test_the_life_of_a_message(client: OpenAI) -> None:
    thread_id = client.beta.threads.create().id
    created = client.beta.threads.messages.create(thread_id, role="user", content="Hi", metadata={"a": "b"})
    assert client.beta.threads.messages.retrieve(created.id, thread_id=thread_id) == created
    assert (created.status, created.completed_at, created.run_id, created.assistant_id) == (
        "completed",
        created.created_at,
        None,
        None,
    )
    changed = client.beta.threads.messages.update(created.id, thread_id=thread_id, metadata={"c": "d"})
    assert (changed.metadata, text_of(changed)) == ({"c": "d"}, "Hi")
    deleted = client.beta.threads.messages.delete(created.id, thread_id=thread_id)
    assert deleted.model_dump() == {"id": created.id, "object": "thread.message.deleted", "deleted": True}
    with pytest.raises(openai.NotFoundError, match=f"No message found with id '{created.id}'"):
        client.beta.threads.messages.retrieve(created.id, thread_id=thread_id)


def test_every_part_and_attachment_is_kept(http: httpx.Client, thread_id: str) -> None:
    file = ("a.png", PNG, "image/png")
    file_id = http.post("/files", files={"file": file}, data={"purpose": "vision"}).json()["id"]
    parts: list[Any] = [
        {"type": "text", "text": "plain"},
        {"type": "text", "text": {"value": "echoed", "annotations": []}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_file", "image_file": {"file_id": file_id, "detail": "low"}},
    ]
    attachments = [{"file_id": file_id, "tools": [{"type": "file_search"}]}]
    body = {"role": "user", "content": parts, "attachments": attachments}
    answer = http.post(f"/threads/{thread_id}/messages", json=body)
    assert answer.status_code == 200, answer.text
    message = answer.json()
    assert list(message) == MESSAGE_MEMBERS
    assert message["content"] == [
        {"type": "text", "text": {"value": "plain", "annotations": []}},
        {"type": "text", "text": {"value": "echoed", "annotations": []}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "auto"}},
        {"type": "image_file", "image_file": {"file_id": file_id, "detail": "low"}},
    ]
    assert message["attachments"] == attachments
    assert http.get(f"/threads/{thread_id}/messages").json()["data"] == [message]


def test_messages_of_one_run(client: OpenAI, model: Script) -> None:
    model.will_say("Yes.")
    run = run_when(client, ask(client, model))
    model.will_say("Again.")
    again = client.beta.threads.runs.create_and_poll(
        thread_id=run.thread_id, assistant_id=run.assistant_id, poll_interval_ms=20
    )
    found = client.beta.threads.messages.list(run.thread_id, run_id=run.id)
    assert [text_of(message) for message in found] == ["Yes."]
    found = client.beta.threads.messages.list(run.thread_id, run_id=again.id)
    assert [text_of(message) for message in found] == ["Again."]
    found = client.beta.threads.messages.list(run.thread_id, run_id="run_unknown")
    assert list(found) == []
    found = client.beta.threads.messages.list(run.thread_id, order="asc")
    assert [text_of(message) for message in found] == ["Hi", "Yes.", "Again."]


def test_a_message_of_any_script_comes_back_as_it_was(openai_client: OpenAI, thread_id: str) -> None:
    text = "Grüße 你好 👩‍🚀 \u2028 \\n \" ' </script> \x07 " + "é" * 10_000
    created = openai_client.beta.threads.messages.create(thread_id, role="user", content=text)
    assert text_of(openai_client.beta.threads.messages.retrieve(created.id, thread_id=thread_id)) == text


def test_a_message_under_another_thread_is_not_found(openai_client: OpenAI, thread_id: str) -> None:
    message = openai_client.beta.threads.messages.create(thread_id, role="user", content="Hi")
    other = openai_client.beta.threads.create().id
    with pytest.raises(openai.NotFoundError, match="No message found"):
        openai_client.beta.threads.messages.retrieve(message.id, thread_id=other)
    with pytest.raises(openai.NotFoundError, match="No thread found with id 'thread_gone'"):
        openai_client.beta.threads.messages.retrieve(message.id, thread_id="thread_gone")


def test_a_message_can_be_deleted_during_a_run(openai_client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Yes.")
    run = run_when(openai_client, ask(openai_client, model), "in_progress")
    [asked] = openai_client.beta.threads.messages.list(run.thread_id).data
    assert openai_client.beta.threads.messages.delete(asked.id, thread_id=run.thread_id).deleted
    answer.release()
    assert run_when(openai_client, run).status == "completed"
    found = openai_client.beta.threads.messages.list(run.thread_id)
    assert [text_of(message) for message in found] == ["Yes."]
