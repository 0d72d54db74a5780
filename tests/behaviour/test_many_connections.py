"""More connections than descriptors, and hundreds of streams: runs go on, and health says so."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.conversation import run_when, thread_with
from tests.scripted_model import ScriptedModel
from tests.service import Service

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits descriptors, and kills with a signal")

DESCRIPTORS = 1024
IDLE = 520
STREAMS = 256


@pytest.fixture(scope="module")
def narrow_service(scripted_model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("narrow")
    with Service(folder, model=scripted_model, workers=2, descriptors=DESCRIPTORS) as service:
        yield service
        sys.stderr.write(service.log())


def test_runs_go_on_when_connections_take_all_descriptors_and_a_worker_dies(narrow_service: Service):
    client = narrow_service.openai(max_retries=10)
    assistant = client.beta.assistants.create(model="echo")
    thread = thread_with(client, "words:60 delay:0.05")
    with ExitStack() as leaving:
        for _ in range(IDLE):
            leaving.enter_context(socket.create_connection(("127.0.0.1", narrow_service.port)))
        with httpx.Client(trust_env=False, timeout=20) as one_more:
            assert one_more.get(f"{narrow_service.base_url}/assistants").status_code == 503
        began = client.beta.threads.runs.create(thread, assistant_id=assistant.id)
        os.kill(narrow_service.worker_pids()[0], signal.SIGKILL)
        # The client's own connection may have died too, and is back before those that leave no room for it.
        client.beta.threads.runs.retrieve(began.id, thread_id=thread)
        # The others that have died with the worker come back.
        for _ in range(IDLE):
            leaving.enter_context(socket.create_connection(("127.0.0.1", narrow_service.port)))
        assert run_when(client, began, timeout=60).status == "completed"
    assert len(narrow_service.worker_pids()) == 2


async def test_hundreds_of_streams_leave_health_as_it_is(narrow_service: Service):
    async with narrow_service.async_openai() as client:
        assistant = await client.beta.assistants.create(model="echo")
        message = "words:100 delay:0.1"
        thread = await client.beta.threads.create(messages=[{"role": "user", "content": message}])
        run = await client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
    path = f"{narrow_service.base_url}/threads/{thread.id}/runs/{run.id}/events"
    headers = {"api-key": narrow_service.key}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as http:

        async def stream() -> str:
            async with http.stream("GET", path, headers=headers) as response:
                return (await response.aread()).decode()

        streams = [asyncio.create_task(stream()) for _ in range(STREAMS)]
        told: set[int] = set()
        while not all(each.done() for each in streams):
            told.add((await http.get(f"{narrow_service.url}/openai/health")).status_code)
            await asyncio.sleep(0.2)
        assert told == {200}
        assert all("event: thread.run.completed" in text for text in await asyncio.gather(*streams))
