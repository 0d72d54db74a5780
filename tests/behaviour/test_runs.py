"""Runs from creation to their end, through both official clients (N.3, N.4, N.15)."""

import time
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.conversation import (
    WEATHER,
    answers_of,
    ask,
    assert_unlocked,
    assistant_id,
    run_when,
    thread_with,
)
from tests.scripted_model import Script

RUN_MEMBERS = [
    "id",
    "object",
    "created_at",
    "assistant_id",
    "thread_id",
    "status",
    "started_at",
    "expires_at",
    "cancelled_at",
    "failed_at",
    "completed_at",
    "required_action",
    "last_error",
    "model",
    "instructions",
    "tools",
    "tool_resources",
    "metadata",
    "temperature",
    "top_p",
    "reasoning_effort",
    "max_completion_tokens",
    "max_prompt_tokens",
    "truncation_strategy",
    "incomplete_details",
    "usage",
    "response_format",
    "tool_choice",
    "parallel_tool_calls",
]
STEP_MEMBERS = [
    "id",
    "object",
    "created_at",
    "run_id",
    "assistant_id",
    "thread_id",
    "type",
    "status",
    "cancelled_at",
    "completed_at",
    "expires_at",
    "expired_at",
    "failed_at",
    "last_error",
    "step_details",
    "usage",
    "metadata",
]


def test_create_and_poll_answers_a_question(client: OpenAI, model: Script) -> None:
    model.will_say("Four.", usage=(12, 3))
    thread_id = thread_with(client, "Two and two?")
    run = client.beta.threads.runs.create_and_poll(
        thread_id=thread_id, assistant_id=assistant_id(client, model), poll_interval_ms=20
    )
    assert run.status == "completed"
    assert run.usage is not None
    assert (run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.total_tokens) == (12, 3, 15)
    assert run.expires_at is None
    assert run.started_at and run.completed_at
    assert answers_of(client, run) == ["Four."]
    [step] = client.beta.threads.runs.steps.list(run.id, thread_id=thread_id).data
    assert step.usage is not None
    assert (step.type, step.status, step.usage.total_tokens) == ("message_creation", "completed", 15)
    assert step.step_details.type == "message_creation"
    message = client.beta.threads.messages.retrieve(step.step_details.message_creation.message_id, thread_id=thread_id)
    assert (message.run_id, message.assistant_id, message.role) == (run.id, run.assistant_id, "assistant")


def test_create_and_run_poll_makes_the_thread_too(client: OpenAI, model: Script) -> None:
    model.will_say("Hello.")
    run = client.beta.threads.create_and_run_poll(
        assistant_id=assistant_id(client, model),
        thread={"messages": [{"role": "user", "content": "Hi"}], "metadata": {"who": "me"}},
        poll_interval_ms=20,
    )
    assert (run.status, answers_of(client, run)) == ("completed", ["Hello."])
    assert client.beta.threads.retrieve(run.thread_id).metadata == {"who": "me"}
    texts = [message["content"] for message in model.requests[0]["messages"]]
    assert texts == ["Hi"]


async def test_the_asynchronous_clients_do_the_same(async_client: AsyncOpenAI, model: Script) -> None:
    model.will_say("Hello.")
    assistant = await async_client.beta.assistants.create(model=model.name)
    thread = await async_client.beta.threads.create(messages=[{"role": "user", "content": "Hi"}])
    run = await async_client.beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=20
    )
    assert run.status == "completed"
    messages = [message async for message in async_client.beta.threads.messages.list(thread.id, order="asc")]
    assert [message.role for message in messages] == ["user", "assistant"]


def test_a_run_without_messages_is_answered(openai_client: OpenAI, model: Script) -> None:
    model.will_say("You said nothing.")
    run = openai_client.beta.threads.create_and_run_poll(
        assistant_id=assistant_id(openai_client, model), instructions="Speak first.", poll_interval_ms=20
    )
    assert (run.status, answers_of(openai_client, run)) == ("completed", ["You said nothing."])


def test_runs_and_steps_have_every_member_in_the_order_of_the_wire(openai_client: OpenAI, model: Script) -> None:
    model.will_say("Yes.")
    run = ask(openai_client, model)
    created = openai_client.beta.threads.runs.with_raw_response.retrieve(run.id, thread_id=run.thread_id)
    assert list(created.http_response.json()) == RUN_MEMBERS
    run = run_when(openai_client, run)
    steps = openai_client.beta.threads.runs.steps.with_raw_response.list(run.id, thread_id=run.thread_id)
    [step] = steps.http_response.json()["data"]
    assert list(step) == STEP_MEMBERS
    assert list(step["usage"]) == [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_token_details",
        "completion_tokens_details",
    ]


