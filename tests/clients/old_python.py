"""What programs of 2024 do, with the openai package of that time. Prints what it saw as JSON."""

import asyncio
import json
import os
import sys
from typing import Any

import openai
from openai import AssistantEventHandler, AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

MODEL = os.environ["MODEL"]
KEY, URL = os.environ["SERVICE_KEY"], os.environ["SERVICE_URL"]
IS_AZURE = os.environ["CLIENT"] == "azure"
AZURE = {"azure_endpoint": URL, "api_version": os.environ["API_VERSION"], "max_retries": 0, "timeout": 30}
PLAIN = {"base_url": f"{URL}/openai/v1", "max_retries": 0, "timeout": 30}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}

client: Any = AzureOpenAI(api_key=KEY, **AZURE) if IS_AZURE else OpenAI(api_key=KEY, **PLAIN)


def read_stream() -> Any:
    assistant = client.beta.assistants.create(model=MODEL)
    with client.beta.threads.create_and_run_stream(assistant_id=assistant.id) as stream:
        text = "".join(stream.text_deltas)
    return {"sync": text, "status": stream.get_final_run().status}


def round_trip() -> Any:
    """Create, ask, poll, call functions, list, delete."""
    assistant = client.beta.assistants.create(model=MODEL, tools=[TOOL], name="Old")
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "Hi"}])
    run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=20)
    statuses = [run.status]
    outputs: Any = [
        {"tool_call_id": call.id, "output": "mild"} for call in run.required_action.submit_tool_outputs.tool_calls
    ]
    run = client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=thread.id, tool_outputs=outputs, poll_interval_ms=20
    )
    statuses.append(run.status)
    messages = [message.content[0].text.value for message in client.beta.threads.messages.list(thread.id, limit=1)]
    steps = [step.type for step in client.beta.threads.runs.steps.list(run.id, thread_id=thread.id)]
    deleted = [client.beta.threads.delete(thread.id).deleted, client.beta.assistants.delete(assistant.id).deleted]
    try:
        client.beta.threads.retrieve(thread.id)
    except openai.NotFoundError as error:
        body: Any = error.body
        deleted.append(body["message"].replace(thread.id, "…"))
    return {"statuses": statuses, "messages": messages, "steps": steps, "deleted": deleted}


def hear_handler() -> Any:
    heard: list[str] = []

    class Handler(AssistantEventHandler):
        def on_tool_call_done(self, tool_call: Any) -> None:
            heard.append(f"call {tool_call.function.name} {tool_call.function.arguments}")

        def on_text_done(self, text: Any) -> None:
            heard.append(f"text {text.value}")

        def on_end(self) -> None:
            heard.append("end")

    assistant = client.beta.assistants.create(model=MODEL, tools=[TOOL])
    with client.beta.threads.create_and_run_stream(assistant_id=assistant.id, event_handler=Handler()) as stream:
        stream.until_done()
    run = stream.get_final_run()
    outputs: Any = [
        {"tool_call_id": call.id, "output": "mild"} for call in run.required_action.submit_tool_outputs.tool_calls
    ]
    with client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs, event_handler=Handler()
    ) as stream:
        stream.until_done()
    return {"heard": heard, "status": stream.get_final_run().status}


def read_stream_async() -> Any:
    async def read() -> Any:
        made: Any = AsyncAzureOpenAI(api_key=KEY, **AZURE) if IS_AZURE else AsyncOpenAI(api_key=KEY, **PLAIN)
        async with made:
            assistant = await made.beta.assistants.create(model=MODEL)
            async with made.beta.threads.create_and_run_stream(assistant_id=assistant.id) as stream:
                text = "".join([piece async for piece in stream.text_deltas])
            return {"text": text, "status": (await stream.get_final_run()).status}

    return asyncio.run(read())


if __name__ == "__main__":
    assert openai.VERSION.startswith("1."), openai.VERSION
    scenarios = {scenario.__name__: scenario for scenario in (read_stream, round_trip, hear_handler, read_stream_async)}
    print(json.dumps(scenarios[sys.argv[1]]()))
