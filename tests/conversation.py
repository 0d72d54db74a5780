"""What most tests through HTTP begin with: an assistant, a question, a run in a certain state."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from openai import OpenAI
from openai.types.beta.threads import Message, Run
from openai.types.beta.threads.run_submit_tool_outputs_params import ToolOutput

from tests.scripted_model import Script

ENDED = ("completed", "incomplete", "failed", "cancelled", "expired")

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def assistant_id(client: OpenAI, model: Script, **settings: Any) -> str:
    return client.beta.assistants.create(model=model.name, **settings).id


def thread_with(client: OpenAI, *texts: str) -> str:
    """A new thread with a user message for each text; its id."""
    return client.beta.threads.create(messages=[{"role": "user", "content": text} for text in texts]).id


def ask(client: OpenAI, model: Script, text: str = "Hi", **run: Any) -> Run:
    """Begin a run in a new thread; don't wait for it."""
    assistant = assistant_id(client, model)
    thread_id = thread_with(client, text)
    return client.beta.threads.runs.create(thread_id=thread_id, assistant_id=assistant, **run)


def run_when(client: OpenAI, run: Run, *statuses: str, timeout: float = 20.0) -> Run:
    """Wait until the run is in one of the states (default: ended) and return it."""
    wanted = statuses or ENDED
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        run = client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
        if run.status in wanted:
            return run
        assert run.status not in ENDED, f"The run ended as {run.status} ({run.last_error}); awaited was {wanted}."
        time.sleep(0.03)
    raise AssertionError(f"The run is still {run.status} after {timeout:g} s; awaited was {wanted}.")


def waiting_run(client: OpenAI, model: Script, *cities: str, **run: Any) -> Run:
    """Return a run that waits for the weather of each city. The script goes on with what follows."""
    model.will_call_all(*(("weather", {"city": city}) for city in cities or ("Oslo",)))
    return run_when(client, ask(client, model, "How is the weather?", tools=[WEATHER], **run), "requires_action")


def outputs_of(run: Run, *outputs: str) -> Iterable[ToolOutput]:
    """An output for each call that the run waits for; those not given say "mild"."""
    assert run.required_action is not None
    calls = run.required_action.submit_tool_outputs.tool_calls
    said = [*outputs, *["mild"] * len(calls)]
    return [{"tool_call_id": call.id, "output": output} for call, output in zip(calls, said, strict=False)]


def text_of(message: Message) -> str:
    return "".join(part.text.value for part in message.content if part.type == "text")


def answers_of(client: OpenAI, run: Run) -> list[str]:
    """The texts of the run's messages, oldest first."""
    found = client.beta.threads.messages.list(run.thread_id, run_id=run.id, order="asc")
    return [text_of(message) for message in found]


def assert_unlocked(client: OpenAI, thread_id: str) -> None:
    """A message and a run can be added."""
    client.beta.threads.messages.create(thread_id, role="user", content="And now?")


def eventually(holds: Callable[[], bool], *, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"Not so after {timeout:g} s."
        time.sleep(0.02)