def test_a_new_run_is_queued_with_the_assistants_settings(openai_client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Later.")
    assistant = openai_client.beta.assistants.create(
        model=model.name,
        instructions="Be brief.",
        tools=[WEATHER],
        temperature=0.0,
        top_p=0.1,
        metadata={"mine": "yes"},
        response_format={"type": "text"},
    )
    run = openai_client.beta.threads.create_and_run(assistant_id=assistant.id)
    assert run.model_dump(include={"status", "started_at", "completed_at", "usage", "last_error", "metadata"}) == {
        "status": "queued",
        "started_at": None,
        "completed_at": None,
        "usage": None,
        "last_error": None,
        "metadata": {},  # not inherited
    }
    assert run.expires_at == run.created_at + 600
    assert (run.model, run.instructions, run.temperature, run.top_p) == (model.name, "Be brief.", 0.0, 0.1)
    assert run.tools == assistant.tools
    answer.release()
    run_when(openai_client, run)


def test_what_the_run_says_goes_before_the_assistant(openai_client: OpenAI, model: Script) -> None:
    model.will_say("Yes.")
    assistant = openai_client.beta.assistants.create(
        model="another", instructions="Be brief.", tools=[WEATHER], temperature=1.5, reasoning_effort="low"
    )
    thread_id = thread_with(openai_client, "Hi")
    run = openai_client.beta.threads.runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant.id,
        model=model.name,
        instructions="Be verbose.",
        additional_instructions="And kind.",
        additional_messages=[
            {"role": "assistant", "content": "Hello?"},
            {"role": "user", "content": "Yes, hi.", "metadata": {"from": "run"}},
        ],
        tools=[],
        temperature=0.0,
        reasoning_effort="high",
        metadata={"mine": "yes"},
        poll_interval_ms=20,
    )
    assert (run.status, run.metadata, run.tools, run.temperature) == ("completed", {"mine": "yes"}, [], 0.0)
    assert run.instructions == "Be verbose.\n\nAnd kind."
    [asked] = model.requests
    assert asked["messages"] == [
        {"role": "system", "content": "Be verbose.\n\nAnd kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello?"},
        {"role": "user", "content": "Yes, hi."},
    ]
    assert (asked["reasoning_effort"], asked["temperature"], asked.get("tools")) == ("high", 0.0, None)
    messages = openai_client.beta.threads.messages.list(thread_id, order="asc").data
    assert [message.run_id for message in messages] == [None, None, None, run.id]


