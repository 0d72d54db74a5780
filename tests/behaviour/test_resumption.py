"""Coming back to a stream: what was missed, what is still to come, and nothing twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.types.beta.threads import Run

from tests.conversation import ask, outputs_of, run_when, waiting_run
from tests.event_stream import EventStream, Frame, check, open_stream
from tests.scripted_model import Script


@contextmanager
def events_of(
    http: httpx.Client, run: Run, after: str | None = None, *, by_query: bool = False
) -> Iterator[EventStream]:
    request: dict[str, Any] = {}
    if after:
        request = {"params": {"after": after}} if by_query else {"headers": {"last-event-id": after}}
    with open_stream(http, "GET", f"/threads/{run.thread_id}/runs/{run.id}/events", **request) as stream:
        yield stream


def replayed(http: httpx.Client, run: Run, after: str | None = None) -> list[Frame]:
    with events_of(http, run, after) as stream:
        return list(stream)


def test_a_run_begun_without_a_stream_can_be_replayed(openai_client: OpenAI, http: httpx.Client, model: Script) -> None:
    model.will_say("One two three four.", delay=0.02)
    run = run_when(openai_client, ask(openai_client, model))
    with events_of(http, run) as stream:
        stream.finish()
    assert stream.names[:3] == ["run.created", "run.queued", "run.in_progress"]
    assert (stream.names[-2:], stream.text) == (["run.completed", "done"], "One two three four.")


def test_from_every_event_on_only_the_rest_comes(openai_client: OpenAI, http: httpx.Client, model: Script) -> None:
    model.will_say("One two.", delay=0.06)
    run = run_when(openai_client, ask(openai_client, model))
    frames = replayed(http, run)
    check(frames)
    for number, frame in enumerate(frames[:-2]):
        assert replayed(http, run, frame.id) == frames[number + 1 :]
    with events_of(http, run, frames[3].id, by_query=True) as stream:
        assert list(stream) == frames[4:]


def test_after_the_last_event_there_is_nothing(openai_client: OpenAI, http: httpx.Client, model: Script) -> None:
    model.will_say("Yes.")
    run = run_when(openai_client, ask(openai_client, model))
    last = replayed(http, run)[-2]
    answer = http.get(f"/threads/{run.thread_id}/runs/{run.id}/events", params={"after": str(last.id)})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_cut_stream_goes_on_where_it_was_cut(openai_client: OpenAI, http: httpx.Client, model: Script) -> None:
    answer = model.will_hang("Once upon a time.", after=3)
    run = ask(openai_client, model)
    with events_of(http, run) as first:
        first.until("thread.message.delta")
    answer.release()
    with events_of(http, run, first.seen[-1].id) as second:
        rest = list(second)
    frames = [*first.seen, *rest]
    check(frames)
    assert frames == replayed(http, run_when(openai_client, run))


def test_an_open_replay_follows_the_run_to_its_end(openai_client: OpenAI, http: httpx.Client, model: Script) -> None:
    answer = model.will_hang("Once upon a time.", after=2)
    run = ask(openai_client, model)
    with events_of(http, run) as stream, events_of(http, run) as other:
        stream.until("thread.message.created")
        answer.release()
        assert stream.finish().text == other.finish().text == "Once upon a time."


def test_a_replay_ends_at_required_action_and_waits_if_that_was_seen(
    openai_client: OpenAI, http: httpx.Client, model: Script
) -> None:
    run = waiting_run(openai_client, model)
    frames = replayed(http, run)
    assert [frame.event for frame in frames[-2:]] == ["thread.run.requires_action", "done"]
    model.will_say("Cold.")
    with events_of(http, run, frames[-2].id) as stream:
        openai_client.beta.threads.runs.submit_tool_outputs(
            run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run)
        )
        stream.finish()
    assert stream.names[:3] == ["run.step.completed", "run.queued", "run.in_progress"]
    assert (stream.names[-2:], stream.text) == (["run.completed", "done"], "Cold.")
    whole = replayed(http, run)
    assert whole == [*frames[:-1], *stream.seen], "a replay of it all goes on beyond the wait"


def test_a_replay_shows_the_cancel_of_a_run_that_waited(
    openai_client: OpenAI, http: httpx.Client, model: Script
) -> None:
    run = waiting_run(openai_client, model)
    frames = replayed(http, run)
    with events_of(http, run, frames[-2].id) as stream:
        assert openai_client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id).status == "cancelling"
        stream.finish()
    assert stream.names == ["run.cancelling", "run.step.cancelled", "run.cancelled", "done"]


def test_the_end_of_a_step_is_told_with_its_outputs(openai_client: OpenAI, http: httpx.Client, model: Script) -> None:
    run = waiting_run(openai_client, model)
    model.will_say("Cold.")
    openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run, "4 °C"), poll_interval_ms=20
    )
    [ended, _] = [frame.data for frame in replayed(http, run) if frame.event == "thread.run.step.completed"]
    assert ended["step_details"]["tool_calls"][0]["function"]["output"] == "4 °C"
    assert ended == http.get(f"/threads/{run.thread_id}/runs/{run.id}/steps/{ended['id']}").json()


@pytest.mark.parametrize("after", ["x", "1", "1.2.3", "-1.0", "1.-1", "999999999.0", "0.0x", "١.٢", "' or 1=1"])
def test_an_id_that_no_stream_sends_is_refused(
    openai_client: OpenAI, http: httpx.Client, model: Script, after: str
) -> None:
    run = ask(openai_client, model)
    answer = http.get(f"/threads/{run.thread_id}/runs/{run.id}/events", params={"after": after})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("after", "invalid_value")


def test_events_that_are_not_there_are_not_found(openai_client: OpenAI, http: httpx.Client, model: Script) -> None:
    model.will_say("Yes.")
    run = run_when(openai_client, ask(openai_client, model))
    for path in (
        f"/threads/{run.thread_id}/runs/{run.id}/events?after=77.0",
        f"/threads/{run.thread_id}/runs/run_unknown/events",
        f"/threads/thread_unknown/runs/{run.id}/events",
    ):
        answer = http.get(path)
        assert answer.status_code == 404
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_deleting_a_thread_ends_the_streams_of_its_run(
    openai_client: OpenAI, http: httpx.Client, model: Script
) -> None:
    answer = model.will_hang("Once upon a time.", after=3)
    run = ask(openai_client, model)
    with events_of(http, run) as stream:
        stream.until("thread.message.delta")
        openai_client.beta.threads.delete(run.thread_id)
        for _ in stream:
            pass
    assert stream.seen[-1].event == "done"
    assert answer.abandoned.wait(5), "the model is left alone"
    for path in ("", "/messages", f"/runs/{run.id}", f"/runs/{run.id}/steps", f"/runs/{run.id}/events"):
        assert http.get(f"/threads/{run.thread_id}{path}").status_code == 404
