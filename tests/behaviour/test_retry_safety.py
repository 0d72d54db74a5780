"""What was committed is answered with 200 and carried on, whatever happens to the task hub (N.17, A.5.5)."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.conversation import WEATHER, answers_of, ask, assert_unlocked, eventually, outputs_of, run_when
from tests.scripted_model import Script, ScriptedModel
from tests.service import Service

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the local task hub listens on a port there")


class Hub:
    """The task hub of a service, which workers reach through a socket in a folder of its own."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        [self._socket] = folder.glob("*/hub.sock")
        self._away = self._socket.with_suffix(".away")

    def leave(self) -> None:
        """Nobody reaches it any more: its socket is away, and the workers that had connections are replaced."""
        self._socket.rename(self._away)
        before = set(self._service.worker_pids())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        with self._service.http() as http:
            eventually(lambda: self._replaced(before) and http.get("/health").status_code == 503, timeout=60)
            assert http.get("/health").json()["task_hub"] == "unavailable"

    def come_back(self) -> None:
        self._away.rename(self._socket)

    def _replaced(self, before: set[int]) -> bool:
        now = set(self._service.worker_pids())
        return bool(now) and not now & before


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="hub-"))  # a socket's path must be short
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def client_and_hub(scripted_model: ScriptedModel, folder: Path, tmp_path: Path) -> Iterator[tuple[OpenAI, Hub]]:
    with Service(tmp_path, model=scripted_model, settings={"TMPDIR": str(folder)}) as service:
        yield service.openai(), Hub(service, folder)
        sys.stderr.write(service.log())


def test_runs_are_accepted_without_the_task_hub_and_complete_when_it_is_back(
    client_and_hub: tuple[OpenAI, Hub], model: Script
) -> None:
    client, hub = client_and_hub
    model.will_call("weather")
    waiting = run_when(client, ask(client, model, tools=[WEATHER]), "requires_action")
    hub.leave()

    begun = ask(client, model)
    assert begun.status == "queued"
    resumed = client.beta.threads.runs.submit_tool_outputs(
        waiting.id, thread_id=waiting.thread_id, tool_outputs=outputs_of(waiting)
    )
    assert resumed.status == "queued"
    unlucky = ask(client, model)
    cancelled = client.beta.threads.runs.cancel(unlucky.id, thread_id=unlucky.thread_id)
    assert cancelled.status == "cancelling"

    model.will_say("Here I am.")
    model.will_say("Here I am.")
    hub.come_back()
    for run in (begun, waiting):
        assert run_when(client, run, timeout=40).status == "completed"
        assert answers_of(client, run) == ["Here I am."]
        assert_unlocked(client, run.thread_id)
    assert run_when(client, unlucky, timeout=40).status == "cancelled"
    assert_unlocked(client, unlucky.thread_id)
