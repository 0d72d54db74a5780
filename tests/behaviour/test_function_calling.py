"""Function calls: required actions, parallel calls, several rounds, what is refused (N.6, E.4)."""

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.conversation import WEATHER, answers_of, assert_unlocked, assistant_id, outputs_of, run_when, waiting_run
from tests.scripted_model import Script


def test_two_parallel_calls_and_their_outputs(client: OpenAI, model: Script) -> None:
    run = waiting_run(client, model, "Oslo", "Rome")
    assert run.required_action is not None
    assert (run.required_action.type, run.usage) == ("submit_tool_outputs", None)
    calls = run.required_action.submit_tool_outputs.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    ids = [call.id for call in calls]

    def submit(*outputs: Any) -> None:
        client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs)

    first, second = outputs_of(run, "4 °C", "19 °C")
    for given in ([first], [first, first], [first, second, {"tool_call_id": "call_other", "output": ""}]):
        got = [output.get("tool_call_id") for output in given]
        with pytest.raises(openai.BadRequestError) as refused:
            submit(*given)
        assert refused.value.body == {
            "message": f"Expected tool outputs for call_ids {ids}, got {got}",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }

    model.will_say("Cold in Oslo, mild in Rome.")
    done = client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=[second, first], poll_interval_ms=20
    )
    assert (done.status, done.required_action) == ("completed", None)
    assert answers_of(client, done) == ["Cold in Oslo, mild in Rome."]
    with pytest.raises(openai.BadRequestError, match=r'Runs in status "completed" do not accept tool outputs.'):
        submit(first, second)

    message_step, call_step = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert (message_step.type, call_step.type, call_step.status) == ("message_creation", "tool_calls", "completed")
    assert call_step.step_details.type == "tool_calls"
    shown = [call for call in call_step.step_details.tool_calls if call.type == "function"]
    assert [(call.id, call.function.output) for call in shown] == list(zip(ids, ["4 °C", "19 °C"], strict=True))
    assert call_step.usage and message_step.usage and done.usage
    assert done.usage.total_tokens == call_step.usage.total_tokens + message_step.usage.total_tokens
    told = [(message["tool_call_id"], message["content"]) for message in model.requests[1]["messages"][-2:]]
    assert told == list(zip(ids, ["4 °C", "19 °C"], strict=True))
    assert_unlocked(client, run.thread_id)


def test_the_step_waits_with_the_run(openai_client: OpenAI, model: Script) -> None:
    run = waiting_run(openai_client, model, "Oslo")
    [step] = openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert (step.type, step.status, step.usage) == ("tool_calls", "in_progress", None)
    assert step.step_details.type == "tool_calls"
    [call] = step.step_details.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments, call.function.output) == ("weather", '{"city": "Oslo"}', None)
    model.will_say("Thanks.")
    resumed = openai_client.beta.threads.runs.submit_tool_outputs(
        run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run)
    )
    assert (resumed.status, resumed.required_action) == ("queued", None)
    assert (resumed.started_at, resumed.expires_at) == (run.started_at, run.expires_at)
    run_when(openai_client, run)


def test_several_rounds(openai_client: OpenAI, model: Script) -> None:
    run = waiting_run(openai_client, model, "Oslo", max_completion_tokens=1_000, tool_choice="required")
    for city in ("Rome", "Bern"):
        model.will_call("weather", city=city)
        run = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
            run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run, f"before {city}"), poll_interval_ms=20
        )
        assert run.status == "requires_action"
    model.will_say("That's all.")
    run = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), poll_interval_ms=20
    )
    assert (run.status, answers_of(openai_client, run)) == ("completed", ["That's all."])
    steps = openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc").data
    assert [step.type for step in steps] == ["tool_calls"] * 3 + ["message_creation"]
    assert run.usage is not None
    assert run.usage.completion_tokens == 20
    budgets = [asked["max_completion_tokens"] for asked in model.requests]
    assert budgets == [1_000, 995, 990, 985]
    assert [asked.get("tool_choice") for asked in model.requests] == ["required", None, None, None]
    roles = [message["role"] for message in model.requests[3]["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant", "tool"]


async def test_the_asynchronous_clients_submit_too(async_client: AsyncOpenAI, model: Script) -> None:
    model.will_call("weather", city="Oslo")
    model.will_say("Cold.")
    assistant = await async_client.beta.assistants.create(model=model.name, tools=[WEATHER])
    run = await async_client.beta.threads.create_and_run_poll(assistant_id=assistant.id, poll_interval_ms=20)
    assert run.status == "requires_action"
    run = await async_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), poll_interval_ms=20
    )
    assert run.status == "completed"


def test_an_output_may_be_missing_or_empty(openai_client: OpenAI, model: Script) -> None:
    run = waiting_run(openai_client, model, "Oslo", "Rome")
    first, second = outputs_of(run)
    model.will_say("Nothing came.")
    done = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id,
        thread_id=run.thread_id,
        tool_outputs=[{"tool_call_id": first.get("tool_call_id", "")}, {**second, "output": ""}],
        poll_interval_ms=20,
    )
    assert done.status == "completed"
    assert [message["content"] for message in model.requests[1]["messages"][-2:]] == ["", ""]


def test_arguments_that_are_not_json_are_passed_on_as_they_are(openai_client: OpenAI, model: Script) -> None:
    model.will_say("", calls=[("weather", '{"city": "Os')])
    run = openai_client.beta.threads.create_and_run_poll(
        assistant_id=assistant_id(openai_client, model, tools=[WEATHER]), poll_interval_ms=20
    )
    assert run.required_action is not None
    [call] = run.required_action.submit_tool_outputs.tool_calls
    assert call.function.arguments == '{"city": "Os'
    model.will_say("Sorry.")
    run = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), poll_interval_ms=20
    )
    assert run.status == "completed"


def test_outputs_that_are_too_large_change_nothing(openai_client: OpenAI, model: Script) -> None:
    run = waiting_run(openai_client, model, "Oslo", "Rome")
    with pytest.raises(openai.BadRequestError, match="1000000"):
        openai_client.beta.threads.runs.submit_tool_outputs(
            run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run, "x" * 600_000, "y" * 600_000)
        )
    model.will_say("Just fits.")
    done = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id,
        thread_id=run.thread_id,
        tool_outputs=outputs_of(run, "x" * 500_000, "y" * 499_000),
        poll_interval_ms=20,
    )
    assert done.status in ("completed", "incomplete", "failed")
    assert_unlocked(openai_client, run.thread_id)


def test_outputs_for_a_run_that_does_not_wait_are_refused(openai_client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Yes.")
    run = openai_client.beta.threads.create_and_run(assistant_id=assistant_id(openai_client, model))
    run = run_when(openai_client, run, "in_progress")
    with pytest.raises(openai.BadRequestError, match=r'Runs in status "in_progress" do not accept tool outputs.'):
        openai_client.beta.threads.runs.submit_tool_outputs(
            run.id, thread_id=run.thread_id, tool_outputs=[{"tool_call_id": "call_1", "output": "x"}]
        )
    answer.release()
    run_when(openai_client, run)
