"""What would outlast host.json's functionTimeout ends by itself before, so that the host never restarts a worker."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.behaviour.conftest import only_on
from tests.conversation import answers_of, ask, assert_unlocked, outputs_of, run_when, waiting_run
from tests.event_stream import check, open_stream
from tests.scripted_model import Script, ScriptedModel
from tests.service import Service
from tests.stores import Stores

TIMEOUT = 6.0  # seconds; what lasts ends by itself after four fifths of it

pytestmark = only_on("local")


@pytest.fixture(scope="module")
def timed(scripted_model: ScriptedModel, stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"AzureFunctionsJobHost__functionTimeout": f"00:00:{TIMEOUT:02.0f}", **stores.new_place()}
    with Service(tmp_path_factory.mktemp("timed"), model=scripted_model, settings=settings) as service:
        workers = service.worker_pids()
        yield service
        assert service.worker_pids() == workers, "the host has restarted a worker"


@pytest.fixture
def http(timed: Service) -> Iterator[httpx.Client]:
    with timed.http() as client:
        yield client


def test_a_turn_that_lasts_too_long_fails_with_the_reason_and_keeps_what_was_said(
    timed: Service, http: httpx.Client, model: Script
) -> None:
    answer = model.will_hang("Once upon a time.", after=3)
    client = timed.openai()
    run = run_when(client, ask(client, model))

    assert run.status == "failed"
    assert run.last_error
    assert run.last_error.code == "server_error"
    assert "within 4.8 seconds" in run.last_error.message
    assert answer.abandoned.wait(5)
    with open_stream(http, "GET", f"/threads/{run.thread_id}/runs/{run.id}/events") as stream:
        stream.finish()
    assert stream.text.startswith("Once upon")
    assert stream.names[-4:] == ["message.incomplete", "run.step.failed", "run.failed", "done"]
    assert answers_of(client, run) == [stream.text]
    assert_unlocked(client, run.thread_id)


def test_a_model_that_never_begins_fails_the_run_too(timed: Service, model: Script) -> None:
    model.will_hang("Never.", after=0)
    client = timed.openai()
    run = run_when(client, ask(client, model))
    assert run.status == "failed"
    assert_unlocked(client, run.thread_id)


def test_the_time_is_that_of_a_turn_and_not_of_a_run_that_waits(timed: Service, model: Script) -> None:
    client = timed.openai()
    run = waiting_run(client, model)
    time.sleep(TIMEOUT + 1)
    model.will_say("Cold.")
    client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run))
    assert run_when(client, run).status == "completed"


def test_a_stream_that_is_held_too_long_ends_and_can_be_resumed(
    timed: Service, http: httpx.Client, model: Script
) -> None:
    client = timed.openai()
    run = waiting_run(client, model)
    events = f"/threads/{run.thread_id}/runs/{run.id}/events"
    with open_stream(http, "GET", events) as stream:
        before = stream.finish().seen
    after = {"Last-Event-ID": str(before[-2].id)}

    began = time.monotonic()
    with open_stream(http, "GET", events, headers=after) as held:
        frames = list(held)
    assert [frame.event for frame in frames] == ["error", "done"]
    assert "resume the stream" in frames[0].data["error"]["message"]
    assert time.monotonic() - began < TIMEOUT

    model.will_say("Cold.")
    client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run))
    with open_stream(http, "GET", events, headers=after) as rest:
        check([*before[:-1], *rest.finish().seen])


def test_a_stream_that_began_its_run_ends_and_can_be_resumed(timed: Service, http: httpx.Client, model: Script) -> None:
    """It is older than the run's turn, so its time is over first."""
    model.will_hang("Once upon a time.", after=3)
    assistant = timed.openai().beta.assistants.create(model=model.name).id
    body = {"assistant_id": assistant, "stream": True, "thread": {"messages": [{"role": "user", "content": "Go on."}]}}
    with open_stream(http, "POST", "/threads/runs", json=body) as cut:
        frames = list(cut)
    run = cut.run
    if frames[-2].event == "error":
        with open_stream(
            http, "GET", f"/threads/{run['thread_id']}/runs/{run['id']}/events", params={"after": frames[-3].id}
        ) as rest:
            frames = [*frames[:-2], *rest]
    check(frames)
    assert frames[-2].event == "thread.run.failed"


def test_a_body_that_does_not_come_in_time_is_answered_in_our_words(timed: Service) -> None:
    head = (
        f"POST /openai/threads HTTP/1.1\r\nhost: x\r\napi-key: {timed.key}\r\n"
        "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    )
    with socket.create_connection(("127.0.0.1", timed.port), timeout=TIMEOUT + 5) as raw:
        raw.sendall(head.encode())
        answer = b""
        while b"}}" not in answer and (data := raw.recv(65_536)):
            answer += data
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The request took too long" in answer


def test_an_answer_that_nobody_reads_is_cut(timed: Service, http: httpx.Client) -> None:
    thread = http.post("/threads").json()["id"]
    content = [{"type": "text", "text": "x" * 247_000}] * 4
    for _ in range(20):
        assert http.post(f"/threads/{thread}/messages", json={"role": "user", "content": content}).is_success
    head = (
        f"GET /openai/threads/{thread}/messages?limit=100 HTTP/1.1\r\nhost: x\r\napi-key: {timed.key}\r\n"
        "connection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", timed.port), timeout=30) as raw:
        raw.sendall(head.encode())
        time.sleep(TIMEOUT + 1)
        answer = b""
        try:
            while data := raw.recv(1 << 20):
                answer += data
        except ConnectionResetError:
            pass
    assert b"\r\n0\r\n\r\n" not in answer[-10:], "it looks whole"
    assert "its client has not read it in time" in timed.log()
