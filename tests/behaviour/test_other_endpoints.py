"""Runs whose model's endpoint is not OpenAI's: they end, their threads are free, and every answer can be read."""

import json
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.behaviour.conftest import StartService, only_on
from tests.conversation import (
    WEATHER,
    answers_of,
    ask,
    assert_unlocked,
    assistant_id,
    outputs_of,
    run_when,
    thread_with,
)
from tests.scripted_model import Script


def delta(finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def refused(name: str) -> Any:
    raise AssertionError(f"The answer holds {name}, which is no JSON.")


def strictly(response: httpx.Response) -> Any:
    return json.loads(response.text, parse_constant=refused)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "12", "completion_tokens": "3", "total_tokens": "15"},
        {"prompt_tokens": float("nan"), "completion_tokens": 3},
        {"prompt_tokens": 12, "completion_tokens": float("inf")},
        {"prompt_tokens": [12], "completion_tokens": {}},
        {"prompt_tokens": -5, "completion_tokens": 1.5},
        [12, 3],
    ],
)
def test_usage_that_is_no_number_ends_no_run_badly(
    openai_client: OpenAI, http: httpx.Client, model: Script, usage: Any
) -> None:
    model.will_send(delta("stop", content="It is warm."), {"choices": [], "usage": usage}, "[DONE]")
    run = run_when(openai_client, ask(openai_client, model))
    assert (run.status, answers_of(openai_client, run)) == ("completed", ["It is warm."])
    assert run.usage is not None
    assert run.usage.prompt_tokens > 0
    assert run.usage.total_tokens == run.usage.prompt_tokens + run.usage.completion_tokens
    for path in ("runs", f"runs/{run.id}", f"runs/{run.id}/steps", "messages", f"runs/{run.id}/events"):
        answer = http.get(f"/threads/{run.thread_id}/{path}")
        if path.endswith("events"):
            assert "NaN" not in answer.text
            assert "Infinity" not in answer.text
        else:
            strictly(answer)
    assert_unlocked(openai_client, run.thread_id)


@pytest.mark.parametrize(
    "chunk",
    [
        delta(content=7),
        delta(content=[{"type": "image_url"}]),
        delta(tool_calls=[{"index": 0, "id": "c", "function": {"arguments": "{}"}}]),
        {"error": {"code": 400, "message": "Not \ud83d this."}},
    ],
)
def test_what_can_be_no_answer_is_one_failure_with_a_reason(openai_client: OpenAI, model: Script, chunk: Any) -> None:
    model.will_send(chunk, delta("stop"), "[DONE]")
    run = run_when(openai_client, ask(openai_client, model, tools=[WEATHER]))
    assert run.status == "failed"
    assert run.last_error and run.last_error.message
    assert len(model.requests) == 1
    assert_unlocked(openai_client, run.thread_id)


def test_text_in_parts_and_in_halves_is_text_in_the_thread_and_for_the_next_run(
    openai_client: OpenAI, model: Script
) -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Warm \ud83d"}]
    model.will_send(delta(content=parts), delta("stop", content="\ude00."), "[DONE]")
    model.will_say("Yes.")
    run = run_when(openai_client, ask(openai_client, model))
    assert answers_of(openai_client, run) == ["Warm 😀."]
    again = openai_client.beta.threads.runs.create_and_poll(
        thread_id=run.thread_id, assistant_id=run.assistant_id, poll_interval_ms=20
    )
    assert again.status == "completed"
    assert model.requests[1]["messages"][-1] == {"role": "assistant", "content": "Warm 😀."}


@pytest.mark.parametrize("settings", [{}, {"tools": [WEATHER], "tool_choice": "none"}])
def test_calls_that_nobody_lets_the_model_make_are_dropped(openai_client: OpenAI, model: Script, settings: Any) -> None:
    model.will_say("I look it up.", calls=[("weather", "{}")])
    run = run_when(openai_client, ask(openai_client, model, **settings))
    assert (run.status, answers_of(openai_client, run)) == ("completed", ["I look it up."])
    model.will_call("weather", city="Oslo")
    run = run_when(openai_client, ask(openai_client, model, **settings))
    assert run.status == "failed"
    assert run.last_error and "function calls" in run.last_error.message
    assert_unlocked(openai_client, run.thread_id)


def test_a_call_without_arguments_has_an_empty_object_for_client_and_model(
    openai_client: OpenAI, model: Script
) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    model.will_send(delta(tool_calls=[call]), delta("tool_calls"), "[DONE]")
    run = run_when(openai_client, ask(openai_client, model, tools=[WEATHER]), "requires_action")
    assert run.required_action is not None
    assert [each.function.arguments for each in run.required_action.submit_tool_outputs.tool_calls] == ["{}"]
    model.will_say("Mild.")
    openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), poll_interval_ms=20
    )
    [said] = [message for message in model.requests[1]["messages"] if message.get("tool_calls")]
    assert said["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize("letter", ["a", "ж"])
def test_one_piece_that_is_too_large_is_cut_not_dropped(openai_client: OpenAI, model: Script, letter: str) -> None:
    model.will_say(letter * 400_000, pieces=1)
    run = run_when(openai_client, ask(openai_client, model))
    assert run.status == "incomplete"
    [answer] = answers_of(openai_client, run)
    assert len(answer.encode()) in (350_000, 349_999)
    assert_unlocked(openai_client, run.thread_id)


@only_on("local")
def test_roles_that_an_endpoint_refuses(start_service: StartService, model: Script) -> None:
    """A thread holds two user messages in a row whenever a client writes so."""
    client = start_service().openai()
    model.will_fail(500, {"error": {"code": 500, "message": "Jinja Exception: Conversation roles must alternate"}})
    model.will_say("Both.")
    thread_id = thread_with(client, "One.", "Two.")
    run = client.beta.threads.runs.create_and_poll(
        thread_id=thread_id, assistant_id=assistant_id(client, model), poll_interval_ms=20
    )
    assert (run.status, answers_of(client, run)) == ("completed", ["Both."])
    assert [message["content"] for message in model.requests[1]["messages"]] == ["One.\n\nTwo."]


def test_sampling_that_a_client_gave_is_sent_and_what_it_did_not_give_is_not(
    openai_client: OpenAI, model: Script
) -> None:
    assistants = openai_client.beta.assistants
    plain = assistant_id(openai_client, model)
    given = assistant_id(openai_client, model, temperature=1, top_p=1)
    taken_back = assistant_id(openai_client, model, temperature=1)
    assistants.update(taken_back, temperature=None)
    kept = assistant_id(openai_client, model, top_p=1)
    assistants.update(kept, name="Another name")
    asked: list[tuple[Any, Any]] = []
    for assistant, settings in (
        (plain, {}),
        (given, {}),
        (taken_back, {}),
        (kept, {}),
        (plain, {"temperature": 1}),
        (given, {"top_p": 0.5}),
    ):
        model.will_say("ok")
        thread_id = thread_with(openai_client, "Hi")
        run: Any = {"thread_id": thread_id, "assistant_id": assistant, **settings}
        created = openai_client.beta.threads.runs.create_and_poll(**run, poll_interval_ms=20)
        assert (created.temperature, created.top_p) == (1.0, settings.get("top_p", 1.0))
        asked.append((model.requests[-1].get("temperature"), model.requests[-1].get("top_p")))
    assert asked == [(None, None), (1.0, 1.0), (None, None), (None, 1.0), (1.0, None), (1.0, 0.5)]
