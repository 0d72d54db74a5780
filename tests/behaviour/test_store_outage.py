"""Cosmos DB and Blob Storage away, throttling or cutting answers in the middle of runs, and coming back.

The service is the tests' own, as are its stores: what is away is away for everybody.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from openai import BadRequestError, InternalServerError, OpenAI
from openai.types.beta.threads import Run

from tests.azurite import skip_where_missing
from tests.conversation import WEATHER, answers_of, ask, outputs_of, run_when, text_of, waiting_run
from tests.event_stream import check, open_stream
from tests.scripted_model import Script, ScriptedModel
from tests.service import Service
from tests.stores import AzureStores, azure_stores, blob_names

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends Azurite with a signal, or it loses its data")

AWAY = 2.5  # seconds: longer than any retry of an SDK
BACK = 60.0  # seconds within which everything must be over once the store is back


@pytest.fixture(scope="module")
def own_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureStores]:
    skip_where_missing()
    with azure_stores(tmp_path_factory.mktemp("outage"), may_use_endpoint=False) as stores:
        yield stores


@pytest.fixture(scope="module")
def own_service(
    own_stores: AzureStores, scripted_model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("outage-service")
    with Service(folder, model=scripted_model, workers=2, settings=own_stores.new_place()) as service:
        yield service


@pytest.fixture
def service(own_service: Service, own_stores: AzureStores) -> Iterator[Service]:
    """For the clients of conftest.py: their service is this one."""
    yield own_service
    own_stores.double.forget_faults()
    own_stores.azurite.start()


@contextmanager
def away(stores: AzureStores) -> Iterator[None]:
    """Cosmos DB is away for as long as this is entered, and at least for AWAY seconds."""
    stores.double.take_away()
    began = time.monotonic()
    try:
        yield
        time.sleep(max(0.0, AWAY - (time.monotonic() - began)))
    finally:
        stores.double.bring_back()


def refused(call: Callable[[], object]) -> InternalServerError:
    """Make a call that must be answered with a retryable error, in time for whoever waits for it."""
    began = time.monotonic()
    with pytest.raises(InternalServerError) as raised:
        call()
    assert time.monotonic() - began < 10
    error = raised.value
    assert error.status_code == 503
    assert error.type == "server_error" and isinstance(error.body, dict) and error.body["message"]
    assert int(error.response.headers["retry-after"]) >= 1
    return error


def messages_of(client: OpenAI, thread_id: str) -> list[str]:
    return [text_of(message) for message in client.beta.threads.messages.list(thread_id, order="asc")]


# Away in the middle of a run


def test_a_run_goes_on_when_the_store_is_back(openai_client: OpenAI, model: Script, own_stores: AzureStores):
    answers = [model.will_hang("Once upon a time.", after=2), model.will_say("Once upon a time.")]
    run = ask(openai_client, model)
    assert answers[0].arrived.wait(10)
    with away(own_stores):
        answers[0].release()
        refused(lambda: openai_client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id))
        refused(lambda: openai_client.beta.threads.messages.list(run.thread_id))
    ended = run_when(openai_client, run, timeout=BACK)
    assert (ended.status, ended.last_error) == ("completed", None)
    assert messages_of(openai_client, run.thread_id) == ["Hi", "Once upon a time."]
    assert len(openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data) == 1
    openai_client.beta.threads.messages.create(run.thread_id, role="user", content="And then?")


def test_a_stream_waits_for_the_store_and_misses_nothing(
    openai_client: OpenAI, http: httpx.Client, model: Script, own_stores: AzureStores
):
    answers = [model.will_hang("Once upon a time.", after=2), model.will_say("Once upon a time.")]
    body = {"assistant_id": openai_client.beta.assistants.create(model=model.name).id, "stream": True}
    thread = openai_client.beta.threads.create(messages=[{"role": "user", "content": "Hi"}])
    with open_stream(http, "POST", f"/threads/{thread.id}/runs", json=body, timeout=BACK) as stream:
        stream.until("thread.message.delta")
        with away(own_stores):
            answers[0].release()
        stream.finish()
    assert stream.names[-2:] == ["run.completed", "done"]
    assert stream.text == "Once upon a time."
    assert messages_of(openai_client, thread.id) == ["Hi", "Once upon a time."]
    path = f"/threads/{thread.id}/runs/{stream.run['id']}/events"
    with open_stream(http, "GET", path) as replay:
        assert list(replay) == stream.seen


@pytest.mark.timeout(150)
def test_a_stream_whose_store_stays_away_ends_clearly_and_can_be_resumed(
    openai_client: OpenAI, http: httpx.Client, model: Script, own_stores: AzureStores
):
    answers = [model.will_hang("Once upon a time.", after=2), model.will_say("Once upon a time.")]
    run = ask(openai_client, model)
    path = f"/threads/{run.thread_id}/runs/{run.id}/events"
    with open_stream(http, "GET", path, timeout=BACK) as stream:
        stream.until("thread.message.delta")
        own_stores.double.take_away()
        *before, error, done = [*stream.seen, *stream]
    assert (error.event, done.event) == ("error", "done")
    assert error.data["error"]["type"] == "server_error"
    assert "resume the stream" in error.data["error"]["message"]
    own_stores.double.bring_back()
    answers[0].release()
    with open_stream(http, "GET", path, headers={"last-event-id": before[-1].id}, timeout=BACK) as resumed:
        rest = list(resumed)
    check([*before, *rest])
    assert run_when(openai_client, run, timeout=BACK).status == "completed"
    assert answers_of(openai_client, run) == ["Once upon a time."]


def test_outputs_are_taken_when_the_store_is_back(openai_client: OpenAI, model: Script, own_stores: AzureStores):
    run = waiting_run(openai_client, model)
    model.will_say("It is mild.")

    def submit() -> object:
        outputs = outputs_of(run, "mild")
        return openai_client.beta.threads.runs.submit_tool_outputs(
            run.id, thread_id=run.thread_id, tool_outputs=outputs
        )

    with away(own_stores):
        refused(submit)
    assert run_when(openai_client, run, "requires_action").status == "requires_action"
    submit()
    assert run_when(openai_client, run, timeout=BACK).status == "completed"
    assert answers_of(openai_client, run) == ["It is mild."]
    steps = openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc").data
    assert [step.type for step in steps] == ["tool_calls", "message_creation"]


def test_what_was_refused_was_not_done(openai_client: OpenAI, model: Script, own_stores: AzureStores):
    assistant = openai_client.beta.assistants.create(model=model.name)
    thread = openai_client.beta.threads.create()
    with away(own_stores):
        refused(lambda: openai_client.beta.threads.messages.create(thread.id, role="user", content="Hi"))
        refused(lambda: openai_client.beta.threads.runs.create(thread.id, assistant_id=assistant.id))
        refused(lambda: openai_client.beta.threads.create())
    assert messages_of(openai_client, thread.id) == []
    assert openai_client.beta.threads.runs.list(thread.id).data == []


def test_a_client_that_retries_does_not_notice(service: Service, model: Script, own_stores: AzureStores):
    model.will_say("Yes.")
    patient = service.openai(max_retries=8)
    back = threading.Timer(AWAY, own_stores.double.bring_back)
    own_stores.double.take_away()
    back.start()
    run = ask(patient, model)
    back.join()
    assert run_when(patient, run, timeout=BACK).status == "completed"
    assert messages_of(patient, run.thread_id) == ["Hi", "Yes."]


# Faults in the middle of a run


@pytest.mark.parametrize("fault", ["throttle", "cut_after", "cut_before", "busy"])
def test_runs_get_through_a_store_that_falters(
    openai_client: OpenAI, http: httpx.Client, own_stores: AzureStores, fault: str
):
    """Whatever fails in the middle, everything is done once: the steps, the message, the end of the log."""
    patient = openai_client.with_options(max_retries=8)
    run = _asked_for_weather_twice(patient)
    with _faltering(own_stores, fault):
        for _ in range(2):
            run = run_when(patient, run, "requires_action", timeout=BACK)
            with suppress(BadRequestError):  # a repeated request whose first one was done, but not answered
                patient.beta.threads.runs.submit_tool_outputs(
                    run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run)
                )
        ended = run_when(patient, run, timeout=BACK)
    assert (ended.status, ended.last_error) == ("completed", None)
    assert answers_of(openai_client, run) == ["The tools said: mild, mild"]
    steps = openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc").data
    assert [step.type for step in steps] == ["tool_calls", "tool_calls", "message_creation"]
    with open_stream(http, "GET", f"/threads/{run.thread_id}/runs/{run.id}/events") as replay:
        told = Counter(frame.event.removeprefix("thread.") for frame in replay)
    once = ("run.created", "run.completed", "message.completed", "done")
    assert [told[name] for name in once] == [1, 1, 1, 1]
    assert (told["run.requires_action"], told["run.step.created"], told["run.step.completed"]) == (2, 3, 3)


@contextmanager
def _faltering(stores: AzureStores, fault: str) -> Iterator[None]:
    """Six times, 1.5 s apart, a commit or a read fails once more often than the adapter tries."""
    stop = threading.Event()

    def disturb() -> None:
        for operation in ("batch", "read") * 3:
            stores.double.forget_faults()  # what met nobody must not pile up
            stores.double.plan(fault, times=4, operation=operation, retry_after_ms=50)
            if stop.wait(1.5):
                return

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        yield
    finally:
        stop.set()
        disturbing.join()
        stores.double.forget_faults()


def _asked_for_weather_twice(client: OpenAI) -> Run:
    """Of the model that has no script: it answers the same however often it is asked."""
    assistant = client.beta.assistants.create(model="echo", tools=[WEATHER])
    message: Any = {"role": "user", "content": "call:weather rounds:2 delay:0.05"}
    thread = client.beta.threads.create(messages=[message])
    return client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)


def test_throttling_that_lasts_is_answered_with_the_time_to_wait(
    openai_client: OpenAI, model: Script, own_stores: AzureStores
):
    run = waiting_run(openai_client, model)
    own_stores.double.plan("throttle", times=10_000, retry_after_ms=1_200)
    error = refused(lambda: openai_client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id))
    assert error.response.headers["retry-after-ms"] == "1200"
    own_stores.double.forget_faults()
    assert run_when(openai_client, run, "requires_action").id == run.id


def test_a_creation_whose_answer_was_cut_is_done_once(openai_client: OpenAI, model: Script, own_stores: AzureStores):
    model.will_say("Yes.")
    assistant = openai_client.beta.assistants.create(model=model.name)
    thread = openai_client.beta.threads.create()
    own_stores.double.plan("cut_after", operation="batch")
    openai_client.beta.threads.messages.create(thread.id, role="user", content="Hi")
    own_stores.double.plan("cut_after", operation="batch")
    run = openai_client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
    assert run_when(openai_client, run, timeout=BACK).status == "completed"
    assert messages_of(openai_client, thread.id) == ["Hi", "Yes."]
    assert [found.id for found in openai_client.beta.threads.runs.list(thread.id)] == [run.id]


# Blob Storage


def test_an_upload_is_refused_while_the_blobs_are_away(
    service: Service, openai_client: OpenAI, own_stores: AzureStores
):
    kept = openai_client.files.create(file=b"kept", purpose="assistants")
    before = [file.id for file in openai_client.files.list()]
    own_stores.azurite.take_away()
    refused(lambda: openai_client.files.create(file=bytes(100_000), purpose="assistants"))
    refused(lambda: openai_client.files.content(kept.id))
    assert [file.id for file in openai_client.files.list()] == before
    own_stores.azurite.start()
    assert openai_client.files.content(kept.id).read() == b"kept"
    new = openai_client.files.create(file=b"new", purpose="assistants")
    assert openai_client.files.content(new.id).read() == b"new"


def test_blobs_that_go_away_in_the_middle_of_an_upload_leave_nothing(
    service: Service, http: httpx.Client, own_stores: AzureStores
):
    before, files = blob_names(service), http.get("/files").json()["data"]

    def content() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield bytes(9_000_000)
        time.sleep(0.5)
        own_stores.azurite.take_away()
        yield bytes(9_000_000)
        yield b"\r\n--x--\r\n"

    answer = http.post("/files", content=content(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert answer.headers["retry-after"]
    own_stores.azurite.start()
    assert blob_names(service) == before
    assert http.get("/files").json()["data"] == files


def test_a_run_waits_for_the_picture_that_it_shows(openai_client: OpenAI, model: Script, own_stores: AzureStores):
    model.will_say("A dot.")
    picture = openai_client.files.create(file=("a.png", _PNG), purpose="vision")
    content: Any = [{"type": "image_file", "image_file": {"file_id": picture.id}}]
    assistant = openai_client.beta.assistants.create(model=model.name)
    thread = openai_client.beta.threads.create(messages=[{"role": "user", "content": content}])
    own_stores.azurite.take_away()
    run = openai_client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
    time.sleep(AWAY)
    assert run_when(openai_client, run, "in_progress").status == "in_progress"
    own_stores.azurite.start()
    assert run_when(openai_client, run, timeout=BACK).status == "completed"
    assert answers_of(openai_client, run) == ["A dot."]
    assert model.requests[0]["messages"][-1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6364f8cf500f0003860180"
    "5a347d6a0000000049454e44ae426082"
)
