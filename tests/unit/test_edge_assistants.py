"""Assistants through the edge (B.1)."""

import asyncio


async def test_an_assistant_lives_and_dies(client):
    body = {"model": "gpt-4o", "name": "Helper", "tools": [{"type": "code_interpreter"}]}
    created = await client.post("/assistants", json=body)
    assert created.status_code == 200
    assistant = created.json()
    assert assistant["tool_resources"] == {"code_interpreter": {"file_ids": []}}
    place = f"/assistants/{assistant['id']}"

    assert (await client.get(place)).json() == assistant
    modified = (await client.post(place, json={"name": None, "metadata": {"a": "1"}})).json()
    assert modified == assistant | {"name": None, "metadata": {"a": "1"}}
    assert (await client.get(place)).text == (await client.post(place)).text

    deleted = await client.delete(place)
    assert deleted.json() == {"id": assistant["id"], "object": "assistant.deleted", "deleted": True}
    for response in (await client.get(place), await client.post(place, json={}), await client.delete(place)):
        assert response.status_code == 404
        assert response.json()["error"] == {
            "message": f"No assistant found with id '{assistant['id']}'.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }


async def test_an_id_that_could_be_none_is_refused_before_the_body_is_read(client):
    for assistant_id in ("new", "asst_", "thread_1", "asst_" + "a" * 65, "asst_a%20b", "asst_1.deleted", "asst_%00"):
        response = await client.post(f"/assistants/{assistant_id}", content=b"{")
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "assistant_id"


async def test_modifications_at_the_same_time_all_enter(client, assistant):
    place = f"/assistants/{assistant['id']}"
    bodies = [{"name": "n"}, {"description": "d"}, {"instructions": "i"}, {"temperature": 0}, {"metadata": {"m": "1"}}]
    answers = await asyncio.gather(*(client.post(place, json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    stored = (await client.get(place)).json()
    assert all(stored[member] == value for body in bodies for member, value in body.items())


async def test_instructions_of_any_script_fit_and_more_is_refused(client):
    longest = "漢" * 256_000
    created = await client.post("/assistants", json={"model": "m", "instructions": longest})
    assert created.json()["instructions"] == longest
    tool = {"type": "function", "function": {"name": "f", "parameters": {"description": "x" * 900_000}}}
    response = await client.post("/assistants", json={"model": "m", "tools": [tool]})
    assert response.status_code == 400
    assert "too large" in response.json()["error"]["message"]
