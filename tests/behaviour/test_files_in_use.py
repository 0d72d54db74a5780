"""Files that messages, threads and assistants name: checked when named, shown to the model, missed when gone."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from domain.files import new_file
from files import records
from ids import new_id
from tests.scripted_model import Script
from tests.service import Service
from tests.stores import blobs_of, documents_of

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
UNKNOWN = "file-nobodyhasit"


def picture(client: OpenAI, purpose: Any = "vision", content: bytes = PNG) -> str:
    return client.files.create(file=("a.png", content), purpose=purpose).id


def image(file_id: str, **options: Any) -> Any:
    return {"type": "image_file", "image_file": {"file_id": file_id} | options}


def attachment(file_id: str) -> Any:
    return {"file_id": file_id, "tools": [{"type": "code_interpreter"}]}


def ask(client: OpenAI, model: str, *messages: Any, thread_id: str = "") -> Any:
    assistant = client.beta.assistants.create(model=model)
    if not thread_id:
        thread_id = client.beta.threads.create(messages=messages).id
    return client.beta.threads.runs.create_and_poll(thread_id=thread_id, assistant_id=assistant.id, poll_interval_ms=20)


@pytest.mark.parametrize("purpose", ["vision", "assistants"])
def test_the_model_sees_the_picture(client: OpenAI, model: Script, purpose):
    model.will_say("A dot.")
    file_id = picture(client, purpose)

    run = ask(client, model.name, {"role": "user", "content": [{"type": "text", "text": "What?"}, image(file_id)]})

    assert run.status == "completed"
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert model.requests[0]["messages"][-1]["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]


def test_detail_goes_with_the_picture_and_urls_stay_as_they_are(openai_client: OpenAI, model: Script):
    model.will_say("Two.")
    there = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    content = [image(picture(openai_client), detail="low"), there]
    ask(openai_client, model.name, {"role": "user", "content": content})
    low, url = model.requests[0]["messages"][-1]["content"]
    assert low["image_url"]["detail"] == "low"
    assert url["image_url"] == {"url": "https://example.com/a.png"}


def test_a_picture_that_was_deleted_is_missed_by_the_model_alone(openai_client: OpenAI, model: Script):
    model.will_say("I can't see it.")
    file_id = picture(openai_client)
    message: Any = {"role": "user", "content": [{"type": "text", "text": "What?"}, image(file_id)]}
    thread = openai_client.beta.threads.create(messages=[message])
    openai_client.files.delete(file_id)

    run = ask(openai_client, model.name, thread_id=thread.id)

    assert run.status == "completed"
    assert model.requests[0]["messages"][-1]["content"][1] == {
        "type": "text",
        "text": f"[Image {file_id}: not shown to you.]",
    }
    kept = openai_client.beta.threads.messages.list(thread.id, order="asc").data[0].content[1]
    assert kept.type == "image_file"
    assert kept.image_file.file_id == file_id


def test_pictures_beyond_what_a_request_holds_are_left_out_oldest_first(openai_client: OpenAI, model: Script):
    model.will_say("One.")
    large = PNG + bytes((18 << 20) - len(PNG))
    older, newer = picture(openai_client, content=large), picture(openai_client, content=large)
    ask(openai_client, model.name, {"role": "user", "content": [image(older), image(newer)]})
    first, second = model.requests[0]["messages"][-1]["content"]
    assert first["text"] == f"[Image {older}: not shown to you.]"
    assert len(second["image_url"]["url"]) > 24_000_000


@pytest.mark.parametrize(
    ("purpose", "content", "code"),
    [
        ("batch", PNG, "invalid_value"),
        ("vision", b"no picture at all", "invalid_image"),
        ("vision", PNG + bytes(20 << 20), "image_too_large"),
    ],
)
def test_what_cannot_be_a_picture_is_refused_when_it_is_named(openai_client: OpenAI, purpose, content, code):
    thread = openai_client.beta.threads.create()
    file_id = picture(openai_client, purpose, content)
    with pytest.raises(BadRequestError, match=file_id) as refused:
        openai_client.beta.threads.messages.create(thread.id, role="user", content=[image(file_id)])
    assert (refused.value.code, refused.value.param) == (code, "content[0].image_file.file_id")
    assert openai_client.beta.threads.messages.list(thread.id).data == []


def test_an_attachment_of_a_known_file_is_stored(openai_client: OpenAI):
    file_id = openai_client.files.create(file=b"text", purpose="assistants").id
    thread = openai_client.beta.threads.create()
    message = openai_client.beta.threads.messages.create(
        thread.id, role="user", content="Read.", attachments=[attachment(file_id)]
    )
    assert message.attachments
    assert message.attachments[0].file_id == file_id


def files_of(thread: dict[str, Any]) -> list[str]:
    return thread["tool_resources"].get("code_interpreter", {}).get("file_ids", [])


def test_attached_files_join_the_threads_whichever_way_they_come(
    openai_client: OpenAI, http: httpx.Client, model: Script
):
    ids = [openai_client.files.create(file=b"text", purpose="assistants").id for _ in range(4)]
    said: Any = {"role": "user", "content": "Read.", "attachments": [attachment(ids[0])]}
    given: Any = {"code_interpreter": {"file_ids": [ids[1]]}}
    thread = openai_client.beta.threads.create(messages=[said], tool_resources=given)
    assert thread.to_dict()["tool_resources"] == {"code_interpreter": {"file_ids": [ids[1], ids[0]]}}
    for_search: Any = [{"file_id": ids[3], "tools": [{"type": "file_search"}]}]
    for attachments in ([attachment(ids[2]), attachment(ids[0])], for_search):
        openai_client.beta.threads.messages.create(thread.id, role="user", content="?", attachments=attachments)
    model.will_say("Read.")
    assistant = openai_client.beta.assistants.create(model=model.name)
    added: Any = [{"role": "user", "content": "?", "attachments": [attachment(ids[3])]}]
    openai_client.beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=assistant.id, additional_messages=added
    )
    joined = [ids[1], ids[0], ids[2], ids[3]]
    assert files_of(http.get(f"/threads/{thread.id}").json()) == joined
    listed = {each["id"]: each for each in http.get("/threads", params={"limit": 100}).json()["data"]}
    assert files_of(listed[thread.id]) == joined


def test_a_thread_has_the_newest_twenty_files(openai_client: OpenAI, http: httpx.Client):
    ids = [openai_client.files.create(file=b"text", purpose="assistants").id for _ in range(23)]
    thread = openai_client.beta.threads.create()
    for file_id in ids:
        openai_client.beta.threads.messages.create(
            thread.id, role="user", content="?", attachments=[attachment(file_id)]
        )
    assert files_of(http.get(f"/threads/{thread.id}").json()) == ids[3:]


RESOURCES = {"code_interpreter": {"file_ids": [UNKNOWN]}}
IMAGE_MESSAGE = {"role": "user", "content": [{"type": "text", "text": "?"}, image(UNKNOWN)]}
ATTACHING_MESSAGE = {"role": "user", "content": "?", "attachments": [attachment(UNKNOWN)]}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/threads/{thread}/messages", IMAGE_MESSAGE, "content[1].image_file.file_id"),
        ("/threads/{thread}/messages", ATTACHING_MESSAGE, "attachments[0].file_id"),
        ("/threads", {"messages": [ATTACHING_MESSAGE]}, "messages[0].attachments[0].file_id"),
        ("/threads", {"tool_resources": RESOURCES}, "tool_resources.code_interpreter.file_ids[0]"),
        ("/threads/{thread}", {"tool_resources": RESOURCES}, "tool_resources.code_interpreter.file_ids[0]"),
        ("/assistants", {"model": "m", "tool_resources": RESOURCES}, "tool_resources.code_interpreter.file_ids[0]"),
        ("/assistants/{assistant}", {"tool_resources": RESOURCES}, "tool_resources.code_interpreter.file_ids[0]"),
        (
            "/threads/{thread}/runs",
            {"assistant_id": "{assistant}", "additional_messages": [IMAGE_MESSAGE]},
            "additional_messages[0].content[1].image_file.file_id",
        ),
        (
            "/threads/runs",
            {"assistant_id": "{assistant}", "thread": {"messages": [IMAGE_MESSAGE]}},
            "thread.messages[0].content[1].image_file.file_id",
        ),
        (
            "/threads/runs",
            {"assistant_id": "{assistant}", "tool_resources": RESOURCES},
            "tool_resources.code_interpreter.file_ids[0]",
        ),
    ],
)
def test_an_unknown_file_is_not_found_wherever_it_is_named(http: httpx.Client, path, body, param):
    ids = {
        "thread": http.post("/threads", json={}).json()["id"],
        "assistant": http.post("/assistants", json={"model": "m"}).json()["id"],
    }
    filled = {name: ids["assistant"] if value == "{assistant}" else value for name, value in body.items()}
    refused = http.post(path.format(**ids), json=filled)
    assert refused.status_code == 404
    assert refused.json()["error"] == {
        "message": f"No such File object: {UNKNOWN}",
        "type": "invalid_request_error",
        "param": param,
        "code": None,
    }
    assert http.get(f"/threads/{ids['thread']}/messages").json()["data"] == []
    assert http.get(f"/threads/{ids['thread']}/runs").json()["data"] == []


def test_a_missing_thread_is_named_before_a_missing_file(openai_client: OpenAI):
    with pytest.raises(NotFoundError, match="No thread found"):
        openai_client.beta.threads.messages.create("thread_0", role="user", content=[image(UNKNOWN)])


def test_what_names_a_deleted_file_goes_on_working(openai_client: OpenAI, model: Script):
    model.will_say("Hello.")
    file_id = openai_client.files.create(file=b"text", purpose="assistants").id
    resources: Any = {"code_interpreter": {"file_ids": [file_id]}}
    assistant = openai_client.beta.assistants.create(model=model.name, tool_resources=resources)
    message: Any = {"role": "user", "content": "Hi.", "attachments": [attachment(file_id)]}
    thread = openai_client.beta.threads.create(messages=[message], tool_resources=resources)
    openai_client.files.delete(file_id)

    assert openai_client.beta.assistants.retrieve(assistant.id).id == assistant.id
    assert openai_client.beta.threads.retrieve(thread.id).id == thread.id
    run = openai_client.beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=20
    )
    assert run.status == "completed"


async def test_a_file_of_another_tenant_is_not_found(service: Service, openai_client: OpenAI):
    file = new_file(new_id("file"), "secret.png", len(PNG), "vision", now=1)
    documents, blobs = documents_of(service), blobs_of(service)
    await blobs.put("another", file["id"], content_of(PNG))
    await records.add(documents, "another", records.record(file, "image/png", created_ms=1000), quota=0)
    await documents.close()
    await blobs.close()

    for call in (openai_client.files.retrieve, openai_client.files.content, openai_client.files.delete):
        with pytest.raises(NotFoundError):
            call(file["id"])
    assert file["id"] not in [listed.id for listed in openai_client.files.list()]
    thread = openai_client.beta.threads.create()
    with pytest.raises(NotFoundError):
        openai_client.beta.threads.messages.create(thread.id, role="user", content=[image(file["id"])])


async def content_of(content: bytes) -> AsyncIterator[bytes]:
    yield content
