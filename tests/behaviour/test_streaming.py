"""Every event in the documented order, for every ending, whichever request the stream belongs to (F.6)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx
import pytest
from openai import OpenAI

from tests.conversation import WEATHER, ask, assert_unlocked, assistant_id, outputs_of, run_when, thread_with
from tests.event_stream import EventStream, open_stream
from tests.scripted_model import Script
from tests.service import Service

Way = Literal["create_run", "create_thread_and_run", "submit_tool_outputs"]

SPEECH = ["run.step.created", "run.step.in_progress", "message.created", "message.in_progress", "message.delta"]
CALLS = ["run.step.created", "run.step.in_progress", "run.step.delta", "run.requires_action", "done"]
BEGINNINGS: Mapping[Way, list[str]] = {
    "create_run": ["run.created", "run.queued"],
    "create_thread_and_run": ["created", "run.created", "run.queued"],
    "submit_tool_outputs": ["run.step.completed", "run.queued"],
}


@dataclass(frozen=True)
class Asking:
    """One of the three requests that a stream can belong to. What the test scripts is the streamed turn."""

    way: Way
    http: httpx.Client
    client: OpenAI
    model: Script

    def __post_init__(self) -> None:
        if self.way == "submit_tool_outputs":
            self.model.will_call("weather", city="Oslo")

    def begins(self, *then: str) -> list[str]:
        return [*BEGINNINGS[self.way], *then]

    @contextmanager
    def stream(self, **options: Any) -> Iterator[EventStream]:
        if self.way == "submit_tool_outputs":
            run = ask(self.client, self.model, tools=[WEATHER], **options)
            run = run_when(self.client, run, "requires_action")
            path = f"/threads/{run.thread_id}/runs/{run.id}/submit_tool_outputs"
            body: dict[str, Any] = {"tool_outputs": list(outputs_of(run))}
        else:
            body = {"assistant_id": assistant_id(self.client, self.model), "tools": [WEATHER], **options}
            path = "/threads/runs"
            if self.way == "create_run":
                path = f"/threads/{thread_with(self.client, 'Hi')}/runs"
            else:
                body["thread"] = {"messages": [{"role": "user", "content": "Hi"}]}
        with open_stream(self.http, "POST", path, json=body | {"stream": True}) as stream:
            yield stream


class Ask(Protocol):
    def __call__(self, way: Way) -> Asking: ...


WAYS: list[Way] = ["create_run", "create_thread_and_run", "submit_tool_outputs"]


@pytest.fixture(params=WAYS)
def asking(request: pytest.FixtureRequest, http: httpx.Client, openai_client: OpenAI, model: Script) -> Asking:
    return Asking(request.param, http, openai_client, model)


@pytest.fixture
def hasty(hasty_service: Service, model: Script) -> Iterator[Ask]:
    """Ask a service whose runs live for 4 s."""
    with hasty_service.http() as http, hasty_service.openai() as client:
        yield lambda way: Asking(way, http, client, model)


def assert_stored(asking: Asking, stream: EventStream) -> None:
    """What the events showed is what is stored, and the thread is free again (F.7.1)."""
    run = stream.run
    path = f"/threads/{run['thread_id']}"
    assert asking.http.get(f"{path}/runs/{run['id']}").json() == run
    messages = {item["id"]: item for item in asking.http.get(f"{path}/messages?limit=100").json()["data"]}
    steps = {item["id"]: item for item in asking.http.get(f"{path}/runs/{run['id']}/steps?limit=100").json()["data"]}
    for frame in stream.seen:
        match frame.event.removeprefix("thread.").split("."):
            case ["message", "completed" | "incomplete"]:
                assert messages[frame.data["id"]] == frame.data
            case ["run", "step", "completed" | "failed" | "cancelled" | "expired"]:
                assert steps[frame.data["id"]] == frame.data
    assert_unlocked(asking.client, run["thread_id"])


def test_an_answer(asking: Asking) -> None:
    asking.model.will_say("Good day, and welcome – ☕ 👩‍🚀.", delay=0.01)
    with asking.stream() as stream:
        stream.finish()
    answered = [*SPEECH, "message.completed", "run.step.completed", "run.completed", "done"]
    assert stream.names == asking.begins("run.in_progress", *answered)
    assert stream.text == "Good day, and welcome – ☕ 👩‍🚀."
    assert len(stream.of("thread.message.delta")) > 1
    assert_stored(asking, stream)


def test_an_empty_answer_is_a_message_too(asking: Asking) -> None:
    asking.model.will_say("")
    with asking.stream() as stream:
        stream.finish()
    assert stream.names == asking.begins(
        "run.in_progress", *SPEECH[:-1], "message.completed", "run.step.completed", "run.completed", "done"
    )
    assert_stored(asking, stream)


def test_a_refusal(asking: Asking) -> None:
    asking.model.will_say("", refusal="I can't help with that.")
    with asking.stream() as stream:
        stream.finish()
    assert stream.names[-4:] == ["message.completed", "run.step.completed", "run.completed", "done"]
    assert stream.of("thread.message.completed")[0]["content"] == [
        {"type": "refusal", "refusal": "I can't help with that."}
    ]
    assert_stored(asking, stream)


def test_function_calls(asking: Asking) -> None:
    asking.model.will_call_all(("weather", {"city": "Oslo"}), ("weather", {"city": "Rom"}))
    with asking.stream() as stream:
        stream.finish()
    assert stream.names == asking.begins("run.in_progress", *CALLS)
    assert stream.run["usage"] is None
    assert stream.run["required_action"] is not None


def test_text_before_function_calls_is_a_message_of_its_own(asking: Asking) -> None:
    asking.model.will_say("Let me see.", calls=[("weather", '{"city": "Oslo"}')])
    with asking.stream() as stream:
        stream.finish()
    spoken = [*SPEECH, "message.completed", "run.step.completed"]
    assert stream.names == asking.begins("run.in_progress", *spoken, *CALLS)
    stored = asking.http.get(f"/threads/{stream.run['thread_id']}/messages").json()["data"][0]
    assert stored == stream.of("thread.message.completed")[-1]


@pytest.mark.parametrize(
    ("finish", "run_details", "message_reason"),
    [
        ("length", {"reason": "max_completion_tokens"}, "max_tokens"),
        # E.6.7: closed enums of some clients know the filter as a message's reason only.
        ("content_filter", None, "content_filter"),
        ("SAFETY", None, "content_filter"),
    ],
)
def test_an_answer_that_is_cut_short(asking: Asking, finish: str, run_details: Any, message_reason: str) -> None:
    asking.model.will_say("This goes on and", finish=finish)
    with asking.stream(max_completion_tokens=256) as stream:
        stream.finish()
    ended = ["message.incomplete", "run.step.completed", "run.incomplete", "done"]
    assert stream.names == asking.begins("run.in_progress", *SPEECH, *ended)
    assert stream.run["incomplete_details"] == run_details
    assert ("filter" in (stream.run["last_error"] or {}).get("message", "")) == (run_details is None)
    assert stream.run["usage"]["total_tokens"] > 0
    message = stream.of("thread.message.incomplete")[-1]
    assert (message["incomplete_details"], stream.text) == ({"reason": message_reason}, "This goes on and")
    assert_stored(asking, stream)


@pytest.mark.parametrize("asking", WAYS[:2], indirect=True)
def test_a_prompt_budget_that_is_spent(asking: Asking) -> None:
    with asking.stream(max_prompt_tokens=256, instructions="word " * 400) as stream:
        stream.finish()
    assert stream.names == asking.begins("run.in_progress", "run.incomplete", "done")
    assert stream.run["incomplete_details"] == {"reason": "max_prompt_tokens"}
    assert_stored(asking, stream)


@pytest.mark.parametrize(
    ("status", "error", "code", "part"),
    [
        (400, {"message": "Too much of this.", "code": None}, "invalid_prompt", "Too much of this."),
        (400, {"message": "No.", "code": "content_filter"}, "invalid_prompt", "content management policy"),
        (401, {"message": "Who are you?"}, "server_error", "refused our key"),
        (404, {"message": "Never heard of it."}, "server_error", "Never heard of it."),
        (429, {"message": "Pay first.", "code": "insufficient_quota"}, "rate_limit_exceeded", "Pay first."),
    ],
)
def test_a_model_that_refuses(asking: Asking, status: int, error: Any, code: str, part: str) -> None:
    asking.model.will_fail(status, {"error": error})
    with asking.stream() as stream:
        stream.finish()
    assert stream.names == asking.begins("run.in_progress", "run.failed", "done")
    assert stream.run["last_error"]["code"] == code
    assert part in stream.run["last_error"]["message"]
    assert stream.run["failed_at"]
    assert_stored(asking, stream)


def test_a_model_that_breaks_off_and_then_refuses(asking: Asking) -> None:
    asking.model.will_cut("So far so", after=3)
    asking.model.will_fail(400, {"error": {"message": "Enough."}})
    with asking.stream() as stream:
        stream.finish()
    ended = ["message.incomplete", "run.step.failed", "run.failed", "done"]
    assert stream.names == asking.begins("run.in_progress", *SPEECH, *ended)
    assert stream.of("thread.message.incomplete")[-1]["incomplete_details"] == {"reason": "run_failed"}
    assert_stored(asking, stream)


def test_a_model_that_breaks_off_starts_over_under_a_new_message(asking: Asking) -> None:
    asking.model.will_cut("One two three", after=3)
    asking.model.will_say("Once more.")
    with asking.stream() as stream:
        stream.finish()
    again = ["message.incomplete", "message.created", "message.in_progress", "message.delta"]
    ended = ["message.completed", "run.step.completed", "run.completed", "done"]
    assert stream.names == asking.begins("run.in_progress", *SPEECH, *again, *ended)
    assert stream.text == "Once more."
    path = f"/threads/{stream.run['thread_id']}/messages?run_id={stream.run['id']}"
    assert [item["content"][0]["text"]["value"] for item in asking.http.get(path).json()["data"]] == ["Once more."]


def test_cancel_while_the_model_is_silent(asking: Asking) -> None:
    answer = asking.model.will_hang()
    with asking.stream() as stream:
        stream.until("thread.run.in_progress")
        assert answer.arrived.wait(10)
        cancel(asking, stream)
        stream.finish()
    assert stream.names == asking.begins("run.in_progress", "run.cancelling", "run.cancelled", "done")
    assert answer.abandoned.wait(10), "the connection to the model is closed"
    assert_stored(asking, stream)


def test_cancel_in_the_middle_of_the_answer(asking: Asking) -> None:
    answer = asking.model.will_hang("Once upon a time", after=3)
    with asking.stream() as stream:
        stream.until("thread.message.delta")
        cancel(asking, stream)
        stream.finish()
    ended = ["run.cancelling", "message.incomplete", "run.step.cancelled", "run.cancelled", "done"]
    assert stream.names == asking.begins("run.in_progress", *SPEECH, *ended)
    message = stream.of("thread.message.incomplete")[-1]
    assert message["incomplete_details"] == {"reason": "run_cancelled"}
    assert "Once upon".startswith(stream.text) and stream.text
    assert answer.abandoned.wait(10)
    assert_stored(asking, stream)


def cancel(asking: Asking, stream: EventStream) -> None:
    run = stream.run
    answer = asking.http.post(f"/threads/{run['thread_id']}/runs/{run['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelling")


@pytest.mark.parametrize("way", WAYS)
def test_expiry_in_the_middle_of_the_answer(hasty: Ask, way: Way) -> None:
    asking = hasty(way)
    asking.model.will_hang("Once upon a time", after=3)
    with asking.stream() as stream:
        stream.finish()
    ended = ["message.incomplete", "run.step.expired", "run.expired", "done"]
    assert stream.names == asking.begins("run.in_progress", *SPEECH, *ended)
    assert stream.of("thread.message.incomplete")[-1]["incomplete_details"] == {"reason": "run_expired"}
    assert stream.run["expires_at"] is None
    assert_stored(asking, stream)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_fails_until_the_time_is_up(hasty: Ask, way: Way) -> None:
    asking = hasty(way)
    for _ in range(6):
        asking.model.will_fail(503)
    with asking.stream() as stream:
        stream.finish()
    assert stream.names == asking.begins("run.in_progress", "run.failed", "done")
    assert stream.run["last_error"]["code"] == "server_error"
    assert "503" in stream.run["last_error"]["message"]
    assert_stored(asking, stream)


def test_the_last_event_shows_the_metadata_as_it_is_then(
    http: httpx.Client, openai_client: OpenAI, model: Script
) -> None:
    answer = model.will_hang("Once upon a time", after=3)
    asking = Asking("create_run", http, openai_client, model)
    with asking.stream(metadata={"a": "1"}) as stream:
        stream.until("thread.message.delta")
        run = stream.run
        openai_client.beta.threads.runs.update(run["id"], thread_id=run["thread_id"], metadata={"a": "2"})
        answer.release()
        stream.finish()
    assert stream.run["metadata"] == {"a": "2"}
    assert_stored(asking, stream)


def test_problems_before_the_run_exists_are_ordinary_errors(http: httpx.Client) -> None:
    body = {"assistant_id": "asst_unknown", "stream": True}
    answer = http.post("/threads/runs", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json()["error"]["message"] == "No assistant found with id 'asst_unknown'."
    answer = http.post("/threads/runs", json=body | {"temperature": 3})
    assert answer.status_code == 400
