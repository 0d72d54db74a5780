"""What reaches the model endpoint, and what becomes of its answers, seen from both ends of the service."""

import json
from typing import Any

import pytest
from openai import OpenAI
from openai.types.beta.threads import Run

from tests.scripted_model import Script

WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def run_of(client: OpenAI, model: str, *content: Any, thread: Any = None, **options: Any) -> Run:
    """Ask in a new thread and wait for the run to end or to want something."""
    assistant = client.beta.assistants.create(model=model, tools=options.pop("tools", []))
    thread = thread or {"messages": [{"role": "user", "content": part} for part in content]}
    return client.beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread=thread, poll_interval_ms=20, **options
    )


def answer_to(client: OpenAI, run: Run) -> str:
    message = client.beta.threads.messages.list(run.thread_id, run_id=run.id).data[0]
    return "".join(part.text.value for part in message.content if part.type == "text")


def test_every_parameter_of_the_run_is_passed_on(openai_client: OpenAI, model: Script) -> None:
    model.will_say("{}")
    run = run_of(
        openai_client,
        model.name,
        "JSON, please.",
        instructions="Answer in JSON.",
        temperature=0.0,
        top_p=0.5,
        max_completion_tokens=300,
        response_format={"type": "json_object"},
        tools=[WEATHER],
        tool_choice="none",
        parallel_tool_calls=False,
    )
    assert run.status == "completed"
    assert model.requests == [
        {
            "model": model.name,
            "messages": [
                {"role": "system", "content": "Answer in JSON."},
                {"role": "user", "content": "JSON, please."},
            ],
            "tools": [WEATHER],
            "tool_choice": "none",
            "parallel_tool_calls": False,
            "response_format": {"type": "json_object"},
            "temperature": 0.0,
            "top_p": 0.5,
            "max_completion_tokens": 300,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


def test_pictures_reach_the_model(openai_client: OpenAI, model: Script) -> None:
    model.will_say("A cat.")
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}}
    run_of(openai_client, model.name, [{"type": "text", "text": "What is it?"}, picture])
    assert model.requests[0]["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}
    ]


def test_function_outputs_reach_the_model_and_their_budget_shrinks(openai_client: OpenAI, model: Script) -> None:
    model.will_call_all(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}), usage=(50, 30))
    model.will_say("Cold and warm.", usage=(90, 4))
    run = run_of(
        openai_client, model.name, "How warm?", tools=[WEATHER], tool_choice="required", max_completion_tokens=300
    )
    assert run.status == "requires_action"
    assert run.required_action
    calls = run.required_action.submit_tool_outputs.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Oslo", "Rome"]
    run = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        thread_id=run.thread_id,
        run_id=run.id,
        tool_outputs=[{"tool_call_id": call.id, "output": output} for call, output in zip(calls, "49", strict=True)],
        poll_interval_ms=20,
    )
    assert (run.status, answer_to(openai_client, run)) == ("completed", "Cold and warm.")
    first, second = model.requests
    assert (first["tool_choice"], second.get("tool_choice")) == ("required", None)
    assert (first["max_completion_tokens"], second["max_completion_tokens"]) == (300, 270)
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [message["content"] for message in second["messages"][2:]] == ["4", "9"]
    assert run.usage
    assert (run.usage.prompt_tokens, run.usage.completion_tokens) == (140, 34)


def test_a_long_thread_is_cut_to_its_first_and_newest_messages(openai_client: OpenAI, model: Script) -> None:
    model.will_say("ok")
    run = run_of(
        openai_client, model.name, *(f"#{number} {'word ' * 200}" for number in range(20)), max_prompt_tokens=1_000
    )
    assert run.status == "completed"
    numbers = [message["content"].split()[0] for message in model.requests[0]["messages"]]
    assert numbers == ["#0", "#17", "#18", "#19"]


def test_only_the_last_messages_if_the_run_says_so(openai_client: OpenAI, model: Script) -> None:
    model.will_say("ok")
    strategy: Any = {"type": "last_messages", "last_messages": 2}
    run_of(openai_client, model.name, "one", "two", "three", truncation_strategy=strategy)
    assert [message["content"] for message in model.requests[0]["messages"]] == ["two", "three"]


def test_a_prompt_budget_that_cannot_hold_the_question_ends_the_run(openai_client: OpenAI, model: Script) -> None:
    run = run_of(openai_client, model.name, "word " * 1_000, max_prompt_tokens=256)
    assert run.status == "incomplete"
    assert run.incomplete_details
    assert run.incomplete_details.reason == "max_prompt_tokens"
    assert model.requests == []


def test_usage_is_counted_where_the_endpoint_sends_none(openai_client: OpenAI, model: Script) -> None:
    model.will_say("hello world", usage=None)
    run = run_of(openai_client, model.name, "hello world")
    assert run.usage
    assert (run.usage.prompt_tokens, run.usage.completion_tokens) == (6, 2)


def test_a_refusal_is_shown_as_one(openai_client: OpenAI, model: Script) -> None:
    model.will_say("", refusal="I can't do that.")
    run = run_of(openai_client, model.name, "Do it.")
    part = openai_client.beta.threads.messages.list(run.thread_id, run_id=run.id).data[0].content[0]
    assert part.type == "refusal"
    assert part.refusal == "I can't do that."


def test_a_model_that_the_endpoint_does_not_know_is_named(openai_client: OpenAI) -> None:
    run = run_of(openai_client, "unknown-model-7", "Hi")
    assert run.status == "failed"
    assert run.last_error
    assert run.last_error.code == "server_error"
    assert "unknown-model-7" in run.last_error.message


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"message": "Filtered.", "code": "content_filter"}, "invalid_prompt"),
        (401, {"message": "No."}, "server_error"),
        (429, {"message": "You exceeded your quota.", "code": "insufficient_quota"}, "rate_limit_exceeded"),
    ],
)
def test_what_trying_again_will_not_help_fails_at_once(
    openai_client: OpenAI, model: Script, status: int, error: Any, code: str
) -> None:
    model.will_fail(status, {"error": error})
    run = run_of(openai_client, model.name, "Hi")
    assert run.status == "failed"
    assert run.last_error
    assert run.last_error.code == code
    assert len(model.requests) == 1


def test_a_throttled_model_is_asked_again(openai_client: OpenAI, model: Script) -> None:
    model.will_fail(429, {"error": {"message": "Slow down."}}, {"retry-after-ms": "50"})
    model.will_say("Now.")
    run = run_of(openai_client, model.name, "Hi")
    assert (run.status, answer_to(openai_client, run)) == ("completed", "Now.")
    assert len(model.requests) == 2


def test_a_model_that_fails_twice_is_asked_a_third_time(openai_client: OpenAI, model: Script) -> None:
    model.will_fail(500)
    model.will_cut("half an", after=2)
    model.will_say("All of it.")
    run = run_of(openai_client, model.name, "Hi")
    assert (run.status, answer_to(openai_client, run)) == ("completed", "All of it.")
