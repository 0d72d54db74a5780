"""Messages through the edge (B.3, C.3, E.3)."""

import asyncio

import wiring
from ports.documents import Create, Document


async def add(client, thread, **members):
    body = {"role": "user", "content": "Hello"} | members
    return await client.post(f"/threads/{thread['id']}/messages", json=body)


async def test_a_message_is_shown_with_every_member_in_wire_order(client, thread, file_id):
    attachments = [{"file_id": file_id, "tools": [{"type": "file_search"}]}]
    message = (await add(client, thread, attachments=attachments, metadata={"a": "1"})).json()
    assert message["id"].startswith("msg_")
    assert list(message.items())[1:] == [
        ("object", "thread.message"),
        ("created_at", message["created_at"]),
        ("assistant_id", None),
        ("thread_id", thread["id"]),
        ("run_id", None),
        ("status", "completed"),
        ("incomplete_details", None),
        ("incomplete_at", None),
        ("completed_at", message["created_at"]),
        ("role", "user"),
        ("content", [{"type": "text", "text": {"value": "Hello", "annotations": []}}]),
        ("attachments", attachments),
        ("metadata", {"a": "1"}),
    ]


async def test_a_message_lives_and_dies(client, thread):
    message = (await add(client, thread)).json()
    place = f"/threads/{thread['id']}/messages/{message['id']}"
    assert (await client.get(place)).json() == message
    modified = (await client.post(place, json={"metadata": {"a": "1"}})).json()
    assert modified == message | {"metadata": {"a": "1"}}
    assert (await client.post(place, json={})).json() == modified
    assert (await client.post(place, json={"metadata": None})).json() == message
    assert (await client.post(place, json={"role": "user"})).json()["error"]["code"] == "unknown_parameter"
    deleted = (await client.delete(place)).json()
    assert deleted == {"id": message["id"], "object": "thread.message.deleted", "deleted": True}
    for response in (await client.get(place), await client.post(place, json={}), await client.delete(place)):
        assert response.status_code == 404
        assert response.json()["error"]["message"] == f"No message found with id '{message['id']}'."


async def test_under_an_unknown_thread_the_thread_is_what_is_missing(client, thread):
    message = (await add(client, thread)).json()
    for place in ("/threads/thread_other/messages", f"/threads/thread_other/messages/{message['id']}"):
        response = await client.get(place)
        assert response.status_code == 404
        assert response.json()["error"]["message"] == "No thread found with id 'thread_other'."


async def test_a_message_is_seen_in_its_own_thread_only(client, thread):
    other = (await client.post("/threads")).json()
    message = (await add(client, thread)).json()
    response = await client.get(f"/threads/{other['id']}/messages/{message['id']}")
    assert response.json()["error"]["message"] == f"No message found with id '{message['id']}'."


async def test_a_locked_thread_takes_no_messages_and_names_the_run(client, thread, assistant):
    first = (await add(client, thread)).json()
    run = (await client.post(f"/threads/{thread['id']}/runs", json={"assistant_id": assistant["id"]})).json()
    response = await add(client, thread)
    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": f"Can't add messages to {thread['id']} while a run {run['id']} is active.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    place = f"/threads/{thread['id']}/messages/{first['id']}"
    assert (await client.get(place)).status_code == 200
    assert (await client.post(place, json={"metadata": {"a": "1"}})).status_code == 200
    assert (await client.delete(place)).status_code == 200


async def test_messages_at_the_same_time_all_enter_and_keep_one_order(client, thread):
    answers = await asyncio.gather(*(add(client, thread, content=str(n)) for n in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    place = f"/threads/{thread['id']}/messages"
    ascending = (await client.get(place, params={"order": "asc"})).json()["data"]
    assert sorted(message["content"][0]["text"]["value"] for message in ascending) == [str(n) for n in range(10)]
    assert (await client.get(place)).json()["data"] == ascending[::-1]


async def test_only_messages_of_a_run_match_its_id(client, thread):
    message = (await add(client, thread)).json() | {"id": "msg_answer", "run_id": "run_1"}
    document = Document("msg_answer", "message", {"resource": message}, sort=f"{50:012}", terms={"run_id": "run_1"})
    await wiring.documents().commit(f"default/{thread['id']}", Create(document))
    place = f"/threads/{thread['id']}/messages"
    assert (await client.get(place, params={"run_id": "run_1"})).json()["data"] == [message]
    assert (await client.get(place, params={"run_id": "run_2"})).json()["data"] == []
    assert (await client.get(place, params={"run_id": "nonsense"})).json()["error"]["param"] == "run_id"


async def test_a_message_beyond_a_megabyte_is_refused(client, thread):
    response = await add(client, thread, content=[{"type": "text", "text": "x" * 250_000}] * 5)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "content"
    assert "1000000" in error["message"]