def test_a_changed_assistant_does_not_change_runs_that_began_before(openai_client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Old.")
    assistant = assistant_id(openai_client, model, instructions="Old.")
    run = openai_client.beta.threads.create_and_run(assistant_id=assistant)
    openai_client.beta.assistants.update(assistant, instructions="New.")
    openai_client.beta.assistants.delete(assistant)
    answer.release()
    run = run_when(openai_client, run)
    assert (run.status, run.instructions, run.assistant_id) == ("completed", "Old.", assistant)
    with pytest.raises(openai.NotFoundError, match=f"No assistant found with id '{assistant}'"):
        openai_client.beta.threads.create_and_run(assistant_id=assistant)


def test_an_active_run_locks_its_thread(client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Done.")
    run = ask(client, model)
    thread_id = run.thread_id
    with pytest.raises(openai.BadRequestError) as refused:
        client.beta.threads.messages.create(thread_id, role="user", content="Wait")
    text = f"Can't add messages to {thread_id} while a run {run.id} is active."
    assert refused.value.body == {"message": text, "type": "invalid_request_error", "param": None, "code": None}
    with pytest.raises(openai.BadRequestError) as refused:
        client.beta.threads.runs.create(
            thread_id=thread_id,
            assistant_id=run.assistant_id,
            additional_messages=[{"role": "user", "content": "Never"}],
        )
    text = f"Thread {thread_id} already has an active run {run.id}."
    assert refused.value.body == {"message": text, "type": "invalid_request_error", "param": None, "code": None}
    client.beta.threads.update(thread_id, metadata={"still": "allowed"})
    client.beta.threads.runs.update(run.id, thread_id=thread_id, metadata={"still": "allowed"})
    [message] = client.beta.threads.messages.list(thread_id).data
    client.beta.threads.messages.update(message.id, thread_id=thread_id, metadata={"still": "allowed"})

    answer.release()
    run = run_when(client, run)
    assert (run.status, run.metadata) == ("completed", {"still": "allowed"})
    assert_unlocked(client, thread_id)
    model.will_say("Again.")
    again = client.beta.threads.runs.create_and_poll(
        thread_id=thread_id, assistant_id=run.assistant_id, poll_interval_ms=20
    )
    assert again.status == "completed"


def test_an_answer_that_reaches_its_budget_is_incomplete(client: OpenAI, model: Script) -> None:
    model.will_say("On and on and", finish="length", usage=(20, 256))
    run = run_when(client, ask(client, model, max_completion_tokens=256))
    assert model.requests[0]["max_completion_tokens"] == 256
    assert run.status == "incomplete"
    assert run.incomplete_details is not None
    assert (run.incomplete_details.reason, run.expires_at) == ("max_completion_tokens", None)
    [message] = client.beta.threads.messages.list(run.thread_id, run_id=run.id).data
    assert message.incomplete_details is not None
    assert (message.status, message.incomplete_details.reason) == ("incomplete", "max_tokens")
    assert answers_of(client, run) == ["On and on and"]
    assert_unlocked(client, run.thread_id)


def test_a_run_with_a_tool_that_is_not_there_yet_fails_and_says_so(openai_client: OpenAI, model: Script) -> None:
    for tool in ("code_interpreter", "file_search"):
        run = ask(openai_client, model, tools=[{"type": tool}])
        run = run_when(openai_client, run)
        assert run.status == "failed"
        assert run.last_error is not None
        assert (run.last_error.code, tool in run.last_error.message) == ("server_error", True)
        assert model.requests == []
        assert_unlocked(openai_client, run.thread_id)


def test_a_throttled_run_waits_as_long_as_the_model_asks(openai_client: OpenAI, model: Script) -> None:
    model.will_fail(429, {"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}, {"retry-after": "1"})
    model.will_say("Now.")
    began = time.monotonic()
    run = run_when(openai_client, ask(openai_client, model))
    assert (run.status, answers_of(openai_client, run)) == ("completed", ["Now."])
    assert time.monotonic() - began >= 1.0


def test_listing_runs_shows_the_newest_first(openai_client: OpenAI, model: Script) -> None:
    thread_id, assistant = thread_with(openai_client, "Hi"), assistant_id(openai_client, model)
    ids: list[str] = []
    for number in range(3):
        model.will_say(f"Answer {number}")
        run = openai_client.beta.threads.runs.create_and_poll(
            thread_id=thread_id, assistant_id=assistant, poll_interval_ms=20
        )
        ids.append(run.id)
    assert [run.id for run in openai_client.beta.threads.runs.list(thread_id)] == ids[::-1]
    assert [run.id for run in openai_client.beta.threads.runs.list(thread_id, order="asc", limit=2)] == ids
    other = thread_with(openai_client, "Hi")
    with pytest.raises(openai.NotFoundError, match=f"No run found with id '{ids[0]}'"):
        openai_client.beta.threads.runs.retrieve(ids[0], thread_id=other)
    steps = openai_client.beta.threads.runs.steps.list(ids[0], thread_id=thread_id).data
    with pytest.raises(openai.NotFoundError, match="No run step found"):
        openai_client.beta.threads.runs.steps.retrieve(steps[0].id, run_id=ids[1], thread_id=thread_id)


def test_polling_clients_are_told_how_soon_to_ask_again(client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Done.")
    run = ask(client, model)
    for _ in range(2):
        response = client.beta.threads.runs.with_raw_response.retrieve(run.id, thread_id=run.thread_id)
        assert int(response.headers["openai-poll-after-ms"]) == 50
        assert response.request_id
    answer.release()
    run_when(client, run)
    response = client.beta.threads.runs.with_raw_response.retrieve(run.id, thread_id=run.thread_id)
    assert response.headers["openai-poll-after-ms"] and response.request_id


def test_metadata_of_a_run_can_be_changed_after_its_end(openai_client: OpenAI, model: Script) -> None:
    model.will_say("Done.")
    run = run_when(openai_client, ask(openai_client, model, metadata={"a": "1", "b": "2"}))
    changed: Any = openai_client.beta.threads.runs.update(run.id, thread_id=run.thread_id, metadata={"a": "3"})
    assert changed.model_dump() == run.model_dump() | {"metadata": {"a": "3"}}
    cleared = openai_client.beta.threads.runs.update(run.id, thread_id=run.thread_id, metadata=None)
    assert cleared.metadata == {}
