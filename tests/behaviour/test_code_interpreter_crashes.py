"""Blows while code runs: the run goes on, the code is run once unless its result was lost, and no box stays behind."""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from openai import OpenAI
from openai.types.beta.threads import Run

from tests import sandboxes
from tests.behaviour.conftest import StartService, only_on
from tests.behaviour.test_code_interpreter import CODE, code_calls, logs
from tests.conversation import assistant_id, run_when, thread_with
from tests.scripted_model import Script
from tests.service import Service

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is for Linux"), only_on("local")]

# The numbers are run with these set to 20 and 5.
WORKER_KILLS = int(os.environ.get("CODE_WORKER_KILLS", "4"))
HOST_KILLS = int(os.environ.get("CODE_HOST_KILLS", "2"))

# Each run of it leaves a mark, the first one where we can wait for it.
COUNTING = (
    "import time\nopen('/mnt/data/marks', 'a').write('.')\ntime.sleep(1)\nprint(len(open('/mnt/data/marks').read()))"
)


@pytest.fixture
async def code_service(start_service: StartService) -> Service:
    await sandboxes.skip_where_missing()
    return start_service(workers=2, code_interpreter=True)


def begin(client: OpenAI, model: Script) -> Run:
    model.will_call("code_interpreter", code=COUNTING)
    model.will_say("Done.")
    assistant = assistant_id(client, model, tools=[CODE])
    return client.beta.threads.runs.create(thread_id=thread_with(client, "Count."), assistant_id=assistant)


def in_the_call(client: OpenAI, run: Run) -> None:
    """Return when the code has begun, or is just about to."""
    until(lambda: bool(code_calls(client, run.thread_id, run.id)))
    time.sleep(0.4)


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.02)


def boxes_of(service: Service) -> list[psutil.Process]:
    found = psutil.Process(service.host_pid).children(recursive=True)
    return [process for process in found if process.pid not in service.pids()]


def told_to(model: Script) -> list[Any]:
    return [message["content"] for message in model.requests[-1]["messages"] if message["role"] == "tool"]


def test_a_worker_killed_while_code_runs(code_service: Service, model: Script):
    client = code_service.openai(max_retries=10)
    for _ in range(WORKER_KILLS):
        run = begin(client, model)
        in_the_call(client, run)
        for pid in code_service.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert run_when(client, run, timeout=30).status == "completed"
        # The session is the host's: the code went on, and its answer was found again.
        assert logs(client, run.thread_id, run.id) == ["1"]
        assert told_to(model) == ["1\n[Written: /mnt/data/marks]"]


def test_a_host_killed_while_code_runs(code_service: Service, model: Script):
    for _ in range(HOST_KILLS):
        client = code_service.openai(max_retries=10)
        run = begin(client, model)
        in_the_call(client, run)
        boxes = boxes_of(code_service)
        assert boxes
        os.kill(code_service.host_pid, signal.SIGKILL)
        until(lambda boxes=boxes: not any(box.is_running() and box.status() != "zombie" for box in boxes))
        code_service.restart()
        assert run_when(client, run, timeout=40).status == "completed"
        # The result went with the session, so the code ran again, in a new one: the model is told.
        assert logs(client, run.thread_id, run.id) == ["1"]
        assert "is gone, with its variables" in told_to(model)[0]


def test_a_host_that_stops_leaves_no_box(code_service: Service, model: Script):
    client = code_service.openai()
    in_the_call(client, begin(client, model))
    boxes = boxes_of(code_service)
    assert boxes
    code_service.stop()
    until(lambda: not any(box.is_running() for box in boxes))


def test_a_cancelled_run_ends_its_code_and_keeps_its_session(code_service: Service, model: Script):
    client = code_service.openai()
    model.will_call("code_interpreter", code="kept = 7")
    model.will_call("code_interpreter", code="import time\ntime.sleep(100)")
    assistant = assistant_id(client, model, tools=[CODE])
    thread_id = thread_with(client, "Wait.")
    run = client.beta.threads.runs.create(thread_id=thread_id, assistant_id=assistant)
    until(lambda: len(code_calls(client, thread_id, run.id)) == 2)
    client.beta.threads.runs.cancel(run.id, thread_id=thread_id)
    assert run_when(client, run).status == "cancelled"
    model.will_call("code_interpreter", code="kept")
    model.will_say("7")
    began = time.monotonic()
    run = client.beta.threads.runs.create_and_poll(thread_id=thread_id, assistant_id=assistant)
    assert (run.status, logs(client, thread_id, run.id)) == ("completed", ["7"])
    assert time.monotonic() - began < 10
