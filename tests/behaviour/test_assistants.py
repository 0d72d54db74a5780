"""Assistants through the official clients (N.1, N.20, B.1)."""

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

ASSISTANT_MEMBERS = [
    "id", "object", "created_at", "name", "description", "model", "instructions", "tools", "top_p", "temperature",
    "reasoning_effort", "tool_resources", "metadata", "response_format",
]  # fmt: skip
TOOLS: list[Any] = [
    {"type": "code_interpreter"},
    {"type": "file_search", "file_search": {"max_num_results": 8}},
    {"type": "function", "function": {"name": "f"}},
]


def test_the_life_of_an_assistant(client: OpenAI) -> None:
    created = client.beta.assistants.create(model="any", name="Ann", instructions="Be brief.", metadata={"a": "b"})
    assert client.beta.assistants.retrieve(created.id) == created
    assert (created.temperature, created.top_p, created.response_format, created.tools) == (1.0, 1.0, "auto", [])
    changed = client.beta.assistants.update(created.id, name=None, description="Short.", temperature=0.0)
    assert (changed.name, changed.description, changed.temperature) == (None, "Short.", 0.0)
    assert (changed.instructions, changed.metadata) == ("Be brief.", {"a": "b"})
    assert created.id in [assistant.id for assistant in client.beta.assistants.list(limit=100)]
    deleted = client.beta.assistants.delete(created.id)
    assert deleted.model_dump() == {"id": created.id, "object": "assistant.deleted", "deleted": True}
    for gone in (client.beta.assistants.retrieve, client.beta.assistants.delete, client.beta.assistants.update):
        with pytest.raises(openai.NotFoundError) as missing:
            gone(created.id)
        assert missing.value.body == {
            "message": f"No assistant found with id '{created.id}'.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
        assert missing.value.request_id
    assert created.id not in [assistant.id for assistant in client.beta.assistants.list(limit=100)]


async def test_the_asynchronous_clients(async_client: AsyncOpenAI) -> None:
    created = await async_client.beta.assistants.create(model="any", tools=TOOLS)
    assert await async_client.beta.assistants.retrieve(created.id) == created
    assert [tool.type for tool in created.tools] == ["code_interpreter", "file_search", "function"]
    assert (await async_client.beta.assistants.delete(created.id)).deleted


def test_an_assistant_has_every_member_in_the_order_of_the_wire(http: httpx.Client) -> None:
    assistant = http.post("/assistants", json={"model": "any"}).json()
    assert list(assistant) == ASSISTANT_MEMBERS
    assert assistant["tool_resources"] == assistant["metadata"] == {}
    assert assistant["reasoning_effort"] is None


def test_tools_are_shown_normalised(http: httpx.Client) -> None:
    ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0, "hybrid_search": None}
    assistant = http.post("/assistants", json={"model": "any", "tools": TOOLS}).json()
    assert assistant["tools"] == [
        {"type": "code_interpreter"},
        {"type": "file_search", "file_search": {"max_num_results": 8, "ranking_options": ranking}},
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": None,
                "parameters": {"type": "object", "properties": {}},
                "strict": False,
            },
        },
    ]
    assert assistant["tool_resources"] == {
        "code_interpreter": {"file_ids": []},
        "file_search": {"vector_store_ids": []},
    }


@pytest.mark.parametrize(
    ("member", "part"),
    [
        ({"file_ids": ["file-1"]}, "Unknown parameter: 'file_ids'."),
        ({"tools": [{"type": "retrieval"}]}, "file_search"),
        ({"tool_resources": {"file_search": {"vector_stores": [{"file_ids": []}]}}}, "not supported yet"),
    ],
)
def test_requests_of_the_first_version_are_refused(http: httpx.Client, member: dict[str, Any], part: str) -> None:
    answer = http.post("/assistants", json={"model": "any", **member})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert part in answer.json()["error"]["message"]


def test_modifying_replaces_whole_members(openai_client: OpenAI) -> None:
    created = openai_client.beta.assistants.create(model="any", tools=TOOLS, metadata={"a": "1", "b": "2"})
    changed = openai_client.beta.assistants.update(created.id, tools=TOOLS[2:], metadata={"c": "3"})
    assert ([tool.type for tool in changed.tools], changed.metadata) == (["function"], {"c": "3"})
    assert openai_client.beta.assistants.retrieve(created.id) == changed
