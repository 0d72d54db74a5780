"""The official clients' own streaming classes: event handlers, accumulators, final objects (N.9, N.10, N.19)."""

from typing import Any, override

import openai
import pytest
from openai import AssistantEventHandler, AsyncAssistantEventHandler, AsyncOpenAI, OpenAI
from openai.types.beta.threads import Message, Run, Text, TextDelta
from openai.types.beta.threads.runs import FunctionToolCall, RunStep, ToolCall, ToolCallDelta

from tests.conversation import WEATHER, answers_of, assistant_id, outputs_of, run_when, thread_with
from tests.scripted_model import Script


class Handler(AssistantEventHandler):
    """Notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.text = ""
        self.last_text = ""

    def note(self, what: str) -> None:
        if not self.calls or self.calls[-1] != what:
            self.calls.append(what)

    @override
    def on_message_created(self, message: Message) -> None:
        self.note("message created")

    @override
    def on_message_done(self, message: Message) -> None:
        self.note("message done")

    @override
    def on_text_created(self, text: Text) -> None:
        self.note("text created")

    @override
    def on_text_delta(self, delta: TextDelta, snapshot: Text) -> None:
        self.note("text delta")
        self.text += delta.value or ""

    @override
    def on_text_done(self, text: Text) -> None:
        self.note("text done")
        self.last_text = text.value

    @override
    def on_tool_call_created(self, tool_call: ToolCall) -> None:
        self.note("tool call created")

    @override
    def on_tool_call_delta(self, delta: ToolCallDelta, snapshot: ToolCall) -> None:
        self.note("tool call delta")

    @override
    def on_tool_call_done(self, tool_call: ToolCall) -> None:
        assert isinstance(tool_call, FunctionToolCall)
        self.note(f"tool call done: {tool_call.function.arguments}")

    @override
    def on_run_step_created(self, run_step: RunStep) -> None:
        self.note("step created")

    @override
    def on_run_step_done(self, run_step: RunStep) -> None:
        self.note("step done")

    @override
    def on_end(self) -> None:
        self.note("end")

    @override
    def on_exception(self, exception: Exception) -> None:
        self.note(f"exception {exception}")


class AsyncHandler(AsyncAssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    @override
    async def on_text_done(self, text: Text) -> None:
        self.calls.append(f"text done: {text.value}")

    @override
    async def on_tool_call_done(self, tool_call: ToolCall) -> None:
        self.calls.append(f"tool call done: {tool_call.id}")

    @override
    async def on_end(self) -> None:
        self.calls.append("end")


SPEECH = ["step created", "message created", "text created", "text delta", "text done", "message done", "step done"]


def test_a_handler_hears_an_answer(client: OpenAI, model: Script) -> None:
    model.will_say("Good day to you.", delay=0.01, usage=(7, 4))
    handler = Handler()
    with client.beta.threads.runs.stream(
        thread_id=thread_with(client, "Hi"), assistant_id=assistant_id(client, model), event_handler=handler
    ) as stream:
        stream.until_done()
    assert handler.calls == [*SPEECH, "end"]
    assert handler.text == handler.last_text == "Good day to you."
    run = stream.get_final_run()
    assert run.usage is not None
    assert (run.status, run.usage.total_tokens) == ("completed", 11)
    [message] = stream.get_final_messages()
    assert (
        message.model_dump() == client.beta.threads.messages.retrieve(message.id, thread_id=run.thread_id).model_dump()
    ), "what was streamed is what is stored"
    [step] = stream.get_final_run_steps()
    assert step.type == "message_creation"


def test_text_deltas_alone(client: OpenAI, model: Script) -> None:
    model.will_say("One two three.")
    with client.beta.threads.create_and_run_stream(assistant_id=assistant_id(client, model)) as stream:
        assert "".join(stream.text_deltas) == "One two three."
    assert stream.get_final_run().status == "completed"


def test_a_function_round_trip_through_both_streams(client: OpenAI, model: Script) -> None:
    model.will_call_all(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}))
    first, second = Handler(), Handler()
    assistant = assistant_id(client, model, tools=[WEATHER])
    with client.beta.threads.create_and_run_stream(assistant_id=assistant, event_handler=first) as stream:
        stream.until_done()
    run = stream.get_final_run()
    assert run.status == "requires_action"
    assert first.calls == [
        "step created",
        "tool call created",
        "tool call delta",
        'tool call done: {"city": "Oslo"}',
        "tool call created",
        "tool call delta",
        'tool call done: {"city": "Rome"}',
        "end",
    ]
    [step] = stream.get_final_run_steps()
    assert step.step_details.type == "tool_calls"
    functions = [call for call in step.step_details.tool_calls if call.type == "function"]
    assert [(call.function.name, call.function.arguments) for call in functions] == [
        ("weather", '{"city": "Oslo"}'),
        ("weather", '{"city": "Rome"}'),
    ]
    assert run.required_action is not None
    assert [call.id for call in functions] == [call.id for call in run.required_action.submit_tool_outputs.tool_calls]

    model.will_say("Cold and mild.")
    with client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run, "4", "19"), event_handler=second
    ) as stream:
        stream.until_done()
    assert second.calls == ["step done", *SPEECH, "end"]
    assert stream.get_final_run().status == "completed"
    assert answers_of(client, run) == ["Cold and mild."]


def test_outputs_submitted_from_within_the_handler(openai_client: OpenAI, model: Script) -> None:
    model.will_call("weather", city="Oslo")
    model.will_say("Cold.")
    said: list[str] = []

    class Submitting(AssistantEventHandler):
        @override
        def on_event(self, event: Any) -> None:
            if event.event == "thread.run.requires_action":
                run: Run = event.data
                with openai_client.beta.threads.runs.submit_tool_outputs_stream(
                    run_id=run.id,
                    thread_id=run.thread_id,
                    tool_outputs=outputs_of(run, "4"),
                    event_handler=Submitting(),
                ) as inner:
                    inner.until_done()

        @override
        def on_text_done(self, text: Text) -> None:
            said.append(text.value)

    with openai_client.beta.threads.create_and_run_stream(
        assistant_id=assistant_id(openai_client, model, tools=[WEATHER]), event_handler=Submitting()
    ) as stream:
        stream.until_done()
    assert said == ["Cold."]


async def test_the_asynchronous_handler(async_client: AsyncOpenAI, model: Script) -> None:
    model.will_call("weather", city="Oslo")
    assistant = await async_client.beta.assistants.create(model=model.name, tools=[WEATHER])
    handler = AsyncHandler()
    async with async_client.beta.threads.create_and_run_stream(
        assistant_id=assistant.id, event_handler=handler
    ) as stream:
        await stream.until_done()
    run = await stream.get_final_run()
    assert run.required_action is not None
    [call] = run.required_action.submit_tool_outputs.tool_calls
    assert handler.calls == [f"tool call done: {call.id}", "end"]
    model.will_say("Cold.")
    handler = AsyncHandler()
    async with async_client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), event_handler=handler
    ) as stream:
        await stream.until_done()
    assert handler.calls == ["text done: Cold.", "end"]
    assert (await stream.get_final_run()).status == "completed"


def test_plain_iteration_over_events(client: OpenAI, model: Script) -> None:
    model.will_say("Hello.")
    events = client.beta.threads.create_and_run(assistant_id=assistant_id(client, model), stream=True)
    names = [event.event for event in events]
    assert (names[0], names[1], names[-1]) == ("thread.created", "thread.run.created", "thread.run.completed")


def test_a_text_a_call_and_a_text_are_three_steps_to_the_helpers(openai_client: OpenAI, model: Script) -> None:
    model.will_say("Let me see.", calls=[("weather", '{"city": "Oslo"}')])
    handler = Handler()
    with openai_client.beta.threads.create_and_run_stream(
        assistant_id=assistant_id(openai_client, model, tools=[WEATHER]), event_handler=handler
    ) as stream:
        stream.until_done()
    assert handler.last_text == "Let me see."
    assert handler.calls[-4:-1] == ["tool call created", "tool call delta", 'tool call done: {"city": "Oslo"}']
    run = stream.get_final_run()
    model.will_say("Cold.")
    done = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), poll_interval_ms=20
    )
    assert answers_of(openai_client, done) == ["Let me see.", "Cold."]
    steps = openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc").data
    assert [step.type for step in steps] == ["message_creation", "tool_calls", "message_creation"]
    assert done.usage is not None
    assert done.usage.total_tokens == sum(step.usage.total_tokens for step in steps if step.usage)
    asked = model.requests[1]["messages"][-2]
    assert (asked["role"], asked["content"]) == ("assistant", "Let me see.")


@pytest.mark.parametrize("refusal", ["", "I won't."])
def test_runs_that_fail_or_are_refused_end_the_helpers_stream(
    openai_client: OpenAI, model: Script, refusal: str
) -> None:
    if refusal:
        model.will_say("", refusal=refusal)
    else:
        model.will_fail(400, {"error": {"message": "No."}})
    with openai_client.beta.threads.create_and_run_stream(assistant_id=assistant_id(openai_client, model)) as stream:
        stream.until_done()
    assert stream.get_final_run().status == ("completed" if refusal else "failed")


def test_a_cancelled_run_ends_the_helpers_stream(openai_client: OpenAI, model: Script) -> None:
    model.will_hang("Once upon a time", after=3)
    with openai_client.beta.threads.create_and_run_stream(assistant_id=assistant_id(openai_client, model)) as stream:
        for event in stream:
            if event.event == "thread.message.created":
                run = stream.current_run
                assert run is not None
                openai_client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    assert stream.get_final_run().status == "cancelled"


def test_leaving_a_stream_does_not_stop_its_run(client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Once upon a time there was an end.", after=3)
    with client.beta.threads.create_and_run_stream(assistant_id=assistant_id(client, model)) as stream:
        for event in stream:
            if event.event == "thread.message.delta":
                break
    run = stream.current_run
    assert run is not None
    with pytest.raises(openai.BadRequestError, match="while a run"):
        client.beta.threads.messages.create(run.thread_id, role="user", content="Too early.")
    answer.release()
    run = run_when(client, run)
    assert (run.status, answers_of(client, run)) == ("completed", ["Once upon a time there was an end."])
